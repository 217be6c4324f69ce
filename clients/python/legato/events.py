"""What a `Connection` tells its owner."""

from dataclasses import dataclass
from typing import TypeAlias

from legato.errors import LegatoError
from legato.orchestrator.v1.command_pb2 import Command, CommandResult
from legato.orchestrator.v1.stream_pb2 import IdentitySummary


@dataclass(frozen=True, slots=True)
class Changed:
    """What there is to see of a followed resource has changed: state, pending commands, connection or end."""

    resource: str


@dataclass(frozen=True, slots=True)
class Finished:
    """A command has its final result; `error` for one that was not applied."""

    command: Command
    result: CommandResult
    error: LegatoError | None


@dataclass(frozen=True, slots=True)
class Failed:
    """A command was not accepted and will not be sent again."""

    command: Command
    error: LegatoError


@dataclass(frozen=True, slots=True)
class Delayed:
    """A command has no result yet, and why; it will be sent again."""

    command_id: str
    error: LegatoError


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The pending commands of a resource changed in another way than by results: the outbox must hold these."""

    resource: str
    commands: tuple[Command, ...]
    next_seq: int


@dataclass(frozen=True, slots=True)
class Opened:
    """The hub said welcome."""

    identity: IdentitySummary


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The hub's answer to a new token; after an error the former identity stays."""

    identity: IdentitySummary
    error: LegatoError | None


@dataclass(frozen=True, slots=True)
class TokenNeeded:
    """The token ends soon or, with an error, was refused."""

    error: LegatoError | None


@dataclass(frozen=True, slots=True)
class Drained:
    """The hub goes down and nothing is under way any more: close the stream."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """It is over: opening the stream again would end the same way."""

    error: LegatoError


Event: TypeAlias = (
    Changed | Finished | Failed | Delayed | Rewritten | Opened | Authenticated | TokenNeeded | Drained | Stopped
)
