"""`commit`, `release` and the slot between them."""

import asyncio
from dataclasses import replace

import pytest

from legato.protocol.state import Delta
from legato_hub.storage.base import (
    Claim,
    Commit,
    Committed,
    Cursor,
    Fresh,
    Loaded,
    Overtaken,
    Refusal,
    Repeated,
    Storage,
    Update,
)
from tests.storage.deeds import (
    CART,
    NOTHING,
    NOW,
    OTHER_CART,
    ask,
    do,
    grow,
    hold,
    numbered,
    revision,
    stateless,
    upsert,
)


async def test_a_commit_stores_everything_as_one(storage: Storage) -> None:
    key = numbered(1)
    slot = await hold(storage, key)
    delta = upsert(cart=b"c", totals=b"t")
    commit = Commit(CART, 0, delta, NOW, key, b"result", slot.fence, b"notebook", "v7", traceparent="00-trace-span-01")
    committed = await storage.commit(commit)

    assert isinstance(committed, Committed)
    assert committed.cursor == Cursor(storage.epoch, 1)
    assert await storage.load(CART) == Loaded(
        Cursor(storage.epoch, 1), {"cart": b"c", "totals": b"t"}, b"notebook", "v7"
    )
    assert await storage.since(CART, Cursor(storage.epoch, 0)) == [
        Update(CART, Cursor(storage.epoch, 1), delta, "till", 1, "00-trace-span-01")
    ]
    assert await storage.last_seq(CART, "till") == 1
    assert await ask(storage, key) == Repeated(b"result")
    assert await storage.abandoned(NOW * 2) == []


async def test_upserts_and_deletes_apply_to_whole_entities(storage: Storage) -> None:
    await do(storage, None, upsert(a=b"1", b=b"1", c=b"1"))
    await do(storage, None, Delta({"a": b"2", "d": b""}, frozenset({"b", "never there"})))
    loaded = await storage.load(CART)
    assert loaded is not None
    assert loaded.entries == {"a": b"2", "c": b"1", "d": b""}


async def test_a_delta_that_changes_nothing_is_a_revision_all_the_same(storage: Storage) -> None:
    await do(storage, None, upsert(a=b"1"))
    assert (await do(storage, None, upsert(a=b"1"))).revision == 2
    assert (await do(storage, None, Delta({}, frozenset({"never there"})))).revision == 3


async def test_an_empty_delta_makes_no_revision_and_stores_the_rest(storage: Storage) -> None:
    await grow(storage, 2)
    key = numbered(1)
    slot = await hold(storage, key)
    rejected = Commit(CART, 2, NOTHING, NOW, key, b"rejected", slot.fence, b"notebook", "v2")
    committed = await storage.commit(rejected)
    assert isinstance(committed, Committed)
    assert committed.cursor.revision == 2
    assert await storage.load(CART) == Loaded(Cursor(storage.epoch, 2), {"note": b"2"}, b"notebook", "v2")
    assert await storage.since(CART, Cursor(storage.epoch, 2)) == []
    assert await ask(storage, key) == Repeated(b"rejected")
    assert await storage.abandoned(NOW * 2) == []


async def test_a_rejection_before_the_first_revision_makes_no_resource(storage: Storage) -> None:
    key = stateless()
    assert (await do(storage, key, NOTHING, b"rejected")).revision == 0
    assert await storage.load(CART) is None
    assert await ask(storage, key) == Repeated(b"rejected")


async def test_notebook_and_version_stay_unless_given(storage: Storage) -> None:
    await storage.commit(Commit(CART, 0, upsert(a=b"1"), NOW, adapter_state=b"notebook", version="v1"))
    await storage.commit(Commit(CART, 1, upsert(a=b"2"), NOW))
    loaded = await storage.load(CART)
    assert loaded is not None
    assert (loaded.adapter_state, loaded.version) == (b"notebook", "v1")
    await storage.commit(Commit(CART, 2, upsert(a=b"3"), NOW, adapter_state=b"", version=""))
    loaded = await storage.load(CART)
    assert loaded is not None
    assert (loaded.adapter_state, loaded.version) == (b"", "")


async def test_a_commit_without_key_consumes_no_seq(storage: Storage) -> None:
    await do(storage, None, upsert(a=b"1"))
    assert await storage.since(CART, Cursor(storage.epoch, 0)) == [
        Update(CART, Cursor(storage.epoch, 1), upsert(a=b"1"))
    ]
    assert await storage.last_seq(CART, "") == 0


async def test_resources_do_not_touch_each_other(storage: Storage) -> None:
    await grow(storage, 3)
    await storage.commit(Commit(OTHER_CART, 0, upsert(note=b"other"), NOW, numbered(1)))
    assert await revision(storage) == 3
    assert await storage.load(OTHER_CART) == Loaded(Cursor(storage.epoch, 1), {"note": b"other"})
    assert await storage.last_seq(CART, "till") == 0


