"""A point in the history of one resource."""

import enum
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cursor:
    """Revision 0 is before the first commit. Cursors of different epochs do not compare."""

    epoch: str
    revision: int


class Gone(enum.Enum):
    """Why the log cannot continue from a cursor. OTHER_EPOCH is looked at first."""

    TRIMMED = enum.auto()
    AHEAD = enum.auto()
    OTHER_EPOCH = enum.auto()
