"""The client's side of the stream, without I/O: what to send, what happened, when to look again.

Whoever owns the network tells it what happened there (`opened`, `received`, `closed`), what is wanted here (`want`,
`submit`, `authenticate`) and the time in seconds of any steady clock. It takes `messages()` to send and `events()` to
act on after each of these, and calls `tick` when `next_timer()` has come. The whole of one ConnectResponse is applied
before anything is shown of it.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from legato import errors, events
from legato.error_table import from_error
from legato.lane import Lane, jitter
from legato.orchestrator.v1 import stream_pb2
from legato.orchestrator.v1.command_pb2 import Command, CommandResult
from legato.orchestrator.v1.stream_pb2 import ConnectRequest, ServerMessage
from legato.subscription import State, Subscription

RECONNECT_BASE = 0.2
RECONNECT_CAP = 10.0
"""Bounds in seconds of the delay before the stream is opened again."""

STABLE_S = 10.0
"""A stream that stood so long was a good one: the next delay begins small again."""

RENEW_AT = 0.8
"""Part of a token's remaining life after which another one is asked for."""

DEFAULT_IN_FLIGHT = 64
"""Commands in flight before the hub has said how many it takes."""

DEFAULT_UNACKNOWLEDGED = 2
"""Messages of a subscription without an Ack before the hub has said how many it sends."""

FINAL = (
    *(errors.ConnectionReplaced, errors.ProtocolViolation, errors.NotAllowed, errors.CapabilityMissing),
    *(errors.MessageTooLarge, errors.InvalidRequest),
)
"""Ends of a stream after which another one would end the same way."""


