"""The adapter's SQLite file: one thread owns the connection, many callers share one commit.

A unit of work is a function of the connection. Units that wait are run together in one transaction, each in a savepoint
of its own, so that a failing one undoes only itself; nobody hears of success before the transaction is on the disk
(write-ahead log, synchronous=FULL). While one commit waits for the disk, the units of the next gather.

Two processes may have the same file open; the lock is taken before anything is read.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from legato.commerce.v1 import cart_pb2

_Result = TypeVar("_Result")
_Work = Callable[[sqlite3.Connection], _Result]

_MAX_BATCH = 256
_BUSY_TIMEOUT_S = 5.0

# `shop` has one JSON document an entry, in the shape of seed_data.toml.
# `carts.body` is a serialised Cart without provenance; `next_line` makes sure that no line id is used twice.
# `commands` remembers what became of each command as long as its cart lives: a rejection, or the line it concerned.
# `effects` does the same for the commands of the other services: the entity concerned, or a rejection.
# `sold` is what orders took away from the shop's stock, and `orders.taken` what of it was for that order (JSON).
# The bodies of orders, payments, customers and shipments are messages without provenance.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS shop (
  kind TEXT NOT NULL, position INTEGER NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (kind, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS carts (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, version INTEGER NOT NULL, next_line INTEGER NOT NULL, body BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS commands (
  cart_id TEXT NOT NULL, command_id TEXT NOT NULL, body_hash BLOB NOT NULL, rejection BLOB, line_id TEXT NOT NULL,
  PRIMARY KEY (cart_id, command_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS effects (
  tenant TEXT NOT NULL, service TEXT NOT NULL, command_id TEXT NOT NULL,
  body_hash BLOB NOT NULL, entity_id TEXT NOT NULL, part_id TEXT NOT NULL, rejection BLOB,
  PRIMARY KEY (tenant, service, command_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sold (
  sku TEXT NOT NULL, location TEXT NOT NULL, steps INTEGER NOT NULL,
  PRIMARY KEY (sku, location)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS orders (
  id INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL, cart_id TEXT NOT NULL, customer_id TEXT NOT NULL,
  taken TEXT NOT NULL, body BLOB NOT NULL,
  UNIQUE (tenant, cart_id)
);
CREATE INDEX IF NOT EXISTS orders_of_customer ON orders (tenant, customer_id, id);
CREATE TABLE IF NOT EXISTS payments (
  id INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL, body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS customers (
  id INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL, email TEXT NOT NULL, password BLOB NOT NULL,
  next_address INTEGER NOT NULL, body BLOB NOT NULL,
  UNIQUE (tenant, email)
);
CREATE TABLE IF NOT EXISTS shipments (
  id INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL, order_id INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS shipments_of_order ON shipments (order_id, id);
CREATE TABLE IF NOT EXISTS changes (
  id INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL, entity INTEGER NOT NULL, entity_id TEXT NOT NULL,
  native_type TEXT NOT NULL, occurred_ms INTEGER NOT NULL
);
"""


class DatabaseUnavailable(Exception):
    """The file could not be locked: nothing was done."""


class _Unit(NamedTuple):
    work: _Work[Any]
    writes: bool
    future: "asyncio.Future[Any]"


class _Done(NamedTuple):
    unit: _Unit
    result: Any
    error: Exception | None


class Database:
    """One file, or ":memory:", used from one event loop.

    `start` comes before `run`, `close` at the end; units that wait then are still run.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[_Unit | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """Open the file and make it, its folder and the tables; raises OSError or sqlite3.Error when that is
        impossible."""
        if self._path != ":memory:":
            Path(self._path).parent.mkdir(parents=True, exist_ok=True)
        loop = asyncio.get_running_loop()
        opened = loop.create_future()
        self._thread = threading.Thread(target=self._own, args=(loop, opened), name="reference-database", daemon=True)
        self._thread.start()
        await opened

    async def run(self, work: _Work[_Result], *, writes: bool) -> _Result:
        """Run a unit of work and return its result when it is durable; what it raises is raised here.

        A unit whose caller has gone before it began is not run. DatabaseUnavailable: nothing was done. Any other
        sqlite3.Error: whether the unit had an effect is unknown.
        """
        future = asyncio.get_running_loop().create_future()
        self._queue.put(_Unit(work, writes, future))
        result: _Result = await future
        return result

    async def close(self) -> None:
        """Let waiting units end, then close the file. Harmless when it was never opened."""
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    def _own(self, loop: asyncio.AbstractEventLoop, opened: "asyncio.Future[None]") -> None:
        try:
            connection = sqlite3.connect(self._path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(_SCHEMA)
        except sqlite3.Error as error:
            loop.call_soon_threadsafe(_settle, opened, None, error)
            return
        loop.call_soon_threadsafe(_settle, opened, None, None)
        try:
            while (batch := self._next_batch()) is not None:
                loop.call_soon_threadsafe(_settle_all, _run_batch(connection, batch))
        finally:
            connection.close()

    def _next_batch(self) -> list[_Unit] | None:
        """What waits now, at least one unit; None when it is time to end."""
        batch: list[_Unit] = []
        unit = self._queue.get()
        while unit is not None:
            batch.append(unit)
            if len(batch) == _MAX_BATCH or self._queue.empty():
                return batch
            unit = self._queue.get()
        if batch:
            self._queue.put(None)
        return batch or None


def _run_batch(connection: sqlite3.Connection, batch: list[_Unit]) -> list[_Done]:
    try:
        # A lock taken only at the first write could fail in the middle of the transaction.
        connection.execute("BEGIN IMMEDIATE" if any(unit.writes for unit in batch) else "BEGIN")
    except sqlite3.Error as error:
        unavailable = DatabaseUnavailable(str(error))
        return [_Done(unit, None, unavailable) for unit in batch]
    done = []
    try:
        for unit in batch:
            if unit.future.cancelled():
                continue
            connection.execute("SAVEPOINT unit")
            try:
                result = unit.work(connection)
            except Exception as error:  # noqa: BLE001  raised again in the caller that brought the work
                connection.execute("ROLLBACK TO unit")
                done.append(_Done(unit, None, error))
            else:
                done.append(_Done(unit, result, None))
            connection.execute("RELEASE unit")
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        return [_Done(unit, None, error) for unit in batch]
    return done


def _settle(future: "asyncio.Future[Any]", result: Any, error: Exception | None) -> None:
    if not future.done():
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


def _settle_all(done: list[_Done]) -> None:
    for unit, result, error in done:
        _settle(unit.future, result, error)


def read_cart(path: str, cart_id: str) -> dict[str, int]:
    """What the backend itself says is in a cart: pieces by sku, read from the file past adapter and hub.

    LookupError if there is no such cart.
    """
    connection = sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)
    try:
        row = connection.execute("SELECT body FROM carts WHERE id = ?", (cart_id,)).fetchone()
    finally:
        connection.close()
    if row is None:
        raise LookupError(f"the backend has no cart {cart_id}")
    return {line.sku: line.quantity.steps for line in cart_pb2.Cart.FromString(row[0]).lines}
