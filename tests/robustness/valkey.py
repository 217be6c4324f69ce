"""The Valkey of a world: a primary, if need be a replica, and a proxy that hubs reach it by."""

import asyncio
import contextlib
from typing import Any

from tests.robustness.proxy import Filter, Proxy
from tests.storage import valkey_servers as servers


class Valkey:
    """A server behind a proxy. A failover turns the proxy to the replica: hubs see the same address."""

    def __init__(self, *, replicated: bool = False) -> None:
        self._replicated = replicated
        self.proxy = Proxy(down_filter=self._feed)
        self._replication = Proxy()
        """Stands between primary and replica."""
        self._stack = contextlib.ExitStack()
        self._primary: Any = None
        self._replica: Any = None
        self._feeds: list[Feed] = []

    async def __aenter__(self) -> "Valkey":
        self._primary = await asyncio.to_thread(self._stack.enter_context, servers.own_server())
        self.proxy.target = self._replication.target = self._primary.port
        await self.proxy.__aenter__()
        await self._replication.__aenter__()
        if self._replicated:
            await self._add_replica()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.proxy.__aexit__()
        await self._replication.__aexit__()
        await asyncio.to_thread(self._stack.close)

    @property
    def url(self) -> str:
        """For hubs."""
        return f"valkey://127.0.0.1:{self.proxy.port}"

    def slots(self) -> list[str]:
        """Resources with a claimed slot."""
        found: list[str] = []
        with servers.client(self.proxy.target) as server:
            for key in server.scan_iter("*::slots", count=1_000):
                found += [member.decode() for member in server.zrange(key, 0, -1)]
        return found

    async def restart(self, *, kill: bool) -> None:
        """Stop it, or kill it, and start it on the same port with what it has on disk."""
        if kill:
            self._primary._process.kill()
            self._primary._process.wait()
        await asyncio.to_thread(servers.restart, self._primary)

    async def _add_replica(self) -> None:
        """A replica that has everything, over a link of its own. With its first one a primary begins a new history."""
        at = f"127.0.0.1 {self._replication.port}"
        self._replica = await asyncio.to_thread(self._stack.enter_context, servers.own_server(replicaof=at))
        await asyncio.to_thread(servers.await_joined, self._primary.port)

    def lag(self) -> None:
        """From now on the replica hears nothing more."""
        self._replication.down.stall()

    async def fail_over(self) -> None:
        """The primary dies, and the replica takes its place with what it has. Raise RuntimeError if that is all."""
        with servers.client(self._primary.port) as ahead, servers.client(self._replica.port) as behind:
            written = ahead.info("replication")["master_repl_offset"]
            if behind.info("replication")["slave_repl_offset"] >= written:
                raise RuntimeError("the replica does not lag")
        self._primary._process.kill()
        self._primary._process.wait()
        with servers.client(self._replica.port) as server:
            server.execute_command("REPLICAOF", "NO", "ONE")
        self._primary = self._replica
        self.proxy.target = self._replica.port
        self.proxy.cut()

    def silence(self, how: str) -> None:
        """On the subscriptions that are open now nothing comes any more (`dead`), or no message (`forgetful`).

        Raise RuntimeError if there is none."""
        if not self._feeds:
            raise RuntimeError("no hub subscribes")
        for feed in self._feeds:
            feed.how = how

    def _feed(self, said: bytes) -> Filter | None:
        """What may change what comes back on a connection; none for one that does not subscribe."""
        if b"SSUBSCRIBE" not in said.upper():
            return None
        self._feeds.append(Feed())
        return self._feeds[-1]


class Feed:
    """What comes back on a connection that subscribes. RESP2 pushes: `*3 $8 smessage $N channel $M data`."""

    def __init__(self) -> None:
        self.how = ""
        self._rest = b""

    def __call__(self, data: bytes) -> bytes:
        if self.how == "dead":
            return b""
        if not self.how:
            return data
        kept = []
        data, self._rest = self._rest + data, b""
        while data:
            end = end_of_reply(data)
            if end == 0:
                self._rest = data
                break
            if b"smessage" not in data[: min(end, 32)]:
                kept.append(data[:end])
            data = data[end:]
        return b"".join(kept)


def end_of_reply(data: bytes, at: int = 0) -> int:
    """Where the reply that begins at `at` ends; 0 if it is not all there."""
    line = data.find(b"\r\n", at)
    if line < 0:
        return 0
    kind, size = data[at : at + 1], data[at + 1 : line]
    at = line + 2
    if kind == b"$" and int(size) >= 0:
        at += int(size) + 2
        return at if at <= len(data) else 0
    if kind in (b"*", b">"):
        for _ in range(int(size)):
            at = end_of_reply(data, at)
            if at == 0:
                return 0
    return at
