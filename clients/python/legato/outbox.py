"""Where commands wait until their results are known.

`append` gives a command its seq and keeps it, as one: what it returned will be sent, in order, until it has a result.
`MemoryOutbox` lives as long as the process; `SQLiteOutbox` survives a power cut and lets a restarted till go on where
it was, replicas included.

An outbox belongs to one client id, and a client id to one identity: two running clients never share one.
"""

import uuid
from collections.abc import Iterable, Sequence
from typing import Protocol

from legato.errors import OutboxError
from legato.orchestrator.v1.command_pb2 import Command
from legato.replica import Saved

MAX_PENDING = 100_000
"""Commands that may wait in one outbox."""


class Outbox(Protocol):
    """What a client needs of an outbox. Used from one thread; every method may raise OutboxError."""

    @property
    def client_id(self) -> str:
        """UUID of this installation of the client, kept as long as the outbox."""

    @property
    def durable(self) -> bool:
        """Whether what is in it survives the process."""

    def append(self, command: Command) -> Command:
        """Keep a command; the same with its seq set. When it returns, it is as safe as this outbox makes it."""

    def pending(self) -> list[Command]:
        """All commands without a result: of each resource in the order of seq."""

    def finish(self, command_ids: Iterable[str]) -> None:
        """Forget commands whose result is known. Forgetting this on a power cut is harmless."""

    def next_seq(self, resource: str) -> int:
        """The seq that the next command on a resource gets; 1 at first."""

    def rewrite(self, resource: str, commands: Sequence[Command], next_seq: int) -> None:
        """Replace all pending commands of a resource, as one: the hub said where to continue."""

    def save_replica(self, resource: str, saved: Saved | None) -> None:
        """Keep a replica, or forget it. It need not survive a power cut."""

    def load_replica(self, resource: str) -> Saved | None:
        """The replica that was kept, if any."""

    def close(self) -> None:
        """Let go of files. Closing twice is harmless."""


def numbered(command: Command, seq: int) -> Command:
    """The command with another seq; the given one stays as it was."""
    copy = Command()
    copy.CopyFrom(command)
    copy.seq = seq
    return copy


def full() -> OutboxError:
    """The refusal of both kinds of outbox."""
    return OutboxError(
        f"{MAX_PENDING} commands are waiting for the hub already; nothing was kept. Connect, and let them be sent."
    )


class MemoryOutbox:
    """Commands of this process only: for channels whose unsent wishes may end with them."""

    durable = False

    def __init__(self, client_id: str | None = None) -> None:
        """`client_id` must be one that no process used before: seqs begin at 1. Absent, a fresh one is minted."""
        self.client_id = client_id or str(uuid.uuid4())
        self._commands: dict[str, Command] = {}
        self._next: dict[str, int] = {}

    def append(self, command: Command) -> Command:
        if len(self._commands) >= MAX_PENDING:
            raise full()
        seq = self.next_seq(command.resource)
        command = numbered(command, seq)
        self._next[command.resource] = seq + 1
        self._commands[command.command_id] = command
        return command

    def pending(self) -> list[Command]:
        return list(self._commands.values())

    def finish(self, command_ids: Iterable[str]) -> None:
        for command_id in command_ids:
            self._commands.pop(command_id, None)

    def next_seq(self, resource: str) -> int:
        return self._next.get(resource, 1)

    def rewrite(self, resource: str, commands: Sequence[Command], next_seq: int) -> None:
        self._commands = {id_: c for id_, c in self._commands.items() if c.resource != resource}
        self._commands.update((command.command_id, command) for command in commands)
        self._next[resource] = next_seq

    def save_replica(self, resource: str, saved: Saved | None) -> None:
        """Nothing outlives the process, so nothing is kept."""

    def load_replica(self, resource: str) -> Saved | None:
        return None

    def close(self) -> None:
        """There is nothing to let go of."""
