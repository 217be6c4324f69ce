"""Graceful drain: a hub that is told to go tells its clients, finishes what it began, and goes."""

from tests.robustness.history import Record
from tests.robustness.promises.finding import Findings
from tests.robustness.run import Connection, Run


def check(run: Run) -> Findings:
    """Every hub that was asked to go, and every connection that it had then."""
    found = Findings()
    for fault in run.of("fault"):
        if fault["deed"] != "drain":
            continue
        (hub,) = fault["affects"]
        exits = [record for record in run.of("exit") if record.who == hub and record.at > fault.at]
        found.expect(bool(exits) and exits[0]["code"] == 0, f"{hub} did not go in order", fault, *exits[:1])
        for connection in run.connections.values():
            closed = connection.closed
            welcomed = any(_says(record, "welcome") and record.at < fault.at for record in connection.records)
            if connection.hub == hub and welcomed and (closed is None or closed.at > fault.at):
                _told(connection, fault, found)
    return found


def _told(connection: Connection, fault: Record, found: Findings) -> None:
    told = any(_says(record, "drain") for record in connection.records)
    ends = [record for record in (connection.closed,) if record is not None]
    found.expect(told, f"{connection.name} was not told that its hub goes", fault, *ends)


def _says(record: Record, kind: str) -> bool:
    return record.what == "received" and any(m.WhichOneof("message") == kind for m in record.response().messages)
