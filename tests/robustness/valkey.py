"""The Valkey of a world: a primary, if need be a replica, and a proxy that hubs reach it by."""

import asyncio
import contextlib
from typing import Any

from tests.robustness.proxy import Proxy
from tests.storage import valkey_servers as servers


class Valkey:
    """A server behind a proxy. A failover turns the proxy to the replica: hubs see the same address."""

    def __init__(self) -> None:
        self.proxy = Proxy()
        self._stack = contextlib.ExitStack()
        self._primary: Any = None
        self._replica: Any = None

    async def __aenter__(self) -> "Valkey":
        self._primary = await asyncio.to_thread(self._stack.enter_context, servers.own_server())
        self.proxy.target = self._primary.port
        await self.proxy.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.proxy.__aexit__()
        self._stack.close()

    @property
    def url(self) -> str:
        """For hubs."""
        return f"valkey://127.0.0.1:{self.proxy.port}"

    def slots(self) -> list[str]:
        """Resources with a claimed slot."""
        found: list[str] = []
        with servers.client(self.proxy.target) as server:
            for key in server.scan_iter("*slots*", count=1_000):
                found += [member.decode() for member in server.zrange(key, 0, -1)]
        return found

    def client(self) -> Any:
        """To do things to the present primary."""
        return servers.client(self.proxy.target)
