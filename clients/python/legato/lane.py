"""The commands of one resource on their way to the hub: in order, each until it has a result. Pure."""

import random
from collections import deque
from dataclasses import dataclass, field

from legato import errors
from legato.error_table import from_error
from legato.orchestrator.v1 import command_pb2, error_pb2
from legato.orchestrator.v1.command_pb2 import Command, CommandResult
from legato.orchestrator.v1.cursor_pb2 import Cursor
from legato.outbox import numbered

WINDOW = 64
"""Commands of one resource in flight: the hub keeps that many results."""

RETRY_BASE = 0.1
RETRY_CAP = 10.0
"""Bounds in seconds of the delay before a command is sent again."""


def jitter(rng: random.Random, attempt: int, base: float, cap: float) -> float:
    """Delay in seconds before attempt 1, 2, …: anything up to a bound that doubles, so that no two clients agree."""
    return rng.uniform(0, min(cap, base * 2.0 ** min(attempt, 30)))


@dataclass(slots=True)
class Answer:
    """What follows from a result. All empty: nothing yet, the command goes on."""

    finished: Command | None = None
    """This command has its final result."""
    failed: list[Command] = field(default_factory=list)
    """These were not accepted and will not be sent again; `error` says why."""
    error: errors.LegatoError | None = None
    """Why commands failed, or wait."""
    rewritten: bool = False
    """`pending` or `next_seq` are not what the outbox holds any more."""


@dataclass(slots=True)
class Lane:
    """Pending commands in the order of seq; the first `sent` of them were sent on this stream.

    A refusal that consumes no seq makes all later ones wait (go-back-N): the lane lets the stream answer what is under
    way, waits as long as it was told, then tries the first one alone before it opens up again.
    """

    resource: str
    next_seq: int = 1
    pending: list[Command] = field(default_factory=list)
    settled: deque[tuple[Command, Cursor]] = field(default_factory=lambda: deque(maxlen=WINDOW))
    """Applied commands with the cursor that contains them: shown until a replica has reached it."""
    sent: int = 0
    outstanding: int = 0
    """Answers that this stream still owes."""
    rewound: bool = False
    hold_until: float = 0.0
    """Nothing is sent before this time."""
    needs_token: bool = False
    """Nothing is sent before there is another identity."""
    attempts: int = 0
    """Refusals in a row of the first command."""

    def add(self, command: Command) -> None:
        """Take a command that has its seq."""
        self.pending.append(command)
        # One from the outbox may be older than others that have their result.
        self.next_seq = max(self.next_seq, command.seq + 1)

    @property
    def creates(self) -> bool:
        """Whether the resource waits to be made, so that it cannot be subscribed to yet."""
        return bool(self.pending) and self.pending[0].cart.HasField("create_cart")

    @property
    def first_unacknowledged_seq(self) -> int:
        """What `Subscribe` tells the hub."""
        return self.pending[0].seq if self.pending else self.next_seq

    def closed(self) -> None:
        """The stream is gone, and with it the answers it owed."""
        self._unsend()
        self.outstanding = 0
        self.rewound = False

    def sendable(self, now: float, room: int) -> list[Command]:
        """What may be sent now, at most `room`; it counts as sent."""
        if self.needs_token or now < self.hold_until or (self.rewound and self.outstanding):
            return []
        self.rewound = False
        if not self.pending:
            return []
        end = self.pending[0].seq + (1 if self.attempts else WINDOW)
        commands = [c for c in self.pending[self.sent : self.sent + min(room, WINDOW)] if c.seq < end]
        self.sent += len(commands)
        self.outstanding += len(commands)
        return commands

    def answered(self, result: CommandResult, now: float, rng: random.Random) -> Answer:
        """Take a result. A command that is no longer pending had its result before: nothing follows."""
        self.outstanding = max(0, self.outstanding - 1)
        index = next((i for i, c in enumerate(self.pending) if c.command_id == result.command_id), None)
        if index is None:
            return Answer()
        if result.outcome in (command_pb2.OUTCOME_APPLIED, command_pb2.OUTCOME_NO_OP):
            return Answer(self._finish(index, result))
        error = from_error(result.error)
        pending = error.reason == error_pb2.ERROR_REASON_OUTCOME_PENDING
        if result.outcome != command_pb2.OUTCOME_NOT_ACCEPTED and not pending:
            return Answer(self._finish(index, result), error=error)
        if isinstance(error, errors.SeqGap):
            return Answer(error=error, rewritten=self._rewind_to(result.expected_seq, now, rng))
        if isinstance(error, errors.Unauthenticated):
            self._rewind(0.0)
            self.needs_token = True
        elif error.retryable:
            self.attempts += 1
            delay = error.retry_delay
            self._rewind(now + (jitter(rng, self.attempts, RETRY_BASE, RETRY_CAP) if delay is None else delay))
        else:
            return self._fail(index, error)
        return Answer(error=error)

    def renumber(self, first: int) -> None:
        """Let the pending commands begin at another seq; their ids stay, so none is executed twice."""
        self.pending = [numbered(command, first + i) for i, command in enumerate(self.pending)]
        self.next_seq = first + len(self.pending)

    def unconfirmed(self, here: Cursor | None, last_seq: int) -> list[Command]:
        """The commands that a state at `here`, which contains seqs up to `last_seq`, does not contain yet."""
        behind = [
            command
            for command, at in self.settled
            if here is None or (here.epoch == at.epoch and here.revision < at.revision)
        ]
        return behind + [command for command in self.pending if command.seq > last_seq]

    def _finish(self, index: int, result: CommandResult) -> Command:
        command = self.pending.pop(index)
        self.sent -= index < self.sent
        self.attempts = 0
        self.hold_until = 0.0
        if result.outcome == command_pb2.OUTCOME_APPLIED and result.HasField("cursor"):
            self.settled.append((command, result.cursor))
        return command

    def _fail(self, index: int, error: errors.LegatoError) -> Answer:
        """The seq was not consumed: it and those behind it go to whatever is wished next."""
        failed = self.pending[index:]
        del self.pending[index:]
        self.next_seq = failed[0].seq
        self._rewind(0.0)
        self.attempts = 0
        return Answer(failed=failed, error=error, rewritten=True)

    def _unsend(self) -> None:
        """What was sent is to be sent again, and says so."""
        for command in self.pending[: self.sent]:
            command.resent = True
        self.sent = 0

    def _rewind(self, hold_until: float) -> None:
        self._unsend()
        self.rewound = True
        self.hold_until = max(self.hold_until, hold_until)

    def _rewind_to(self, expected_seq: int, now: float, rng: random.Random) -> bool:
        """True if the hub expects a seq before all pending ones: it has forgotten, so they take its numbers."""
        forgotten = 0 < expected_seq < self.pending[0].seq
        if forgotten:
            self.renumber(expected_seq)
        elif not self.rewound:
            # Nothing before it was refused, so nothing explains the gap: do not ask in a tight loop.
            self.attempts += 1
            self._rewind(now + jitter(rng, self.attempts, RETRY_BASE, RETRY_CAP))
        self._rewind(0.0)
        return forgotten
