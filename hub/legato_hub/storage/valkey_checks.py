"""What a server must be, and how long its writes are safe: looked at when the storage is opened."""

import logging
import re
from dataclasses import dataclass

from redis.exceptions import RedisError

from legato_hub.storage.base import StorageError
from legato_hub.storage.valkey_client import plain
from legato_hub.storage.valkey_link import Argument, Link

_log = logging.getLogger(__name__)

OLDEST = {"Valkey": (8, 0), "Redis": (7, 2)}


@dataclass(frozen=True, slots=True)
class Durability:
    """What a commit waits for before it calls itself durable.

    `memory`: nothing. It is in one server's memory and, with an append-only file, a second later on its disk: a crash
    or a failover can lose it (then the epoch changes), and `durable` is False.
    `aof`: the primary's append-only file was flushed to disk (WAITAOF): lost only with the disk. With
    `appendfsync everysec` that takes up to a second; `always` is meant for it.
    `replicas:N`: N replicas have it in memory (WAIT): survives the loss of the primary.

    What does not come within half the timeout leaves the commit done and not durable.
    """

    barrier: tuple[Argument, ...] | None
    needs_file: bool = False

    @staticmethod
    def parse(text: str, timeout_s: float) -> "Durability":
        """Raise StorageError if it is none of these."""
        wait_ms = int(timeout_s * 500)
        replicas = re.fullmatch(r"replicas:([1-9]\d?)", text)
        if replicas is not None:
            return Durability((b"WAIT", int(replicas[1]), wait_ms))
        if text == "aof":
            return Durability((b"WAITAOF", 1, 0, wait_ms), needs_file=True)
        if text != "memory":
            raise StorageError(f"durability {text!r} is none of memory, aof and replicas:N")
        return Durability(None)

    def reached(self, answer: object) -> bool:
        """Whether the barrier's answer says so."""
        if self.barrier is None:
            return False
        count = answer[0] if isinstance(answer, list) else answer
        wanted = self.barrier[1]
        return isinstance(count, int) and isinstance(wanted, int) and count >= wanted


async def check(link: Link, durability: Durability, *, cluster: bool) -> None:
    """Raise StorageError, naming the server, if it cannot hold our data; warn of what is unwise."""
    info = await plain(link, b"INFO")
    facts = dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
    kind = "Valkey" if "valkey_version" in facts else "Redis"
    version = facts["valkey_version" if kind == "Valkey" else "redis_version"]
    if tuple(map(int, version.split(".")[:2])) < OLDEST[kind]:
        oldest = ".".join(map(str, OLDEST[kind]))
        raise StorageError(f"{link.name}: {kind} {version} is too old; Legato needs {kind} {oldest} or newer")
    if (facts.get("cluster_enabled") == "1") is not cluster:
        wanted = "valkey://" if cluster else "valkey+cluster://"
        raise StorageError(f"{link.name}: the URL must begin with {wanted} for this server")
    policy = facts["maxmemory_policy"]
    if policy != "noeviction":
        reason = "it would throw carts away when memory is short; set maxmemory-policy noeviction"
        if facts["maxmemory"] != "0":
            raise StorageError(f"{link.name}: maxmemory-policy is {policy}: {reason}")
        _log.warning("the eviction policy is unwise", extra={"server": link.name, "policy": policy})
    has_file = facts["aof_enabled"] == "1"
    if durability.needs_file and not has_file:
        raise StorageError(f"{link.name}: durability aof needs appendonly yes")
    if not has_file and not await _takes_snapshots(link):
        _log.warning(
            "the server writes nothing to disk: all carts and sessions are lost when it stops",
            extra={"server": link.name},
        )


async def _takes_snapshots(link: Link) -> bool:
    """Unknown, which is taken for yes, where CONFIG is not allowed, as with most providers."""
    try:
        answer = await link.call(b"CONFIG", b"GET", b"save")
    except RedisError:
        return True
    return bool(answer[1])
