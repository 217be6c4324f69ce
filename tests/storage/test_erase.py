"""Erasure: what is gone, what stays so that no promise breaks, and that no byte of the rest can be found."""

import asyncio
import random
import sqlite3
from pathlib import Path
from typing import Any

from legato.protocol.ids import new_id
from legato.protocol.state import Delta
from legato_hub.storage.base import (
    Claim,
    CommandKey,
    Commit,
    Committed,
    Cursor,
    Gone,
    Loaded,
    Moved,
    Overtaken,
    Refusal,
    Storage,
)
from legato_hub.storage.sqlite import SQLiteStorage
from tests.storage import valkey_servers as servers
from tests.storage.deeds import (
    CART,
    NOTHING,
    NOW,
    OTHER_CART,
    ask,
    do,
    hold,
    numbered,
    revision,
    stateless,
    upsert,
)
from tests.storage.engines import Engine, SQLiteEngine, ValkeyEngine
from tests.storage.valkey_deeds import opened

SECRETS = (b"Hieronymus Q. Wintergarten", b"hieronymus@wintergarten.example", b"7 Unmistakable Lane")


async def test_what_is_erased_is_a_tombstone_of_the_next_revision(storage: Storage) -> None:
    await do(storage, numbered(1), upsert(a=b"1"))
    await storage.erase(CART, NOW)
    assert await storage.load(CART) == Loaded(Cursor(storage.epoch, 2), tombstone=True)
    assert await storage.since(CART, Cursor(storage.epoch, 1)) is Gone.TRIMMED
    assert await storage.since(CART, Cursor(storage.epoch, 2)) == []
    assert await storage.last_seq(CART, "till") == 1


async def test_repeats_of_what_was_erased_are_told_as_processed(storage: Storage) -> None:
    first, second = numbered(1), stateless()
    await do(storage, first, upsert(a=b"1"))
    await do(storage, second, upsert(a=b"2"))
    await storage.erase(CART, NOW)
    again = (
        first,
        second,
        CommandKey(second.command_id, b"another body"),
        CommandKey(first.command_id, first.body_hash, "till", 2),
        CommandKey(new_id(NOW), first.body_hash, "till", 1),
    )
    assert [await ask(storage, key) for key in again] == [Refusal.ALREADY_PROCESSED] * 5


async def test_nothing_begun_before_fits_afterwards(storage: Storage) -> None:
    await do(storage, None, upsert(a=b"1"))
    await storage.erase(CART, NOW)
    claim = Claim(CART, stateless(), 1, NOW, slot_until=NOW + 1_000)
    assert await storage.begin(claim) == Moved(Cursor(storage.epoch, 2))
    late = Commit(CART, 1, upsert(a=b"2"), NOW)
    assert await storage.commit(late) == Overtaken(Cursor(storage.epoch, 2))
    assert await storage.commit(Commit(CART, 2, upsert(a=b"2"), NOW)) == Overtaken(Cursor(storage.epoch, 2))


async def test_a_command_in_the_slot_never_executes_again(storage: Storage) -> None:
    for key in (numbered(1), stateless()):
        slot = await hold(storage, key)
        await storage.erase(CART, NOW)
        assert await storage.abandoned(NOW + 10_000) == []
        assert not await storage.release(slot)
        base = await revision(storage)
        assert isinstance(await storage.commit(Commit(CART, base, NOTHING, NOW, key, b"r", slot.fence)), Overtaken)
        assert await ask(storage, key, slot=True) is Refusal.ALREADY_PROCESSED
    assert await storage.last_seq(CART, "till") == 1


async def test_what_never_was_can_be_erased_before_it_is_made(storage: Storage) -> None:
    await storage.erase(CART, NOW)
    assert await storage.commit(Commit(CART, 0, upsert(a=b"1"), NOW)) == Overtaken(Cursor(storage.epoch, 1))
    assert await storage.load(CART) == Loaded(Cursor(storage.epoch, 1), tombstone=True)


async def test_what_was_erased_is_forgotten_after_its_time(storage: Storage) -> None:
    await storage.commit(Commit(CART, 0, upsert(a=b"1"), NOW))
    await storage.commit(Commit(OTHER_CART, 0, upsert(a=b"1"), NOW, closed=True))
    await storage.erase(CART, NOW + 50)
    await storage.erase(OTHER_CART, NOW + 50)
    assert await storage.sweep(NOW + 150, closed_ms=10, idle_ms=100) == 1
    assert await storage.load(OTHER_CART) is None
    assert await storage.sweep(NOW + 151, closed_ms=10, idle_ms=100) == 1
    assert await storage.load(CART) is None


async def test_others_keep_what_is_theirs(storage: Storage) -> None:
    await storage.commit(Commit(OTHER_CART, 0, upsert(a=b"1"), NOW))
    await do(storage, None, upsert(a=b"1"))
    await storage.erase(CART, NOW)
    loaded = await storage.load(OTHER_CART)
    assert loaded is not None
    assert loaded.entries == {"a": b"1"}


