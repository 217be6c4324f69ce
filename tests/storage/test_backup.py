"""Backups, and that whatever was restored, and however, has another epoch."""

import shutil
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from legato_hub.cli import app
from legato_hub.storage.base import Cursor, Gone, StorageError
from legato_hub.storage.sqlite import SQLiteStorage
from legato_hub.storage.sqlite_backup import back_up, new_epoch, restore
from tests.storage import valkey_servers as servers
from tests.storage.deeds import CART, do, grow, numbered, revision, upsert
from tests.storage.valkey_deeds import Told, opened


@asynccontextmanager
async def storage_of(path: Path) -> AsyncIterator[SQLiteStorage]:
    storage = SQLiteStorage(str(path))
    await storage.open()
    try:
        yield storage
    finally:
        await storage.close()


async def epoch_of(path: Path) -> str:
    async with storage_of(path) as storage:
        return storage.epoch


def list_of(folder: Path, pattern: str) -> list[Path]:
    return list(folder.glob(pattern))


def legato(*arguments: str | Path) -> tuple[int, str]:
    """Exit status and output of the command line."""
    result = CliRunner().invoke(app, list(map(str, arguments)))
    return result.exit_code, result.output.strip()


async def test_a_backup_of_a_running_hub_is_restored_under_another_epoch(tmp_path: Path) -> None:
    path, copy, elsewhere = tmp_path / "hub.db", tmp_path / "backup.db", tmp_path / "new" / "hub.db"
    key = numbered(1)
    async with storage_of(path) as storage:
        cursor = await do(storage, key, upsert(a=b"1"))
        assert legato("backup", copy, "--storage", f"sqlite:{path}") == (0, f"backed up to {copy}")
        await grow(storage, 3)
        assert await storage.since(CART, cursor) != Gone.OTHER_EPOCH
        former = storage.epoch
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert not list_of(tmp_path, "backup.db-*")
    said = legato("restore", copy, "--storage", f"sqlite:{elsewhere}")
    assert said == (0, f"restored {elsewhere}; a new epoch begins when it is opened")
    async with storage_of(elsewhere) as storage:
        assert storage.epoch != former
        assert await revision(storage) == 1
        assert await storage.since(CART, Cursor(former, 1)) is Gone.OTHER_EPOCH
        assert await storage.last_seq(CART, "till") == 1
        restored = storage.epoch
    assert await epoch_of(elsewhere) == restored


async def test_each_restoration_of_one_backup_has_an_epoch_of_its_own(tmp_path: Path) -> None:
    path, copy = tmp_path / "hub.db", tmp_path / "backup.db"
    epochs = {await epoch_of(path)}
    back_up(str(path), str(copy))
    for _ in range(2):
        path.unlink()
        restore(str(path), str(copy))
        epochs.add(await epoch_of(path))
    assert len(epochs) == 3


async def test_a_database_replaced_by_copying_begins_a_new_epoch(tmp_path: Path) -> None:
    path, backup, early, lately = (tmp_path / name for name in ("hub.db", "backup.db", "early.db", "lately.db"))
    epochs = {await epoch_of(path)}
    shutil.copy(path, early)
    assert await epoch_of(path) in epochs
    back_up(str(path), str(backup))
    shutil.copy(path, lately)
    # Written over the very file: an earlier opening's, and a backup. Put in its place: even one of this opening.
    shutil.copy(early, path)
    epochs.add(await epoch_of(path))
    shutil.copy(backup, path)
    epochs.add(await epoch_of(path))
    assert len(epochs) == 3
    shutil.copy(path, lately)
    lately.rename(path)
    epochs.add(await epoch_of(path))
    assert len(epochs) == 4
    path.rename(tmp_path / "moved.db")
    epochs.add(await epoch_of(tmp_path / "moved.db"))
    assert len(epochs) == 5


