"""What is pending for one client, and in which order it goes out.

Nothing piles up here. A subscription that is behind is a revision number; what it misses is merged by its feed when it
can be sent. Answers and results are bounded by whoever reads the client, who stops at a `backlog`. Order within one
message:

1. answers and news of subscriptions,
2. for each subscription that is due: snapshot or delta, else progress, then presence,
3. results of commands, each only after the state that contains its effect.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from legato.orchestrator.v1 import command_pb2, cursor_pb2, stream_pb2
from legato.protocol import state
from legato_hub.core.cursor import Cursor
from legato_hub.core.frames import SharedDelta, frame

BATCH_BYTES = 1024 * 1024
"""A message is closed at this size: clients refuse messages of more than 4 MiB, and one state may be large."""

_Reason: TypeAlias = "stream_pb2.SnapshotReason.ValueType"


class Feed(Protocol):
    """The resource behind a subscription."""

    name: str
    cursor: Cursor
    client_seqs: dict[str, int]
    observed_at: int

    @property
    def expecting(self) -> bool:
        """Whether the state is being read again, and may belong to an earlier epoch."""

    def missed(self, since: int) -> SharedDelta | None:
        """What a subscriber at `since` misses; None when a snapshot is the shorter way."""

    def snapshot(self) -> tuple[bytes, bytes]:
        """Serialised state and its digest."""

    def present(self) -> list[stream_pb2.PresentChannel]:
        """The channels that are shown."""


@dataclass(slots=True, eq=False)
class Subscription:
    """One subscription and how far it was served."""

    id: str
    resource: str
    """The name that was asked for."""
    feed: Feed | None = None
    """None for an active cart while there is none."""
    presence_id: str = ""
    sent: int = 0
    """Revision of the feed that the client has or is being sent."""
    snapshot: "_Reason | None" = None
    """A snapshot is due, and why."""
    base_seq: int = 0
    """The client's last seq on the resource when it subscribed."""
    progress_due: bool = False
    presence_due: bool = False
    paused: bool = False
    """A new epoch has begun, and the client's seqs in it are being read: nothing is sent before."""
    unacknowledged: deque[int] = field(default_factory=deque)
    """Revisions sent and not acknowledged yet."""
    own_part: bytes = b""
    """A serialised `Delta` with nothing but the subscription's id."""

    def __post_init__(self) -> None:
        self.own_part = stream_pb2.Delta(subscription_id=self.id).SerializeToString()


class Pushed(NamedTuple):
    """A delta that goes out, and the traces of the commands that caused it."""

    subscription_id: str
    revision: int
    traceparents: tuple[str, ...]


def to_cursor(cursor: Cursor) -> cursor_pb2.Cursor:
    """As a message."""
    return cursor_pb2.Cursor(epoch=cursor.epoch, revision=cursor.revision)


