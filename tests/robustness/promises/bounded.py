"""Bounded: a client that does not read or acknowledge costs a few messages, never a queue."""

from collections import defaultdict

from tests.robustness.history import Record
from tests.robustness.promises.finding import Findings
from tests.robustness.run import Run

GROWTH = 64 * 1024 * 1024
"""Bytes by which a hub may grow while clients do not read: far less than what they are not reading."""


def check(run: Run) -> Findings:
    """Messages that nobody acknowledged, and what hubs hold."""
    found = Findings()
    window = run.head.get("window", 0)
    outstanding: dict[tuple[str, str], list[int]] = defaultdict(list)
    owed: dict[tuple[str, str], int] = defaultdict(int)
    for record in run.records:
        if record.what == "sent":
            _acknowledged(record, outstanding)
        elif record.what == "received":
            results = sum(message.HasField("command_result") for message in record.response().messages)
            for message in record.response().messages:
                kind = message.WhichOneof("message")
                if kind in ("snapshot", "delta"):
                    state = getattr(message, kind)
                    key = record["connection"], state.subscription_id
                    owed[key] += results  # What a result waits for goes out whatever the window is.
                    outstanding[key].append(state.cursor.revision)
                    held = len(outstanding[key])
                    what = f"{record.who} has {held} messages that it did not acknowledge; {window} may be outstanding"
                    found.expect(held <= window + owed[key], what, record)
    _memory(run, found)
    return found


def _acknowledged(record: Record, outstanding: dict[tuple[str, str], list[int]]) -> None:
    request = record.request()
    if request.HasField("ack"):
        key = record["connection"], request.ack.subscription_id
        outstanding[key] = [revision for revision in outstanding[key] if revision > request.ack.cursor.revision]


def _memory(run: Run, found: Findings) -> None:
    first: dict[str, Record] = {}
    for record in run.of("memory"):
        before = first.setdefault(record.who, record)
        if record is not before:
            grown = record["bytes"] - before["bytes"]
            found.expect(grown <= GROWTH, f"{record.who} has grown by {grown:,} bytes", before, record)
