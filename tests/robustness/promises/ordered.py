"""Revisions come in order and without a gap: each delta stands on exactly the state that its client has."""

from tests.robustness.promises.finding import Findings
from tests.robustness.run import Point, Run


def check(run: Run) -> Findings:
    """Every delta fits the replica, and nothing leads back."""
    found = Findings()
    for step in run.steps:
        who = f"{step.who} on {step.subscription.resource}"
        if step.kind == "delta":
            base = Point(step.cursor.epoch, step.message.delta.prev_revision)
            here = "nothing" if step.before is None else f"revision {step.before.revision}"
            what = f"{who}: a delta from {base.revision} to {step.cursor.revision} came on top of {here}"
            found.expect(step.before == base, what, step.subscription.asked, step.record)
            what = f"{who}: a delta leads from {base.revision} back to {step.cursor.revision}"
            found.expect(step.cursor.revision > base.revision, what, step.record)
        elif step.kind == "snapshot" and not step.first and step.before and step.before.epoch == step.cursor.epoch:
            what = f"{who}: a snapshot leads from {step.before.revision} back to {step.cursor.revision}"
            found.expect(step.cursor.revision >= step.before.revision, what, step.record)
    return found
