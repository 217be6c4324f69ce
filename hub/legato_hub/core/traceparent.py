"""The W3C trace context header `traceparent` (W3C Trace Context, section 3.2)."""

import re
from typing import NamedTuple

HEADER = "traceparent"

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


class TraceParent(NamedTuple):
    """A position in a trace."""

    trace_id: int
    span_id: int
    flags: int


def parse_traceparent(text: str) -> TraceParent | None:
    """None for what is no trace context: then a new trace begins, as the specification demands."""
    match = _FORM.fullmatch(text)
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5] is not None):
        return None
    found = TraceParent(int(match[2], 16), int(match[3], 16), int(match[4], 16))
    return found if found.trace_id and found.span_id else None


def format_traceparent(trace_id: int, span_id: int, flags: int) -> str:
    """The header's value in version 00."""
    return f"00-{trace_id:032x}-{span_id:016x}-{flags & 0xFF:02x}"


def sampled(traceparent: str) -> bool:
    """What a valid one says: whether its trace is recorded."""
    return int(traceparent[54], 16) & 1 == 1