@pytest.mark.parametrize("base", [0, 1, 3])
async def test_another_base_is_overtaken_and_stores_nothing(storage: Storage, base: int) -> None:
    await grow(storage, 2)
    before = await storage.load(CART)
    key = numbered(1)
    slot = await hold(storage, key)
    commit = Commit(CART, base, upsert(a=b"1"), NOW, key, b"r", slot.fence, b"notebook", "v9", closed=True)
    overtaken = Overtaken(Cursor(storage.epoch, 2))
    assert await storage.commit(commit) == overtaken
    assert await storage.commit(replace(commit, delta=NOTHING)) == overtaken

    assert await storage.load(CART) == before
    assert await storage.since(CART, Cursor(storage.epoch, 2)) == []
    assert await storage.last_seq(CART, "till") == 0
    assert await storage.abandoned(NOW * 2) == [slot]
    assert isinstance(await storage.commit(replace(commit, base=2)), Committed)


async def test_a_lost_fence_is_overtaken(storage: Storage) -> None:
    key = stateless()
    first = await hold(storage, key)
    assert await storage.release(first)
    nobody_holds = Commit(CART, 0, upsert(a=b"1"), NOW, key, b"r", first.fence)
    assert await storage.commit(nobody_holds) == Overtaken(Cursor(storage.epoch, 0))
    second = await hold(storage, key)
    assert await storage.commit(nobody_holds) == Overtaken(Cursor(storage.epoch, 0))
    assert isinstance(await storage.commit(replace(nobody_holds, fence=second.fence)), Committed)


async def test_a_fence_of_another_resource_is_overtaken(storage: Storage) -> None:
    slot = await hold(storage, stateless())
    elsewhere = Commit(OTHER_CART, 0, upsert(a=b"1"), NOW, stateless(), b"r", slot.fence)
    assert await storage.commit(elsewhere) == Overtaken(Cursor(storage.epoch, 0))
    assert await storage.abandoned(NOW * 2) == [slot]


async def test_a_fence_that_nobody_ever_got_is_overtaken(storage: Storage) -> None:
    assert await storage.commit(Commit(CART, 0, upsert(a=b"1"), NOW, fence=1)) == Overtaken(Cursor(storage.epoch, 0))


async def test_a_slot_past_its_time_commits_as_long_as_it_is_held(storage: Storage) -> None:
    key = stateless()
    slot = await hold(storage, key)
    late = Commit(CART, 0, upsert(a=b"1"), NOW + 60_000, key, b"r", slot.fence)
    assert isinstance(await storage.commit(late), Committed)


async def test_of_two_who_resolve_a_slot_one_commits(storage: Storage) -> None:
    key = stateless()
    slot = await hold(storage, key)
    commit = Commit(CART, 0, upsert(a=b"1"), NOW, key, b"r", slot.fence)
    answers = await asyncio.gather(storage.commit(commit), storage.commit(commit))
    assert sorted(type(answer).__name__ for answer in answers) == ["Committed", "Overtaken"]
    assert await revision(storage) == 1


async def test_a_commit_without_fence_leaves_a_slot_held(storage: Storage) -> None:
    slot = await hold(storage, stateless())
    await do(storage, None, upsert(refreshed=b"1"))
    assert await storage.abandoned(NOW * 2) == [slot]


async def test_a_committed_slot_is_free(storage: Storage) -> None:
    key = stateless()
    slot = await hold(storage, key)
    await storage.commit(Commit(CART, 0, upsert(a=b"1"), NOW, key, b"r", slot.fence))
    assert isinstance(await ask(storage, stateless(), slot=True), Fresh)


@pytest.mark.parametrize("repeat", ["same", "other body", "by another client", "without seq"])
async def test_a_command_is_committed_once(storage: Storage, repeat: str) -> None:
    key = numbered(1)
    await do(storage, key, upsert(a=b"1"), b"first")
    again = {
        "same": key,
        "other body": replace(key, body_hash=b"other"),
        "by another client": replace(key, client_id="phone"),
        "without seq": replace(key, client_id="", seq=0),
    }[repeat]
    commit = Commit(CART, 1, upsert(a=b"2"), NOW, again, b"second")
    assert await storage.commit(commit) == Overtaken(Cursor(storage.epoch, 1))
    assert await ask(storage, key) == Repeated(b"first")
    assert await revision(storage) == 1
    assert await storage.last_seq(CART, "phone") == 0


