"""All resources held in memory: what is watched or was used a moment ago.

Each is attached to the storage's feed first and loaded second, so no revision falls between. When a new epoch begins,
all of them are read again; what the storage has lost altogether is put back from here.
"""

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from legato.protocol.state import Delta
from legato_hub.clock import now_ms
from legato_hub.live import Live
from legato_hub.presence import Gossip
from legato_hub.storage.base import Commit, Cursor, Gone, Loaded, Storage, StorageError

_log = logging.getLogger(__name__)

IDLE_KEPT = 4_096
"""Unwatched resources kept in memory."""

CATCHING_UP = 64
"""Resources read again at once after a new epoch."""

CAUGHT_UP_PER_S = 500
"""About how many resources are read again in a second, so that neither storage nor backend nor clients are flooded."""

RETRY_S = 0.5


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
