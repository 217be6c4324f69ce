"""What goes out on a stream as bytes, so that what is the same for many streams is serialised once.

Protobuf merges what is concatenated: a message may be put together from parts that were serialised apart, and a list of
messages is the sequence of its framed entries. `ConnectResponse` and `WatchResponse` hold theirs in field 1.
"""

from legato.orchestrator.v1 import stream_pb2

_MESSAGES = b"\x0a"
"""Field 1 of the responses, length-delimited."""

_DELTA = bytes((stream_pb2.ServerMessage.DELTA_FIELD_NUMBER << 3 | 2,))


def _length(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def frame(message: stream_pb2.ServerMessage) -> bytes:
    """A message as an entry of a response."""
    data = message.SerializeToString()
    return _MESSAGES + _length(len(data)) + data


def delta_frame(size: int, *parts: bytes) -> bytes:
    """A delta as an entry of a response, from parts of a serialised `Delta` with `size` bytes in all."""
    inner = _DELTA + _length(size)
    return b"".join((_MESSAGES, _length(len(inner) + size), inner, *parts))
