"""Resources held in memory: what is watched or was used a moment ago.

A `Live` follows the storage: it is attached to the feed first and loaded second, so no revision falls between. It keeps
a short tail of deltas. A subscriber that is behind is a mere number, its revision: what it misses is merged from the
tail when it can be sent, once for all subscribers that stand at the same revision. So a slow client costs no memory.

When a new epoch begins, all of this is read again; what the storage has lost altogether is put back from here.

Longer than 400 lines because a resource and the holder of all resources share the rules of their one feed.
"""

import asyncio
import logging
import random
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from legato.commerce.v1 import cart_pb2
from legato.orchestrator.v1 import cursor_pb2, reads_pb2, stream_pb2
from legato.protocol import state
from legato.protocol.entities import assemble_cart
from legato.protocol.state import Delta
from legato_hub.clock import now_ms
from legato_hub.core.frames import SharedDelta
from legato_hub.core.resume import TRACES_KEPT
from legato_hub.presence import Gossip, Presence
from legato_hub.storage.base import Commit, Cursor, Gone, Loaded, Storage, StorageError, Update

_log = logging.getLogger(__name__)

TAIL_REVISIONS = 256
"""Deltas kept in memory for each resource; a subscriber further behind gets a snapshot."""

TAIL_BYTES = 512 * 1024
"""The tail is cut at this size, too."""

IDLE_KEPT = 4_096
"""Unwatched resources kept in memory."""

CATCHING_UP = 64
"""Resources read again at once after a new epoch."""

CAUGHT_UP_PER_S = 500
"""About how many resources are read again in a second, so that neither storage nor backend nor clients are flooded."""

RETRY_S = 0.5


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


class LiveResources:
    """All resources held in memory."""

    def __init__(self, storage: Storage, gossip: Gossip | None = None) -> None:
        self._storage = storage
        self._gossip = gossip
        self._live: dict[str, asyncio.Task[Live] | Live] = {}
        self._idle: OrderedDict[str, Live] = OrderedDict()
        """Those that are not pinned, the longest unused first."""
        self._behind: dict[Live, None] = {}
        """Those that must be read again."""
        self._restart: asyncio.Task[None] | None = None
        self.caught_up: Callable[[Live], None] = lambda _: None
        """Called for each resource that was read again."""

    async def get(self, name: str) -> Live:
        """The resource, loaded; one that does not exist has revision 0. Raise StorageError."""
        held = self._live.get(name)
        if held is None:
            held = self._live[name] = asyncio.create_task(self._load(name), name=f"load {name}")
        if isinstance(held, asyncio.Task):
            return await asyncio.shield(held)
        if name in self._idle:
            self._idle.move_to_end(name)
        return held

    async def pin(self, name: str) -> Live:
        """As `get`, and kept until `unpin`."""
        while True:
            live = await self.get(name)
            if self._live.get(name) is live:
                live.pins += 1
                self._idle.pop(name, None)
                return live

    def unpin(self, live: Live) -> None:
        """Let go of what `pin` gave."""
        live.pins -= 1
        if not live.pins:
            self._keep(live)

    def __len__(self) -> int:
        """How many are held."""
        return len(self._live)

    def watched(self) -> list[Live]:
        """Every resource that somebody subscribes to."""
        return [live for live in self._live.values() if isinstance(live, Live) and live.subscribers]

    async def reload(self, live: Live) -> None:
        """Read the resource again: another hub was ahead of what this process had heard, or it was swept."""
        loaded = await self._read(live)
        if live.expecting or loaded.tombstone or loaded.cursor.epoch != live.cursor.epoch:
            live.arrive(loaded)
        elif loaded.cursor.revision > live.revision:
            missed = await self._storage.since(live.name, live.cursor)
            if isinstance(missed, Gone):
                live.replace(loaded)
            else:
                for update in missed:
                    live.update(update)
        if loaded.cursor == live.cursor:
            live.take_notebook(loaded.adapter_state, loaded.version, loaded.cursor)
            live.inherited = loaded.inherited

    async def complete(self, live: Live) -> None:
        """Read the notebook of the present revision, if another hub made that. Raise StorageError."""
        while live.exists and live.notebook_at != live.cursor:
            await self.reload(live)

    async def close(self) -> None:
        """Read nothing more."""
        if self._restart is not None:
            self._restart.cancel()
            await asyncio.gather(self._restart, return_exceptions=True)

    async def _load(self, name: str) -> Live:
        live = Live(name, self._storage.epoch, self._gossip)
        live.expect()
        live.end_of_feed = self._storage.follow(
            name, live.update, lost=lambda: self._lost(live), noted=live.presence.noted
        )
        try:
            loaded = await self._read(live)
            while loaded.cursor.epoch != self._storage.epoch:
                loaded = await self._read(live)
        except BaseException:
            live.end_of_feed()
            del self._live[name]
            raise
        live.arrive(loaded)
        self._live[name] = live
        self._keep(live)
        return live

    async def _read(self, live: Live) -> Loaded:
        """What the storage has; revision 0 for nothing. Raise StorageError.

        What this process holds and a new epoch does not know was lost after it had been told: it is put back. Only
        whole resources: one that is there, if older, may have been written to in the new epoch already.
        """
        loaded = await self._storage.load(live.name)
        if loaded is None and live.exists and live.cursor.epoch != self._storage.epoch:
            _log.warning("a resource that the storage lost is put back", extra={"resource": live.name})
            whole = Delta(upserts=dict(live.entries))
            notebook = live.adapter_state if live.name.startswith("carts/") else None
            await self._storage.commit(
                Commit(live.name, 0, whole, now_ms(), adapter_state=notebook, version=live.version)
            )
            loaded = await self._storage.load(live.name)
            if loaded is not None:
                return replace(loaded, inherited=True)
        return loaded or Loaded(Cursor(self._storage.epoch, 0))

    def _lost(self, live: Live) -> None:
        """What was heard of a resource does not count any more, or something was missed."""
        if self._live.get(live.name) is not live:
            return  # It is being loaded, which looks at the epoch itself.
        if not live.pins:
            self._drop(live)
            return
        live.expect()
        self._behind[live] = None
        if self._restart is None or self._restart.done():
            self._restart = asyncio.create_task(self._catch_up(), name="read what was lost")

    async def _catch_up(self) -> None:
        """Read what was lost, spread over time: a new epoch is one for all resources and all hubs at once."""
        places = asyncio.Semaphore(CATCHING_UP)

        async def catch_up(live: Live, delay: float) -> None:
            await asyncio.sleep(delay)
            async with places:
                try:
                    loaded = await self._read(live)
                except StorageError as error:
                    _log.warning("cannot read a resource again yet", extra={"resource": live.name, "error": str(error)})
                    self._behind[live] = None
                    return
                if live.expecting:  # Else a command was quicker, and knows more by now.
                    live.arrive(loaded)
                self.caught_up(live)

        while self._behind:
            behind, self._behind = list(self._behind), {}
            spread = len(behind) / CAUGHT_UP_PER_S
            await asyncio.gather(*(catch_up(live, random.uniform(0, spread)) for live in behind))
            if self._behind:
                await asyncio.sleep(RETRY_S)

    def _keep(self, live: Live) -> None:
        self._idle[live.name] = live
        while len(self._idle) > IDLE_KEPT:
            self._drop(next(iter(self._idle.values())))

    def _drop(self, live: Live) -> None:
        self._idle.pop(live.name, None)
        live.end_of_feed()
        del self._live[live.name]
