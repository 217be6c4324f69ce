"""What carts and sessions have in common as a channel holds them: look, follow, wish."""

import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Generic, Literal, TypedDict, TypeVar, Unpack

from legato import tracing
from legato.commerce.v1.cart_intent_pb2 import CartIntent
from legato.errors import LegatoError
from legato.link import Link, Signal
from legato.orchestrator.v1 import command_pb2
from legato.orchestrator.v1.command_pb2 import Command, CommandResult
from legato.orchestrator.v1.cursor_pb2 import Cursor
from legato.orchestrator.v1.session_intent_pb2 import SessionIntent
from legato.pending import PendingCommand
from legato.protocol import ids
from legato.replica import Replica
from legato.subscription import State

_View = TypeVar("_View")

_POLICIES = {
    "rebase": command_pb2.CONFLICT_POLICY_REBASE,
    "fail": command_pb2.CONFLICT_POLICY_FAIL,
}


class CommandOptions(TypedDict, total=False):
    """What every command may be told."""

    expected: Cursor | None
    """The state the wish was made on (`view.cursor`)."""
    on_conflict: Literal["rebase", "fail"]
    """If the state has moved on from `expected`: apply the wish to it as it is now, or raise RevisionMismatch."""
    timeout: float
    """Seconds to wait for the result, 10 by default; then OutcomePending is raised and the command goes on."""


class Handle(ABC, Generic[_View]):
    """A resource that is followed as long as the client is open, or until `close`."""

    def __init__(self, link: Link, resource: str) -> None:
        self._link = link
        self._signal = Signal()
        self._seen: tuple[int, _View] | None = None
        self.closed = False
        """Whether `close` was called."""
        self.resource = resource
        """Its name, for example "carts/…"."""
        self._subscription = link.follow(resource, self._signal)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.resource}>"

    @property
    def view(self) -> _View:
        """What there is to see now. Looking costs nothing until something changes."""
        if self._seen is None or self._seen[0] != self._signal.version:
            self._seen = (self._signal.version, self._look())
        return self._seen[1]

    @property
    def replica(self) -> Replica:
        """The raw state and how it came: counters of snapshots and deltas. To read, not to change."""
        return self._subscription.replica

    @property
    def connected(self) -> bool:
        """Whether changes arrive as they happen."""
        return self._subscription.state is State.LIVE

    @property
    def error(self) -> LegatoError | None:
        """Why it is not followed, if the hub or the network gave a reason."""
        return self._subscription.error or self._link.core.error

    async def watch(self) -> AsyncIterator[_View]:
        """Every view from now on, beginning with the present one as soon as there is something to see.

        Whoever is slow skips views in between and always gets the newest. Ends when it or the client is closed; raises
        when the resource cannot be followed any more (NotFound, ReplicaDiverged, ConnectionReplaced, …).
        """
        version = -1
        while not (self.closed or self._link.closing):
            self._check()
            if version != self._signal.version:
                version = self._signal.version
                if self.replica.known or self._link.core.unconfirmed(self._subscription):
                    yield self.view
            else:
                await self._signal.beyond(version)

    async def live(self, timeout: float = 10.0) -> _View:
        """The view once it follows the hub. Raise why it does not, or Unavailable after `timeout` seconds."""
        await self._link.wait_until(lambda: self._check() or self.connected, timeout, f"{self.resource} did not answer")
        return self.view

    def submit(self, intent: CartIntent | SessionIntent, **options: Unpack[CommandOptions]) -> PendingCommand:
        """Keep a command in the outbox and return at once: for channels that must go on without a network.

        When it returns, the command is as safe as the outbox makes it. Raises OutboxError if it could not be kept.
        """
        name = str(intent.WhichOneof("intent"))
        with tracing.command(name, self.target) as traceparent:
            return self._link.submit(self._command(intent, traceparent, options))

    def close(self) -> None:
        """Follow it no more. Pending commands are still sent."""
        if not self.closed:
            self.closed = True
            self._link.unfollow(self.resource)
            self._signal.fire()

    @property
    @abstractmethod
    def target(self) -> str:
        """The resource that commands go to."""

    @abstractmethod
    def _look(self) -> _View: ...

    def _check(self) -> bool:
        """Raise why there will be nothing to see any more; else False."""
        if self._subscription.state is State.ENDED and self._subscription.error is not None:
            raise self._subscription.error
        if self._link.core.stopped and not self._link.closing and self._link.core.error is not None:
            raise self._link.core.error
        return False

    async def _execute(self, intent: CartIntent | SessionIntent, options: CommandOptions) -> CommandResult:
        name = str(intent.WhichOneof("intent"))
        with tracing.command(name, self.target) as traceparent:
            pending = self._link.submit(self._command(intent, traceparent, options))
            return await pending.result(options.get("timeout", 10.0))

    def _command(self, intent: CartIntent | SessionIntent, traceparent: str, options: CommandOptions) -> Command:
        timeout = options.get("timeout", 10.0)
        command = Command(
            command_id=ids.new_id(),
            resource=self.target,
            expected=options.get("expected"),
            on_conflict=_POLICIES[options.get("on_conflict", "rebase")],
            traceparent=traceparent,
        )
        # The hub takes 1 ms to 60 s.
        command.timeout.FromMilliseconds(math.ceil(min(max(timeout, 0.001), 60.0) * 1000))
        if isinstance(intent, CartIntent):
            command.cart.CopyFrom(intent)
        else:
            command.session.CopyFrom(intent)
        return command

    def rebind(self, resource: str, state: State) -> None:
        """Follow another resource from now on: the shopper's session became another one. For the client alone."""
        self._link.unfollow(self.resource)
        self.resource = resource
        self._subscription = self._link.follow(resource, self._signal)
        self._subscription.state = state
        self._signal.fire()

    def revive(self) -> None:
        """Ask again for a resource that could not be followed. For the client alone."""
        self._subscription.revive()
        self._link.wake()
