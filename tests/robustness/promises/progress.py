"""Progress travels in the same queue as state: when it comes, nothing before its cursor is still to come."""

from tests.robustness.promises.finding import Findings
from tests.robustness.run import Run


def check(run: Run) -> Findings:
    """Every progress message names the cursor that its client is at."""
    found = Findings()
    for step in run.steps:
        if step.kind == "progress":
            here = "nothing" if step.before is None else f"revision {step.before.revision}"
            what = (
                f"{step.who} on {step.subscription.resource}: progress at {step.cursor.revision} came while at {here}"
            )
            found.expect(step.before == step.cursor, what, step.subscription.asked, step.record)
    return found
