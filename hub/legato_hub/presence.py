"""Presence across hubs: soft state that hubs tell each other again and again, and that ends by itself.

A hub tells the list of channels that it serves for a resource when it changes, at most once a tick however many come
and go; it asks for the lists of others when the first of its streams wants to know, and those who know something
answer. While others listen it says its list again every `renew_s` or so, and a list that was not renewed for three
times as long is dropped: so a hub that was killed is forgotten, and a lost note is made good. A hub that is alone with
a resource asks once and then says nothing.
"""

import asyncio
import logging
import random
from typing import Protocol

from google.protobuf.message import DecodeError

from legato.orchestrator.v1 import stream_pb2
from legato_hub.core.notes import Present, decode, encode
from legato_hub.core.presence import Roster
from legato_hub.storage.base import Storage, StorageError

_log = logging.getLogger(__name__)

TICK_S = 0.05
"""A resource has at most one note in this time."""

KEPT = 3
"""Renewals that may be missed."""


class Listener(Protocol):
    """Who wants to know. Calls are made in the loop and must not block."""

    def presence_changed(self) -> None:
        """The list of present channels is another."""


class Presence:
    """Who is present at one resource. Without a gossip: on this hub, which is the only one."""

    def __init__(self, resource: str, gossip: "Gossip | None" = None) -> None:
        self.resource = resource
        self.roster: Roster[Listener] = Roster()
        self.asks = False
        """Whether the next note asks for the others' lists."""
        self.heard_by = 0
        """Hubs that the last note reached, as far as is known."""
        self._gossip = gossip

    @property
    def alone(self) -> bool:
        """Whether there is nobody to tell."""
        return not (self.asks or self.heard_by or self.roster.peers)

    def join(self, listener: Listener, channel: stream_pb2.PresentChannel | None) -> None:
        """Tell a listener from now on; show it to the others as `channel`."""
        first = not self.roster.audience
        changed = self.roster.join(listener, channel)
        if first and self._gossip is not None:
            self.asks = True
            self._gossip.begin(self)
        if changed:
            self._changed_here()

    def leave(self, listener: Listener) -> None:
        """Tell it no more. Harmless if it did not join."""
        changed = self.roster.leave(listener)
        if changed:
            self._changed_here()
        if not self.roster.audience and self._gossip is not None:
            self._gossip.end(self)

    def shown(self) -> list[stream_pb2.PresentChannel]:
        """The channels that are shown."""
        return self.roster.shown()

    def noted(self, note: bytes) -> None:
        """Another hub says something about the resource."""
        said = decode(note)
        if not isinstance(said, Present) or self._gossip is None or not self.roster.audience:
            return
        if not said.lasts_ms:
            changed = self.roster.forget(said.hub)
        else:
            try:
                changed = self.roster.told(said.hub, said.channels, self._gossip.now() + said.lasts_ms / 1000)
            except DecodeError:
                _log.warning("a hub names channels that cannot be read", extra={"resource": self.resource})
                return
        if changed:
            self._tell()
        if said.asks:
            self._gossip.due(self)

    def expire(self, now: float) -> None:
        """Drop what was not renewed."""
        if self.roster.expire(now):
            self._tell()

    def _changed_here(self) -> None:
        self._tell()
        if self._gossip is not None and not self.roster.crowded:
            self._gossip.due(self)

    def _tell(self) -> None:
        if not self.roster.crowded:
            for listener in list(self.roster.audience):
                listener.presence_changed()


class Gossip:
    """The notes about presence that this hub sends. `hub_id` is another at each start."""

    def __init__(self, storage: Storage, hub_id: str, *, renew_s: float) -> None:
        self._storage = storage
        self._hub_id = hub_id
        self._renew_s = renew_s
        self._loop = asyncio.get_running_loop()
        self._renewals: dict[Presence, asyncio.TimerHandle] = {}
        self._due: set[Presence] = set()
        self._wanted = asyncio.Event()

    def now(self) -> float:
        """Seconds of the clock that lists end by."""
        return self._loop.time()

    def begin(self, presence: Presence) -> None:
        """Somebody wants to know: ask, and keep it up to date."""
        self._renew_later(presence)
        self.due(presence)

    def end(self, presence: Presence) -> None:
        """Nobody wants to know any more: say so."""
        renewal = self._renewals.pop(presence, None)
        if renewal is not None:
            renewal.cancel()
            self.due(presence)

    def due(self, presence: Presence) -> None:
        """Say the list soon."""
        self._due.add(presence)
        self._wanted.set()

    def _renew_later(self, presence: Presence) -> None:
        # Apart from each other, so that thousands of resources are no burst.
        delay = self._renew_s * random.uniform(0.75, 1.25)
        self._renewals[presence] = self._loop.call_later(delay, self._renew, presence)

    def _renew(self, presence: Presence) -> None:
        presence.expire(self.now())
        self._renew_later(presence)
        self.due(presence)

    async def run(self) -> None:
        """Say what is due, tick by tick, until cancelled."""
        while True:
            await self._wanted.wait()
            await asyncio.sleep(TICK_S)
            await self._say_all()

    async def close(self) -> None:
        """Say that this hub serves nobody any more. `run` must have ended."""
        for presence in list(self._renewals):
            for listener in list(presence.roster.audience):
                presence.leave(listener)
        await self._say_all()

    async def _say_all(self) -> None:
        self._wanted.clear()
        due, self._due = self._due, set()
        try:
            await asyncio.gather(*(self._say(presence) for presence in due if not presence.alone))
        except asyncio.CancelledError:
            self._due |= due  # `close` says it
            raise

    async def _say(self, presence: Presence) -> None:
        asks, presence.asks = presence.asks, False
        wanted = bool(presence.roster.audience)
        note = Present(
            self._hub_id,
            tuple(channel.SerializeToString() for channel in presence.roster.here()),
            int(KEPT * self._renew_s * 1000) if wanted else 0,
            asks and wanted,
        )
        try:
            presence.heard_by = await self._storage.notify(presence.resource, encode(note))
        except StorageError as error:
            # Somebody may be there, and the next renewal tells them.
            presence.asks, presence.heard_by = presence.asks or asks, 1
            _log.warning("cannot tell other hubs of presence", extra={"error": str(error)})
        if not (wanted or presence.roster.audience):
            presence.heard_by = 0
            presence.roster.forget(*presence.roster.peers)
