"""What is the SQLite engine's alone: possession of the file, crashes, failing units of work."""

import asyncio
import os
import resource
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import pytest

from legato_hub.storage.base import (
    LOG_LENGTH,
    RESULTS_PER_CLIENT,
    RESULTS_PER_RESOURCE,
    Claim,
    Commit,
    Committed,
    Cursor,
    Fresh,
    Gone,
    StorageError,
    Update,
)
from legato_hub.storage.sqlite import SQLiteStorage
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

WRITER = Path(__file__).parent / "endless_writer.py"


@asynccontextmanager
async def opened(path: Path, log_length: int = LOG_LENGTH) -> AsyncIterator[SQLiteStorage]:
    """An open storage over that file."""
    storage = SQLiteStorage(str(path), log_length=log_length)
    await storage.open()
    yield storage
    await storage.close()


@asynccontextmanager
async def endless_writer(path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another process that commits to `path` and prints what was acknowledged, until it is killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(WRITER), str(path), stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def read_line(process: asyncio.subprocess.Process) -> str:
    """The next line; "" at the end."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def test_a_second_process_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    async with endless_writer(path) as process:
        assert await read_line(process)
        with pytest.raises(StorageError, match="in use by another hub") as caught:
            await SQLiteStorage(str(path)).open()
        assert str(path) in str(caught.value)
        process.kill()
        await process.wait()
        async with opened(path) as storage:
            assert storage.epoch


async def test_a_second_storage_of_one_process_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "alias.db").symlink_to(tmp_path / "hub.db")
    async with opened(tmp_path / "hub.db"):
        for name in ("hub.db", "alias.db"):
            with pytest.raises(StorageError, match=f"{name}: in use"):
                await SQLiteStorage(str(tmp_path / name)).open()
    async with opened(tmp_path / "hub.db") as storage:
        assert storage.epoch


async def test_a_storage_is_opened_once(tmp_path: Path) -> None:
    async with opened(tmp_path / "hub.db") as storage:
        with pytest.raises(StorageError, match="opened twice"):
            await storage.open()


async def test_an_opening_that_is_cancelled_lets_go(tmp_path: Path) -> None:
    storage = SQLiteStorage(str(tmp_path / "hub.db"))
    opening = asyncio.ensure_future(storage.open())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await storage.close()
    async with opened(tmp_path / "hub.db") as another:
        assert another.epoch


async def test_no_acknowledged_commit_is_lost_by_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    acknowledged: dict[str, int] = {}
    for _ in range(3):
        async with endless_writer(path) as process:
            for _ in range(150):
                name, at = (await read_line(process)).split()
                assert int(at) == acknowledged.get(name, 0) + 1
                acknowledged[name] = int(at)
            process.kill()
            while line := await read_line(process):
                name, at = line.split()
                acknowledged[name] = int(at)
        async with opened(path) as storage:
            for name in list(acknowledged):
                loaded = await storage.load(name)
                assert loaded is not None
                at_least = acknowledged[name]
                assert loaded.cursor.revision >= at_least
                log = await storage.since(name, Cursor(storage.epoch, 0))
                assert not isinstance(log, Gone)
                assert [update.cursor.revision for update in log] == list(range(1, loaded.cursor.revision + 1))
                assert loaded.entries == {"note": b"%d" % loaded.cursor.revision}
                assert await storage.last_seq(name, "writer") == loaded.cursor.revision
                acknowledged[name] = loaded.cursor.revision
            for slot in await storage.abandoned(NOW * 2):
                assert await storage.release(slot)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@contextmanager
def no_room_beyond(file: Path) -> Iterator[None]:
    """As on a full disk: no file can grow larger than this one is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_failing_transaction_fails_all_its_units_and_tells_nobody(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    async with opened(path) as storage:
        await grow(storage, 1)
        told: list[Update] = []
        for name in (CART, OTHER_CART):
            storage.follow(name, told.append)
        key = stateless()
        with no_room_beyond(Path(f"{path}-wal")):
            answers = await asyncio.gather(
                storage.commit(Commit(CART, 1, upsert(a=b"1"), NOW, key, b"r")),
                storage.commit(Commit(OTHER_CART, 0, upsert(a=b"1"), NOW)),
                storage.begin(Claim("carts/third", key, 0, NOW, slot_until=NOW + 1)),
                storage.load(CART),
                return_exceptions=True,
            )
        assert all(isinstance(answer, StorageError) and str(path) in str(answer) for answer in answers), answers
        assert len({id(answer) for answer in answers}) == 4
        assert told == []

        assert await revision(storage) == 1
        assert await storage.load(OTHER_CART) is None
        assert await storage.abandoned(NOW * 2) == []
        assert (await do(storage, key, upsert(a=b"1"))).revision == 2
        assert [update.cursor.revision for update in told] == [2]


async def test_a_full_database_fails_the_batch_and_leaves_it_usable(tmp_path: Path) -> None:
    """SQLite rolls the whole transaction back by itself when a page cannot be had."""
    async with opened(tmp_path / "hub.db") as storage:
        await grow(storage, 1)

        def limit(connection: sqlite3.Connection) -> None:
            ((pages,),) = connection.execute("PRAGMA page_count").fetchall()
            connection.execute(f"PRAGMA max_page_count = {pages + 2}").fetchall()

        await storage._writer.run(limit)
        answers = await asyncio.gather(
            storage.commit(Commit(OTHER_CART, 0, upsert(a=b"1"), NOW)),
            storage.commit(Commit(CART, 1, upsert(a=b"x" * 100_000), NOW)),
            return_exceptions=True,
        )
        assert [type(answer) for answer in answers] == [StorageError, StorageError]
        assert await revision(storage) == 1
        assert await storage.load(OTHER_CART) is None
        assert (await do(storage, None, upsert(a=b"small"))).revision == 2


async def test_a_failing_unit_leaves_its_neighbours_whole(tmp_path: Path) -> None:
    async with opened(tmp_path / "hub.db") as storage:
        told: list[Update] = []
        storage.follow(CART, told.append)
        answers = await asyncio.gather(
            storage.commit(Commit(CART, 0, upsert(a=b"1"), NOW, numbered(1), b"r")),
            storage.adopt_seq(CART, "phone", 2**63),
            storage.commit(Commit(CART, 1, upsert(a=b"2"), NOW, numbered(2), b"r")),
            storage.begin(Claim(OTHER_CART, stateless(), 0, NOW, slot_until=2**63)),
            storage.begin(Claim(OTHER_CART, stateless(), 0, NOW, slot_until=NOW + 1)),
            return_exceptions=True,
        )
        assert [type(answer) for answer in answers] == [Committed, StorageError, Committed, StorageError, Fresh]
        assert [update.cursor.revision for update in told] == [1, 2]
        assert told == await storage.since(CART, Cursor(storage.epoch, 0))
        assert await storage.last_seq(CART, "phone") == 0
        assert len(await storage.abandoned(NOW + 1)) == 1


async def test_a_commit_or_nothing(tmp_path: Path) -> None:
    """A unit that fails halfway leaves nothing of itself."""
    async with opened(tmp_path / "hub.db") as storage:
        broken = Commit(CART, 0, upsert(a=b"1"), NOW, numbered(1), b"r", version="\ud800")
        with pytest.raises(StorageError):
            await storage.commit(broken)
        assert await storage.load(CART) is None
        assert await storage.since(CART, Cursor(storage.epoch, 0)) == []
        assert await storage.last_seq(CART, "till") == 0


async def test_the_file_is_its_owners_and_safe_against_power_cuts(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    async with opened(path) as storage:
        await grow(storage, 1)
        for name in (path, f"{path}-wal", f"{path}.lock"):
            assert stat.S_IMODE(os.stat(name).st_mode) == 0o600

        def pragmas(connection: sqlite3.Connection) -> list[object]:
            names = ("journal_mode", "synchronous")
            return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

        assert await storage._writer.run(pragmas) == ["wal", 2]


async def test_no_statement_of_the_write_path_scans_a_table(tmp_path: Path) -> None:
    """So that a commit costs the same at 100,000 resources and at 10,000 revisions."""
    statements: set[str] = set()

    def trace(connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(statements.add)

    def plans(connection: sqlite3.Connection) -> list[str]:
        connection.set_trace_callback(None)
        explained = [
            (statement, row[3])
            for statement in statements
            if statement.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE")
            for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")
        ]
        assert len(explained) > 10
        return [f"{plan}: {statement}" for statement, plan in explained if plan.startswith("SCAN")]

    async with opened(tmp_path / "hub.db", log_length=2) as storage:
        await storage._writer.run(trace)
        for seq in range(1, RESULTS_PER_CLIENT + 3):
            key = numbered(seq)
            slot = await hold(storage, key)
            await storage.commit(Commit(CART, seq - 1, upsert(a=b"1"), NOW, key, b"r", slot.fence))
            await ask(storage, key)
        at = await revision(storage)
        keys = [stateless() for _ in range(RESULTS_PER_RESOURCE + 2)]
        await asyncio.gather(*(storage.commit(Commit(CART, at, NOTHING, NOW, key, b"r")) for key in keys))
        await ask(storage, keys[-1])
        await storage.release(await hold(storage, numbered(RESULTS_PER_CLIENT + 3)))
        await storage.adopt_seq(CART, "phone", 1)
        await storage.since(CART, Cursor(storage.epoch, at - 1))
        assert await storage._writer.run(plans) == []


async def test_a_foreign_writer_fails_units_at_once_and_does_not_hold_the_event_loop(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    async with opened(path) as storage:
        foreign = sqlite3.connect(path, isolation_level=None)
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked"):
            await storage.commit(Commit(CART, 0, upsert(a=b"1"), NOW))
        foreign.execute("ROLLBACK")
        foreign.close()
        assert (await do(storage, None, upsert(a=b"1"))).revision == 1


async def test_a_backup_may_be_taken_while_the_hub_runs(tmp_path: Path) -> None:
    async with opened(tmp_path / "hub.db") as storage:
        await grow(storage, 3)
        with (
            closing(sqlite3.connect(tmp_path / "hub.db")) as source,
            closing(sqlite3.connect(tmp_path / "copy.db")) as copy,
        ):
            source.backup(copy)
        await grow(storage, 4)
    async with opened(tmp_path / "copy.db") as storage:
        assert await revision(storage) == 3


async def test_what_is_no_database_of_ours_is_refused_by_name(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER)")
    connection.close()
    text = tmp_path / "notes.txt"
    text.write_text("no database at all, but longer than a header is\n" * 50)
    for path, reason in (
        (foreign, "not a database of Legato"),
        (text, "file is not a database"),
        (tmp_path / "missing" / "hub.db", "No such file or directory"),
        (tmp_path, "unable to open database file"),
    ):
        with pytest.raises(StorageError, match=reason) as caught:
            await SQLiteStorage(str(path)).open()
        assert str(path) in str(caught.value)


async def test_an_unknown_schema_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    async with opened(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = '999' WHERE name = 'schema'")
    connection.close()
    with pytest.raises(StorageError, match="schema version '999'; this hub knows version 1"):
        await SQLiteStorage(str(path)).open()


async def test_each_new_database_has_an_epoch_of_its_own(tmp_path: Path) -> None:
    epochs = set()
    for name in ("one.db", "two.db"):
        async with opened(tmp_path / name) as storage:
            epochs.add(storage.epoch)
    assert len(epochs) == 2
