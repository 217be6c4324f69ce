"""The engines that the contract is tested on."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from legato_hub.storage.base import LOG_LENGTH, Storage
from legato_hub.storage.sqlite import SQLiteStorage
from legato_hub.storage.sqlite_heads import Heads
from legato_hub.storage.valkey import ValkeyStorage
from tests.storage import valkey_servers


class Engine(Protocol):
    """Makes storages over one and the same data."""

    async def start(self, *, log_length: int = LOG_LENGTH) -> Storage:
        """An open storage; what was written through an earlier one, closed by now, is there if the engine lasts."""

    async def stop(self) -> None:
        """Close what was started."""


class SQLiteEngine:
    """`path` may be ":memory:"; that one does not last.

    A failing unit of work is done again with an empty mind, which hides faults of the mind: so none may fail.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._started: list[SQLiteStorage] = []
        self._failures = 0

    def _fail(self) -> None:
        self._failures += 1

    async def start(self, *, log_length: int = LOG_LENGTH) -> SQLiteStorage:
        storage = SQLiteStorage(self.path, log_length=log_length)
        storage._writer._on_rollback = self._fail
        self._started.append(storage)
        await storage.open()
        return storage

    async def stop(self) -> None:
        for storage in self._started:
            await storage.close()
        assert self._failures == 0


class ForgetfulSQLiteEngine(SQLiteEngine):
    """Keeps one resource in mind at a time, so that it must read from the database again and again."""

    async def start(self, *, log_length: int = LOG_LENGTH) -> SQLiteStorage:
        storage = await super().start(log_length=log_length)
        storage._write_path._heads = Heads(limit=1)
        return storage


class ValkeyEngine:
    """Servers that all tests of this process share, and that are empty when this is made."""

    def __init__(self, url: str, ports: tuple[int, ...]) -> None:
        self.url = url % ports[0]
        self.ports = ports
        self._started: list[ValkeyStorage] = []
        for port in ports:
            with valkey_servers.client(port) as server:
                server.flushall()

    async def start(self, *, log_length: int = LOG_LENGTH) -> ValkeyStorage:
        storage = ValkeyStorage.from_url(f"{self.url}?durability=aof", log_length=log_length)
        self._started.append(storage)
        await storage.open()
        return storage

    async def stop(self) -> None:
        for storage in self._started:
            await storage.close()


def make_engine(name: str, folder: Path) -> Engine:
    """`folder` is empty and for this engine alone."""
    engines: dict[str, Callable[[], Engine]] = {
        "sqlite": lambda: SQLiteEngine(f"{folder}/legato.db"),
        "sqlite-memory": lambda: SQLiteEngine(":memory:"),
        "sqlite-forgetful": lambda: ForgetfulSQLiteEngine(":memory:"),
        "valkey": lambda: ValkeyEngine("valkey://127.0.0.1:%d/0", valkey_servers.standalone()),
        "valkey-cluster": lambda: ValkeyEngine("valkey+cluster://127.0.0.1:%d", valkey_servers.cluster()),
    }
    return engines[name]()


ALL = ("sqlite", "sqlite-memory", "valkey", "valkey-cluster")
"""What every test of the contract runs on."""
LASTING = ("sqlite", "valkey", "valkey-cluster")
"""What keeps its data from one start to the next."""
MODELLED = (*ALL, "sqlite-forgetful")
"""What is compared with the model."""
