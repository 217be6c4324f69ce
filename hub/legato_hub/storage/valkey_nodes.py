"""Where a key lives: one server, the master that Sentinels name, or the primaries of a Cluster."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import RedisError, ResponseError

from legato_hub.storage.base import StorageError
from legato_hub.storage.valkey_link import Connect, Link, retrieve

SLOTS = 16_384
DEFAULT_PORT = 6_379
SENTINEL_PORT = 26_379

_SCHEME = re.compile(r"(valkey|redis)(s?)(\+sentinel|\+cluster|)")


class Nodes(Protocol):
    """The servers that take writes. Slots are those of Cluster, which every key has."""

    async def open(self) -> None:
        """Find them. Raise StorageError."""

    async def close(self) -> None:
        """Wait for what was asked, and let go."""

    def link(self, slot: int) -> Link:
        """To the server of a slot."""

    def link_to(self, host: str, port: int) -> Link:
        """To the server that another one named."""

    def links(self) -> list[Link]:
        """To all of them."""

    async def find_again(self) -> None:
        """Something has moved: ask anew who has which slot. Raise StorageError."""

    def connect_for(self, link: Link) -> Connect:
        """How to make one more connection to where `link` leads."""


class Address:
    """A server, and how to speak with it."""

    def __init__(self, options: Mapping[str, Any], timeout_s: float) -> None:
        self._options = {**options, "protocol": 2, "socket_connect_timeout": timeout_s, "socket_timeout": None}
        self._kind: type[AbstractConnection] = self._options.pop("connection_class", Connection)
        self.host = str(options.get("host", "localhost"))
        self.port = int(options.get("port", DEFAULT_PORT))
        self._kind(**self._options)  # raises TypeError here, and not at each attempt, for an option that it has not

    async def connect(self, host: str = "", port: int = 0) -> AbstractConnection:
        """A connection to this server, or to another in the same way. Raise RedisError or OSError."""
        # A new one for each attempt, because one that failed keeps what it heard.
        connection = self._kind(**{**self._options, "host": host or self.host, "port": port or self.port})
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection


class Single:
    """One server, or with `sentinel` whoever is the master at the time of connecting."""

    def __init__(self, address: Address, timeout_s: float, sentinel: Sentinel | None = None, master: str = "") -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._sentinel = sentinel
        self._master = master
        self._link: Link

    async def open(self) -> None:
        name = f"sentinel {self._master}" if self._sentinel else f"{self._address.host}:{self._address.port}"
        self._link = Link(asyncio.get_running_loop(), self._connect, name, self._timeout_s)

    async def close(self) -> None:
        await self._link.close()
        if self._sentinel is not None:
            for client in self._sentinel.sentinels:
                await client.aclose()

    async def _connect(self) -> AbstractConnection:
        if self._sentinel is None:
            return await self._address.connect()
        return await self._address.connect(*await self._sentinel.discover_master(self._master))

    def link(self, slot: int) -> Link:
        return self._link

    def link_to(self, host: str, port: int) -> Link:
        return self._link

    def links(self) -> list[Link]:
        return [self._link]

    async def find_again(self) -> None:
        pass  # a new connection is always to whoever is the master then

    def connect_for(self, link: Link) -> Connect:
        return self._connect


class Cluster:
    """The primaries of a Cluster; `address` is any of its nodes, asked first."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._links: dict[tuple[str, int], Link] = {}
        self._owners: list[tuple[str, int]] = []
        self._loop: asyncio.AbstractEventLoop
        self._finding: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._find()

    async def close(self) -> None:
        for link in self._links.values():
            await link.close()

    def link(self, slot: int) -> Link:
        return self.link_to(*self._owners[slot])

    def link_to(self, host: str, port: int) -> Link:
        link = self._links.get((host, port))
        if link is None:

            async def connect() -> AbstractConnection:
                return await self._address.connect(host, port)

            link = self._links[host, port] = Link(self._loop, connect, f"{host}:{port}", self._timeout_s)
        return link

    def links(self) -> list[Link]:
        return [self.link_to(*owner) for owner in sorted(set(self._owners))]

    async def find_again(self) -> None:
        if self._finding is None or self._finding.done():
            self._finding = asyncio.create_task(self._find(), name="find the nodes of the cluster")
            self._finding.add_done_callback(retrieve)
        await asyncio.shield(self._finding)

    def connect_for(self, link: Link) -> Connect:
        (owner,) = [owner for owner, known in self._links.items() if known is link]
        return lambda: self._address.connect(*owner)

    async def _find(self) -> None:
        """Ask the nodes, known ones and the first, until one tells who owns each slot."""
        reasons = []
        for host, port in dict.fromkeys([*self._owners, (self._address.host, self._address.port)]):
            try:
                # Not through a link: its queue may stand behind a server that is gone.
                async with asyncio.timeout(self._timeout_s / 2):
                    ranges = await self._ask(host, port)
            except (RedisError, OSError) as error:
                reasons.append(f"{host}:{port}: {str(error) or type(error).__name__}")
                continue
            owners = [("", 0)] * SLOTS
            for first, last, (owner_host, owner_port, *_), *_ in ranges:
                owner = ((owner_host or b"").decode() or host, int(owner_port))
                owners[first : last + 1] = [owner] * (last + 1 - first)
            if ("", 0) not in owners:
                self._owners = owners
                return
            reasons.append(f"{host}:{port}: not every slot has an owner")
        raise StorageError(f"the cluster cannot be reached: {'; '.join(reasons)}")

    async def _ask(self, host: str, port: int) -> list[Any]:
        connection = await self._address.connect(host, port)
        try:
            await connection.send_command("CLUSTER", "SLOTS")
            answer: list[Any] = await connection.read_response()
            return answer
        except ResponseError as error:
            raise StorageError(f"{host}:{port}: {error}") from error
        finally:
            await connection.disconnect(nowait=True)


