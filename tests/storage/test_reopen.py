"""What lasts from one process to the next."""

import asyncio

import pytest

from legato.protocol.state import Delta
from legato_hub.storage.base import (
    Claim,
    Commit,
    Committed,
    Cursor,
    Fresh,
    Gone,
    Loaded,
    Repeated,
    StorageError,
)
from tests.storage.deeds import CART, NOW, OTHER_CART, ask, do, grow, hold, numbered, stateless, upsert
from tests.storage.engines import Engine


async def test_everything_is_there_after_reopening(lasting_engine: Engine) -> None:
    storage = await lasting_engine.start()
    epoch = storage.epoch
    first, second = numbered(1), stateless()
    await storage.commit(Commit(CART, 0, upsert(a=b"1", b=b"1"), NOW, first, b"one", 0, b"notebook", "v1"))
    await do(storage, second, Delta({"c": b"2"}, frozenset({"a"})), b"two")
    await storage.adopt_seq(OTHER_CART, "phone", 8)
    slot = await hold(storage, numbered(2))
    await storage.put("code", b"x", until=NOW + 10)
    await storage.add("set", "member")
    log = await storage.since(CART, Cursor(epoch, 0))
    await storage.close()

    storage = await lasting_engine.start()
    assert storage.epoch == epoch
    assert await storage.load(CART) == Loaded(Cursor(epoch, 2), {"b": b"1", "c": b"2"}, b"notebook", "v1")
    assert await storage.since(CART, Cursor(epoch, 0)) == log
    assert await storage.last_seq(CART, "till") == 1
    assert await storage.last_seq(OTHER_CART, "phone") == 8
    assert await ask(storage, first) == Repeated(b"one")
    assert await ask(storage, second) == Repeated(b"two")
    assert await storage.abandoned(slot.until - 1) == []
    assert await storage.abandoned(slot.until) == [slot]
    assert await storage.get("code", NOW) == b"x"
    assert await storage.members("set") == ["member"]
    assert await storage.release(slot)
    assert (await hold(storage, numbered(2))).fence > slot.fence


async def test_a_slot_claimed_before_commits_after_reopening(lasting_engine: Engine) -> None:
    storage = await lasting_engine.start()
    key = stateless()
    slot = await hold(storage, key)
    await storage.close()
    storage = await lasting_engine.start()
    commit = Commit(CART, 0, upsert(a=b"1"), NOW, key, b"resolved", slot.fence)
    assert isinstance(await storage.commit(commit), Committed)


async def test_a_shorter_log_is_trimmed_as_it_grows(lasting_engine: Engine) -> None:
    storage = await lasting_engine.start(log_length=10)
    await grow(storage, 10)
    await storage.close()
    storage = await lasting_engine.start(log_length=3)
    await grow(storage, 11)
    assert await storage.since(CART, Cursor(storage.epoch, 7)) is Gone.TRIMMED
    after = await storage.since(CART, Cursor(storage.epoch, 8))
    assert not isinstance(after, Gone)
    assert len(after) == 3


async def test_close_finishes_what_was_accepted(lasting_engine: Engine) -> None:
    storage = await lasting_engine.start()
    commits = [Commit(f"carts/{number}", 0, upsert(a=b"1"), NOW) for number in range(100)]
    accepted = [asyncio.ensure_future(storage.commit(commit)) for commit in commits]
    await asyncio.sleep(0)
    await storage.close()
    assert all(isinstance(answer, Committed) for answer in await asyncio.gather(*accepted))
    storage = await lasting_engine.start()
    assert all([await storage.load(commit.resource) for commit in commits])


async def test_a_closed_storage_refuses_clearly(engine: Engine) -> None:
    storage = await engine.start()
    await storage.close()
    await storage.close()
    with pytest.raises(StorageError, match="not open"):
        await storage.load(CART)
    with pytest.raises(StorageError, match="not open"):
        await storage.commit(Commit(CART, 0, upsert(a=b"1"), NOW))


async def test_fences_rise_over_many_openings(lasting_engine: Engine) -> None:
    fences = []
    for _ in range(3):
        storage = await lasting_engine.start()
        for _ in range(2):
            begun = await storage.begin(Claim(CART, stateless(), 0, NOW, slot_until=NOW + 1))
            assert isinstance(begun, Fresh)
            fences.append(begun.fence)
            (slot,) = await storage.abandoned(NOW + 1)
            assert await storage.release(slot)
        await storage.close()
    assert fences == sorted(set(fences))
