"""Many hubs on one Valkey: they see each other, whatever becomes of a subscription."""

import asyncio
from dataclasses import replace

from legato_hub.storage.base import (
    Commit,
    Committed,
    Cursor,
    Overtaken,
    Repeated,
)
from legato_hub.storage.valkey import ValkeyStorage
from legato_hub.storage.valkey_keys import BUCKETS, Keys
from tests.storage import valkey_servers as servers
from tests.storage.deeds import CART, NOW, ask, do, grow, hold, numbered, revision, upsert
from tests.storage.engines import Engine
from tests.storage.valkey_deeds import Told, kill, opened, subscribed


async def test_hubs_see_each_others_commits_in_order(port: int) -> None:
    async with opened(port) as one, opened(port) as two:
        told = [Told(one), Told(two)]
        await subscribed(port, hubs=2)

        async def write(storage: ValkeyStorage, count: int) -> None:
            while count:
                base = await revision(storage)
                delta = upsert(note=b"%d" % base)
                count -= isinstance(await storage.commit(Commit(CART, base, delta, NOW)), Committed)

        await asyncio.gather(write(one, 100), write(two, 100))
        for followed in told:
            await followed.reached(200)
            assert followed.revisions == list(range(1, 201))
        assert told[0].updates == told[1].updates == await one.since(CART, Cursor(one.epoch, 0))


async def test_a_slot_of_one_hub_is_seen_and_resolved_by_another(port: int) -> None:
    async with opened(port) as one, opened(port) as two:
        key = numbered(1)
        slot = await hold(one, key)
        assert await two.abandoned(slot.until) == [slot]
        resolved = Commit(CART, 0, upsert(a=b"1"), NOW, key, b"by two", slot.fence)
        assert isinstance(await two.commit(resolved), Committed)
        assert await one.commit(replace(resolved, result=b"by one")) == Overtaken(Cursor(one.epoch, 1))
        assert await ask(one, key) == Repeated(b"by two")


async def test_one_subscription_for_each_resource_and_hub(port: int) -> None:
    channel = Keys(CART).of(b"feed")[0]
    async with opened(port) as storage:
        first, second = Told(storage), Told(storage)
        await subscribed(port, hubs=1)
        first.end()
        with servers.client(port) as server:
            assert server.execute_command("PUBSUB", "SHARDNUMSUB", channel) == [channel, 1]
            second.end()
            await subscribed(port, hubs=0)


async def test_a_silent_subscription_is_found_by_the_probe(port: int) -> None:
    async with opened(port) as one, opened(port) as two:
        told = Told(one)
        await subscribed(port)
        await grow(two, 1)
        await told.reached(1)
        # The server forgets the subscription, and the connection stays: as a lost message, or a failover, looks.
        for subscriber in one._feeds._subscribers.values():  # type: ignore[union-attr]
            subscriber._wanted.clear()
            subscriber._changed.set()
        await subscribed(port, hubs=0)
        await grow(two, 3)
        assert told.revisions == [1]
        await one.probe()
        await told.reached(3)
        assert told.revisions == [1, 2, 3]


async def test_a_lost_subscription_is_made_again_and_repaired(port: int) -> None:
    async with opened(port) as one, opened(port) as two:
        told = Told(one)
        await subscribed(port)
        await grow(two, 1)
        await told.reached(1)
        with servers.client(port) as server:
            assert kill(server, "pubsub") == 1
        await grow(two, 5)
        await told.reached(5)
        await subscribed(port)
        await grow(two, 6)
        await told.reached(6)
        assert told.revisions == [1, 2, 3, 4, 5, 6]


async def test_a_follower_left_behind_the_log_is_told_so(port: int) -> None:
    async with opened(port) as one, opened(port, log_length=3) as two:
        told = Told(one)
        await one.load(CART)
        for subscriber in one._feeds._subscribers.values():  # type: ignore[union-attr]
            await subscriber.close()
        await grow(two, 10)
        await one.probe()
        await told.lost.wait()
        assert told.revisions == []
        loaded = await one.load(CART)
        assert loaded is not None
        assert loaded.cursor.revision == 10
        await do(one, None, upsert(a=b"1"))
        assert told.revisions == [11]


async def test_a_bucket_that_moves_to_another_primary_is_followed(cluster_engine: Engine) -> None:
    """Commits, reads and a subscription go on while its slot is moved; nothing is lost, so the epoch stays."""
    storage = await cluster_engine.start()
    assert isinstance(storage, ValkeyStorage)
    told = Told(storage)
    await grow(storage, 3)
    before = storage.epoch
    servers.move_slot(servers.cluster(), Keys(CART).bucket.slot)
    await grow(storage, 5)
    other = await cluster_engine.start()
    await grow(other, 6)
    await told.reached(6)
    assert told.revisions == [1, 2, 3, 4, 5, 6]
    assert not told.lost.is_set()
    assert storage.epoch == before
    assert len(await storage.since(CART, Cursor(before, 0))) == 6  # type: ignore[arg-type]


def test_buckets_lie_in_slots_of_their_own() -> None:
    assert len({Keys(f"carts/{number}").bucket.slot for number in range(10_000)}) == BUCKETS