async def test_a_new_epoch_can_be_forced(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    former = await epoch_of(path)
    status, said = legato("new-epoch", "--storage", f"sqlite:{path}")
    assert status == 0
    assert said == f"the epoch is {await epoch_of(path)}"
    assert await epoch_of(path) != former


async def test_what_cannot_be_done_is_told_and_changes_nothing(tmp_path: Path) -> None:
    path, copy, other = tmp_path / "hub.db", tmp_path / "backup.db", tmp_path / "other.db"
    async with storage_of(path) as storage:
        back_up(str(path), str(copy))
        with pytest.raises(StorageError, match="exists"):
            back_up(str(path), str(copy))
        with pytest.raises(StorageError, match="exists; move it away first"):
            restore(str(path), str(copy))
        with pytest.raises(StorageError, match="in use by another hub"):
            new_epoch(str(path))
        await do(storage, None, upsert(a=b"1"))
    with pytest.raises(StorageError, match="no such file"):
        back_up(str(other), str(tmp_path / "x"))
    with pytest.raises(StorageError, match="there is no database"):
        new_epoch(str(other))
    assert legato("restore", tmp_path / "x", "--storage", f"sqlite:{other}")[0] == 1
    assert not other.exists()
    stale = tmp_path / "other.db-wal"
    stale.touch()
    with pytest.raises(StorageError, match=r"other\.db-wal: exists"):
        restore(str(other), str(copy))
    stale.unlink()
    copy.write_bytes(b"SQLite no more")
    with pytest.raises(StorageError, match="not a database"):
        restore(str(other), str(copy))
    sqlite3.connect(tmp_path / "foreign.db").execute("CREATE TABLE t (x)")
    with pytest.raises(StorageError, match="not a database of Legato"):
        restore(str(other), str(tmp_path / "foreign.db"))
    assert not other.exists()
    assert not list_of(tmp_path, "*.new")


async def test_a_damaged_backup_is_refused(tmp_path: Path) -> None:
    path, copy = tmp_path / "hub.db", tmp_path / "backup.db"
    async with storage_of(path) as storage:
        for number in range(50):
            await do(storage, None, upsert(**{f"line/{number}": b"x" * 1_000}))
    back_up(str(path), str(copy))
    data = bytearray(copy.read_bytes())
    for at in range(20 * 4_096, 40 * 4_096):
        data[at] ^= 0x5A
    copy.write_bytes(data)
    path.unlink()
    with pytest.raises(StorageError, match=r"damaged|malformed"):
        restore(str(path), str(copy))
    assert not path.exists()


def test_valkey_is_told_to_back_itself_up(tmp_path: Path) -> None:
    for command in ("backup", "restore"):
        status, said = legato(command, tmp_path / "x", "--storage", "valkey://127.0.0.1:1/0")
        assert status == 2
        assert "docs/storage.md" in said
    assert legato("backup", tmp_path / "x", "--storage", "sqlite::memory:")[0] == 2


async def test_a_valkey_started_from_a_snapshot_has_another_epoch(tmp_path: Path) -> None:
    with servers.own_server(appendonly="no") as server:
        async with opened(server.port) as storage:
            cursor = await do(storage, numbered(1), upsert(a=b"1"))
        with servers.client(server.port) as client:
            client.save()
        shutil.copy(Path(server.data_dir) / "dump.rdb", tmp_path)
    with servers.own_server(appendonly="no") as server:
        server._desired_port = server.port
        server.stop()
        shutil.copy(tmp_path / "dump.rdb", server.data_dir)
        server.start()
        async with opened(server.port) as storage:
            assert storage.epoch != cursor.epoch
            assert await storage.last_seq(CART, "till") == 1
            assert await storage.since(CART, cursor) is Gone.OTHER_EPOCH


async def test_a_forced_epoch_reaches_running_hubs_by_their_probe(port: int) -> None:
    async with opened(port) as storage:
        cursor = await do(storage, None, upsert(a=b"1"))
        told = Told(storage)
        await storage.load(CART)
        async with opened(port) as operator:
            epoch = await operator.new_epoch()
        assert epoch != cursor.epoch
        await storage.probe()
        assert storage.epoch == epoch
        assert told.lost.is_set()
        assert await storage.since(CART, cursor) is Gone.OTHER_EPOCH
        loaded = await storage.load(CART)
        assert loaded is not None
        assert loaded.entries == {"a": b"1"}


def test_the_command_forces_it_on_valkey(port: int) -> None:
    first, second = (legato("new-epoch", "--storage", f"valkey://127.0.0.1:{port}/0") for _ in range(2))
    assert first[0] == second[0] == 0
    assert first[1].startswith("the epoch is ")
    assert first != second
