"""What every kind of command does with a `begin` that did not say Fresh."""

from typing import Protocol

from legato.orchestrator.v1 import command_pb2, error_pb2
from legato_hub.clock import now_ms
from legato_hub.core import outcomes
from legato_hub.core.cursor import Cursor
from legato_hub.core.problem import Problem
from legato_hub.live import Live
from legato_hub.storage import base
from legato_hub.storage.base import CommandKey

_REFUSALS = {
    base.Refusal.REUSED: (
        error_pb2.ERROR_REASON_COMMAND_ID_REUSED,
        "the command id or the seq was used with another body",
    ),
    base.Refusal.ALREADY_PROCESSED: (
        error_pb2.ERROR_REASON_ALREADY_PROCESSED,
        "processed before; its result is no longer kept",
    ),
    base.Refusal.DEDUPE_EXPIRED: (
        error_pb2.ERROR_REASON_DEDUPE_EXPIRED,
        "the command id is outside the window in which repeats can be told",
    ),
}


class Refuser(Protocol):
    """Stores a refusal."""

    async def refuse(
        self, live: Live, command: command_pb2.Command, problem: Problem, key: CommandKey, fence: int, *, now: int
    ) -> command_pb2.CommandResult | None:
        """None: another has committed the command meanwhile."""


def expected_of(command: command_pb2.Command) -> Cursor | None:
    """The state that the wish was made on."""
    return Cursor(command.expected.epoch, command.expected.revision) if command.HasField("expected") else None


async def refuse_begun(
    refuser: Refuser, live: Live, command: command_pb2.Command, key: CommandKey, begun: base.Begun
) -> command_pb2.CommandResult | None:
    """The result of a command that `begin` refused; what consumes a seq is stored. None: worth another attempt."""
    match begun:
        case base.Gap(expected_seq):
            problem = Problem(error_pb2.ERROR_REASON_SEQ_GAP, f"seq {expected_seq} is next")
            return outcomes.refused(command, problem, expected_seq=expected_seq)
        case base.Refusal():
            return outcomes.refused(command, Problem(*_REFUSALS[begun]))
        case base.Mismatch(current):
            problem = Problem(error_pb2.ERROR_REASON_REVISION_MISMATCH, f"the revision is {current.revision}")
        case base.EpochMismatch(current):
            problem = Problem(error_pb2.ERROR_REASON_EPOCH_MISMATCH, f"the epoch is {current.epoch}")
        case _:
            raise AssertionError(f"{type(begun).__name__} is no refusal")
    return await refuser.refuse(live, command, problem, key, 0, now=now_ms())
