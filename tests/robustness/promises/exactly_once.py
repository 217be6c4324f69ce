"""Exactly once, as far as the backend's effect class allows. What counts is the backend's own ledger."""

from legato.orchestrator.v1 import command_pb2, error_pb2
from legato.protocol.ids import unix_ms_of
from legato_hub.storage.base import DEDUPE_AHEAD_MS, DEDUPE_WINDOW_MS
from tests.robustness.promises.finding import Findings
from tests.robustness.run import Result, Run, Wished

_KEEPS_IDS = ("KEYED", "MARKED")


def check(run: Run) -> Findings:
    """Every command, and every row of the ledger."""
    found = Findings()
    effect_class = run.head["effect_class"]
    known = set()
    for command_id, wishes in run.by_id():
        known.add(command_id)
        for wished in wishes:
            _one_outcome(wished, found)
            _not_too_late(run, wished, found)
        _effects(run, command_id, wishes, effect_class, found)
    for command_id, rows in run.effects.items():
        found.expect(command_id in known, f"the backend executed {command_id}, which nobody sent", *rows)
    return found


def _one_outcome(wished: Wished, found: Findings) -> None:
    """All final answers to the same command tell the same."""
    first = wished.final
    for result in wished.results:
        if first is not None and result.final and result is not first:
            same = result.result.outcome == first.result.outcome or _expired(result)
            what = f"{wished.who}: the repeat of {wished.command.command_id} has another outcome"
            found.expect(same, what, *wished.sent[:2], first.record, result.record)


def _not_too_late(run: Run, wished: Wished, found: Findings) -> None:
    """A stateless command whose id nobody can tell from a repeat any more is refused, and not executed."""
    command = wished.command
    if command.seq or run.head["fault"] == "clock-jumps":
        return
    now = run.head["wall_ms"] + (wished.sent[0].at - run.of("run")[0].at) * 1000
    age = now - unix_ms_of(command.command_id)
    if -DEDUPE_AHEAD_MS < age < DEDUPE_WINDOW_MS:
        return
    refused = wished.final is not None and wished.final.result.error.reason == error_pb2.ERROR_REASON_DEDUPE_EXPIRED
    rows = run.effects.get(command.command_id, [])
    what = f"{command.command_id}, which is {age / 3_600_000:.1f} h old, was not refused for its age"
    found.expect(refused and not rows, what, wished.sent[0], *rows)


def _expired(result: Result) -> bool:
    """A repeat that came so late that nobody remembers."""
    late = (error_pb2.ERROR_REASON_ALREADY_PROCESSED, error_pb2.ERROR_REASON_DEDUPE_EXPIRED)
    return result.result.error.reason in late


def _effects(run: Run, command_id: str, wishes: list[Wished], effect_class: str, found: Findings) -> None:
    rows = run.effects.get(command_id, [])
    changed = [row for row in rows if row["steps"]]
    sent = [wished.sent[0] for wished in wishes]
    found.expect(len(changed) <= 1, f"{command_id} had its effect {len(changed)} times", *sent, *changed)
    if effect_class in _KEEPS_IDS or effect_class == "NONE":
        found.expect(len(rows) <= 1, f"{command_id} was executed {len(rows)} times", *sent, *rows)
    finals = [wished.final for wished in wishes if wished.final is not None]
    outcomes = {result.result.outcome for result in finals}
    told = [result.record for result in finals]
    wanted = next(iter(wishes)).command.cart
    applied = [result.record for result in finals if result.result.outcome == command_pb2.OUTCOME_APPLIED]
    found.expect(len(applied) <= 1, f"{command_id} was executed with two bodies", *applied)
    if applied:
        found.expect(bool(rows), f"{command_id} was told as applied, and the backend has nothing of it", *sent, *told)
    if outcomes == {command_pb2.OUTCOME_REJECTED}:
        found.expect(not rows, f"{command_id} was told as rejected, and the backend has executed it", *told, *rows)
    if command_pb2.OUTCOME_UNKNOWN in outcomes:
        # Only what was sent can be compared; after a loss of the storage nobody has that any more.
        may = effect_class == "NONE" or (effect_class == "ABSOLUTE" and len(run.epochs) > 1)
        found.expect(may, f"{command_id} is unknown to a backend of {effect_class}", *told)
    if len(wishes) == 1 and wanted.HasField("add_line"):
        for row in changed:
            right = row["steps"] == wanted.add_line.quantity.steps and row["sku"] == wanted.add_line.sku
            what = f"{command_id} wanted {wanted.add_line.quantity.steps}, the backend did {row['steps']}"
            found.expect(right, what, *sent, row)
