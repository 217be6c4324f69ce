"""Fenced: the epoch changes whenever a delivered revision can have been lost. So a cursor names one state, for good."""

from legato.orchestrator.v1 import command_pb2, stream_pb2
from tests.robustness.promises.finding import Findings
from tests.robustness.run import Run


def check(run: Run) -> Findings:
    """No cursor has two states, no epoch leads back, and no command of another epoch is executed."""
    found = Findings()
    latest: dict[tuple[str, str], int] = {}
    for step in run.steps:
        key = step.subscription.resource, step.cursor
        if step.kind == "snapshot" and step.message.snapshot.reason == stream_pb2.SNAPSHOT_REASON_CURSOR_AHEAD:
            what = f"{step.who}: a revision that it was given is lost, in the same epoch"
            found.expect(False, what, step.subscription.asked, step.record)
        if step.kind != "progress" and step.entries is not None:
            first = run.states[key]
            what = f"{step.subscription.resource}: revision {step.cursor.revision} of one epoch has two states"
            found.expect(first == step.entries, what, step.record)
        place = step.subscription.resource, step.cursor.epoch
        latest[place] = max(latest.get(place, 0), step.cursor.revision)
    for record in run.of("hub"):
        epoch, revision = record["cursor"]
        told = latest.get((record["cart"], epoch), 0)
        what = f"{record.who} has revision {revision} of {record['cart']}, and {told} was told in the same epoch"
        found.expect(revision >= told, what, record)
    for wished in run.commands.values():
        if wished.command.HasField("expected"):
            for result in wished.results:
                if result.result.outcome == command_pb2.OUTCOME_APPLIED and not result.result.replayed:
                    same = result.result.cursor.epoch == wished.command.expected.epoch
                    what = f"{wished.who}: a command on another epoch was executed"
                    found.expect(same, what, wished.sent[0], result.record)
    return found