async def test_followers_are_told_that_all_is_lost(storage: Storage) -> None:
    lost: list[str] = []

    def fail() -> None:
        raise AssertionError("a faulty follower")

    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    storage.follow(CART, lambda _: None, lost=fail)
    storage.follow(CART, lambda _: None, lost=lambda: lost.append(CART))
    storage.follow(CART, lambda _: None)
    storage.follow(OTHER_CART, lambda _: None, lost=lambda: lost.append(OTHER_CART))
    end = storage.follow(CART, lambda _: None, lost=lambda: lost.append("ended"))
    end()
    await do(storage, None, upsert(a=b"1"))
    await storage.erase(CART, NOW)
    assert lost == [CART]
    assert len(faults) == 1


async def test_hubs_elsewhere_are_told_by_the_feed_or_by_a_probe(port: int) -> None:
    for deaf in (False, True):
        async with opened(port) as mine, opened(port) as other:
            lost = asyncio.Event()
            base = await revision(mine, CART if deaf else OTHER_CART)
            resource = CART if deaf else OTHER_CART
            await mine.commit(Commit(resource, base, upsert(a=b"1"), NOW))
            other.follow(resource, lambda _: None, lost=lost.set)
            await other.load(resource)
            if deaf:
                assert other._feeds is not None
                other._feeds._on_message = lambda channel, data: None  # type: ignore[method-assign]
                for subscriber in other._feeds._subscribers.values():
                    subscriber._on_message = lambda channel, data: None
            await mine.erase(resource, NOW)
            if deaf:
                await other.probe()
            await asyncio.wait_for(lost.wait(), 30)
            loaded = await other.load(resource)
            assert loaded is not None
            assert loaded.tombstone


async def live_through_much(storage: Storage, seed: int) -> None:
    """A customer's cart among a hundred others: written again and again, with a command on its way, then erased."""
    chance = random.Random(seed)
    name, email, address = SECRETS

    def secrets() -> Delta:
        words = b" ".join(chance.choices([name, email, address, b"-"], k=chance.choice((1, 5, 300))))
        return Delta({chance.choice(["cart", "totals", f"line/{chance.randrange(9)}"]): name + words})

    def noise() -> Delta:
        return Delta({f"line/{chance.randrange(9)}": chance.randbytes(chance.choice((10, 100, 3_000)))})

    at = {f"carts/{number}": 0 for number in range(100)} | {CART: 0}
    seq = 0
    for turn in range(400):
        resource = CART if turn % 4 == 0 else chance.choice(list(at))
        done = Commit(resource, at[resource], noise(), NOW)
        if resource == CART:
            key = CommandKey(new_id(NOW), name)
            if turn % 8 == 0:
                seq += 1
                key = CommandKey(new_id(NOW), name, "till", seq)
            done = Commit(CART, at[CART], secrets(), NOW, key, email, 0, address, "1")
        assert isinstance(await storage.commit(done), Committed)
        at[resource] += 1
    claim = Claim(CART, stateless(), at[CART], NOW, call=b"call of " + name + address, slot_until=NOW + 1_000)
    await storage.begin(claim)


async def test_no_byte_of_it_is_left(lasting_engine: Engine) -> None:
    storage = await lasting_engine.start(log_length=20)
    for seed in (21, 65, 71):  # after which SQLite, left alone, has copies in pages between which rows moved
        await live_through_much(storage, seed)
        assert found(lasting_engine) == set(SECRETS)
        await storage.erase(CART, NOW)
        await storage.scrub()
        assert found(lasting_engine) == set()
        await start_over(storage)


async def start_over(storage: Storage) -> None:
    """Forget everything, tombstones too."""
    for later in (1, 2):
        while await storage.sweep(NOW + later, closed_ms=0, idle_ms=0):
            pass


def found(engine: Engine) -> set[bytes]:
    """Which of the secrets stand anywhere in what the engine keeps."""
    if isinstance(engine, SQLiteEngine):
        places = [Path(f"{engine.path}{suffix}").read_bytes() for suffix in ("", "-wal")]
    else:
        assert isinstance(engine, ValkeyEngine)
        places = [place for port in engine.ports for place in everything_on(port)]
    return {secret for secret in SECRETS for place in places if secret in place}


def everything_on(port: int) -> list[bytes]:
    """Names and values of all keys of a server."""
    places = []
    with servers.client(port) as server:
        for key in server.scan_iter():
            kind = server.type(key)
            value: object = {
                b"hash": server.hgetall,
                b"zset": lambda k: server.zrange(k, 0, -1),
                b"stream": server.xrange,
                b"string": server.get,
            }[kind](key)
            # As Python shows them: the secrets have no byte that would be shown otherwise.
            places.append(key + repr(value).encode())
    return places


async def test_a_reader_of_the_file_is_waited_for(tmp_path: Path) -> None:
    storage = SQLiteStorage(f"{tmp_path}/legato.db")
    await storage.open()
    try:
        await do(storage, None, upsert(a=SECRETS[0]))
        reader = sqlite3.connect(f"{tmp_path}/legato.db", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM entity").fetchall()
        await storage.erase(CART, NOW)
        scrubbing = asyncio.create_task(storage.scrub())
        await storage.put("behind", b"the scrubbing")  # what is asked in between is done in between
        await storage.put("behind", b"its first try")
        assert not scrubbing.done()
        reader.execute("COMMIT")
        reader.close()
        await asyncio.wait_for(scrubbing, 30)
    finally:
        await storage.close()