class Outbox:
    """Everything pending for one client. `window` 0 means that the client does not acknowledge."""

    def __init__(self, client_id: str, window: int) -> None:
        self.client_id = client_id
        self.subscriptions: dict[str, Subscription] = {}
        self._window = window
        self._control: deque[stream_pb2.ServerMessage] = deque()
        self._due: dict[Subscription, None] = {}
        self._results: deque[command_pb2.CommandResult] = deque()
        self._size = 0
        """Bytes of the message that is being put together, roughly."""
        self.pushed: list[Pushed] = []
        """Deltas of the last `take` that belong to traces."""
        self.more = False
        """Whether the last `take` left something for size alone."""
        self.revisions = 0
        """How many revisions the deltas of the last `take` bring, all together."""
        self.told_at = 0
        """When the oldest of them was heard of; for the first delta of the message."""
        self.snapshots: list[_Reason] = []
        """Why the last `take` has snapshots, one for each."""

    def say(self, message: stream_pb2.ServerMessage) -> None:
        """Send an answer or news."""
        self._control.append(message)

    def answer(self, result: command_pb2.CommandResult) -> None:
        """Send the result of a command, after the state that contains it."""
        self._results.append(result)

    def add(self, subscription: Subscription) -> None:
        """Begin to serve."""
        self.subscriptions[subscription.id] = subscription
        self._due[subscription] = None

    def remove(self, subscription_id: str) -> Subscription | None:
        """Serve no more."""
        subscription = self.subscriptions.pop(subscription_id, None)
        if subscription is not None:
            self._due.pop(subscription, None)
        return subscription

    def due(self, subscription: Subscription) -> bool:
        """There is something new for this subscription; False if that was known, or it is not served."""
        if subscription in self._due or subscription.id not in self.subscriptions:
            return False
        self._due[subscription] = None
        return True

    def acknowledge(self, subscription_id: str, cursor: cursor_pb2.Cursor) -> bool:
        """Take an acknowledgement in; whether the subscription was held back and may go on."""
        subscription = self.subscriptions.get(subscription_id)
        if subscription is None or subscription.feed is None or cursor.epoch != subscription.feed.cursor.epoch:
            return False
        waiting = subscription.unacknowledged
        held = self._held(subscription)
        while waiting and waiting[0] <= cursor.revision:
            waiting.popleft()
        return held and not self._held(subscription)

    @property
    def lag(self) -> int:
        """The largest number of unacknowledged messages of any subscription."""
        return max((len(s.unacknowledged) for s in list(self.subscriptions.values())), default=0)

    @property
    def unacknowledged(self) -> int:
        """Messages that were not acknowledged, of all subscriptions."""
        return sum(len(s.unacknowledged) for s in list(self.subscriptions.values()))

    @property
    def waiting(self) -> int:
        """Subscriptions with something that was not sent yet."""
        return len(self._due)

    @property
    def backlog(self) -> int:
        """Answers and results that are waiting."""
        return len(self._control) + len(self._results)

    def take(self) -> bytes:
        """What may go out now, in order, `BATCH_BYTES` and one message at most; what was taken counts as sent.

        The bytes are a serialised `ConnectResponse`, and a `WatchResponse` as well; none for nothing.
        """
        frames: list[bytes] = []
        self._size = 0
        self.pushed, self.snapshots, self.revisions = [], [], 0
        while self._control and self._size < BATCH_BYTES:
            self._add(frames, frame(self._control.popleft()))
        # A result goes out whether or not the client acknowledges, and so does the state that contains it.
        owed = {result.resource for result in self._results} if self._results else ()
        self.more = False
        due, self._due = self._due, {}
        for subscription in due:
            if self._size >= BATCH_BYTES:
                self._due[subscription] = None
                self.more = True
            elif self._held(subscription) and not (subscription.feed is not None and subscription.feed.name in owed):
                self._due[subscription] = None
            else:
                self._serve(subscription, frames)
        if self._control:
            self.more = True
        elif self._results:
            self._release(frames)
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def _add(self, frames: list[bytes], entry: bytes) -> None:
        frames.append(entry)
        self._size += len(entry)

    def _held(self, subscription: Subscription) -> bool:
        return 0 < self._window <= len(subscription.unacknowledged)

    def _release(self, frames: list[bytes]) -> None:
        waiting: deque[command_pb2.CommandResult] = deque()
        for result in self._results:
            if self._covered(result):
                self._add(frames, frame(stream_pb2.ServerMessage(command_result=result)))
            else:
                waiting.append(result)
        self._results = waiting

    def _covered(self, result: command_pb2.CommandResult) -> bool:
        if result.outcome not in (command_pb2.OUTCOME_APPLIED, command_pb2.OUTCOME_NO_OP):
            return True
        return not any(
            s.feed is not None
            and s.feed.name == result.resource
            and (
                s.paused
                or s.feed.expecting
                or (s.feed.cursor.epoch == result.cursor.epoch and s.sent < result.cursor.revision)
            )
            for s in self.subscriptions.values()
        )

    def _serve(self, subscription: Subscription, frames: list[bytes]) -> None:
        feed = subscription.feed
        if subscription.paused:
            return
        if feed is None:
            if subscription.snapshot is not None:
                self._add(frames, frame(_nothing(subscription, subscription.snapshot)))
                subscription.snapshot = None
            return
        behind = feed.cursor.revision > subscription.sent
        if subscription.snapshot is None and behind:
            merged = feed.missed(subscription.sent)
            if merged is None:
                subscription.snapshot = stream_pb2.SNAPSHOT_REASON_SLOW_CLIENT
            else:
                self._add(frames, self._delta(subscription, feed, merged))
        elif subscription.snapshot is None and subscription.progress_due:
            self._add(frames, frame(self._progress(subscription, feed)))
        if subscription.snapshot is not None:
            self._add(frames, frame(self._whole(subscription, feed, subscription.snapshot)))
            subscription.snapshot = None
        subscription.progress_due = False
        if subscription.presence_due:
            subscription.presence_due = False
            self._add(frames, frame(_presence(subscription, feed)))

    def _seq(self, subscription: Subscription, feed: Feed) -> int:
        return max(subscription.base_seq, feed.client_seqs.get(self.client_id, 0)) if self.client_id else 0

    def _sent(self, subscription: Subscription, feed: Feed) -> None:
        subscription.sent = feed.cursor.revision
        if self._window:
            if len(subscription.unacknowledged) >= self._window:
                subscription.unacknowledged.pop()  # In its place: who never acknowledges is not kept account of.
            subscription.unacknowledged.append(subscription.sent)

    def _delta(self, subscription: Subscription, feed: Feed, merged: SharedDelta) -> bytes:
        seq = self._seq(subscription, feed)
        own = subscription.own_part
        if seq:
            own += stream_pb2.Delta(last_seq=seq, durable_seq=seq).SerializeToString()
        if not self.revisions:
            self.told_at = merged.told_at
        self.revisions += feed.cursor.revision - subscription.sent
        self._sent(subscription, feed)
        if merged.traceparents:
            self.pushed.append(Pushed(subscription.id, subscription.sent, merged.traceparents))
        return merged.frame(own)

    def _whole(self, subscription: Subscription, feed: Feed, reason: _Reason) -> stream_pb2.ServerMessage:
        payload, digest = feed.snapshot()
        seq = self._seq(subscription, feed)
        message = stream_pb2.ServerMessage(
            snapshot=stream_pb2.Snapshot(
                subscription_id=subscription.id,
                target=feed.name,
                cursor=to_cursor(feed.cursor),
                reason=reason,
                digest=digest,
                payload=payload,
                last_seq=seq,
                durable_seq=seq,
            )
        )
        self._sent(subscription, feed)
        self.snapshots.append(reason)
        return message

    def _progress(self, subscription: Subscription, feed: Feed) -> stream_pb2.ServerMessage:
        seq = self._seq(subscription, feed)
        progress = stream_pb2.Progress(
            subscription_id=subscription.id,
            cursor=to_cursor(feed.cursor),
            digest=feed.snapshot()[1],
            last_seq=seq,
            durable_seq=seq,
        )
        if feed.observed_at:
            progress.observed_at.FromMilliseconds(feed.observed_at)
        return stream_pb2.ServerMessage(progress=progress)


def _nothing(subscription: Subscription, reason: _Reason) -> stream_pb2.ServerMessage:
    """An active cart that does not exist: a snapshot without target, cursor and entries."""
    snapshot = stream_pb2.Snapshot(subscription_id=subscription.id, reason=reason, digest=state.digest({}))
    return stream_pb2.ServerMessage(snapshot=snapshot)


def _presence(subscription: Subscription, feed: Feed) -> stream_pb2.ServerMessage:
    presence = stream_pb2.Presence(subscription_id=subscription.id)
    for channel in feed.present():
        entry = presence.channels.add()
        entry.CopyFrom(channel)
        entry.self = channel.presence_id == subscription.presence_id
    return stream_pb2.ServerMessage(presence=presence)


def timestamp(ms: int) -> Timestamp:
    """Milliseconds since 1970 as a message."""
    stamp = Timestamp()
    stamp.FromMilliseconds(ms)
    return stamp
