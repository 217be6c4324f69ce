"""Releases side by side on one storage: what an earlier one has written is understood, what a later one writes is
passed over or refused with a clear word."""

import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from legato.protocol.state import Delta
from legato_hub.storage.base import (
    Claim,
    Commit,
    Committed,
    Cursor,
    Gone,
    Loaded,
    Refusal,
    Repeated,
    Running,
    Storage,
    StorageError,
)
from legato_hub.storage.sqlite import SQLiteStorage
from legato_hub.storage.valkey import ValkeyStorage
from legato_hub.storage.valkey_keys import META, Keys
from tests.storage import old_state as old
from tests.storage import valkey_servers as servers
from tests.storage.deeds import CART, NOW, do, upsert
from tests.storage.old_state import CLOSED, ERASED, HELD, OPEN, SWEPT, key
from tests.storage.valkey_deeds import Told, opened


@pytest.fixture(params=["sqlite", "valkey"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    """An engine on what version 1 has left."""
    made: SQLiteStorage | ValkeyStorage
    if request.param == "sqlite":
        path = tmp_path / "hub.db"
        connection = sqlite3.connect(path)
        connection.executescript(old.SQLITE.read_text("utf-8"))
        connection.close()
        made = SQLiteStorage(str(path), log_length=old.LOG_LENGTH)
    else:
        port: int = request.getfixturevalue("port")
        old.write_valkey(port, json.loads(old.VALKEY.read_text("utf-8")))
        made = ValkeyStorage.from_url(f"valkey://127.0.0.1:{port}", log_length=old.LOG_LENGTH)
    await made.open()
    yield made
    await made.close()


async def test_what_version_1_has_written_is_understood(storage: Storage) -> None:
    epoch = storage.epoch
    entries = {"cart": b"3", "line/1": b"\x00\xff", "line/2": b"\x00\xff", "line/3": b"\x00\xff"}
    assert await storage.load(OPEN) == Loaded(Cursor(epoch, 5), entries, b"notebook", "v7")
    log = await storage.since(OPEN, Cursor(epoch, 2))
    assert not isinstance(log, Gone)
    assert [(u.cursor.revision, u.client_id, u.seq, u.traceparent) for u in log] == [
        *((at, "till", at, "00-trace") for at in (3, 4)),
        (5, "", 0, "00-trace"),
    ]
    assert log[-1].delta == Delta({}, frozenset({"line/0"}))
    assert await storage.since(OPEN, Cursor(epoch, 1)) is Gone.TRIMMED
    assert [await storage.last_seq(OPEN, client) for client in ("till", "phone", "web")] == [4, 41, 0]
    for command in (key(10, "till", 1), key(13, "till", 4), key(20)):
        assert await storage.begin(Claim(OPEN, command, 5, NOW)) == Repeated(b"result of it")
    assert await storage.load(SWEPT) == Loaded(Cursor(epoch, 1), tombstone=True)
    assert await storage.begin(Claim(SWEPT, key(40, "till", 1), 1, NOW)) == Repeated(b"result of it")
    (slot,) = await storage.abandoned(old.HELD_UNTIL)
    assert (slot.resource, slot.key, slot.call, slot.until) == (HELD, key(60, "till", 1), b"compiled call", NOW + 5_000)
    assert await storage.begin(Claim(HELD, key(60, "till", 1), 0, NOW)) == Running(slot)
    assert await storage.get("for good", NOW) == b"\x01value"
    assert await storage.get("until then", NOW + 9) == b"value"
    assert await storage.members("carts-of/x") == ["two", "one"]
    if isinstance(storage, ValkeyStorage):
        assert await storage.load(ERASED) == Loaded(Cursor(epoch, 2), tombstone=True)
        assert await storage.begin(Claim(ERASED, key(50), 2, NOW)) is Refusal.ALREADY_PROCESSED


async def test_it_goes_on_from_there(storage: Storage) -> None:
    (slot,) = await storage.abandoned(old.HELD_UNTIL)
    done = Commit(HELD, 0, upsert(cart=b"held"), NOW, slot.key, b"late", slot.fence)
    assert isinstance(await storage.commit(done), Committed)
    assert isinstance(await storage.commit(Commit(OPEN, 5, upsert(a=b"1"), NOW, key(70, "till", 5))), Committed)
    assert await storage.sweep(NOW + 10, closed_ms=5, idle_ms=1_000) == 3  # CLOSED, SWEPT and a record
    assert await storage.load(CLOSED) == Loaded(Cursor(storage.epoch, 1), tombstone=True)
    await storage.erase(OPEN, NOW)
    assert await storage.load(OPEN) == Loaded(Cursor(storage.epoch, 7), tombstone=True)


async def test_this_release_still_writes_what_version_1_means(port: int) -> None:
    """Whoever changes what is written sees it here: what is more than an addition needs another schema version."""
    async with opened(port, log_length=old.LOG_LENGTH) as storage:
        await old.live(storage)
    assert old.read_valkey(port) == json.loads(old.VALKEY.read_text("utf-8"))


async def test_what_a_later_release_adds_is_passed_over(port: int) -> None:
    async with opened(port) as storage:
        told = Told(storage)
        await do(storage, None, upsert(a=b"1"))
        (head, log, feed) = (name.decode() for name in Keys(CART).of(b"head", b"log", b"feed"))
        with servers.client(port) as server:
            server.hset(head, "novelty", "personal")
            server.hset(META.decode(), "novelty", "1")
            entry = server.xrange(log)[0][1][b"u"]
            origin = server.hget(head, "origin")
            server.xadd(log, {"u": entry, "novelty": "1"}, id="2-0")
            server.hset(head, "revision", "2")
            server.spublish(feed, origin + b" 2")
        await told.reached(2)
        assert told.revisions == [1, 2]
        await do(storage, None, upsert(a=b"3"))
        with servers.client(port) as server:
            assert server.hget(head, "novelty") == b"personal"
            await storage.erase(CART, NOW)
            assert server.hget(head, "novelty") is None


async def test_a_storage_upgraded_under_a_running_hub_is_left_alone(port: int) -> None:
    async with opened(port) as storage:
        await do(storage, None, upsert(a=b"1"))
        with servers.client(port) as server:
            server.hset(META.decode(), "schema", "2")
            with pytest.raises(StorageError, match="schema version '2'; this hub knows version 1"):
                await storage.probe()
            before = old.read_valkey(port)
            for deed in (
                storage.load(CART),
                storage.commit(Commit(CART, 1, upsert(a=b"2"), NOW)),
                storage.sweep(NOW, closed_ms=0, idle_ms=0),
                storage.put("a", b"1"),
                storage.erase(CART, NOW),
            ):
                with pytest.raises(StorageError, match="schema version '2'; this hub knows version 1"):
                    await deed
            assert old.read_valkey(port) == before
            server.hset(META.decode(), "schema", "1")
        await storage.probe()
        assert await storage.load(CART) is not None


@pytest.mark.parametrize("version", ["0", "2"])
async def test_a_database_of_another_version_is_refused(tmp_path: Path, version: str) -> None:
    path = tmp_path / "hub.db"
    connection = sqlite3.connect(path)
    connection.executescript(old.SQLITE.read_text("utf-8"))
    connection.execute("UPDATE meta SET value = ? WHERE name = 'schema'", (version,))
    connection.commit()
    connection.close()
    with pytest.raises(StorageError, match=f"schema version '{version}'; this hub knows version 1"):
        await SQLiteStorage(str(path)).open()
