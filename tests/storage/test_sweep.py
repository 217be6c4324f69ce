"""Retention: resource, tombstone, nothing."""

import asyncio

from legato_hub.storage.base import (
    Commit,
    Cursor,
    Fresh,
    Gone,
    Loaded,
    Overtaken,
    Refusal,
    Repeated,
    Storage,
)
from tests.storage.deeds import CART, NOTHING, NOW, OTHER_CART, ask, do, hold, numbered, stateless, upsert

CLOSED_MS, IDLE_MS = 1_000, 100_000


async def sweep(storage: Storage, after: int) -> int:
    """Sweep so long after NOW."""
    return await storage.sweep(NOW + after, closed_ms=CLOSED_MS, idle_ms=IDLE_MS)


async def test_nothing_is_swept_before_its_time(storage: Storage) -> None:
    await storage.commit(Commit(CART, 0, upsert(a=b"1"), NOW))
    await storage.commit(Commit(OTHER_CART, 0, upsert(a=b"1"), NOW, closed=True))
    assert await sweep(storage, CLOSED_MS) == 0
    assert await sweep(storage, CLOSED_MS + 1) == 1
    assert await sweep(storage, IDLE_MS) == 1
    loaded = await storage.load(CART)
    assert loaded is not None
    assert not loaded.tombstone
    assert await storage.load(OTHER_CART) is None


async def test_a_tombstone_keeps_its_revision_and_results(storage: Storage) -> None:
    key, client_key = stateless(), numbered(1)
    await storage.commit(Commit(CART, 0, upsert(a=b"1"), NOW, key, b"done", 0, b"notebook", "v1"))
    await storage.commit(Commit(CART, 1, upsert(a=b"2"), NOW, client_key, b"done too"))
    assert await sweep(storage, IDLE_MS + 1) == 1
    assert await storage.load(CART) == Loaded(Cursor(storage.epoch, 2), tombstone=True)
    assert await storage.since(CART, Cursor(storage.epoch, 1)) is Gone.TRIMMED
    assert await storage.since(CART, Cursor(storage.epoch, 2)) == []
    assert await storage.since(CART, Cursor(storage.epoch, 3)) is Gone.AHEAD
    assert await ask(storage, key) == Repeated(b"done")
    assert await ask(storage, client_key) == Repeated(b"done too")
    assert await storage.last_seq(CART, "till") == 1


async def test_a_tombstone_takes_results_only(storage: Storage) -> None:
    await storage.commit(Commit(CART, 0, upsert(a=b"1"), NOW))
    await sweep(storage, IDLE_MS + 1)
    key = numbered(1)
    late = Commit(CART, 1, upsert(a=b"2"), NOW, key, b"r")
    assert await storage.commit(late) == Overtaken(Cursor(storage.epoch, 1))
    committed = await do(storage, key, NOTHING, b"refused")
    assert committed == Cursor(storage.epoch, 1)
    assert await ask(storage, key) == Repeated(b"refused")
    assert await storage.load(CART) == Loaded(Cursor(storage.epoch, 1), tombstone=True)


async def test_a_result_makes_no_tombstone_young_again(storage: Storage) -> None:
    await storage.commit(Commit(CART, 0, upsert(a=b"1"), NOW))
    assert await sweep(storage, IDLE_MS + 1) == 1
    late = NOW + 2 * IDLE_MS
    await storage.commit(Commit(CART, 1, NOTHING, late, stateless(late), b"refused"))
    assert await sweep(storage, 2 * IDLE_MS + 2) == 1
    assert await storage.load(CART) is None


async def test_a_tombstone_goes_after_the_same_time_again(storage: Storage) -> None:
    key = stateless()
    await storage.commit(Commit(CART, 0, upsert(a=b"1"), NOW, key, b"done"))
    await storage.commit(Commit(OTHER_CART, 0, upsert(a=b"1"), NOW, numbered(1), b"done", closed=True))
    assert await sweep(storage, 5_000) == 1
    assert await sweep(storage, 5_000 + CLOSED_MS) == 0
    assert await storage.last_seq(OTHER_CART, "till") == 1
    assert await sweep(storage, 5_001 + CLOSED_MS) == 1
    assert await storage.load(OTHER_CART) is None
    assert await storage.last_seq(OTHER_CART, "till") == 0
    assert await storage.since(OTHER_CART, Cursor(storage.epoch, 0)) == []

    assert await sweep(storage, 2 * IDLE_MS) == 1
    assert await sweep(storage, 3 * IDLE_MS) == 0
    assert await ask(storage, key) == Repeated(b"done")
    assert await sweep(storage, 3 * IDLE_MS + 1) == 1
    assert await ask(storage, key) == Fresh(0)


