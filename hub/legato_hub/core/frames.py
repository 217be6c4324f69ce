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


def delta_frame(*parts: bytes) -> bytes:
    """A delta as an entry of a response, from parts of a serialised `Delta`."""
    size = sum(map(len, parts))
    inner = _DELTA + _length(size)
    return b"".join((_MESSAGES, _length(len(inner) + size), inner, *parts))


class SharedDelta:
    """A delta on its way to many streams: what it says to all of them is serialised once.

    `shared` is a serialised `Delta` that lacks what differs from stream to stream, `traceparents` names the commands
    that caused it, `told_at` is when the oldest revision in it was heard of, in nanoseconds on the monotonic clock.
    """

    __slots__ = ("_frame", "_own", "shared", "told_at", "traceparents")

    def __init__(self, shared: bytes, traceparents: tuple[str, ...], told_at: int) -> None:
        self.shared = shared
        self.traceparents = traceparents
        self.told_at = told_at
        self._own: bytes | None = None
        self._frame = b""

    def frame(self, own: bytes) -> bytes:
        """As an entry of a response, for the stream whose part of the `Delta` is `own`.

        Clients number their subscriptions alike, so the streams of one resource mostly ask for the same bytes.
        """
        if own != self._own:
            self._own, self._frame = own, delta_frame(own, self.shared)
        return self._frame
