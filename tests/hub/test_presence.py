"""What hubs tell each other of presence, and how often: several hubs' gossip over one storage in memory."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from legato.orchestrator.v1 import stream_pb2
from legato_hub import presence as module
from legato_hub.core.notes import Present, decode, encode
from legato_hub.core.presence import CROWD
from legato_hub.presence import Gossip
from legato_hub.storage.base import Storage, StorageError

RESOURCE = "carts/x"
RENEW_S = 0.1
NEVER_S = 3_600.0
"""Nothing is made good by a renewal."""


class Notes:
    """What `Storage.notify` does between processes, and who said how many notes."""

    def __init__(self) -> None:
        self.followers: dict[str, list[tuple[str, Callable[[bytes], None]]]] = defaultdict(list)
        self.said: Counter[str] = Counter()
        self.fails = False

    def storage(self, hub: str) -> Storage:
        return cast("Storage", _Side(self, hub))


class _Side:
    def __init__(self, notes: Notes, hub: str) -> None:
        self._notes = notes
        self._hub = hub

    async def notify(self, resource: str, note: bytes) -> int:
        self._notes.said[self._hub] += 1
        if self._notes.fails:
            raise StorageError("as asked")
        others = [noted for hub, noted in self._notes.followers[resource] if hub != self._hub]
        for noted in others:
            noted(note)
        return len(others)


class Watcher:
    """A stream's subscription."""

    def __init__(self) -> None:
        self.told = asyncio.Event()

    def presence_changed(self) -> None:
        self.told.set()


class Observed(module.Presence):
    """Tells when it was looked at for renewal."""

    def __init__(self, gossip: Gossip) -> None:
        super().__init__(RESOURCE, gossip)
        self.looked_at = asyncio.Event()

    def expire(self, now: float) -> None:
        super().expire(now)
        self.looked_at.set()


class Hub:
    """As much of a hub as follows one resource."""

    def __init__(self, notes: Notes, name: str, renew_s: float) -> None:
        self.notes, self.name = notes, name
        self.gossip = Gossip(notes.storage(name), name, renew_s=renew_s)
        self.presence = Observed(self.gossip)
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> "Hub":
        self.notes.followers[RESOURCE].append((self.name, self.presence.noted))
        self._task = asyncio.create_task(self.gossip.run())
        return self

    def join(self, presence_id: str) -> Watcher:
        watcher = Watcher()
        self.presence.join(watcher, stream_pb2.PresentChannel(presence_id=presence_id))
        return watcher

    async def kill(self) -> None:
        """Nothing more is said or heard."""
        self.notes.followers[RESOURCE] = [each for each in self.notes.followers[RESOURCE] if each[0] != self.name]
        for presence in list(self.gossip._renewals):
            self.gossip._renewals.pop(presence).cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.gossip.close()
        await self.kill()

    async def shows(self, watcher: Watcher, *presence_ids: str) -> None:
        """Wait until the watcher was told of just these."""
        async with asyncio.timeout(20):
            while [channel.presence_id for channel in self.presence.shown()] != list(presence_ids):
                watcher.told.clear()
                await watcher.told.wait()


@asynccontextmanager
async def hubs(count: int, renew_s: float = RENEW_S) -> AsyncIterator[tuple[Notes, list[Hub]]]:
    notes = Notes()
    running = [Hub(notes, f"hub-{number}", renew_s).begin() for number in range(count)]
    yield notes, running
    for hub in running:
        await hub.kill()


async def idle(hub: Hub) -> None:
    """Wait until the hub has twice looked whether it should say its list again."""
    async with asyncio.timeout(20):
        for _ in range(2):
            hub.presence.looked_at.clear()
            await hub.presence.looked_at.wait()


async def test_hubs_show_each_others_channels_whoever_came_first() -> None:
    async with hubs(3, NEVER_S) as (_, (one, two, three)):
        a, b = one.join("a"), two.join("b")
        await one.shows(a, "a", "b")
        await two.shows(b, "a", "b")
        c = three.join("c")
        for hub, watcher in ((one, a), (two, b), (three, c)):
            await hub.shows(watcher, "a", "b", "c")
        two.presence.leave(b)
        two.presence.leave(b)
        for hub, watcher in ((one, a), (three, c)):
            await hub.shows(watcher, "a", "c")