async def test_a_stateless_command_is_committed_once(storage: Storage) -> None:
    key = stateless()
    await do(storage, key, upsert(a=b"1"), b"first")
    for again in (key, replace(key, client_id="phone", seq=1)):
        commit = Commit(CART, 1, upsert(a=b"2"), NOW, again, b"second")
        assert await storage.commit(commit) == Overtaken(Cursor(storage.epoch, 1))
    assert await ask(storage, key) == Repeated(b"first")


@pytest.mark.parametrize("seq", [1, 2, 4, 2**63 - 1])
async def test_a_seq_that_is_not_the_next_is_overtaken(storage: Storage, seq: int) -> None:
    await do(storage, numbered(1))
    await do(storage, numbered(2))
    commit = Commit(CART, 0, upsert(a=b"1"), NOW, numbered(seq), b"r")
    assert await storage.commit(commit) == Overtaken(Cursor(storage.epoch, 0))
    assert await storage.last_seq(CART, "till") == 2


async def test_of_many_committing_on_one_base_one_succeeds(storage: Storage) -> None:
    commits = [Commit(CART, 0, upsert(a=b"%d" % n), NOW, stateless(), b"r") for n in range(30)]
    answers = await asyncio.gather(*(storage.commit(commit) for commit in commits))
    done = [commit for commit, answer in zip(commits, answers, strict=True) if isinstance(answer, Committed)]
    assert len(done) == 1
    assert all(answer == Overtaken(Cursor(storage.epoch, 1)) for answer in answers if isinstance(answer, Overtaken))
    loaded = await storage.load(CART)
    assert loaded is not None
    assert loaded.entries == done[0].delta.upserts


async def test_a_closed_resource_still_answers(storage: Storage) -> None:
    key = stateless()
    await storage.commit(Commit(CART, 0, upsert(a=b"1"), NOW, closed=True))
    assert (await do(storage, key, NOTHING, b"too late")).revision == 1
    assert await ask(storage, key) == Repeated(b"too late")


async def test_release_gives_back_and_stores_nothing(storage: Storage) -> None:
    key = numbered(1)
    slot = await hold(storage, key)
    assert await storage.release(slot)
    assert await storage.abandoned(NOW * 2) == []
    assert await storage.last_seq(CART, "till") == 0
    assert await ask(storage, key) == Fresh(0)
    assert not await storage.release(slot)


async def test_release_under_a_lost_fence_does_nothing(storage: Storage) -> None:
    key = stateless()
    first = await hold(storage, key)
    await storage.release(first)
    second = await hold(storage, key)
    assert not await storage.release(first)
    assert await storage.abandoned(NOW * 2) == [second]
    assert not await storage.release(replace(second, resource=OTHER_CART))
    assert await storage.release(second)


async def test_abandoned_tells_the_slots_past_their_time(storage: Storage) -> None:
    slots = []
    for number, until in enumerate((NOW + 30, NOW + 10, NOW + 20)):
        resource, key = f"carts/{number}", numbered(1, f"client {number}")
        begun = await storage.begin(Claim(resource, key, 0, NOW, slot_until=until, call=b"call %d" % number))
        assert isinstance(begun, Fresh)
        (slot,) = [slot for slot in await storage.abandoned(until) if slot.resource == resource]
        assert (slot.key, slot.base, slot.call, slot.fence, slot.until) == (
            *(key, 0, b"call %d" % number),
            *(begun.fence, until),
        )
        slots.append(slot)
    assert await storage.abandoned(NOW + 9) == []
    assert await storage.abandoned(NOW + 20) == [slots[1], slots[2]]
    assert await storage.abandoned(NOW + 30) == [slots[1], slots[2], slots[0]]


async def test_a_cancelled_caller_leaves_its_commit_and_its_neighbours_whole(storage: Storage) -> None:
    first = asyncio.ensure_future(storage.commit(Commit(CART, 0, upsert(a=b"1"), NOW, stateless(), b"r")))
    second = asyncio.ensure_future(storage.commit(Commit(OTHER_CART, 0, upsert(a=b"1"), NOW)))
    await asyncio.sleep(0)
    first.cancel()
    assert isinstance(await second, Committed)
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await revision(storage) == 1


async def test_a_repeat_that_was_committed_meanwhile_is_told_apart(storage: Storage) -> None:
    """Two hubs at one command of a backend that deduplicates: the later one finds out by beginning again."""
    key = stateless()
    assert await ask(storage, key) == Fresh(0)
    assert await ask(storage, key) == Fresh(0)
    await do(storage, key, upsert(a=b"1"), b"by one")
    late = Commit(CART, 0, upsert(a=b"1"), NOW, key, b"by the other")
    assert await storage.commit(late) == Overtaken(Cursor(storage.epoch, 1))
    assert await ask(storage, key) == Repeated(b"by one")
    assert await ask(storage, replace(key, body_hash=b"other")) is Refusal.REUSED
