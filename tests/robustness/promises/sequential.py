"""One sequential history: the backend's order explains every state that was seen, and every time that was measured."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from legato.orchestrator.v1 import command_pb2
from tests.robustness import model
from tests.robustness.history import Record
from tests.robustness.promises.finding import Findings
from tests.robustness.run import Run, Wished

_DONE = (command_pb2.OUTCOME_APPLIED, command_pb2.OUTCOME_NO_OP)


def check(run: Run) -> Findings:
    """Each cart on its own."""
    found = Findings()
    for cart in run.head.get("carts", []):
        rows, commands = run.executed(cart), run.cart_commands(cart)
        states = model.run(commands[row["command"]].command.cart for row in rows)
        place = {row["command"]: number for number, row in enumerate(rows, 1)}
        _final(run, cart, states[-1], found)
        _states(run, cart, states, commands, place, found)
        _real_time(commands, place, found)
    return found


def _final(run: Run, cart: str, expected: Mapping[str, int], found: Findings) -> None:
    """The backend has what the model has after everything."""
    for record in run.of("backend"):
        if record["cart"] == cart:
            what = f"{cart}: the backend has {record['lines']}, its commands one after the other make {dict(expected)}"
            found.expect(record["lines"] == expected, what, record)


def _states(
    run: Run,
    cart: str,
    states: Sequence[Mapping[str, int]],
    commands: Mapping[str, Wished],
    place: Mapping[str, int],
    found: Findings,
) -> None:
    """Each revision is the model's state after some prefix; within an epoch later revisions after longer ones, and
    after all that was told as contained. A new epoch may begin with an older state."""
    contained: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for command_id, wished in commands.items():
        final = wished.final
        if final is not None and final.result.outcome in _DONE and command_id in place:
            contained[final.result.cursor.epoch].append((final.result.cursor.revision, place[command_id]))
    for epoch in run.epochs:
        shown = {point.revision: state for point, state in run.shown[cart].items() if point.epoch == epoch}
        _one_epoch(f"{cart} in {epoch}", states, shown, sorted(contained[epoch]), found)


def _one_epoch(
    where: str,
    states: Sequence[Mapping[str, int]],
    shown: Mapping[int, tuple[Mapping[str, int], Record]],
    contained: list[tuple[int, int]],
    found: Findings,
) -> None:
    prefix = 0
    for revision in sorted(shown):
        lines, record = shown[revision]
        while contained and contained[0][0] <= revision:
            prefix = max(prefix, contained.pop(0)[1])
        later = next((number for number in range(prefix, len(states)) if states[number] == lines), None)
        what = f"{where}: revision {revision} shows {lines}, which the backend never had from its effect {prefix} on"
        found.expect(later is not None, what, record)
        if later is None:
            return
        prefix = later


def _real_time(commands: Mapping[str, Wished], place: Mapping[str, int], found: Findings) -> None:
    """What was answered before another was sent came before it."""
    done = [(w.final.record.at, place[i], w.final.record) for i, w in commands.items() if w.final and i in place]
    done.sort(key=lambda entry: entry[0])
    sent = sorted((w.sent[0].at, place[i], w.sent[0]) for i, w in commands.items() if i in place)
    latest: tuple[int, Record] | None = None
    for at, number, record in sent:
        while done and done[0][0] < at:
            _, other, result = done.pop(0)
            if latest is None or other > latest[0]:
                latest = other, result
        if latest is not None:
            what = "a command had its effect before one whose result was there when it was sent"
            found.expect(number > latest[0], what, latest[1], record)
