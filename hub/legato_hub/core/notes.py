"""What hubs tell each other, as bytes. Unknown fields are passed over, and so are notes of a kind that is not known:
hubs of two versions may stand side by side."""

from typing import TypeAlias

import msgspec


class Present(msgspec.Struct, frozen=True, tag="present"):
    """The channels that a hub serves for a resource. Each note is its whole list."""

    hub: str
    channels: tuple[bytes, ...]
    """Serialised `PresentChannel`s, oldest first, at most PRESENCE_SHOWN."""
    lasts_ms: int
    """From its arrival, if it is not said again; 0 says that nobody there wants to know of presence any more."""
    asks: bool = False
    """Whether the others are to tell theirs."""


class Replaced(msgspec.Struct, frozen=True, tag="replaced"):
    """Connections of the hub that it is told to, whose clients have a newer one elsewhere."""

    connections: tuple[str, ...]


Note: TypeAlias = Present | Replaced

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Note)


def encode(note: Note) -> bytes:
    """As it travels."""
    return _encoder.encode(note)


def decode(data: bytes) -> Note | None:
    """None for what this version does not understand."""
    try:
        note: Note = _decoder.decode(data)
    except msgspec.MsgspecError:
        return None
    return note
