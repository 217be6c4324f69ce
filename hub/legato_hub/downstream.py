"""What one client receives: its subscriptions, the resources behind them, and its outbox. Serves Connect and Watch.

Longer than 400 lines because whatever changes a subscription (a wish, rights, another cart, a new epoch) must see all
others of the client.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from legato.orchestrator.v1 import command_pb2, error_pb2, stream_pb2
from legato.protocol import resources
from legato.protocol.resources import Resource
from legato_hub.access import Access
from legato_hub.clock import now_ms
from legato_hub.core.cursor import Cursor
from legato_hub.core.identity import Identity, IdentityKind
from legato_hub.core.outbox import Outbox, Subscription, timestamp
from legato_hub.core.outcomes import NAME_SHOWN
from legato_hub.core.problem import Problem, invalid, not_found
from legato_hub.core.resume import resume
from legato_hub.line import Line, Write
from legato_hub.live import Live
from legato_hub.live_resources import LiveResources
from legato_hub.pacer import Pacer
from legato_hub.storage.base import Gone, Storage, StorageError, Update
from legato_hub.telemetry.interceptors import stream_opened
from legato_hub.telemetry.metrics import message_sent
from legato_hub.telemetry.pushes import trace_pushes
from legato_hub.telemetry.tracing import tracer
from legato_hub.watchers import SessionWatch, Watcher, active_cart_of, rights_of

_log = logging.getLogger(__name__)

LAST_WORDS_S = 5.0
"""How long a client has to take in what is pending when its stream ends."""

BACKLOG = 256
"""Answers and results on their way to a client at which nothing more is read from it."""


def _expired() -> Problem:
    return Problem(error_pb2.ERROR_REASON_TOKEN_EXPIRED, "the identity of this stream has expired")


def _unreadable(resource: str) -> Problem:
    _log.exception("cannot serve a subscription", extra={"resource": resource})
    message = "the hub cannot read its storage"
    return Problem(error_pb2.ERROR_REASON_STORAGE_UNAVAILABLE, message, retry_ms=1_000)


class Downstream:
    """Everything on its way to one client. Methods are called in the loop, by one task a client."""

    def __init__(
        self,
        storage: Storage,
        live_resources: LiveResources,
        access: Access,
        refresh: Callable[[Live], None],
        pacer: Pacer,
        identity: Identity,
        *,
        connection_id: str,
        channel: stream_pb2.Channel,
        client_id: str = "",
        window: int = 0,
        max_subscriptions: int,
    ) -> None:
        self.identity = identity
        self.outbox = Outbox(client_id, window)
        self.line = Line(pacer, self._take)
        self._storage = storage
        self._resources = live_resources
        self._access = access
        self._refresh = refresh
        self._client_id = client_id
        self._max_subscriptions = max_subscriptions
        self._watchers: dict[str, Watcher] = {}
        self._own_session: SessionWatch | None = None
        self.connection_id = connection_id
        self._present: stream_pb2.PresentChannel | None = None
        if channel.kind:
            self._present = stream_pb2.PresentChannel(
                presence_id=connection_id, channel=channel, connected_at=timestamp(now_ms())
            )
        self._tasks: set[asyncio.Task[None]] = set()
        self._expiry: asyncio.TimerHandle | None = None
        self._taken = asyncio.Event()
        self._writer: asyncio.Task[Any] | None = None
        self._cut_off: asyncio.TimerHandle | None = None
        self._end: BaseException | None = None
        self._ended = False
        self._said_all = False
        self._opened = stream_opened()

    # Identity

    async def open(self) -> None:
        """Begin to follow the identity: its expiry, and what its session may see. Raise StorageError."""
        await self.change_identity(self.identity)

    async def change_identity(self, identity: Identity) -> None:
        """Go on as somebody else, or as the same for longer; what may not be seen any more is closed."""
        self.identity = identity
        self._watch_expiry()
        self._follow_own_session(None)
        if identity.kind is IdentityKind.SHOPPER:
            live = await self._resources.pin(resources.session(identity.subject))
            self._follow_own_session(SessionWatch(live, rights_of, lambda: self._spawn(self.reauthorise())))
        await self.reauthorise()

    def _follow_own_session(self, watch: SessionWatch | None) -> None:
        if self._own_session is not None:
            self._own_session.live.detach(self._own_session)
            self._resources.unpin(self._own_session.live)
        self._own_session = watch
        if watch is not None:
            watch.live.attach(watch)

    def _watch_expiry(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if self.identity.expires_at:
            left = max(self.identity.expires_at - now_ms(), 0) / 1000
            # A timer wheel of the loop may refuse more than a day or two; looking again then costs nothing.
            self._expiry = asyncio.get_running_loop().call_later(min(left, 86_400), self._expire)

    def _expire(self) -> None:
        if not self.identity.expired(now_ms()):
            self._watch_expiry()
            return
        for watcher in list(self._watchers.values()):
            self._close(watcher, _expired())

    async def reauthorise(self) -> None:
        """Close every subscription that the identity may not see (any more), or of which that cannot be told."""
        for watcher in list(self._watchers.values()):
            try:
                await self._access.resource(self.identity, watcher.subscription.resource)
            except Problem as problem:
                self._close(watcher, problem)
            except StorageError:
                self._close(watcher, _unreadable(watcher.subscription.resource))

    # Subscriptions

    async def subscribe(self, wish: stream_pb2.Subscribe) -> None:
        """Serve a subscription, or say why not. Never raises a Problem."""
        try:
            await self._subscribe(wish)
        except Problem as problem:
            self._status(wish.subscription_id, wish.resource, problem)
        except StorageError:
            self._status(wish.subscription_id, wish.resource, _unreadable(wish.resource))

    def unsubscribe(self, subscription_id: str) -> None:
        """End a subscription; an unknown one is passed over."""
        watcher = self._watchers.get(subscription_id)
        if watcher is not None:
            self._close(watcher, None)

    def acknowledge(self, ack: stream_pb2.Ack) -> None:
        """Take an acknowledgement in."""
        if self.outbox.acknowledge(ack.subscription_id, ack.cursor):
            self.line.wake()

    async def _subscribe(self, wish: stream_pb2.Subscribe) -> None:
        if not 1 <= len(wish.subscription_id) <= 64:
            raise invalid("subscribe.subscription_id", "must have 1 to 64 characters")
        if wish.subscription_id in self._watchers:
            raise invalid("subscribe.subscription_id", "is in use on this stream")
        if len(self._watchers) >= self._max_subscriptions:
            message = f"a stream may have {self._max_subscriptions} subscriptions"
            raise Problem(error_pb2.ERROR_REASON_THROTTLED, message)
        if wish.first_unacknowledged_seq >= 1 << 63:
            raise invalid("subscribe.first_unacknowledged_seq", "must be below 2^63")
        resource, authorised = await self._access.resource(self.identity, wish.resource, "subscribe.resource")
        if self.identity.expired(now_ms()):
            raise _expired()
        watcher = Watcher(
            self.outbox,
            self.line,
            Subscription(wish.subscription_id, wish.resource),
            restarted=lambda watcher: self._spawn(self._restart(watcher)),
            gone=lambda watcher: self._close(watcher, not_found(watcher.target)),
        )
        self._watchers[wish.subscription_id] = watcher
        try:
            await self._begin(watcher, wish, resource, authorised)
        except BaseException:
            self._drop(watcher)
            raise

    async def _begin(self, watcher: Watcher, wish: stream_pb2.Subscribe, resource: Resource, authorised: Live) -> None:
        watcher.target = authorised.name
        if resource.kind is resources.Kind.ACTIVE_CART:
            session = await self._resources.pin(authorised.name)
            watcher.session = SessionWatch(session, active_cart_of, lambda: self._spawn(self._retarget(watcher)))
            session.attach(watcher.session)
            watcher.target = active_cart_of(session)
        since = Cursor(wish.since.epoch, wish.since.revision) if wish.HasField("since") else None
        reason = stream_pb2.SNAPSHOT_REASON_INITIAL
        if since is not None and resource.kind is resources.Kind.ACTIVE_CART and wish.since_target != watcher.target:
            since, reason = None, stream_pb2.SNAPSHOT_REASON_TARGET_CHANGED
        await self._feed(watcher, reason, since, wish.first_unacknowledged_seq)

    async def _feed(
        self,
        watcher: Watcher,
        reason: stream_pb2.SnapshotReason.ValueType,
        since: Cursor | None = None,
        first_unacknowledged: int = 0,
    ) -> None:
        """Feed a subscription from its target: what it misses first, then everything new.

        All is read before anything is changed: until then the subscription goes on as it was, and if it was closed
        meanwhile, or got another target, it is left alone.
        """
        name = watcher.target
        if not name:
            self._switch(watcher, None, reason)
            return
        live = await self._resources.pin(name)
        try:
            base_seq = await self._base_seq(live, since, first_unacknowledged)
            log: list[Update] | Gone | None = None
            if since is not None and not (since.epoch == live.cursor.epoch and live.reaches(since.revision)):
                log = await self._storage.since(name, since)
        except BaseException:
            self._resources.unpin(live)
            raise
        wanted = self._watchers.get(watcher.subscription.id) is watcher and watcher.target == name
        if not wanted or watcher.live is live:
            self._resources.unpin(live)
            return
        self._switch(watcher, live, reason, base_seq)
        missed = resume(watcher.subscription, since, log) if since is not None else []
        for message in missed:
            self.outbox.say(message)

    async def _base_seq(self, live: Live, since: Cursor | None, first_unacknowledged: int) -> int:
        """The client's last seq on the resource. In an epoch that knows none, what the client says."""
        if not self._client_id:
            return 0
        if first_unacknowledged > 1 and (since is None or since.epoch != live.cursor.epoch):
            return await self._storage.adopt_seq(live.name, self._client_id, first_unacknowledged - 1)
        return await self._storage.last_seq(live.name, self._client_id)

    def _switch(
        self,
        watcher: Watcher,
        live: Live | None,
        reason: stream_pb2.SnapshotReason.ValueType,
        base_seq: int = 0,
    ) -> None:
        """Show another resource from now on, which is pinned, or none."""
        subscription = watcher.subscription
        self._detach(watcher)
        watcher.live = subscription.feed = live
        self._from_the_start(subscription, reason, base_seq)
        if live is not None:
            subscription.presence_id = self.connection_id
            subscription.presence_due = True
            live.attach(watcher)
            live.presence.join(watcher, self._present)
            self._refresh(live)
        if subscription.id not in self.outbox.subscriptions:
            self._status(subscription.id, subscription.resource, None)
            self.outbox.add(subscription)
        self.outbox.due(subscription)
        self.line.wake(urgent=True)

    @staticmethod
    def _from_the_start(subscription: Subscription, reason: stream_pb2.SnapshotReason.ValueType, base_seq: int) -> None:
        subscription.sent, subscription.base_seq, subscription.snapshot = 0, base_seq, reason
        subscription.unacknowledged.clear()
        subscription.paused = False

    async def _restart(self, watcher: Watcher) -> None:
        """Go on in a new epoch, in which the client's seqs may be others, and the resource may not be there."""
        live, subscription = watcher.live, watcher.subscription
        if live is None:
            return
        try:
            await self._access.resource(self.identity, subscription.resource)
            base_seq = await self._base_seq(live, None, 0)
        except Problem as problem:
            self._close(watcher, problem)
            return
        except StorageError:
            self._close(watcher, _unreadable(subscription.resource))
            return
        if watcher.live is live:
            self._from_the_start(subscription, stream_pb2.SNAPSHOT_REASON_EPOCH_CHANGED, base_seq)
            self.outbox.due(subscription)
            self.line.wake()

    async def _retarget(self, watcher: Watcher) -> None:
        """Another cart may have become the active one."""
        if watcher.session is None:
            return
        target = active_cart_of(watcher.session.live)
        if watcher.target == target:
            return
        watcher.target = target
        if watcher.live is not None and watcher.live.name == target:
            return
        try:
            await self._feed(watcher, stream_pb2.SNAPSHOT_REASON_TARGET_CHANGED)
        except StorageError:
            self._close(watcher, _unreadable(watcher.subscription.resource))

    def _detach(self, watcher: Watcher) -> None:
        if watcher.live is not None:
            watcher.live.detach(watcher)
            watcher.live.presence.leave(watcher)
            self._resources.unpin(watcher.live)
            watcher.live = None

    def _drop(self, watcher: Watcher) -> bool:
        """Let go of a subscription without a word; False if that was done before."""
        if self._watchers.get(watcher.subscription.id) is not watcher:
            return False
        del self._watchers[watcher.subscription.id]
        self._detach(watcher)
        if watcher.session is not None:
            watcher.session.live.detach(watcher.session)
            self._resources.unpin(watcher.session.live)
            watcher.session = None
        self.outbox.remove(watcher.subscription.id)
        return True

    def _close(self, watcher: Watcher, problem: Problem | None) -> None:
        if self._drop(watcher):
            subscription = watcher.subscription
            state = stream_pb2.SUBSCRIPTION_STATE_CLOSED
            self._status(subscription.id, subscription.resource, problem, state)

    def _status(
        self,
        subscription_id: str,
        resource: str,
        problem: Problem | None,
        state: stream_pb2.SubscriptionState.ValueType = stream_pb2.SUBSCRIPTION_STATE_ACTIVE,
    ) -> None:
        if problem is not None:
            state = stream_pb2.SUBSCRIPTION_STATE_CLOSED
        # What names nothing is not sent back at full length.
        status = stream_pb2.SubscriptionStatus(
            subscription_id=subscription_id[:64], resource=resource[:NAME_SHOWN], state=state
        )
        if problem is not None:
            status.error.CopyFrom(problem.error)
        self.say(stream_pb2.ServerMessage(subscription_status=status))

    # What goes out

    def say(self, message: stream_pb2.ServerMessage) -> None:
        """Send an answer or news."""
        self.outbox.say(message)
        self.line.wake(urgent=True)

    def answer(self, result: command_pb2.CommandResult) -> None:
        """Send the result of a command, after the state that contains it."""
        self.outbox.answer(result)
        self.line.wake(urgent=True)

    def progress(self) -> None:
        """Tell every subscription that has nothing else to come where it stands, and look at its rights again."""
        for watcher in self._watchers.values():
            watcher.subscription.progress_due = True
            self.outbox.due(watcher.subscription)
        self.line.wake()
        self._spawn(self.reauthorise())

    def end(self, cause: BaseException | None = None) -> None:
        """End after what is pending: normally, or by raising `cause` from `pump`."""
        if not self._ended:
            self._ended, self._end = True, cause
            self.line.wake(urgent=True)
            if self._writer is not None:
                # One that does not read would stay for good, and with it its presence.
                self._cut_off = asyncio.get_running_loop().call_later(LAST_WORDS_S, self._writer.cancel)

    async def pump(self, write: Write) -> None:
        """Send, message by message, until the end. Raise what `end` was given, and what a write raises."""
        self._writer = asyncio.current_task()
        await self.line.run(write)
        if self._end is not None:
            raise self._end

    def _take(self) -> bytes | None:
        """The next message, for the line."""
        if self._said_all:
            return None
        message = self.outbox.take()
        self._taken.set()
        # What is pending at the end goes out, what comes later does not.
        self._said_all = self._ended and not self.outbox.more
        if self._said_all or self.outbox.more:
            self.line.wake(urgent=True)
        if message:
            message_sent(self.outbox, len(message))
            if tracer.enabled and self.outbox.pushed:
                trace_pushes(self.outbox.pushed, self._opened)
        return message

    async def room(self) -> None:
        """Wait while too much of what the client asked for is not on its way: who does not read is not read from."""
        while self.outbox.backlog >= BACKLOG:
            self._taken.clear()
            await self._taken.wait()

    async def close(self) -> None:
        """Let go of everything."""
        if self._cut_off is not None:
            self._cut_off.cancel()
        if self._expiry is not None:
            self._expiry.cancel()
        for watcher in list(self._watchers.values()):
            self._drop(watcher)
        self._follow_own_session(None)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # Whoever cannot be told the truth about rights or targets must not go on being served.
            self.end(task.exception())
