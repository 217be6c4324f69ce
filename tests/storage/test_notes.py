"""Notes: what the processes that follow a resource tell each other, beside its revisions."""

import asyncio

from legato_hub.storage.base import Cursor, Storage
from legato_hub.storage.valkey import ValkeyStorage
from legato_hub.storage.valkey_keys import Keys
from tests.storage import valkey_servers as servers
from tests.storage.deeds import CART, OTHER_CART, grow
from tests.storage.engines import Engine
from tests.storage.valkey_deeds import Told, opened, subscribed, until


async def test_a_note_is_no_revision_and_does_not_come_back(storage: Storage) -> None:
    told: list[object] = []
    storage.follow(CART, told.append, noted=told.append)
    assert await storage.notify(CART, b"a note") == 0
    assert await storage.notify(OTHER_CART, b"to nobody") == 0
    await grow(storage, 1)  # behind the notes on whatever way they would have come
    assert len(told) == 1
    assert len(await storage.since(CART, Cursor(storage.epoch, 0))) == 1  # type: ignore[arg-type]
    assert await storage.load(OTHER_CART) is None


class Heard:
    """The notes that a hub hears about the cart."""

    def __init__(self, storage: ValkeyStorage) -> None:
        self.notes: asyncio.Queue[bytes] = asyncio.Queue()
        self.end = storage.follow(CART, lambda _: None, noted=self.notes.put_nowait)


async def test_a_note_reaches_every_follower_in_the_other_processes(port: int) -> None:
    async with opened(port) as one, opened(port) as two, opened(port) as three:
        own, others = Heard(one), [Heard(two), Heard(two), Heard(three)]
        await subscribed(port, hubs=3)
        await until(lambda: Keys(CART).of(b"feed")[0] in next(iter(one._feeds._subscribers.values())).confirmed)  # type: ignore[union-attr]
        note = b"\x00 0 note \xff\n"
        assert await one.notify(CART, note) == 2
        for heard in others:
            assert await heard.notes.get() == note
        assert await three.notify(CART, b"") == 2
        assert await own.notes.get() == b""
        assert [heard.notes.qsize() for heard in (own, *others)] == [0, 1, 1, 0]


async def test_notes_go_to_the_primary_that_has_the_resource(cluster_engine: Engine) -> None:
    one, two = await cluster_engine.start(), await cluster_engine.start()
    notes: asyncio.Queue[bytes] = asyncio.Queue()
    two.follow(CART, lambda _: None, noted=notes.put_nowait)

    async def arrives() -> None:
        while not await one.notify(CART, b"x"):
            pass  # until the other has subscribed where the resource is now
        assert await notes.get() == b"x"

    await arrives()
    servers.move_slot(servers.cluster(), Keys(CART).bucket.slot)
    await arrives()


async def test_whoever_does_not_follow_is_told_how_many_do(port: int) -> None:
    async with opened(port) as one, opened(port) as two:
        heard = Heard(two)
        await subscribed(port, hubs=1)
        assert await one.notify(CART, b"1") == 1
        assert await heard.notes.get() == b"1"
        heard.end()
        await subscribed(port, hubs=0)
        assert await one.notify(CART, b"2") == 0


async def test_what_a_later_version_may_say_is_passed_over(port: int) -> None:
    async with opened(port) as one, opened(port) as two:
        heard, told = Heard(one), Told(one)
        await subscribed(port)
        (channel,) = Keys(CART).of(b"feed")
        with servers.client(port) as server:
            for said in (b" 0 ", b" 0 question", b" 0 question of a kind"):
                assert server.execute_command("SPUBLISH", channel, said) == 1
        await two.notify(CART, b"known")
        assert await heard.notes.get() == b"known"
        await grow(two, 1)
        await told.reached(1)
        assert not told.lost.is_set()
