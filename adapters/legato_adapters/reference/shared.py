"""What all parts of the reference adapter have in common: its name, its clock, and how a call fails without effect."""

import time

from google.protobuf.timestamp_pb2 import Timestamp

from legato.commerce.v1 import provenance_pb2

SYSTEM = "reference"


class NotFound(Exception):
    """There is no such thing, or not for this tenant."""


class CommandIdReused(Exception):
    """The command id came before with another body."""


class VersionMismatch(Exception):
    """The cart has another version than the caller expected."""


class DeadlinePassed(Exception):
    """The caller no longer waits: nothing was done."""


class Malformed(Exception):
    """The request breaks the contract, which the hub should have seen."""


class CursorTooOld(Exception):
    """What came after the cursor is forgotten."""


def now() -> Timestamp:
    seconds, nanos = divmod(time.time_ns(), 1_000_000_000)
    return Timestamp(seconds=seconds, nanos=nanos)


def observed() -> provenance_pb2.Provenance:
    """Read here and now."""
    return provenance_pb2.Provenance(source=SYSTEM, observed_at=now())


def row_id(text: str) -> int:
    """The row that an id names; raises NotFound for what names none."""
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise NotFound("no such id")
    return int(text)
