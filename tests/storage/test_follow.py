"""`load`, `since`, `follow`: the log has no gap and no end that is not told."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from legato.protocol.state import Delta, apply
from legato_hub.storage.base import Commit, Committed, Cursor, Gone, Overtaken, Storage, Update
from tests.storage.deeds import CART, NOTHING, NOW, OTHER_CART, do, grow, numbered, revision, upsert
from tests.storage.engines import Engine


def revisions(updates: list[Update] | Gone) -> list[int] | Gone:
    """The revisions of the updates."""
    return updates if isinstance(updates, Gone) else [update.cursor.revision for update in updates]


async def test_nothing_is_known_of_a_resource_that_never_was(storage: Storage) -> None:
    assert await storage.load(CART) is None
    assert await storage.since(CART, Cursor(storage.epoch, 0)) == []
    assert await storage.since(CART, Cursor(storage.epoch, 1)) is Gone.AHEAD
    assert await storage.since(CART, Cursor("another", 0)) is Gone.OTHER_EPOCH


async def test_since_returns_what_came_after_the_cursor(storage: Storage) -> None:
    await grow(storage, 5)
    assert revisions(await storage.since(CART, Cursor(storage.epoch, 0))) == [1, 2, 3, 4, 5]
    assert revisions(await storage.since(CART, Cursor(storage.epoch, 3))) == [4, 5]
    assert revisions(await storage.since(CART, Cursor(storage.epoch, 5))) == []


async def test_since_keeps_whole_deltas(storage: Storage) -> None:
    await do(storage, None, upsert(a=b"1", b=b"1"))
    delta = Delta({"a": b"\x00\xff", "line/é": b""}, frozenset({"b", "c"}))
    await do(storage, numbered(1), delta)
    assert await storage.since(CART, Cursor(storage.epoch, 1)) == [
        Update(CART, Cursor(storage.epoch, 2), delta, "till", 1)
    ]


@pytest.mark.parametrize("ahead", [6, 7, 2**63 - 1, 2**64])
async def test_a_cursor_from_the_future_is_ahead(storage: Storage, ahead: int) -> None:
    await grow(storage, 5)
    assert await storage.since(CART, Cursor(storage.epoch, ahead)) is Gone.AHEAD


@pytest.mark.parametrize("at", [0, 3, 9])
async def test_another_epoch_is_told_before_anything_else(storage: Storage, at: int) -> None:
    await grow(storage, 3)
    assert await storage.since(CART, Cursor("another", at)) is Gone.OTHER_EPOCH


async def test_the_log_goes_back_to_its_floor_and_no_further(engine: Engine) -> None:
    storage = await engine.start(log_length=4)
    await grow(storage, 4)
    assert revisions(await storage.since(CART, Cursor(storage.epoch, 0))) == [1, 2, 3, 4]
    await grow(storage, 10)
    assert revisions(await storage.since(CART, Cursor(storage.epoch, 6))) == [7, 8, 9, 10]
    assert await storage.since(CART, Cursor(storage.epoch, 5)) is Gone.TRIMMED
    assert await storage.since(CART, Cursor(storage.epoch, 0)) is Gone.TRIMMED
    assert revisions(await storage.since(CART, Cursor(storage.epoch, 10))) == []
    assert await storage.since(CART, Cursor(storage.epoch, 11)) is Gone.AHEAD


async def test_trimming_one_log_leaves_the_others(engine: Engine) -> None:
    storage = await engine.start(log_length=2)
    await storage.commit(Commit(OTHER_CART, 0, upsert(a=b"1"), NOW))
    await grow(storage, 5)
    assert revisions(await storage.since(OTHER_CART, Cursor(storage.epoch, 0))) == [1]


async def test_followers_are_told_each_revision_before_its_commit_returns(storage: Storage) -> None:
    told: list[Update] = []
    storage.follow(CART, told.append)
    for number in range(1, 4):
        delta = upsert(note=b"%d" % number)
        committed = await storage.commit(
            Commit(CART, number - 1, delta, NOW, numbered(number), b"r", traceparent="trace")
        )
        assert isinstance(committed, Committed)
        assert told[-1] == Update(CART, committed.cursor, delta, "till", number, "trace")
        assert len(told) == number
    assert told == await storage.since(CART, Cursor(storage.epoch, 0))


async def test_followers_are_told_of_their_resource_only(storage: Storage) -> None:
    told: list[Update] = []
    storage.follow(OTHER_CART, told.append)
    await grow(storage, 2)
    assert told == []


async def test_what_makes_no_revision_is_not_told(storage: Storage) -> None:
    await grow(storage, 1)
    told: list[Update] = []
    storage.follow(CART, told.append)
    await do(storage, numbered(1), NOTHING)
    assert isinstance(await storage.commit(Commit(CART, 0, upsert(a=b"1"), NOW)), Overtaken)
    assert told == []


async def test_every_follower_is_told_until_it_ends(storage: Storage) -> None:
    first: list[int] = []
    second: list[int] = []
    end_first = storage.follow(CART, lambda update: first.append(update.cursor.revision))
    storage.follow(CART, lambda update: second.append(update.cursor.revision))
    await grow(storage, 1)
    end_first()
    end_first()
    await grow(storage, 2)
    assert first == [1]
    assert second == [1, 2]
    storage.follow(CART, lambda update: first.append(update.cursor.revision))
    await grow(storage, 3)
    assert first == [1, 3]


async def test_one_function_may_follow_twice(storage: Storage) -> None:
    told: list[Update] = []
    end = storage.follow(CART, told.append)
    storage.follow(CART, told.append)
    await grow(storage, 1)
    assert len(told) == 2
    end()
    await grow(storage, 2)
    assert len(told) == 3


async def test_a_follower_may_end_itself_and_others_while_being_told(storage: Storage) -> None:
    told: list[str] = []
    ends: list[Callable[[], None]] = []

    def first(_: Update) -> None:
        told.append("first")
        for end in ends:
            end()

    ends.append(storage.follow(CART, first))
    ends.append(storage.follow(CART, lambda _: told.append("second")))
    await grow(storage, 2)
    assert told == ["first"]


async def test_a_faulty_follower_is_reported_and_harms_nobody(storage: Storage) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    told: list[Update] = []

    def faulty(_: Update) -> None:
        raise ValueError("a fault")

    storage.follow(CART, faulty)
    storage.follow(CART, told.append)
    await grow(storage, 1)
    assert len(told) == 1
    assert [repr(context["exception"]) for context in reported] == ["ValueError('a fault')"]


async def test_load_and_follow_together_leave_no_gap(storage: Storage) -> None:
    """Attach, load, drop what the load holds, apply the rest: the recipe of every subscription, under fire."""

    async def write() -> None:
        for number in range(60):
            await do(storage, None, upsert(**{f"line{number % 7}": b"%d" % number}))

    async def subscribe() -> dict[str, bytes]:
        heard: list[Update] = []
        storage.follow(CART, heard.append)
        loaded = await storage.load(CART)
        entries = dict(loaded.entries) if loaded else {}
        at = loaded.cursor.revision if loaded else 0
        await writing
        later = [update for update in heard if update.cursor.revision > at]
        assert revisions(later) == list(range(at + 1, 61))
        for update in later:
            entries = apply(entries, update.delta)
        return entries

    writing = asyncio.ensure_future(write())
    watchers = []
    for _ in range(10):
        watchers.append(asyncio.ensure_future(subscribe()))
        await storage.load(OTHER_CART)
    await writing
    final = await storage.load(CART)
    assert final is not None
    assert final.cursor.revision == 60
    for watcher in watchers:
        assert await watcher == final.entries


async def test_a_read_sees_what_was_told_before_it(storage: Storage) -> None:
    seen: list[asyncio.Task[int]] = []
    storage.follow(CART, lambda _: seen.append(asyncio.ensure_future(revision(storage))))
    await grow(storage, 5)
    assert [await task >= number for number, task in enumerate(seen, 1)] == [True] * 5
