"""Retention: however much is past its time goes, by one hub at a time."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from legato.protocol.state import Delta
from legato_hub import retention
from legato_hub.clock import now_ms
from legato_hub.config import StorageConfig
from legato_hub.retention import PERIOD_S, TURN_MS, Retention
from legato_hub.storage.base import Commit, Storage, StorageError
from legato_hub.storage.sqlite import SQLiteStorage
from legato_hub.storage.valkey import ValkeyStorage
from tests.storage import valkey_servers

CONFIG = StorageConfig()
LONG_AGO = now_ms() - 400 * retention.DAY_MS
MANY = 2_300


@pytest.fixture(scope="module", autouse=True)
def stop_servers() -> Iterator[None]:
    yield
    valkey_servers.stop_all()


@pytest.fixture(params=["sqlite", "valkey"])
async def storage(request: pytest.FixtureRequest) -> AsyncIterator[Storage]:
    made: SQLiteStorage | ValkeyStorage = SQLiteStorage(":memory:")
    if request.param == "valkey":
        (port,) = valkey_servers.standalone()
        with valkey_servers.client(port) as server:
            server.flushall()
        made = ValkeyStorage.from_url(f"valkey://127.0.0.1:{port}")
    await made.open()
    yield made
    await made.close()


async def left(storage: Storage) -> int:
    loaded = await asyncio.gather(*(storage.load(f"carts/{number}") for number in range(MANY)))
    return sum(one is not None and not one.tombstone for one in loaded)


async def test_a_backlog_is_worked_off_in_one_turn(storage: Storage) -> None:
    old = [Commit(f"carts/{number}", 0, Delta({"a": b"1"}), LONG_AGO) for number in range(MANY)]
    await asyncio.gather(*(storage.commit(commit) for commit in old))
    await storage.commit(Commit("carts/young", 0, Delta({"a": b"1"}), now_ms()))
    for number in range(1_200):
        await storage.put(f"record {number}", b"", until=LONG_AGO)
    assert await Retention(storage, CONFIG).sweep() == MANY + 1_200
    assert await left(storage) == 0
    young = await storage.load("carts/young")
    assert young is not None
    assert not young.tombstone


async def test_hubs_take_turns(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    hubs = [Retention(storage, CONFIG) for _ in range(5)]
    await storage.commit(Commit("carts/1", 0, Delta({"a": b"1"}), LONG_AGO))
    assert sorted(await asyncio.gather(*(hub.sweep() for hub in hubs))) == [0, 0, 0, 0, 1]
    await storage.commit(Commit("carts/2", 0, Delta({"a": b"1"}), LONG_AGO))
    assert await hubs[0].sweep() == 0
    later = now_ms() + TURN_MS + 1
    monkeypatch.setattr(retention, "now_ms", lambda: later)
    assert await hubs[0].sweep() == 1


def test_a_hub_alone_never_misses_its_turn() -> None:
    assert TURN_MS < PERIOD_S * 750


async def test_a_storage_that_fails_is_swept_later(monkeypatch: pytest.MonkeyPatch) -> None:
    swept, turns = asyncio.Event(), iter([StorageError("gone for now"), None])

    async def sweep(_: Retention) -> int:
        failure = next(turns)
        if failure is not None:
            raise failure
        swept.set()
        await asyncio.Event().wait()
        return 0

    monkeypatch.setattr(retention, "PERIOD_S", 0.001)
    monkeypatch.setattr(Retention, "sweep", sweep)
    running = asyncio.create_task(Retention(SQLiteStorage(":memory:"), CONFIG).run())
    await asyncio.wait_for(swept.wait(), 30)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
