"""How a subscription begins: from a cursor with what was missed, or with a snapshot and the reason for it."""

from collections.abc import Sequence
from typing import Protocol

from legato.orchestrator.v1 import stream_pb2
from legato.protocol.state import Delta
from legato_hub.core.cursor import Cursor, Gone
from legato_hub.core.outbox import Subscription, to_cursor

TRACES_KEPT = 8
"""Trace contexts named in one delta."""

REASONS = {
    Gone.TRIMMED: stream_pb2.SNAPSHOT_REASON_TRIMMED,
    Gone.AHEAD: stream_pb2.SNAPSHOT_REASON_CURSOR_AHEAD,
    Gone.OTHER_EPOCH: stream_pb2.SNAPSHOT_REASON_EPOCH_CHANGED,
}


class Missed(Protocol):
    """One revision of the log."""

    @property
    def cursor(self) -> Cursor: ...

    @property
    def delta(self) -> Delta: ...

    @property
    def traceparent(self) -> str: ...


def resume(
    subscription: Subscription, since: Cursor, log: Sequence[Missed] | Gone | None
) -> list[stream_pb2.ServerMessage]:
    """Set a subscription up to continue from `since`; what to send before it is served for the first time.

    `log` is everything after the cursor or why there is none, and None where the feed itself remembers that far.
    """
    if isinstance(log, Gone):
        subscription.snapshot = REASONS[log]
        return []
    subscription.snapshot, subscription.sent, subscription.progress_due = None, since.revision, True
    if not log:
        return []
    delta = Delta()
    for update in log:
        delta = delta.then(update.delta)
    subscription.sent = log[-1].cursor.revision
    traces = [update.traceparent for update in log if update.traceparent]
    message = stream_pb2.Delta(
        subscription_id=subscription.id,
        prev_revision=since.revision,
        cursor=to_cursor(log[-1].cursor),
        payload=delta.to_bytes(),
        last_seq=subscription.base_seq,
        durable_seq=subscription.base_seq,
        traceparents=traces[-TRACES_KEPT:],
    )
    return [stream_pb2.ServerMessage(delta=message)]
