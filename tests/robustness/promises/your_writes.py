"""Read your writes: the state that contains a command's effect comes before its result, on the same connection."""

from legato.orchestrator.v1 import command_pb2
from tests.robustness.promises.finding import Findings
from tests.robustness.run import Run

_DONE = (command_pb2.OUTCOME_APPLIED, command_pb2.OUTCOME_NO_OP)


def check(run: Run) -> Findings:
    """Every result of something done, on a connection that follows its resource."""
    found = Findings()
    for wished in run.commands.values():
        for result in wished.results:
            if result.result.outcome not in _DONE:
                continue
            cursor = result.result.cursor
            for at in result.reached.values():
                if at is not None and at.epoch == cursor.epoch:
                    what = f"{wished.who}: the result at {cursor.revision} came when its state was at {at.revision}"
                    found.expect(at.revision >= cursor.revision, what, wished.sent[0], result.record)
    return found