async def test_a_list_is_renewed_while_the_other_hub_lives_and_ends_with_it() -> None:
    async with hubs(2) as (notes, (one, two)):
        a, b = one.join("a"), two.join("b")
        await one.shows(a, "a", "b")
        said = notes.said["hub-1"]
        for _ in range(2 * module.KEPT):  # beyond the time that a list holds
            await idle(one)
        assert [channel.presence_id for channel in one.presence.shown()] == ["a", "b"]
        assert notes.said["hub-1"] > said
        await two.shows(b, "a", "b")
        await two.kill()
        await one.shows(a, "a")


async def test_a_hub_that_stops_in_good_order_is_gone_at_once() -> None:
    async with hubs(2) as (notes, (one, two)):
        a, b = one.join("a"), two.join("b")
        await one.shows(a, "a", "b")
        await two.shows(b, "a", "b")
        before = notes.said["hub-1"]
        await two.stop()
        assert [channel.presence_id for channel in one.presence.shown()] == ["a"]
        assert notes.said["hub-1"] == before + 1
        assert not one.presence.roster.peers


async def test_a_hub_that_is_alone_asks_once_and_says_nothing_more() -> None:
    async with hubs(1) as (notes, (one,)):
        a = one.join("a")
        one.join("b")
        await idle(one)
        one.presence.leave(a)
        await idle(one)
        assert notes.said == {"hub-0": 1}


async def test_a_storm_of_channels_is_one_note_a_tick() -> None:
    async with hubs(2) as (notes, (one, two)):
        a = one.join("a")
        await two.shows(two.join("b"), "a", "b")
        await one.shows(a, "a", "b")
        before = notes.said["hub-1"]
        # In one turn of the loop, so that a slow machine makes no second tick of it.
        watchers = [two.join(f"c{number:04}") for number in range(2_000)]
        for watcher in watchers:
            two.presence.leave(watcher)
        await one.shows(a, "a", "b")
        two.join("d")
        await one.shows(a, "a", "b", "d")
        assert notes.said["hub-1"] <= before + 3  # and a renewal that may have come between


async def test_a_crowd_is_not_told_of_each_other() -> None:
    async with hubs(2) as (_, (one, two)):
        crowd = [one.join(f"c{number:04}") for number in range(CROWD + 1)]
        b = two.join("x")
        await two.shows(b, *(f"c{number:04}" for number in range(32)))
        await idle(one)
        for watcher in crowd:
            watcher.told.clear()
        one.join("another")
        two.join("y")
        await idle(one)
        assert not any(watcher.told.is_set() for watcher in crowd)


async def test_a_crowd_is_not_told_of_to_other_hubs() -> None:
    async with hubs(2, NEVER_S) as (_, (one, two)):
        b = two.join("b")
        crowd = [one.join(f"c{number:04}") for number in range(CROWD + 1)]
        await two.shows(b, "b", *(f"c{number:04}" for number in range(31)))
        one.gossip._due.clear()  # what it may still want to answer
        one.join("another")
        one.presence.leave(crowd[0])
        assert not one.gossip._due


async def test_what_could_not_be_said_is_said_again() -> None:
    async with hubs(2) as (notes, (one, two)):
        notes.fails = True
        a, b = one.join("a"), two.join("b")
        await idle(one)
        assert [channel.presence_id for channel in one.presence.shown()] == ["a"]
        notes.fails = False
        await one.shows(a, "a", "b")
        await two.shows(b, "a", "b")


@pytest.mark.parametrize("note", [b"", b"nonsense", encode(Present("hub-9", (b"\xff",), 1_000))])
async def test_a_note_that_cannot_be_read_is_passed_over(note: bytes, caplog: Any) -> None:
    async with hubs(1) as (_, (one,)):
        one.join("a")
        one.presence.noted(note)
        assert [channel.presence_id for channel in one.presence.shown()] == ["a"]
        assert ("cannot be read" in caplog.text) is (decode(note) is not None)


async def test_whoever_wants_to_know_again_asks_again() -> None:
    async with hubs(2, NEVER_S) as (_, (one, two)):
        a, b = one.join("a"), two.join("b")
        await one.shows(a, "a", "b")
        await two.shows(b, "a", "b")
        two.presence.leave(b)
        await one.shows(a, "a")
        await two.shows(two.join("c"), "a", "c")
        await one.shows(a, "a", "c")