async def test_every_commit_makes_a_resource_young_again(storage: Storage) -> None:
    await storage.commit(Commit(CART, 0, upsert(a=b"1"), NOW))
    await storage.commit(Commit(CART, 1, NOTHING, NOW + 50_000, stateless(NOW + 50_000), b"r"))
    assert await sweep(storage, 50_000 + IDLE_MS) == 0
    assert await sweep(storage, 50_001 + IDLE_MS) == 1


async def test_a_closed_resource_ages_from_its_closing(storage: Storage) -> None:
    await storage.commit(Commit(CART, 0, upsert(a=b"1"), NOW, closed=True))
    await storage.commit(Commit(CART, 1, NOTHING, NOW + 900, stateless(NOW + 900), b"too late"))
    assert await sweep(storage, CLOSED_MS + 1) == 1


async def test_a_taken_slot_holds_the_sweep_off(storage: Storage) -> None:
    await storage.commit(Commit(CART, 0, upsert(a=b"1"), NOW))
    slot = await hold(storage, stateless())
    assert await sweep(storage, 10 * IDLE_MS) == 0
    assert await storage.abandoned(NOW + 10 * IDLE_MS) == [slot]
    await storage.release(slot)
    assert await sweep(storage, 10 * IDLE_MS) == 1


async def test_what_never_had_a_revision_is_swept_too(storage: Storage) -> None:
    key = stateless()
    await do(storage, key, NOTHING, b"rejected")
    assert await sweep(storage, IDLE_MS + 1) == 1
    assert await storage.load(CART) is None
    assert await ask(storage, key) == Repeated(b"rejected")
    assert await sweep(storage, 2 * IDLE_MS + 2) == 1
    assert await ask(storage, key) == Fresh(0)


async def test_an_adopted_seq_ages_from_the_first_sweep(storage: Storage) -> None:
    await storage.adopt_seq(CART, "till", 7)
    assert await sweep(storage, 10 * IDLE_MS) == 0
    assert await sweep(storage, 11 * IDLE_MS + 1) == 1
    assert await storage.last_seq(CART, "till") == 7
    assert await sweep(storage, 12 * IDLE_MS + 2) == 1
    assert await storage.last_seq(CART, "till") == 0


async def test_fences_rise_beyond_those_of_what_was_removed(storage: Storage) -> None:
    slot = await hold(storage, stateless())
    await storage.release(slot)
    await sweep(storage, IDLE_MS + 1)
    assert await sweep(storage, 2 * IDLE_MS + 2) == 1
    assert (await hold(storage, stateless())).fence > slot.fence


async def test_one_call_touches_at_most_1000_resources(storage: Storage) -> None:
    commits = [Commit(f"carts/{number}", 0, upsert(a=b"1"), NOW) for number in range(1_010)]
    await asyncio.gather(*(storage.commit(commit) for commit in commits))
    assert await sweep(storage, IDLE_MS + 1) == 1_000
    assert await sweep(storage, IDLE_MS + 1) == 10
    assert await sweep(storage, IDLE_MS + 1) == 0


async def test_records_past_their_time_are_swept(storage: Storage) -> None:
    await storage.put("for good", b"1")
    await storage.put("until then", b"2", until=NOW + 10)
    await storage.put("later", b"3", until=NOW + 11)
    assert await sweep(storage, 10) == 1
    assert await storage.get("for good", NOW) == b"1"
    assert await storage.get("until then", NOW) is None
    assert await storage.get("later", NOW) == b"3"


async def test_a_swept_command_with_seq_must_begin_at_1(storage: Storage) -> None:
    await do(storage, numbered(1))
    await sweep(storage, IDLE_MS + 1)
    assert await ask(storage, numbered(1)) is Refusal.REUSED
    await sweep(storage, 2 * IDLE_MS + 2)
    assert await ask(storage, numbered(1)) == Fresh(0)