@dataclass(slots=True)
class Connection:
    """The streams of one client, one after the other. `hello` opens each."""

    hello: stream_pb2.Hello
    rng: random.Random = field(default_factory=random.Random)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    """What is followed, by resource."""
    lanes: dict[str, Lane] = field(default_factory=dict)
    """Commands, by resource."""
    limits: stream_pb2.Limits = field(default_factory=stream_pb2.Limits)
    """What the hub accepts, once it said welcome."""
    open: bool = False
    """Whether there is a stream. It may still wait for the hub's welcome."""
    welcome: bool = False
    """Whether the hub said welcome on this stream."""
    reconnect_at: float | None = 0.0
    """When to open the next stream; None while there is one, while a token is missing, and when it is over."""
    error: errors.LegatoError | None = None
    """Why the last stream ended, or why it is over."""
    stopped: bool = False
    """It is over."""
    dropped: int = 0
    """Messages that came for attempts given up before."""
    _opened_at: float = 0.0
    _attempts: int = 0
    _now: float = 0.0
    _server_offset: float | None = None
    _renew_at: float | None = None
    _drain: tuple[float, float] | None = None
    """When the hub closes the stream, and when to open another."""
    _drained: bool = False
    _ids: int = 0
    _by_id: dict[str, Subscription] = field(default_factory=dict)
    _outgoing: list[ConnectRequest] = field(default_factory=list)
    _changes: dict[str, None] = field(default_factory=dict)
    _events: list[events.Event] = field(default_factory=list)

    # What is wanted here.

    def want(self, subscription: Subscription) -> None:
        """Follow a resource from now on."""
        self.subscriptions[subscription.resource] = subscription

    def unwant(self, resource: str) -> None:
        """Follow it no more. Pending commands are still sent."""
        subscription = self.subscriptions.pop(resource, None)
        if subscription is not None:
            self._leave(subscription)
        if resource in self.lanes and not self.lanes[resource].pending:
            del self.lanes[resource]

    def submit(self, command: Command) -> None:
        """Send a command that has its seq when its turn comes."""
        self.lane(command.resource).add(command)
        self._changed_by(command.resource)

    def lane(self, resource: str) -> Lane:
        """The commands of a resource."""
        return self.lanes.setdefault(resource, Lane(resource))

    def authenticate(self, access_token: str, now: float) -> None:
        """Go on under another token: on this stream, or by opening the next with it."""
        if self.open:
            self._outgoing.append(ConnectRequest(authenticate=stream_pb2.Authenticate(access_token=access_token)))
        elif not self.stopped and self.reconnect_at is None:
            delay = jitter(self.rng, self._attempts, RECONNECT_BASE, RECONNECT_CAP) if self._attempts > 1 else 0.0
            self.reconnect_at = now + delay

    def unconfirmed(self, subscription: Subscription) -> list[Command]:
        """The commands whose effect is not in the subscription's state yet, in order."""
        replica = subscription.replica
        lane = self.lanes.get(replica.target or subscription.resource)
        return [] if lane is None else lane.unconfirmed(replica.cursor, replica.last_seq)

    @property
    def pending(self) -> int:
        """Number of commands without a final result."""
        return sum(len(lane.pending) for lane in self.lanes.values())

    # What happened on the network.

    def opened(self, now: float) -> None:
        """There is a stream; hello and whatever is wanted go out."""
        self.open, self.reconnect_at, self._opened_at = True, None, now
        self._outgoing = [ConnectRequest(hello=self.hello)]

    def received(self, messages: Sequence[ServerMessage], now: float) -> None:
        """Apply one ConnectResponse."""
        touched: dict[str, Subscription] = {}
        for message in messages:
            match message.WhichOneof("message"):
                case "snapshot" | "delta" | "progress" | "presence" | "subscription_status" as kind:
                    subscription = self._by_id.get(getattr(message, kind).subscription_id)
                    if subscription is None:
                        self.dropped += 1
                    else:
                        self._subscribed(subscription, message, now)
                        touched[subscription.resource] = subscription
                case "command_result":
                    self._answered(message.command_result, now)
                case "welcome":
                    self._welcomed(message.welcome, now)
                case "authenticated":
                    self._authenticated(message.authenticated, now)
                case "drain":
                    drain = message.drain
                    closes = now + drain.grace.ToTimedelta().total_seconds()
                    self._drain = (closes, now + drain.reconnect_after.ToTimedelta().total_seconds())
        for subscription in touched.values():
            self._changes[subscription.resource] = None
        self.tick(now)

    def closed(self, error: errors.LegatoError | None, now: float) -> None:
        """The stream is gone; `error` is None if the hub ended it in peace."""
        if self._drain is not None or (self.welcome and now - self._opened_at >= STABLE_S):
            self._attempts = 0
        self.open = self.welcome = self._drained = False
        self.error = error
        self._outgoing, self._by_id, self._renew_at = [], {}, None
        drain, self._drain = self._drain, None
        for lane in self.lanes.values():
            lane.closed()
        for subscription in self.subscriptions.values():
            subscription.closed()
            self._changes[subscription.resource] = None
        if self.stopped:
            return
        if isinstance(error, FINAL):
            self.stop(error)
        elif drain is not None:
            self.reconnect_at = max(now, drain[1])
        elif isinstance(error, errors.Unauthenticated):
            self._attempts += 1
            self._events.append(events.TokenNeeded(error))
        else:
            self._attempts += 1
            delay = jitter(self.rng, self._attempts, RECONNECT_BASE, RECONNECT_CAP)
            self.reconnect_at = now + max(delay, (error.retry_delay if error is not None else None) or 0.0)

    def stop(self, error: errors.LegatoError) -> None:
        """It is over."""
        if not self.stopped:
            self.stopped, self.error, self.reconnect_at = True, error, None
            self._changes.update(dict.fromkeys(self.subscriptions))
            self._events.append(events.Stopped(error))

    def tick(self, now: float) -> None:
        """Time has passed."""
        if self._renew_at is not None and now >= self._renew_at:
            self._renew_at = None
            self._events.append(events.TokenNeeded(None))
        if self._drain is not None and not self._drained:
            self._drained = now >= self._drain[0] or not self._outstanding
            if self._drained:
                self._events.append(events.Drained())

    # What follows.

    def next_timer(self) -> float | None:
        """When `tick` and `messages` are due on this stream even if nothing happens before."""
        times = [self._renew_at, self._drain[0] if self._drain is not None and not self._drained else None]
        times += [s.retry_at for s in self.subscriptions.values() if s.state is State.WANTED]
        times += [s.acknowledge_at for s in self._by_id.values() if s.unacknowledged]
        times += [lane.hold_until for lane in self.lanes.values() if lane.pending]
        # What was due at the last look and did not happen waits for something else than time.
        return min((time for time in times if time is not None and time > self._now), default=None)

    def messages(self, now: float) -> list[ConnectRequest]:
        """Take what is to be sent now, in order."""
        self._now = now
        if not self.open:
            return []
        self._acknowledge(now)
        if self._drain is None:
            for subscription in self.subscriptions.values():
                if subscription.state is State.WANTED and now >= subscription.retry_at:
                    self._subscribe(subscription)
            for lane in self.lanes.values():
                self._send(lane, now)
        taken, self._outgoing = self._outgoing, []
        return taken

    def events(self) -> list[events.Event]:
        """Take what happened: changes first, each resource once, then the rest in order."""
        changes, self._changes = self._changes, {}
        taken, self._events = self._events, []
        return [*map(events.Changed, changes), *taken]

    @property
    def _outstanding(self) -> int:
        return sum(lane.outstanding for lane in self.lanes.values())

    def _acknowledge(self, now: float) -> None:
        """What was applied a while ago, and what is half of all that the hub sends without an Ack."""
        many = max(1, (self.limits.max_unacknowledged or DEFAULT_UNACKNOWLEDGED) // 2)
        for subscription in self._by_id.values():
            if subscription.unacknowledged >= many or (
                subscription.unacknowledged and now >= subscription.acknowledge_at
            ):
                self._outgoing.append(ConnectRequest(ack=subscription.acknowledgement()))

    def _subscribe(self, subscription: Subscription) -> None:
        lane = self.lanes.get(subscription.replica.target or subscription.resource)
        if lane is not None and lane.creates:
            return
        self._ids += 1
        request = subscription.request(f"s{self._ids}", lane.first_unacknowledged_seq if lane is not None else 0)
        self._by_id[subscription.id] = subscription
        self._outgoing.append(ConnectRequest(subscribe=request))

    def _send(self, lane: Lane, now: float) -> None:
        subscription = self.subscriptions.get(lane.resource)
        # The hub learns from the subscription where the seqs go on, so it comes first.
        if subscription is not None and subscription.state not in (State.LIVE, State.ENDED) and not lane.creates:
            return
        # At its limit the hub stops reading, so stay below it.
        limit = max(1, (self.limits.max_commands_in_flight or DEFAULT_IN_FLIGHT) - 1)
        room = limit - self._outstanding
        if room > 0:
            self._outgoing += [ConnectRequest(command=command) for command in lane.sendable(now, room)]

    def _subscribed(self, subscription: Subscription, message: ServerMessage, now: float) -> None:
        subscription.received(message, now, self.rng)
        if subscription.state is not State.LIVE and subscription.state is not State.ASKED:
            self._leave(subscription, tell=message.WhichOneof("message") != "subscription_status")
        if subscription.state is State.NEEDS_TOKEN:
            self._events.append(events.TokenNeeded(subscription.error))
        lane = self.lanes.get(subscription.resource)
        if lane is None or lane.outstanding or not subscription.unacknowledged:
            return
        # The hub has seen seqs of this client that this outbox never gave: it was restored from an older copy.
        if subscription.replica.last_seq >= lane.next_seq:
            lane.renumber(subscription.replica.last_seq + 1)
            self._rewritten(lane)

    def _leave(self, subscription: Subscription, *, tell: bool = True) -> None:
        """Drop the present attempt: what still comes for it is not listened to."""
        if self._by_id.pop(subscription.id, None) is not None and tell and self.open:
            request = stream_pb2.Unsubscribe(subscription_id=subscription.id)
            self._outgoing.append(ConnectRequest(unsubscribe=request))
        subscription.id = ""

    def _answered(self, result: CommandResult, now: float) -> None:
        lane = self.lanes.get(result.resource)
        if lane is None:
            return
        answer = lane.answered(result, now, self.rng)
        if answer.finished is not None:
            self._events.append(events.Finished(answer.finished, result, answer.error))
        elif answer.error is not None:
            if isinstance(answer.error, errors.Unauthenticated):
                self._events.append(events.TokenNeeded(answer.error))
            self._events += [events.Failed(command, answer.error) for command in answer.failed]
            if not answer.failed:
                self._events.append(events.Delayed(result.command_id, answer.error))
        if answer.rewritten:
            self._rewritten(lane)
        self._changed_by(result.resource)

    def _welcomed(self, message: stream_pb2.Welcome, now: float) -> None:
        self.welcome, self.error, self.limits = True, None, message.limits
        if message.HasField("server_time"):
            self._server_offset = message.server_time.ToNanoseconds() / 1e9 - now
        self._identified(message.identity, now)
        self._events.append(events.Opened(message.identity))

    def _authenticated(self, message: stream_pb2.Authenticated, now: float) -> None:
        error = from_error(message.error) if message.HasField("error") else None
        if error is None:
            self._identified(message.identity, now)
        self._events.append(events.Authenticated(message.identity, error))

    def _identified(self, identity: stream_pb2.IdentitySummary, now: float) -> None:
        """Another identity: what waited for one goes on."""
        self._renew_at = None
        if identity.HasField("expires_at") and self._server_offset is not None:
            life = identity.expires_at.ToNanoseconds() / 1e9 - self._server_offset - now
            self._renew_at = now + RENEW_AT * life
        for lane in self.lanes.values():
            lane.needs_token = False
        for subscription in self.subscriptions.values():
            if subscription.state is State.NEEDS_TOKEN:
                subscription.revive()

    def _rewritten(self, lane: Lane) -> None:
        self._events.append(events.Rewritten(lane.resource, tuple(lane.pending), lane.next_seq))

    def _changed_by(self, resource: str) -> None:
        for subscription in self.subscriptions.values():
            if resource in (subscription.resource, subscription.replica.target):
                self._changes[subscription.resource] = None
