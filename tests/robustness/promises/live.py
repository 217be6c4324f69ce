"""Live: once a fault is over, every command of a client that is there has its outcome, and all have the same."""

from legato.protocol.entities import assemble_cart
from tests.robustness.promises.finding import Findings
from tests.robustness.run import Run, Step


def check(run: Run) -> Findings:
    """The end of the history."""
    found = Findings()
    for wished in run.commands.values():
        if run.role(wished.who) in ("member", "neighbour") and wished.who not in run.gone:
            what = f"{wished.who}: {wished.command.command_id} never got its outcome"
            found.expect(wished.final is not None, what, *wished.sent[:1], *(r.record for r in wished.results[-1:]))
    backend = {record["cart"]: record for record in run.of("backend")}
    for record in run.of("hub"):
        wanted = backend[record["cart"]]
        what = f"{record.who} shows {record['lines']} in {record['cart']}, the backend has {wanted['lines']}"
        found.expect(record["lines"] == wanted["lines"], what, record, wanted)
    last: dict[tuple[str, str], Step] = {}
    for step in run.steps:
        last[step.who, step.subscription.resource] = step
    for (who, resource), step in last.items():
        if who in run.gone or run.role(who) not in ("member", "neighbour") or resource not in backend:
            continue
        lines = None
        if step.entries is not None:
            lines = {line.sku: line.quantity.steps for line in assemble_cart(step.entries).lines}
        wanted = backend[resource]
        found.expect(
            lines == wanted["lines"], f"{who} is left with {lines}, not {wanted['lines']}", step.record, wanted
        )
    for record in run.of("slot"):
        found.expect(False, f"nobody has resolved the command that holds {record['resource']}", record)
    for record in run.of("settled"):
        what = "not everything had settled when time was up"
        found.expect(record["finished"] and record["agreed"] and record["quiet"], what, record)
    return found