def nodes_of(url: str, timeout_s: float) -> tuple[Nodes, dict[str, str]]:
    """The servers that a URL names, and those of its query's options that are the engine's own.

    `valkey://[[user]:password@]host[:port][/db]`, `valkey+sentinel://host[:port],…/master[/db]` and
    `valkey+cluster://host[:port]`; `valkeys` is TLS, `redis` is the same as `valkey`. Other options of the query are
    redis-py's, like `ssl_ca_certs`. Raise StorageError, without naming a password, if it is none of these.
    """
    place, at, _ = url.partition("://")[2].rpartition("@")
    if at and any(mark in place for mark in "/?#"):
        raise StorageError(
            "the storage's URL is not right: in a password, / ? # and @ are written %2F, %3F, %23 and %40"
        )
    try:
        parts = urlsplit(url)
    except ValueError:
        raise StorageError("the storage's URL is not right: its host cannot be read") from None
    scheme = _SCHEME.fullmatch(parts.scheme)
    if scheme is None or parts.fragment or not parts.netloc:
        raise StorageError(
            "the storage's URL must be like valkey://host:6379/0, valkey+sentinel://h1:26379,h2:26379/master"
            " or valkey+cluster://host:6379"
        )
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    own = {name: query.pop(name) for name in ("durability",) if name in query}
    try:
        plain = parts._replace(scheme="rediss" if scheme[2] else "redis", query=urlencode(query))
        if scheme[3] == "+sentinel":
            return _by_sentinel(plain, timeout_s), own
        address = Address(parse_url(plain.geturl()), timeout_s)
    except (TypeError, ValueError):
        # Not what Python says: a password without its @ is a bad port to it, and would be quoted.
        raise StorageError("the storage's URL is not right: a port or an option cannot be read") from None
    if scheme[3] == "+cluster":
        if parts.path.strip("/") not in ("", "0"):
            raise StorageError("a cluster has database 0 only")
        return Cluster(address, timeout_s), own
    return Single(address, timeout_s), own


def _by_sentinel(parts: SplitResult, timeout_s: float) -> Single:
    user, _, hosts = parts.netloc.rpartition("@")
    master, _, db = parts.path.strip("/").partition("/")
    if not master:
        raise StorageError("the storage's URL names no master; its path is /master or /master/db")
    places = [urlsplit(f"//{host}") for host in hosts.split(",")]
    sentinels = [(place.hostname or "localhost", place.port or SENTINEL_PORT) for place in places]
    # What is said of user, password and TLS holds for the servers; Sentinels are asked without.
    netloc = f"{user}@localhost" if user else "localhost"
    address = Address(parse_url(parts._replace(netloc=netloc, path=f"/{db}").geturl()), timeout_s)
    ask = {"socket_timeout": timeout_s / 4, "socket_connect_timeout": timeout_s / 4}
    sentinel = Sentinel(sentinels, **ask)  # type: ignore[no-untyped-call]
    return Single(address, timeout_s, sentinel, master)
