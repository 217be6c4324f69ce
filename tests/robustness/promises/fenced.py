"""Fenced: the epoch changes whenever a delivered revision can have been lost, so a cursor names one state, for good.
And whoever has lost its slot stores nothing, so what a revision contained stays."""

import math

from legato.orchestrator.v1 import command_pb2, stream_pb2
from tests.robustness import model
from tests.robustness.promises.finding import Findings
from tests.robustness.run import Run


def check(run: Run) -> Findings:
    """No cursor has two states, no epoch leads back, no revision does, and no command of another epoch is executed,
    but what was on its way when the epoch changed: the backend may have done it by then."""
    found = Findings()
    seen: dict[str, float] = {}
    for step in run.steps:
        seen.setdefault(step.cursor.epoch, step.record.at)
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
                    under_way = wished.sent[0].at < seen.get(result.result.cursor.epoch, math.inf)
                    what = f"{wished.who}: a command on another epoch was executed"
                    found.expect(same or under_way, what, wished.sent[0], result.record)
    for cart in run.head.get("carts", []):
        _old_answers(run, cart, found)
    return found


def _old_answers(run: Run, cart: str, found: Findings) -> None:
    """What the backend had long before does not come again, within an epoch."""
    commands = run.cart_commands(cart)
    states = model.run(commands[row["command"]].command.cart for row in run.executed(cart))
    newest: dict[str, int] = {}
    for point, (lines, record) in sorted(run.shown[cart].items()):
        had = [number for number, one in enumerate(states) if one == lines]
        later = next((number for number in had if number >= newest.get(point.epoch, 0)), None)
        what = f"{cart}: revision {point.revision} shows {lines}, which is older than what came before"
        found.expect(later is not None or not had, what, record)
        newest[point.epoch] = newest.get(point.epoch, 0) if later is None else later
