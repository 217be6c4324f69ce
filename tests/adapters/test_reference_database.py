"""Group commit: nobody loses by sharing a transaction, and what was answered is on the disk."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from legato.local_channel import LocalChannel
from legato.protocol.ids import new_id
from legato_adapters.conformance.cart_user import CartUser
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.reference import create, database, read_cart
from legato_adapters.reference.database import Database
from tests.adapters.tried import REFERENCE
from tests.support.adapter_process import running_adapter


@pytest.fixture
async def opened(path: str) -> AsyncIterator[Database]:
    opened = Database(path)
    await opened.start()
    yield opened
    await opened.close()


def insert(number: int) -> database._Work[int]:
    def work(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO shop (kind, position, body) VALUES ('n', ?, '')", (number,))
        return number

    return work


def numbers(connection: sqlite3.Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT position FROM shop ORDER BY position")]


class Gate:
    """A unit of work that keeps the thread busy until it is opened, so that others gather behind it."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def __call__(self, connection: sqlite3.Connection) -> None:
        self.entered.set()
        assert self.opened.wait(20)


async def test_a_failing_unit_undoes_only_itself(opened: Database) -> None:
    def fails_late(connection: sqlite3.Connection) -> None:
        insert(2)(connection)
        raise LookupError("late")

    gate = Gate()
    waiting = asyncio.ensure_future(opened.run(gate, writes=True))
    await asyncio.to_thread(gate.entered.wait, 20)
    together = asyncio.gather(
        opened.run(insert(1), writes=True),
        opened.run(fails_late, writes=True),
        opened.run(insert(1), writes=True),
        opened.run(insert(3), writes=True),
        return_exceptions=True,
    )
    await asyncio.sleep(0)
    gate.opened.set()
    first, late, repeated, third = await together
    await waiting
    assert (first, third) == (1, 3)
    assert isinstance(late, LookupError)
    assert isinstance(repeated, sqlite3.IntegrityError)
    assert await opened.run(numbers, writes=False) == [1, 3]


async def test_a_unit_whose_caller_has_gone_is_not_run(opened: Database) -> None:
    gate = Gate()
    waiting = asyncio.ensure_future(opened.run(gate, writes=True))
    await asyncio.to_thread(gate.entered.wait, 20)
    gone = asyncio.ensure_future(opened.run(insert(1), writes=True))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    gate.opened.set()
    await waiting
    assert await opened.run(numbers, writes=False) == []


async def test_many_callers(opened: Database) -> None:
    answered = await asyncio.gather(*(opened.run(insert(n), writes=True) for n in range(1000)))
    assert answered == list(range(1000))
    assert await opened.run(numbers, writes=False) == list(range(1000))


async def test_closing_lets_waiting_units_end(path: str) -> None:
    opened = Database(path)
    await opened.start()
    gate = Gate()
    waiting = asyncio.ensure_future(opened.run(gate, writes=True))
    await asyncio.to_thread(gate.entered.wait, 20)
    last = asyncio.ensure_future(opened.run(insert(1), writes=True))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(opened.close())
    await asyncio.sleep(0)
    gate.opened.set()
    await closing
    await waiting
    assert await last == 1


async def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "shop.db"
    opened = Database(str(path))
    await opened.start()
    await opened.close()
    assert path.exists()


@pytest.mark.parametrize(("name", "error"), [("file/shop.db", OSError), (".", sqlite3.OperationalError)])
async def test_a_place_where_no_file_can_be(tmp_path: Path, name: str, error: type[Exception]) -> None:
    (tmp_path / "file").touch()
    opened = Database(str(tmp_path / name))
    with pytest.raises(error):
        await opened.start()
    await opened.close()


def test_a_shop_in_memory_is_not_for_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create()
    monkeypatch.setenv("LEGATO_WORKER", "0")
    create(path=str(tmp_path / "shop.db"))
    with pytest.raises(ValueError, match="workers cannot share a shop in memory"):
        create()


async def test_a_lock_held_by_another_process_is_no_effect(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY_TIMEOUT_S", 0.05)
    adapter = create(path=path)
    async with LocalChannel() as channel:
        adapter.add_to(channel)
        await adapter.start()
        user = CartUser(Stubs(channel).cart, REFERENCE.context())
        request = user.call(create_cart={})
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await user.send(request)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert ("legato-effect", "none") in list(caught.value.trailing_metadata())
        other.execute("ROLLBACK")
        other.close()
        assert not (await user.send(request)).HasField("rejection")
    await adapter.close()


async def test_a_failing_commit_is_no_success() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
    connection.execute("CREATE TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)")
    loop = asyncio.get_running_loop()

    def unit(statement: str) -> database._Unit:
        return database._Unit(lambda each: each.execute(statement).rowcount, True, loop.create_future())

    batch = [unit("INSERT INTO parent VALUES (7)"), unit("INSERT INTO child VALUES (8)")]
    assert [type(done.error) for done in database._run_batch(connection, batch)] == [sqlite3.IntegrityError] * 2
    assert connection.execute("SELECT * FROM parent").fetchall() == []
    (done,) = database._run_batch(connection, batch[:1])
    assert (done.result, done.error) == (1, None)
    connection.close()


async def test_what_was_answered_survives_a_power_cut(path: str) -> None:
    with running_adapter(REFERENCE.factory, {"path": path}) as process:
        async with grpc.aio.insecure_channel(process.address) as channel:
            user = CartUser(Stubs(channel).cart, REFERENCE.context())
            await user.apply(create_cart={})
            request = user.call(add_line={"sku": "PEG-ALU", "quantity": {"steps": 4}})
            await user.send(request)
            process.kill()
    assert read_cart(path, user.cart_id) == {"PEG-ALU": 4}
    adapter = create(path=path)
    async with LocalChannel() as channel:
        adapter.add_to(channel)
        await adapter.start()
        user.stub = Stubs(channel).cart
        await user.send(request)
        assert await user.steps() == {"PEG-ALU": 4}
    await adapter.close()


def test_reading_a_cart_that_is_not_there(path: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(database._SCHEMA)
    connection.close()
    with pytest.raises(LookupError, match="the backend has no cart"):
        read_cart(path, new_id())
    with pytest.raises(sqlite3.OperationalError):
        read_cart(f"{path}.missing", new_id())


async def test_two_processes_on_one_file(path: str) -> None:
    """As two hubs on one backend: no lost update, and a command has one effect wherever it is sent."""
    with (
        running_adapter(REFERENCE.factory, {"path": path}) as one,
        running_adapter(REFERENCE.factory, {"path": path}) as two,
    ):
        async with grpc.aio.insecure_channel(one.address) as first, grpc.aio.insecure_channel(two.address) as second:
            stubs = [Stubs(first).cart, Stubs(second).cart]
            user = CartUser(stubs[0], REFERENCE.context())
            await user.apply(create_cart={})
            requests = [user.call(add_line={"sku": "PEG-ALU", "quantity": {"steps": 1 << n}}) for n in range(10)]
            await asyncio.gather(*(stub.ApplyCommand(request) for request in requests for stub in stubs))
            assert await user.steps() == {"PEG-ALU": 1023}
            assert user.version == "1"
            assert (await user.read())[1] == "11"


async def test_an_empty_shop_sells_nothing(path: str) -> None:
    adapter = create(path=path, seed=False)
    async with LocalChannel() as channel:
        adapter.add_to(channel)
        await adapter.start()
        user = CartUser(Stubs(channel).cart, REFERENCE.context())
        response = await user.send(user.call(create_cart={}))
        assert response.HasField("rejection")
    await adapter.close()
