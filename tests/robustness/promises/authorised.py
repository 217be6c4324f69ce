"""Authorised: what an identity may not see does not reach it, and what it may not do is not done."""

from legato.orchestrator.v1 import command_pb2
from tests.robustness.promises.finding import Findings
from tests.robustness.run import Run

_TELLING = ("snapshot", "delta", "progress", "presence")
_DONE = (command_pb2.OUTCOME_APPLIED, command_pb2.OUTCOME_NO_OP)


def check(run: Run) -> Findings:
    """Every state that reached somebody, and every effect."""
    found = Findings()
    names = {
        (record["connection"], request.subscribe.subscription_id): request.subscribe.resource
        for record in run.of("sent")
        if (request := record.request()).HasField("subscribe")
    }
    for record in run.of("received"):
        for message in record.response().messages:
            kind = message.WhichOneof("message")
            if kind in _TELLING:
                resource = names.get((record["connection"], getattr(message, kind).subscription_id), "nothing it knows")
                what = f"{record.who} was told of {resource}, which it may not see"
                found.expect(resource in run.clients[record.who]["may_see"], what, record)
    for wished in run.commands.values():
        if wished.command.resource in run.clients[wished.who]["may_see"]:
            continue
        done = [result.record for result in wished.results if result.result.outcome in _DONE]
        rows = run.effects.get(wished.command.command_id, [])
        what = f"{wished.who} changed {wished.command.resource}, which it may not"
        found.expect(not done and not rows, what, wished.sent[0], *done, *rows)
    return found
