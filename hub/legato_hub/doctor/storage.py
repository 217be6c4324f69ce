"""The storage that the configuration names."""

import fcntl
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from legato_hub.clock import now_ms
from legato_hub.doctor.report import Finding, Verdict
from legato_hub.storage.base import Storage, StorageError

NAME = "storage"
LEAST_FREE = 1 << 30
HEADROOM = 0.8
LAG_BYTES = 1 << 20


async def storage(url: str, timeout_s: float) -> AsyncIterator[Finding]:
    """Whether a hub can use it, now and tomorrow."""
    if url.startswith("sqlite:"):
        yield _sqlite(url.removeprefix("sqlite:"))
        return
    # Here: a hub on SQLite needs no redis-py.
    from legato_hub.storage.valkey import ValkeyStorage

    try:
        opened = ValkeyStorage.from_url(url, timeout_s=timeout_s * 0.4)
        await opened.open()
    except StorageError as error:
        yield Finding(NAME, Verdict.FAILED, f"a hub cannot use it: {error}", _remedy(str(error)))
        return
    try:
        yield Finding(NAME, Verdict.OK, f"reachable, epoch {opened.epoch}")
        yield await _slots(opened)
    finally:
        await opened.close()
    async for finding in _servers(url, timeout_s * 0.4):
        yield finding


def _remedy(said: str) -> str:
    if "maxmemory-policy" in said:
        return "CONFIG SET maxmemory-policy noeviction, and the same in the server's configuration file"
    if "too old" in said:
        return "update the server"
    if "schema version" in said:
        return "run the hub's version that wrote it, or a database of its own"
    return "start the server or correct [storage] url; look at password, TLS and firewall if it runs"


async def _slots(opened: Storage) -> Finding:
    late = await opened.abandoned(now_ms())
    if not late:
        return Finding("slots", Verdict.OK, "no command is past its time")
    seen = f"{len(late)} commands of unknown outcome are past their time, the first on {late[0].resource}"
    remedy = (
        "a running hub resolves them within seconds; if they stay, look at the backend"
        ' (legato_slots_resolutions_total{result="failed"})'
    )
    return Finding("slots", Verdict.WARNING, seen, remedy)


async def _servers(url: str, timeout_s: float) -> AsyncIterator[Finding]:
    from legato_hub.storage.valkey_client import plain
    from legato_hub.storage.valkey_nodes import nodes_of

    nodes, _ = nodes_of(url, timeout_s)
    await nodes.open()
    try:
        for link in nodes.links():
            text = (await plain(link, b"INFO")).decode()
            facts = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
            for finding in server_findings(link.name, facts):
                yield finding
    finally:
        await nodes.close()


def server_findings(name: str, facts: dict[str, str]) -> list[Finding]:
    """What a server's INFO tells: eviction, persistence, replicas, memory."""
    return [_eviction(name, facts), _persistence(name, facts), _replicas(name, facts), _memory(name, facts)]


def _eviction(name: str, facts: dict[str, str]) -> Finding:
    policy = facts["maxmemory_policy"]
    if policy == "noeviction":
        return Finding("eviction", Verdict.OK, f"{name}: noeviction")
    seen = f"{name}: maxmemory-policy is {policy}; with a memory limit it would throw carts away"
    return Finding("eviction", Verdict.WARNING, seen, _remedy("maxmemory-policy"))


def _persistence(name: str, facts: dict[str, str]) -> Finding:
    has_file = facts["aof_enabled"] == "1"
    wrong = [
        what
        for key, what in (
            ("rdb_last_bgsave_status", "the last snapshot to disk"),
            ("aof_last_write_status", "the last write to the append-only file"),
            ("aof_last_bgrewrite_status", "the last rewrite of the append-only file"),
        )
        if facts.get(key, "ok") != "ok"
    ]
    if wrong:
        remedy = "look at the server's log and its disk: full, or not writable"
        return Finding("persistence", Verdict.FAILED, f"{name}: failed: {', '.join(wrong)}", remedy)
    if has_file:
        return Finding("persistence", Verdict.OK, f"{name}: append-only file")
    remedy = "set appendonly yes: without it minutes of carts are lost when the server stops"
    return Finding("persistence", Verdict.WARNING, f"{name}: no append-only file", remedy)


def _replicas(name: str, facts: dict[str, str]) -> Finding:
    lags = []
    for key, value in facts.items():
        if key.startswith("slave") and key[5:].isdigit():
            replica = dict(part.split("=", 1) for part in value.split(","))
            behind = int(facts["master_repl_offset"]) - int(replica["offset"])
            lags.append((behind, replica.get("state", ""), f"{replica['ip']}:{replica['port']}"))
    if not lags:
        remedy = "add a replica, or be content with losing what is not on disk when this server is lost"
        return Finding("replication", Verdict.WARNING, f"{name}: no replica", remedy)
    for behind, state, address in lags:
        if state != "online" or behind > LAG_BYTES:
            seen = f"{name}: replica {address} is {state} and {behind} bytes behind: a failover would lose that much"
            return Finding("replication", Verdict.WARNING, seen, "look at the replica and the network between them")
    return Finding("replication", Verdict.OK, f"{name}: {len(lags)} replicas, {max(lags)[0]} bytes behind at most")


def _memory(name: str, facts: dict[str, str]) -> Finding:
    used, limit = int(facts["used_memory"]), int(facts["maxmemory"])
    whole = limit or int(facts.get("total_system_memory", 0))
    if not whole:
        return Finding("memory", Verdict.OK, f"{name}: {used >> 20} MiB, no limit")
    seen = f"{name}: {used >> 20} of {whole >> 20} MiB{'' if limit else ' (the machine; no maxmemory is set)'}"
    if used < whole * HEADROOM:
        return Finding("memory", Verdict.OK, seen)
    remedy = "raise maxmemory, or shorten [storage] closed_days and idle_days; a full server refuses every command"
    return Finding("memory", Verdict.FAILED if used >= whole * 0.97 else Verdict.WARNING, seen, remedy)


def _sqlite(path: str) -> Finding:
    if path == ":memory:":
        return Finding(NAME, Verdict.WARNING, "in memory only", "name a file: this is lost with the process")
    folder = Path(path).parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return Finding(NAME, Verdict.FAILED, f"{folder} is no folder that this user may write to", "correct its rights")
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE:
        seen = f"only {free >> 20} MiB are free at {folder}"
        return Finding(NAME, Verdict.WARNING, seen, "make room: a full disk ends every command")
    if not Path(path).exists():
        return Finding(NAME, Verdict.WARNING, f"{path} does not exist yet", "start the hub, or correct [storage] url")
    whose = "a hub has it open" if _locked(path) else "no hub has it open"
    return Finding(NAME, Verdict.OK, f"{path}: {whose}, {free >> 30} GiB free")


def _locked(path: str) -> bool:
    lock = f"{os.path.realpath(path)}.lock"
    if not os.path.exists(lock):
        return False
    descriptor = os.open(lock, os.O_RDONLY)
    try:
        # Shared and for a moment: a hub that starts just now would see its own lock taken by another.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
