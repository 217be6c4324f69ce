"""Resumable: from inside the kept log come deltas; else a snapshot that says truly why."""

from legato.orchestrator.v1 import stream_pb2
from tests.robustness.promises.finding import Findings
from tests.robustness.run import Run, Step

_ANY_TIME = (stream_pb2.SNAPSHOT_REASON_SLOW_CLIENT, stream_pb2.SNAPSHOT_REASON_EPOCH_CHANGED)


def check(run: Run) -> Findings:
    """The first state of every subscription, and the reason of every snapshot."""
    found = Findings()
    for step in run.steps:
        reason = step.message.snapshot.reason
        if step.first:
            what = _fault(step, run.head.get("log_length", 0))
            told = f"{step.who} on {step.subscription.resource}: {what}"
            found.expect(what == "", told, step.subscription.asked, step.record)
        elif step.kind == "snapshot":
            name = stream_pb2.SnapshotReason.Name(reason)
            what = f"{step.who} on {step.subscription.resource}: a snapshot came in the middle, for {name}"
            found.expect(reason in _ANY_TIME, what, step.record)
    return found


def _fault(step: Step, log_length: int) -> str:
    """What is wrong with the first state after a subscribe; empty if nothing is."""
    since, kind = step.subscription.since, step.kind
    if since is None:
        right = kind == "snapshot" and step.message.snapshot.reason == stream_pb2.SNAPSHOT_REASON_INITIAL
        return "" if right else f"a {kind} answers a subscribe without a cursor"
    behind = step.cursor.revision - since.revision
    if kind != "snapshot":
        if since.epoch != step.cursor.epoch:
            return f"a {kind} continues another epoch"
        return "" if behind <= log_length else f"a {kind} bridges {behind} revisions, of which {log_length} are kept"
    reason = step.message.snapshot.reason
    name = stream_pb2.SnapshotReason.Name(reason)
    match reason:
        case stream_pb2.SNAPSHOT_REASON_EPOCH_CHANGED:
            true = since.epoch != step.cursor.epoch
        case stream_pb2.SNAPSHOT_REASON_TRIMMED:
            true = since.epoch == step.cursor.epoch and behind > log_length
        case stream_pb2.SNAPSHOT_REASON_CURSOR_AHEAD:
            true = since.epoch == step.cursor.epoch and behind < 0
        case stream_pb2.SNAPSHOT_REASON_SLOW_CLIENT:
            true = since.epoch == step.cursor.epoch and behind > 1
        case _:
            true = False
    return "" if true else f"a snapshot for {name} answers a cursor {behind} revisions behind"
