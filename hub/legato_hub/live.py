"""One resource held in memory, as `live_resources` keeps it.

A `Live` keeps a short tail of deltas. A subscriber that is behind is a mere number, its revision: what it misses is
merged from the tail when it can be sent, once for all subscribers that stand at the same revision. So a slow client
costs no memory.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from legato.commerce.v1 import cart_pb2
from legato.orchestrator.v1 import cursor_pb2, reads_pb2, stream_pb2
from legato.protocol import state
from legato.protocol.entities import assemble_cart
from legato.protocol.state import Delta
from legato_hub.core.frames import SharedDelta
from legato_hub.core.resume import TRACES_KEPT
from legato_hub.presence import Gossip, Presence
from legato_hub.storage.base import Cursor, Loaded, Update

TAIL_REVISIONS = 256
"""Deltas kept in memory for each resource; a subscriber further behind gets a snapshot."""

TAIL_BYTES = 512 * 1024
"""The tail is cut at this size, too."""


class Subscriber(Protocol):
    """What a resource tells. Calls are made in the loop and must not block."""

    def revised(self) -> None:
        """The resource has a new revision."""

    def restarted(self) -> None:
        """The resource goes on in a new epoch: nothing told before counts."""


class Live:
    """One resource. `revision` 0 means that it does not exist (yet)."""

    def __init__(self, name: str, epoch: str, gossip: Gossip | None = None) -> None:
        self.name = name
        self.presence = Presence(name, gossip)
        self.cursor = Cursor(epoch, 0)
        self.entries: dict[str, bytes] = {}
        self.adapter_state = b""
        self.version = ""
        self.notebook_at = self.cursor
        """The revision that these two belong to: other hubs tell their revisions without them."""
        self.tombstone = False
        self.inherited = False
        """The backend may be ahead: it must be read before anything is compiled on this."""
        self.observed_at = 0
        """When the backend was last read, milliseconds since 1970; 0 never by this process."""
        self.lane = asyncio.Semaphore()
        """Held by whoever changes the resource from this process: commands are served in order of arrival."""
        self.subscribers: dict[Subscriber, None] = {}
        self.client_seqs: dict[str, int] = {}
        """Highest seq of each client whose effect this process saw."""
        self.answer: tuple[int, reads_pb2.GetCartResponse] | None = None
        """The cart as reads tell it, and the `observed_at` that it says; of the present revision."""
        self.pins = 0
        self.end_of_feed: Callable[[], None] = lambda: None
        self._tail: deque[Update] = deque()
        self._told_at: deque[int] = deque(maxlen=TAIL_REVISIONS)
        self._tail_bytes = 0
        self._merged: dict[int, SharedDelta | None] = {}
        self._snapshot: tuple[bytes, bytes] | None = None
        self._head: cart_pb2.Cart | None = None
        self._cart: tuple[Cursor, cart_pb2.Cart] | None = None
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._early: list[Update] | None = None
        """Updates that came while the state that they build on is being read; None at all other times."""

    @property
    def exists(self) -> bool:
        """Whether there is anything to read."""
        return self.cursor.revision > 0 and not self.tombstone

    @property
    def expecting(self) -> bool:
        """Whether the state is being read again, and this is not to be relied on."""
        return self._early is not None

    @property
    def revision(self) -> int:
        """The present revision."""
        return self.cursor.revision

    def update(self, update: Update) -> None:
        """Take a new revision in and tell the subscribers. One that is known already is passed over."""
        if self._early is not None:
            self._early.append(update)
            return
        if update.cursor.epoch != self.cursor.epoch or update.cursor.revision <= self.cursor.revision:
            return
        self.cursor = update.cursor
        self.entries = state.apply(self.entries, update.delta)
        self.tombstone = False
        if update.client_id:
            self.client_seqs[update.client_id] = max(update.seq, self.client_seqs.get(update.client_id, 0))
        self._tail.append(update)
        self._told_at.append(time.monotonic_ns())
        self._tail_bytes += update.delta.size()
        while len(self._tail) > TAIL_REVISIONS or (self._tail_bytes > TAIL_BYTES and len(self._tail) > 1):
            self._tail_bytes -= self._tail.popleft().delta.size()
        self._revised()

    def expect(self) -> None:
        """The state is being read: updates wait for it, until `arrive`."""
        self._early = self._early or []

    def arrive(self, loaded: Loaded) -> None:
        """The state was read: become it, and take in what came meanwhile."""
        early, self._early = self._early or [], None
        self.replace(loaded)
        for update in early:
            self.update(update)

    def replace(self, loaded: Loaded) -> None:
        """Become what was loaded; what led there is not known. Subscribers that are behind get a snapshot."""
        restarts = loaded.cursor.epoch != self.cursor.epoch
        self.cursor, self.entries = loaded.cursor, dict(loaded.entries)
        self.take_notebook(loaded.adapter_state, loaded.version, loaded.cursor)
        self.tombstone, self.inherited = loaded.tombstone, loaded.inherited
        self._tail.clear()
        self._tail_bytes = 0
        if restarts:
            self.observed_at = 0
            self.client_seqs.clear()
            for subscriber in list(self.subscribers):
                subscriber.restarted()
        self._revised()

    def take_notebook(self, adapter_state: bytes, version: str, at: Cursor) -> None:
        """The adapter's notebook and the backend's version, as stored with a revision."""
        self.adapter_state, self.version, self.notebook_at = adapter_state, version, at

    def _revised(self) -> None:
        # Nothing made of an earlier revision lingers: what it was made of may have been erased.
        self._merged.clear()
        self._snapshot = self._head = self._cart = self.answer = None
        for subscriber in list(self.subscribers):
            subscriber.revised()
        if self._waiters:
            for revision, future in self._waiters:
                if revision <= self.revision and not future.done():
                    future.set_result(None)
            self._waiters = [waiter for waiter in self._waiters if not waiter[1].done()]

    def reaches(self, since: int) -> bool:
        """Whether the tail goes back to revision `since`."""
        return 0 <= self.revision - since <= len(self._tail)

    def missed(self, since: int) -> SharedDelta | None:
        """What a subscriber at revision `since` misses; None when a snapshot is the shorter way."""
        if since not in self._merged:
            self._merged[since] = self._merge(since)
        return self._merged[since]

    def _merge(self, since: int) -> SharedDelta | None:
        if not self.reaches(since):
            return None
        behind = self.revision - since
        updates = list(self._tail)[len(self._tail) - behind :]
        delta = Delta()
        for update in updates:
            delta = delta.then(update.delta) if delta else update.delta
        if behind > 1 and delta.size() > len(self.snapshot()[0]):
            return None
        traces = [update.traceparent for update in updates if update.traceparent]
        cursor = cursor_pb2.Cursor(epoch=self.cursor.epoch, revision=self.revision)
        named = tuple(traces[-TRACES_KEPT:])
        shared = stream_pb2.Delta(prev_revision=since, cursor=cursor, payload=delta.to_bytes(), traceparents=named)
        told_at = self._told_at[-behind] if behind else 0
        return SharedDelta(shared.SerializeToString(), named, told_at)

    def snapshot(self) -> tuple[bytes, bytes]:
        """The whole state serialised, and its digest."""
        if self._snapshot is None:
            self._snapshot = state.entries_to_bytes(self.entries), state.digest(self.entries)
        return self._snapshot

    def head(self) -> cart_pb2.Cart:
        """The cart without its parts, parsed once a revision; not to be changed. KeyError unless it is a cart."""
        if self._head is None:
            self._head = cart_pb2.Cart.FromString(self.entries["cart"])
        return self._head

    def cart(self) -> cart_pb2.Cart:
        """The cart that the entities describe, assembled once a revision; not to be changed."""
        if self._cart is None or self._cart[0] != self.cursor:
            self._cart = self.cursor, assemble_cart(self.entries)
        return self._cart[1]

    def keep_cart(self, cursor: Cursor, cart: cart_pb2.Cart) -> None:
        """What `cart` is to give at a cursor, from whoever has made it: it need not be assembled then."""
        self._cart = cursor, cart

    async def reached(self, revision: int) -> None:
        """Wait until the resource is at `revision` or later."""
        if self.revision >= revision:
            return
        future = asyncio.get_running_loop().create_future()
        self._waiters.append((revision, future))
        await future

    def attach(self, subscriber: Subscriber) -> None:
        """Tell `subscriber` from now on."""
        self.subscribers[subscriber] = None

    def detach(self, subscriber: Subscriber) -> None:
        """Tell it no more. Harmless if it was not attached."""
        self.subscribers.pop(subscriber, None)

    def present(self) -> list[stream_pb2.PresentChannel]:
        """The channels that are shown, oldest first."""
        return self.presence.shown()
