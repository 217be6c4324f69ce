"""Isolated: what is wrong with one command, subscription or client ends no stream, and slows no neighbour down."""

from tests.robustness.history import Record
from tests.robustness.promises.finding import Findings
from tests.robustness.run import Run

_NETWORK = ("UNAVAILABLE", "CANCELLED", "OK")
"""How a connection ends when a hub or the network goes away; or, where the client was just writing, as an "Internal
error from Core" of its own."""


def check(run: Run) -> Findings:
    """How every connection ended, and that neighbours of a fault were served while it lasted."""
    found = Findings()
    faults, healed = run.of("fault"), run.of("healed")
    for connection in run.connections.values():
        closed = connection.closed
        if closed is None or closed["by"] == "client" or "CONNECTION_REPLACED" in closed["details"]:
            continue
        struck = any(_strikes(fault, connection.who, connection.hub) and fault.at <= closed.at for fault in faults)
        lost = closed["code"] in _NETWORK or closed["details"] == "Internal error from Core"
        what = f"{connection.name} ended with {closed['code']}, and nothing had been done to it"
        found.expect(struck and lost, what, closed)
    if not faults or not healed:
        return found
    begin, end = faults[0].at, healed[0].at
    for wished in run.commands.values():
        if run.role(wished.who) == "neighbour" and begin <= wished.sent[0].at:
            final = wished.final
            what = f"{wished.who}: a command waited until the fault of others was over"
            found.expect(final is not None and final.record.at <= end, what, wished.sent[0])
    return found


def _strikes(fault: Record, who: str, hub: str) -> bool:
    return not fault["affects"] or who in fault["affects"] or hub in fault["affects"]
