"""The I/O around a `Connection`: one task that keeps a stream open, an outbox, and those who wait for news."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import grpc.aio
from google.protobuf.message import DecodeError

from legato import errors, events, tracing
from legato.connection import Connection
from legato.error_table import from_rpc_error, translated
from legato.lane import jitter
from legato.orchestrator.v1 import orchestrator_service_pb2_grpc, stream_pb2
from legato.orchestrator.v1.command_pb2 import Command, CommandResult
from legato.orchestrator.v1.stream_pb2 import ConnectRequest, ConnectResponse, IdentitySummary
from legato.outbox import Outbox
from legato.pending import PendingCommand
from legato.replica import Replica
from legato.subscription import Subscription

if TYPE_CHECKING:
    # Known to type checkers only: at run time there is one stub class.
    from legato.orchestrator.v1.orchestrator_service_pb2_grpc import OrchestratorServiceAsyncStub

log = logging.getLogger("legato")

SAVE_REPLICAS_EVERY_S = 1.0
"""How far behind a saved replica may be; what it misses comes as deltas."""

MAX_MESSAGE_BYTES = 65_536
"""What a hub is taken to accept until it says so; every command within its documented limits is far smaller."""

ENVELOPE_BYTES = 32
"""More than what a message adds to the command in it: its seq and its frame."""

TokenSource: TypeAlias = Callable[[], Awaitable[str]]
_Call: TypeAlias = "grpc.aio.StreamStreamCall[ConnectRequest, ConnectResponse]"
_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class Signal:
    """Wakes everybody who waits for news. Who is slow misses what is old: there is only the newest version."""

    def __init__(self) -> None:
        self.version = 0
        self._news = asyncio.Event()

    def fire(self) -> None:
        self.version += 1
        self._news.set()
        self._news = asyncio.Event()

    async def beyond(self, version: int) -> None:
        while self.version == version:
            await self._news.wait()


class Link:
    """One client's link to the hub, or to one of several at a time. All methods are for the event loop's own thread."""

    def __init__(
        self, rpc_channels: Iterable[grpc.aio.Channel], hello: stream_pb2.Hello, outbox: Outbox, token: str
    ) -> None:
        self._stubs: deque[OrchestratorServiceAsyncStub] = deque(
            map(orchestrator_service_pb2_grpc.OrchestratorServiceStub, rpc_channels)
        )
        self.core = Connection(hello)
        self.outbox = outbox
        self.token = token
        self.identity = IdentitySummary()
        self.renew: TokenSource | None = None
        """Where another token comes from, if from anywhere."""
        self.on_identity: Callable[[IdentitySummary], None] = lambda _: None
        self.state = Signal()
        """Fires when the stream opens, closes, or is over."""
        self.signals: dict[str, Signal] = {}
        """By resource: fires when there is something new to see."""
        self.pending: dict[str, PendingCommand] = {}
        """By command id."""
        self.closing = False
        self._wake = asyncio.Event()
        self._dirty: set[str] = set()
        self._saving: asyncio.TimerHandle | None = None
        self._authenticating: asyncio.Future[None] | None = None
        self._auth_lock = asyncio.Lock()
        self._renewing: asyncio.Task[None] | None = None
        self._leaving = False
        self.token_error: errors.LegatoError | None = None
        """Why the hub does not take the present token, and there is no other."""
        for command in outbox.pending():
            command.resent = True  # For all this process knows, a former one sent it.
            self._take(command)

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    @property
    def stub(self) -> "OrchestratorServiceAsyncStub":
        """Of the hub that is used now: of several, the next one after each end of a stream."""
        return self._stubs[0]

    # What callers want.

    def follow(self, resource: str, signal: Signal) -> Subscription:
        """Follow a resource, from the saved replica if there is one."""
        saved = self.outbox.load_replica(resource)
        self.core.lane(resource).next_seq = self.outbox.next_seq(resource)
        try:
            replica = Replica() if saved is None else Replica.restored(saved)
        except DecodeError:
            replica = Replica()  # a saved replica only saves time; the hub has the state
        subscription = Subscription(resource, replica)
        self.signals[resource] = signal
        self.core.want(subscription)
        self._wake.set()
        return subscription

    def unfollow(self, resource: str) -> None:
        """Follow it no more."""
        self._save()
        self.core.unwant(resource)
        self.signals.pop(resource, None)
        self._wake.set()

    def submit(self, command: Command) -> PendingCommand:
        """Keep a command in the outbox and send it. Raise LegatoError if it was not kept."""
        if self.closing:
            raise errors.Closed("the client is closed; nothing was kept")
        self._check()
        limit, size = self.core.limits.max_message_bytes or MAX_MESSAGE_BYTES, command.ByteSize() + ENVELOPE_BYTES
        if size > limit:
            # One that the hub will never take must not stand in the way of all others.
            raise errors.MessageTooLarge(f"the command takes {size} bytes, the hub at most {limit}")
        pending = self._take(self.outbox.append(command))
        self._act()
        self._wake.set()
        return pending

    def _check(self) -> None:
        if self.core.stopped and self.core.error is not None:
            raise self.core.error

    def wake(self) -> None:
        """Something is wanted that was not before."""
        self._wake.set()

    async def wait_until(self, condition: Callable[[], bool], timeout: float | None, otherwise: str) -> None:
        """Wait for something that this client learns from the hub. Raise Unavailable with `otherwise` after a time."""
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    await self.state.beyond(self.state.version)
        except TimeoutError:
            raise errors.Unavailable(f"{otherwise} within {timeout:g} s") from self.core.error

    async def authenticate(self, token: str, timeout: float) -> None:
        """Go on under another token. Raise what the hub says against it; then the former one stays."""
        async with self._auth_lock:
            self._check()
            former, self.token = self.token, token
            self._authenticating = asyncio.get_running_loop().create_future()
            self.core.authenticate(token, self._now)
            self._wake.set()
            try:
                async with asyncio.timeout(timeout):
                    await self._authenticating
            except errors.LegatoError:
                self.token = former
                if not self.core.open:
                    self.core.authenticate(former, self._now)
                    self._wake.set()
                raise
            except TimeoutError:
                message = f"not connected within {timeout:g} s; the next stream is opened with the new token"
                raise errors.Unavailable(message) from self.core.error
            finally:
                self._authenticating = None

    async def call(
        self, method: "grpc.aio.UnaryUnaryMultiCallable[_Request, _Response]", request: _Request, timeout: float
    ) -> _Response:
        """A unary call under the present token."""
        try:
            with translated():
                return await method(request, timeout=timeout, metadata=self._metadata())
        except errors.Unavailable:
            # While there is a stream, that it stands says more about its hub than one call does.
            if not self.core.open:
                self._stubs.rotate(-1)
            raise

    # The one task.

    async def run(self) -> None:
        """Keep a stream open until it is over, or `close`."""
        try:
            while not (self.core.stopped or self.closing):
                at = self.core.reconnect_at
                if at is not None and at <= self._now:
                    await self._stream()
                else:
                    await self._sleep(at)
        finally:
            if self._renewing is not None:
                self._renewing.cancel()
            self.core.stop(errors.Closed("the client is closed"))
            self._act()

    async def close(self, timeout: float) -> None:
        """Let what is pending be sent for at most `timeout` seconds, then end `run`."""
        if self.core.pending and not self.core.stopped and (self.core.welcome or not self.outbox.durable):
            with contextlib.suppress(errors.Unavailable):
                await self.wait_until(lambda: not self.core.pending or self.core.stopped, timeout, "still pending")
        if self.core.pending and not self.outbox.durable:
            log.warning("closed with %d commands that the hub did not answer; they are lost", self.core.pending)
        self.closing = self._leaving = True
        self._wake.set()
        self._save()

    async def _stream(self) -> None:
        call: _Call = self.stub.Connect(metadata=self._metadata())
        self._leaving = False
        self.core.opened(self._now)
        error: errors.LegatoError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                sender = group.create_task(self._send(call), name="legato sender")
                error = await self._receive(call)
                sender.cancel()
        finally:
            call.cancel()
            self._stubs.rotate(-1)
            self.core.closed(error, self._now)
            self._act()

    async def _receive(self, call: _Call) -> errors.LegatoError | None:
        """Apply what comes until the stream ends; why it ended, None if in peace."""
        try:
            while not self.core.stopped and isinstance(response := await call.read(), ConnectResponse):
                with tracing.received(response.messages):
                    self.core.received(response.messages, self._now)
                self._act()
                self._wake.set()
        except grpc.aio.AioRpcError as failed:
            return from_rpc_error(failed)
        return None

    async def _send(self, call: _Call) -> None:
        try:
            while not self._leaving:
                self._wake.clear()
                self.core.tick(self._now)
                self._act()
                for message in self.core.messages(self._now):
                    await call.write(message)
                await self._sleep(self.core.next_timer())
            await call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # the stream has ended, and `_receive` learns why

    async def _sleep(self, until: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._wake.wait()
        self._wake.clear()

    # What follows from what happened.

    def _act(self) -> None:
        try:
            self._handle(self.core.events())
        except errors.OutboxError as error:
            self._broken(error)

    def _broken(self, error: errors.OutboxError) -> None:
        """Without its outbox a client cannot keep what it promises."""
        self.core.stop(error)
        self._handle([event for event in self.core.events() if isinstance(event, events.Changed | events.Stopped)])

    def _handle(self, happened: list[events.Event]) -> None:
        finished = [event.command.command_id for event in happened if isinstance(event, events.Finished)]
        if finished:
            self.outbox.finish(finished)
        for event in happened:
            match event:
                case events.Changed(resource):
                    self._changed(resource)
                case events.Finished(command, result, error):
                    self._resolve(command, result, error)
                case events.Failed(command, error):
                    self._resolve(command, None, error)
                case events.Delayed(command_id, error):
                    if command_id in self.pending:
                        self.pending[command_id].delayed_by = error
                case events.Rewritten(resource, commands, next_seq):
                    self.outbox.rewrite(resource, commands, next_seq)
                case events.Opened(identity):
                    self._identified(identity, None)
                case events.Authenticated(identity, error):
                    self._identified(identity, error)
                case events.TokenNeeded(error):
                    self._token_needed(error)
                case events.Drained():
                    self._leaving = True
                case events.Stopped(error):
                    self._leaving = True
                    if self._authenticating is not None and not self._authenticating.done():
                        self._authenticating.set_exception(error)
                    for command_id in list(self.pending):
                        self._resolve(self.pending[command_id].command, None, error)
        self.state.fire()

    def _take(self, command: Command) -> PendingCommand:
        self.core.submit(command)
        pending = self.pending[command.command_id] = PendingCommand(command)
        return pending

    def _resolve(self, command: Command, result: CommandResult | None, error: errors.LegatoError | None) -> None:
        pending = self.pending.pop(command.command_id, None)
        if pending is not None:
            pending.resolve(result, error)

    def _changed(self, resource: str) -> None:
        if resource in self.signals:
            self.signals[resource].fire()
        if self.outbox.durable:
            self._dirty.add(resource)
            if self._saving is None and not self.closing:
                self._saving = asyncio.get_running_loop().call_later(SAVE_REPLICAS_EVERY_S, self._save)

    def _save(self) -> None:
        if self._saving is not None:
            self._saving.cancel()
            self._saving = None
        dirty, self._dirty = self._dirty, set()
        for resource in dirty:
            subscription = self.core.subscriptions.get(resource)
            if subscription is not None:
                try:
                    self.outbox.save_replica(resource, subscription.replica.saved())
                except errors.OutboxError as error:
                    self._broken(error)
                    return

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.token}"), *tracing.metadata())

    def _identified(self, identity: IdentitySummary, error: errors.LegatoError | None) -> None:
        if error is None:
            self.identity = identity
            self.token_error = None
            self.on_identity(identity)
        if self._authenticating is not None and not self._authenticating.done():
            if error is None:
                self._authenticating.set_result(None)
            else:
                self._authenticating.set_exception(error)

    def _token_needed(self, error: errors.LegatoError | None) -> None:
        if error is not None and self._authenticating is not None and not self._authenticating.done():
            self._authenticating.set_exception(error)
        elif self.renew is None:
            self.token_error = error
            if error is not None:
                log.warning("%s", error)
        elif self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew(self.renew, error), name="legato token")

    async def _renew(self, source: TokenSource, refused: errors.LegatoError | None) -> None:
        attempt = 0
        while True:
            try:
                token = await source()
            except errors.LegatoError as error:
                if not error.retryable:
                    log.warning("there is no other token: %s", error)
                    break
                attempt += 1
                await asyncio.sleep(jitter(self.core.rng, attempt, 1.0, 30.0))
            else:
                if token == self.token:
                    break
                self.token = token
                self.core.authenticate(token, self._now)
                self._wake.set()
                return
        self.token_error = refused
        self.state.fire()
