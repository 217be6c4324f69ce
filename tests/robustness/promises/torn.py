"""No torn state: digests of snapshots and progress messages are those of the state that the client has."""

from legato.protocol import state
from tests.robustness.promises.finding import Findings
from tests.robustness.run import Run


def check(run: Run) -> Findings:
    """Every digest, where the client is at its cursor."""
    found = Findings()
    for step in run.steps:
        if step.kind == "delta" or step.entries is None or (step.kind == "progress" and step.before != step.cursor):
            continue
        told = getattr(step.message, step.kind).digest
        what = f"{step.who} on {step.subscription.resource}: the digest at {step.cursor.revision} is another one"
        found.expect(state.digest(step.entries) == told, what, step.record)
    return found
