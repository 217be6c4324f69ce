"""Group commit: many units of work, one transaction, one wait for the disk.

Units run on the event loop, a few at a time. Only COMMIT, which waits for the disk, runs on a thread; meanwhile the
next units gather. Running the units on that thread too was tried: sqlite3 lets go of the interpreter lock at every
statement, a busy event loop is slow to give it back, and so commits took longest just when there was much to do.
"""

import asyncio
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, NamedTuple, TypeVar

from legato_hub.storage.base import StorageError
from legato_hub.storage.sqlite_schema import Database, connect, take_possession

T = TypeVar("T")

MAX_BATCH = 64
"""Units in one transaction: bounds how long they hold the event loop, to some 3 ms."""


SCRUB_S = 30.0
"""How long to wait for a reader of the file to be done."""


def _empty_log(connection: sqlite3.Connection) -> bool:
    """Whether a reader is in the way."""
    busy: int = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    return busy == 1


class _Unit(NamedTuple):
    work: Callable[[sqlite3.Connection], Any]
    tell: Callable[[Any], None] | None
    future: asyncio.Future[Any]
    long: bool
    bare: bool


class _Outcome(NamedTuple):
    unit: _Unit
    result: Any
    error: StorageError | None


class Writer:
    """Owns the connection: the only one to use it, on the event loop or on its thread, never on both at once.

    `on_rollback` is called whenever work of units was undone, before more is done.
    """

    def __init__(self, path: str, on_rollback: Callable[[], None]) -> None:
        self._path = path
        self._on_rollback = on_rollback
        self._waiting: deque[_Unit] = deque()
        self._idle = asyncio.Event()
        self._idle.set()
        self._accepting = False
        self._closed = False
        self._closing = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "legato-sqlite")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._held = ExitStack()
        self._connection: sqlite3.Connection

    async def open(self) -> Database:
        """Take the file. Raise StorageError if it cannot be had. If cancelled, `close` lets go of it."""
        if self._loop is not None:
            raise StorageError(f"{self._path}: opened twice")
        self._loop = asyncio.get_running_loop()
        database = await self._loop.run_in_executor(self._thread, self._take)
        self._accepting = True
        return database

    def _take(self) -> Database:
        try:
            lock = -1
            if self._path != ":memory:":
                lock = take_possession(self._path)
                self._held.callback(os.close, lock)
            database = connect(self._path, lock)
        except StorageError:
            self._held.close()
            raise
        self._held.callback(database.connection.close)
        self._connection = database.connection
        return database

    async def close(self) -> None:
        """Finish the accepted units, then let the file go. A second call waits for the first."""
        self._accepting = False
        async with self._closing:
            await self._idle.wait()
            if self._loop is not None and not self._closed:
                await self._loop.run_in_executor(self._thread, self._held.close)
                self._thread.shutdown(wait=False)
                self._closed = True

    def run(
        self,
        work: Callable[[sqlite3.Connection], T],
        tell: Callable[[T], None] | None = None,
        *,
        long: bool = False,
        bare: bool = False,
    ) -> asyncio.Future[T]:
        """Do `work`, whole or not at all; it may run twice, and only the last run counts.

        Once the transaction is on disk, `tell` is called with each result, in the order of running, and only then do
        the futures of the batch resolve. Cancelling the future does not cancel the work. `long` work runs alone and on
        the thread: others wait for it, but not the event loop. `bare` work does so outside of a transaction.
        """
        if not self._accepting or self._loop is None:
            raise StorageError(f"{self._path}: not open")
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting.append(_Unit(work, tell, future, long or bare, bare))
        if self._idle.is_set():
            self._idle.clear()
            self._loop.call_soon(self._turn, self._loop)
        return future

    async def scrub(self) -> None:
        """Write the whole file anew, and empty the log of writes: what was deleted or overwritten is nowhere any more.

        Everybody else waits meanwhile. Raise StorageError if another process, perhaps a backup, reads for too long.
        """
        give_up_at = time.monotonic() + SCRUB_S
        # Where rows moved between pages, `secure_delete` leaves copies of them behind.
        await self.run(lambda connection: connection.execute("VACUUM").close(), bare=True)
        while await self.run(_empty_log, bare=True):
            if time.monotonic() >= give_up_at:
                raise StorageError(f"{self._path}: another process keeps reading the file, and with it what is erased")
            await asyncio.sleep(0.05)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Do a batch of what waits."""
        batch = [self._waiting.popleft()]
        while self._waiting and len(batch) < MAX_BATCH and not batch[-1].long and not self._waiting[0].long:
            batch.append(self._waiting.popleft())
        if batch[0].long:
            committing = loop.run_in_executor(self._thread, lambda: self._commit(self._execute(batch)))
        else:
            changes = self._connection.total_changes
            outcomes = self._execute(batch)
            if self._connection.total_changes == changes:
                self._deliver(loop, self._commit(outcomes))
                return
            committing = loop.run_in_executor(self._thread, self._commit, outcomes)
        committing.add_done_callback(lambda committed: self._deliver(loop, committed.result()))

    def _execute(self, batch: list[_Unit]) -> list[_Outcome]:
        """Run the units in a transaction, which stays open unless it was lost with all of them.

        Savepoints cost a copy of each page touched, and failures are rare: so first without, and if a unit fails all
        over again with a savepoint around each.
        """
        connection = self._connection
        try:
            if batch[0].bare:
                return [_Outcome(unit, unit.work(connection), None) for unit in batch]
            connection.execute("BEGIN IMMEDIATE")
            try:
                return [_Outcome(unit, unit.work(connection), None) for unit in batch]
            except Exception:  # noqa: BLE001 - the second run tells whose it is
                self._roll_back()
            connection.execute("BEGIN IMMEDIATE")
            return [self._attempt(unit) for unit in batch]
        except sqlite3.Error as error:
            return self._fail(batch, error)

    def _attempt(self, unit: _Unit) -> _Outcome:
        """Run one unit in a savepoint. Raise sqlite3.Error if the whole transaction is lost with it."""
        connection = self._connection
        connection.execute("SAVEPOINT unit")
        try:
            outcome = _Outcome(unit, unit.work(connection), None)
        except Exception as error:
            if not connection.in_transaction:
                # SQLite itself rolls everything back on a full disk or an I/O error.
                raise sqlite3.OperationalError(f"the transaction was rolled back: {error}") from error
            connection.execute("ROLLBACK TO unit")
            self._on_rollback()
            outcome = _Outcome(unit, None, self._failure(error))
        connection.execute("RELEASE unit")
        return outcome

    def _commit(self, outcomes: list[_Outcome]) -> list[_Outcome]:
        """Wait for the disk; what came of the units."""
        if self._connection.in_transaction:
            try:
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                return self._fail([outcome.unit for outcome in outcomes], error)
        return outcomes

    def _fail(self, batch: list[_Unit], error: sqlite3.Error) -> list[_Outcome]:
        """Undo the transaction; the failure is everybody's."""
        try:
            self._roll_back()
        except sqlite3.Error as worse:
            error.add_note(f"and rolling back: {worse}")
        return [_Outcome(unit, None, self._failure(error)) for unit in batch]

    def _roll_back(self) -> None:
        self._on_rollback()
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _failure(self, error: Exception) -> StorageError:
        """A new one for each caller: a raised exception collects its caller's traceback."""
        failure = StorageError(f"{self._path}: {error}")
        failure.__cause__ = error
        return failure

    def _deliver(self, loop: asyncio.AbstractEventLoop, outcomes: list[_Outcome]) -> None:
        for unit, result, error in outcomes:
            if unit.tell is not None and error is None:
                unit.tell(result)
        for unit, result, error in outcomes:
            if unit.future.done():  # cancelled by its caller
                continue
            if error is None:
                unit.future.set_result(result)
            else:
                unit.future.set_exception(error)
        if self._waiting:
            loop.call_soon(self._turn, loop)
        else:
            self._idle.set()
