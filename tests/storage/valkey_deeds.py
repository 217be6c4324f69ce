"""Short ways to say what the tests of the Valkey engine do."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import redis

from legato_hub.storage.base import (
    Update,
)
from legato_hub.storage.valkey import ValkeyStorage
from legato_hub.storage.valkey_keys import Keys
from tests.storage import valkey_servers as servers
from tests.storage.deeds import CART

NEVER_S = 3_600.0
"""Probes are asked for by the tests that want one."""


@contextlib.asynccontextmanager
async def opened(port: int, **options: Any) -> AsyncIterator[ValkeyStorage]:
    """One hub's storage."""
    durability = options.pop("durability", "memory")
    url = f"valkey://127.0.0.1:{port}/0?durability={durability}"
    storage = ValkeyStorage.from_url(url, **{"probe_s": NEVER_S, **options})
    await storage.open()
    try:
        yield storage
    finally:
        await storage.close()


class Told:
    """What a follower was told, and how to wait for more."""

    def __init__(self, storage: ValkeyStorage, resource: str = CART) -> None:
        self.updates: list[Update] = []
        self.lost = asyncio.Event()
        self._more = asyncio.Event()
        self.end = storage.follow(resource, self._take, lost=self.lost.set)

    def _take(self, update: Update) -> None:
        self.updates.append(update)
        self._more.set()

    @property
    def revisions(self) -> list[int]:
        return [update.cursor.revision for update in self.updates]

    async def reached(self, revision: int) -> None:
        while not self.updates or self.updates[-1].cursor.revision < revision:
            self._more.clear()
            await self._more.wait()


def clients_of(server: redis.Redis, kind: str) -> list[str]:
    """The ids of the connections of a kind: "normal" or "pubsub", but for this one."""
    return [str(entry["id"]) for entry in server.client_list(_type=kind) if entry["id"] != str(server.client_id())]


def kill(server: redis.Redis, kind: str) -> int:
    """Cut the connections of a kind; how many."""
    return sum(server.client_kill_filter(_id=client) for client in clients_of(server, kind))


async def subscribed(port: int, resource: str = CART, hubs: int = 1) -> None:
    """Wait until so many hubs have subscribed to a resource."""
    channel = Keys(resource).of(b"feed")[0]
    with servers.client(port) as server:
        await until(lambda: server.execute_command("PUBSUB", "SHARDNUMSUB", channel)[1] == hubs)


async def until(holds: Callable[[], bool]) -> None:
    """Ask a server again and again: it tells nobody what its other clients do."""
    while True:
        if holds():
            return
        await asyncio.sleep(0.005)
