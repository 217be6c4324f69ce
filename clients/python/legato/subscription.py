"""One followed resource: its replica and where the asking for it stands. Pure."""

import enum
import random
from dataclasses import dataclass, field

from legato import errors
from legato.error_table import from_error
from legato.lane import jitter
from legato.orchestrator.v1 import stream_pb2
from legato.orchestrator.v1.stream_pb2 import PresentChannel, ServerMessage
from legato.replica import Replica, Verdict

RETRY_BASE = 0.1
RETRY_CAP = 10.0
"""Bounds in seconds of the delay before a resource is asked for again."""

STABLE_S = 10.0
"""A subscription that was live so long was a good one: asking again begins without delay."""


ACKNOWLEDGED_WITHIN_S = 0.1
"""How long an Ack may wait for others that it will stand for, too: the hub reads as many messages as it is sent."""


class State(enum.Enum):
    """Where the asking stands."""

    WANTED = enum.auto()
    """To be asked for, as soon as there is a stream and `retry_at` has come."""
    ASKED = enum.auto()
    """Asked for; the hub has not sent state yet."""
    LIVE = enum.auto()
    """The replica is what the hub says, and follows."""
    NEEDS_TOKEN = enum.auto()
    """The identity ended; asked for again under the next."""
    ENDED = enum.auto()
    """Not asked for again; `error` says why."""


@dataclass(slots=True)
class Subscription:
    """A resource that is followed across streams."""

    resource: str
    replica: Replica = field(default_factory=Replica)
    state: State = State.WANTED
    id: str = ""
    """Of the present attempt; fresh for each."""
    error: errors.LegatoError | None = None
    """Why it is not live."""
    presence: tuple[PresentChannel, ...] = ()
    """The channels that follow the resource, oldest first."""
    retry_at: float = 0.0
    unacknowledged: int = 0
    """Messages applied since the last Ack."""
    acknowledge_at: float = 0.0
    """When those are to be acknowledged, if they do not become many before."""
    _attempts: int = 0
    _live_since: float = 0.0

    def request(self, subscription_id: str, first_unacknowledged_seq: int) -> stream_pb2.Subscribe:
        """Begin a fresh attempt, from what the replica has."""
        self.id, self.state, self.unacknowledged = subscription_id, State.ASKED, 0
        return stream_pb2.Subscribe(
            subscription_id=subscription_id,
            resource=self.resource,
            since=self.replica.cursor,
            since_target=self.replica.target if self.replica.cursor is not None else "",
            first_unacknowledged_seq=first_unacknowledged_seq,
        )

    def acknowledgement(self) -> stream_pb2.Ack:
        """Of everything that was applied."""
        self.unacknowledged = 0
        return stream_pb2.Ack(subscription_id=self.id, cursor=self.replica.cursor)

    def closed(self) -> None:
        """The stream is gone."""
        self.id, self.presence, self.unacknowledged = "", (), 0
        if self.state is not State.ENDED:
            self.state, self.retry_at = State.WANTED, 0.0

    def revive(self) -> None:
        """Ask again although it had ended."""
        if self.state in (State.ENDED, State.NEEDS_TOKEN):
            self.state, self.error, self.retry_at, self._attempts = State.WANTED, None, 0.0, 0
            self.replica.mismatches = 0

    def received(self, message: ServerMessage, now: float, rng: random.Random) -> None:
        """Take one message of the present attempt. Afterwards `state` says what follows."""
        match message.WhichOneof("message"):
            case "snapshot":
                self._applied(self.replica.snapshot(message.snapshot), now, rng)
            case "delta":
                self._applied(self.replica.delta(message.delta), now, rng)
            case "progress":
                self._applied(self.replica.progress(message.progress), now, rng)
            case "presence":
                self.presence = tuple(message.presence.channels)
            case "subscription_status":
                status = message.subscription_status
                if status.state == stream_pb2.SUBSCRIPTION_STATE_CLOSED:
                    error = from_error(status.error) if status.HasField("error") else errors.Unavailable("closed")
                    self._refused(error, now, rng)

    def _applied(self, verdict: Verdict, now: float, rng: random.Random) -> None:
        if verdict is Verdict.APPLIED:
            if self.state is not State.LIVE:
                self.state, self.error, self._live_since = State.LIVE, None, now
            if not self.unacknowledged:
                self.acknowledge_at = now + ACKNOWLEDGED_WITHIN_S
            self.unacknowledged += 1
        elif verdict is Verdict.RESUBSCRIBE:
            self._ask_again(None, now, rng)
        else:
            self.state = State.ENDED
            self.error = errors.ReplicaDiverged(f"the state of {self.resource} twice did not match its digest")

    def _refused(self, error: errors.LegatoError, now: float, rng: random.Random) -> None:
        self.error = error
        if isinstance(error, errors.Unauthenticated):
            self.state = State.NEEDS_TOKEN
        elif isinstance(error, errors.EpochMismatch | errors.CursorAhead):
            self.replica.forget()
            self._ask_again(None, now, rng)
        elif error.retryable:
            self._ask_again(error.retry_delay, now, rng)
        else:
            self.state = State.ENDED

    def _ask_again(self, delay: float | None, now: float, rng: random.Random) -> None:
        """At once the first time, then with growing delays, unless the hub named one."""
        if self.state is State.LIVE and now - self._live_since >= STABLE_S:
            self._attempts = 0
        self.state = State.WANTED
        self.retry_at = now + (jitter(rng, self._attempts, RETRY_BASE, RETRY_CAP) if delay is None else delay)
        if not self._attempts and delay is None:
            self.retry_at = now
        self._attempts += 1
