"""What one client receives: its subscriptions, the resources behind them, and its outbox. Serves Connect and Watch."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from legato.commerce.v1 import session_pb2
from legato.orchestrator.v1 import command_pb2, error_pb2, stream_pb2
from legato.protocol import resources
from legato_hub.access import Access
from legato_hub.amend import now_ms
from legato_hub.core.cursor import Cursor
from legato_hub.core.identity import Identity, IdentityKind
from legato_hub.core.outbox import Outbox, Subscription, timestamp
from legato_hub.core.problem import Problem, invalid
from legato_hub.core.resume import resume
from legato_hub.live import Live, LiveResources
from legato_hub.pacer import Pacer
from legato_hub.storage.base import Storage, StorageError
from legato_hub.telemetry.interceptors import stream_opened
from legato_hub.telemetry.tracing import tracer

_log = logging.getLogger(__name__)


class Watcher:
    """One subscription on the resource that feeds it."""

    def __init__(self, downstream: "Downstream", subscription: Subscription) -> None:
        self._downstream = downstream
        self.subscription = subscription
        self.live: Live | None = None
        self.session: _SessionWatch | None = None
        """For an active cart: what tells that another cart became it."""

    def revised(self) -> None:
        self._downstream.outbox.due(self.subscription)
        self._downstream.pacer.wake()

    def presence_changed(self) -> None:
        self.subscription.presence_due = True
        self.revised()


class _SessionWatch:
    """Calls back when a session changes in what matters to whoever holds it."""

    def __init__(self, live: Live, what: Callable[[Live], object], changed: Callable[[], None]) -> None:
        self.live = live
        self._what = what
        self._last = what(live)
        self._changed = changed

    def revised(self) -> None:
        present = self._what(self.live)
        if present != self._last:
            self._last = present
            self._changed()

    def presence_changed(self) -> None:
        """Nobody is told of presence here."""


def _active_cart_of(session: Live) -> str:
    return session_pb2.Session.FromString(session.entries.get("session", b"")).active_cart_id


def _rights_of(session: Live) -> object:
    carts = frozenset(key for key in session.entries if key.startswith("cart/"))
    return session.entries.get("login"), carts


class Downstream:
    """Everything on its way to one client. Methods are called in the loop, by one task a client."""

    def __init__(
        self,
        storage: Storage,
        live_resources: LiveResources,
        access: Access,
        refresh: Callable[[Live], None],
        identity: Identity,
        *,
        connection_id: str,
        channel: stream_pb2.Channel,
        client_id: str = "",
        window: int = 0,
        max_subscriptions: int,
        tick_s: float,
    ) -> None:
        self.identity = identity
        self.outbox = Outbox(client_id, window)
        self.pacer = Pacer(tick_s)
        self._storage = storage
        self._resources = live_resources
        self._access = access
        self._refresh = refresh
        self._client_id = client_id
        self._max_subscriptions = max_subscriptions
        self._watchers: dict[str, Watcher] = {}
        self._own_session: _SessionWatch | None = None
        self._presence_id = connection_id
        self._present: stream_pb2.PresentChannel | None = None
        if channel.kind:
            self._present = stream_pb2.PresentChannel(
                presence_id=connection_id, channel=channel, connected_at=timestamp(now_ms())
            )
        self._tasks: set[asyncio.Task[None]] = set()
        self._expiry: asyncio.TimerHandle | None = None
        self._end: BaseException | None = None
        self._ended = False

    # Identity

    async def open(self) -> None:
        """Begin to follow the identity: its expiry, and what its session may see. Raise StorageError."""
        await self.change_identity(self.identity)

    async def change_identity(self, identity: Identity) -> None:
        """Go on as somebody else, or as the same for longer; what may not be seen any more is closed."""
        self.identity = identity
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if identity.expires_at:
            left = max(identity.expires_at - now_ms(), 0) / 1000
            # A timer wheel of the loop may refuse more than a day or two; looking again then costs nothing.
            self._expiry = asyncio.get_running_loop().call_later(min(left, 86_400), self._expire)
        self._follow_own_session(None)
        if identity.kind is IdentityKind.SHOPPER:
            live = await self._resources.pin(resources.session(identity.subject))
            self._follow_own_session(_SessionWatch(live, _rights_of, lambda: self._spawn(self.reauthorise())))
        await self.reauthorise()

    def _follow_own_session(self, watch: _SessionWatch | None) -> None:
        if self._own_session is not None:
            self._own_session.live.detach(self._own_session)
            self._resources.unpin(self._own_session.live)
        self._own_session = watch
        if watch is not None:
            watch.live.attach(watch, None)

    def _expire(self) -> None:
        if self.identity.expires_at > now_ms():
            self._spawn(self.change_identity(self.identity))
            return
        problem = Problem(error_pb2.ERROR_REASON_TOKEN_EXPIRED, "the identity of this stream has expired")
        for subscription_id in list(self._watchers):
            self._close(subscription_id, problem)

    async def reauthorise(self) -> None:
        """Close every subscription that the identity may not see (any more)."""
        for subscription_id, watcher in list(self._watchers.items()):
            try:
                await self._access.resource(self.identity, watcher.subscription.resource)
            except Problem as problem:
                self._close(subscription_id, problem)

    # Subscriptions

    async def subscribe(self, wish: stream_pb2.Subscribe) -> None:
        """Serve a subscription, or say why not. Never raises a Problem."""
        try:
            await self._subscribe(wish)
        except Problem as problem:
            self._status(wish.subscription_id, wish.resource, problem)
        except StorageError:
            _log.exception("cannot subscribe", extra={"resource": wish.resource})
            failure = Problem(error_pb2.ERROR_REASON_STORAGE_UNAVAILABLE, "the hub cannot read its storage")
            self._status(wish.subscription_id, wish.resource, failure)

    def unsubscribe(self, subscription_id: str) -> None:
        """End a subscription; an unknown one is passed over."""
        self._close(subscription_id, None)

    def acknowledge(self, ack: stream_pb2.Ack) -> None:
        """Take an acknowledgement in."""
        if self.outbox.acknowledge(ack.subscription_id, ack.cursor):
            self.pacer.wake()

    async def _subscribe(self, wish: stream_pb2.Subscribe) -> None:
        if not 1 <= len(wish.subscription_id) <= 64:
            raise invalid("subscribe.subscription_id", "must have 1 to 64 characters")
        if wish.subscription_id in self._watchers:
            raise invalid("subscribe.subscription_id", "is in use on this stream")
        if len(self._watchers) >= self._max_subscriptions:
            message = f"a stream may have {self._max_subscriptions} subscriptions"
            raise Problem(error_pb2.ERROR_REASON_THROTTLED, message)
        resource, authorised = await self._access.resource(self.identity, wish.resource, "subscribe.resource")
        watcher = Watcher(self, Subscription(wish.subscription_id, wish.resource))
        self._watchers[wish.subscription_id] = watcher
        name = authorised.name
        if resource.kind is resources.Kind.ACTIVE_CART:
            session = await self._resources.pin(authorised.name)
            watcher.session = _SessionWatch(session, _active_cart_of, lambda: self._retarget(watcher))
            session.attach(watcher.session, None)
            cart_id = _active_cart_of(session)
            name = resources.cart(cart_id) if cart_id else ""
        since = Cursor(wish.since.epoch, wish.since.revision) if wish.HasField("since") else None
        watcher.subscription.snapshot = stream_pb2.SNAPSHOT_REASON_INITIAL
        if since is not None and resource.kind is resources.Kind.ACTIVE_CART and wish.since_target != name:
            since, watcher.subscription.snapshot = None, stream_pb2.SNAPSHOT_REASON_TARGET_CHANGED
        await self._attach(watcher, name, since, wish.first_unacknowledged_seq)

    async def _attach(self, watcher: Watcher, name: str, since: Cursor | None, first_unacknowledged: int = 0) -> None:
        """Feed a subscription from a resource: what it misses first, then everything new."""
        subscription = watcher.subscription
        missed: list[stream_pb2.ServerMessage] = []
        if name:
            live = await self._resources.pin(name)
            if self._client_id:
                if first_unacknowledged > 1 and (since is None or since.epoch != live.cursor.epoch):
                    await self._storage.adopt_seq(name, self._client_id, first_unacknowledged - 1)
                subscription.base_seq = await self._storage.last_seq(name, self._client_id)
            if since is not None:
                remembered = since.epoch == live.cursor.epoch and live.reaches(since.revision)
                log = None if remembered else await self._storage.since(name, since)
                missed = resume(subscription, since, log)
            if self._watchers.get(subscription.id) is not watcher:
                self._resources.unpin(live)  # Unsubscribed meanwhile.
                return
            watcher.live = live
            subscription.feed = live
            subscription.presence_id = self._presence_id
            subscription.presence_due = True
            live.attach(watcher, self._present)
            self._refresh(live)
        if subscription.id not in self.outbox.subscriptions:
            self._status(subscription.id, subscription.resource, None)
            for message in missed:
                self.outbox.say(message)
            self.outbox.add(subscription)
        self.outbox.due(subscription)
        self.pacer.wake(urgent=True)

    def _retarget(self, watcher: Watcher) -> None:
        self._spawn(self._follow_active_cart(watcher))

    async def _follow_active_cart(self, watcher: Watcher) -> None:
        if watcher.session is None or self._watchers.get(watcher.subscription.id) is not watcher:
            return
        cart_id = _active_cart_of(watcher.session.live)
        name = resources.cart(cart_id) if cart_id else ""
        if watcher.live is not None and watcher.live.name == name:
            return
        self._detach(watcher)
        subscription = watcher.subscription
        subscription.feed, subscription.sent, subscription.base_seq = None, 0, 0
        subscription.unacknowledged.clear()
        subscription.snapshot = stream_pb2.SNAPSHOT_REASON_TARGET_CHANGED
        await self._attach(watcher, name, None)

    def _detach(self, watcher: Watcher) -> None:
        if watcher.live is not None:
            watcher.live.detach(watcher)
            self._resources.unpin(watcher.live)
            watcher.live = None

    def _close(self, subscription_id: str, problem: Problem | None) -> None:
        watcher = self._watchers.pop(subscription_id, None)
        if watcher is None:
            return
        self._detach(watcher)
        if watcher.session is not None:
            watcher.session.live.detach(watcher.session)
            self._resources.unpin(watcher.session.live)
        self.outbox.remove(subscription_id)
        state = stream_pb2.SUBSCRIPTION_STATE_CLOSED
        self._status(subscription_id, watcher.subscription.resource, problem, state)

    def _status(
        self,
        subscription_id: str,
        resource: str,
        problem: Problem | None,
        state: stream_pb2.SubscriptionState.ValueType = stream_pb2.SUBSCRIPTION_STATE_ACTIVE,
    ) -> None:
        if problem is not None:
            state = stream_pb2.SUBSCRIPTION_STATE_CLOSED
        status = stream_pb2.SubscriptionStatus(subscription_id=subscription_id, resource=resource, state=state)
        if problem is not None:
            status.error.CopyFrom(problem.error)
        self.say(stream_pb2.ServerMessage(subscription_status=status))

    # What goes out

    def say(self, message: stream_pb2.ServerMessage) -> None:
        """Send an answer or news."""
        self.outbox.say(message)
        self.pacer.wake(urgent=True)

    def answer(self, result: command_pb2.CommandResult) -> None:
        """Send the result of a command, after the state that contains it."""
        self.outbox.answer(result)
        self.pacer.wake(urgent=True)

    def progress(self) -> None:
        """Tell every subscription that has nothing else to come where it stands, and look at its rights again."""
        for watcher in self._watchers.values():
            watcher.subscription.progress_due = True
            self.outbox.due(watcher.subscription)
        self.pacer.wake()
        self._spawn(self.reauthorise())

    def end(self, cause: BaseException | None = None) -> None:
        """End after what is pending: normally, or by raising `cause` from `batches`."""
        if not self._ended:
            self._ended, self._end = True, cause
            self.pacer.wake(urgent=True)

    async def batches(self) -> AsyncIterator[list[stream_pb2.ServerMessage]]:
        """What goes out, message by message, until the end."""
        while True:
            await self.pacer.turn()
            messages = self.outbox.take()
            if messages:
                if tracer.enabled:
                    _trace(messages)
                yield messages
                self.pacer.sent()
            elif self._ended:
                if self._end is not None:
                    raise self._end
                return
            if self._ended or self.outbox.ready:
                self.pacer.wake(urgent=self._ended)

    async def close(self) -> None:
        """Let go of everything."""
        if self._expiry is not None:
            self._expiry.cancel()
        for subscription_id in list(self._watchers):
            self._close(subscription_id, None)
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


def _trace(messages: list[stream_pb2.ServerMessage]) -> None:
    """A short span for each change that goes out, in the trace of the command that caused it."""
    for message in messages:
        traces = message.delta.traceparents if message.HasField("delta") else ()
        if traces:
            links = (*traces[:-1], *filter(None, (stream_opened(),)))
            with tracer.span("stream.push", "producer", parent=traces[-1], links=links) as span:
                span.set("legato.subscription", message.delta.subscription_id)
                span.set("legato.revision", message.delta.cursor.revision)
