"""A point in the history of one resource."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cursor:
    """Revision 0 is before the first commit. Cursors of different epochs do not compare."""

    epoch: str
    revision: int
