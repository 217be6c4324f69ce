"""What a server must be, and how long its writes are safe: looked at when the storage is opened."""

import logging
import re
from dataclasses import dataclass

from redis.exceptions import NoPermissionError, RedisError

from legato_hub.storage.base import StorageError
from legato_hub.storage.valkey_link import Argument, Link
from legato_hub.storage.valkey_scripts import RIGHTS

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
    """Raise StorageError, naming the server, if it cannot hold our data; warn of what is unwise or cannot be seen."""
    try:
        info = bytes(await link.call(b"INFO"))
    except NoPermissionError as error:
        raise StorageError(f"{link.name}: the user may not run INFO, which every script of Legato needs") from error
    except RedisError as error:
        raise StorageError(f"{link.name}: {error}") from error
    facts = dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
    _check_kind(link.name, facts, cluster)
    await _check_rights(link)
    await _check_eviction(link, facts)
    has_file = facts.get("aof_enabled") == "1"
    if durability.needs_file and not has_file:
        raise StorageError(f"{link.name}: durability aof needs appendonly yes")
    if not has_file and await _setting(link, "save") == "":
        _log.warning(
            "the server writes nothing to disk: all carts and sessions are lost when it stops",
            extra={"server": link.name},
        )


def _check_kind(name: str, facts: dict[str, str], cluster: bool) -> None:
    kind = "Valkey" if "valkey_version" in facts else "Redis"
    version = facts["valkey_version" if kind == "Valkey" else "redis_version"]
    if tuple(map(int, version.split(".")[:2])) < OLDEST[kind]:
        oldest = ".".join(map(str, OLDEST[kind]))
        raise StorageError(f"{name}: {kind} {version} is too old; Legato needs {kind} {oldest} or newer")
    if (facts.get("cluster_enabled") == "1") is not cluster:
        wanted = "valkey://" if cluster else "valkey+cluster://"
        raise StorageError(f"{name}: the URL must begin with {wanted} for this server")
    if facts["role"] != "master":
        leader = f"{facts.get('master_host')}:{facts.get('master_port')}"
        raise StorageError(f"{name}: a replica, of {leader}; the URL must lead to the primary")


async def _check_rights(link: Link) -> None:
    try:
        missing = await link.call(b"EVAL", RIGHTS, 0)
    except RedisError as error:
        raise StorageError(f"{link.name}: scripts cannot be run: {error}") from error
    if missing:
        names = ", ".join(command.decode() for command in missing)
        raise StorageError(f"{link.name}: the user lacks rights on keys or channels legato:*, for {names}")


async def _check_eviction(link: Link, facts: dict[str, str]) -> None:
    policy = facts.get("maxmemory_policy") or await _setting(link, "maxmemory-policy")
    if policy is None:
        _log.warning("the eviction policy cannot be seen: it must be noeviction", extra={"server": link.name})
    elif policy != "noeviction":
        reason = "it would throw carts away when memory is short; set maxmemory-policy noeviction"
        if facts.get("maxmemory") != "0":
            raise StorageError(f"{link.name}: maxmemory-policy is {policy}: {reason}")
        _log.warning("the eviction policy is unwise", extra={"server": link.name, "policy": policy})


async def _setting(link: Link, name: str) -> str | None:
    """None where CONFIG is not allowed or not there, as with most providers."""
    try:
        answer = await link.call(b"CONFIG", b"GET", name)
    except RedisError:
        return None
    return answer[1].decode() if answer else None
