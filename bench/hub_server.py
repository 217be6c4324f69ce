"""The hub under test: the real one, started as `legato serve` starts it, that can also be told to make revisions.

`python -m bench.hub_server FOLDER ADAPTER`, with `null` or `reference`. The OTEL_ variables turn tracing on.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from bench import workload
from bench.control import obey
from legato.protocol.state import Delta
from legato_hub.cli_serve import event_loop_runner
from legato_hub.clock import now_ms
from legato_hub.config import BackendConfig, Config, RoutingConfig, ServerConfig, StorageConfig, default_config
from legato_hub.server import Hub, settle_collector
from legato_hub.storage.base import Commit, Committed
from legato_hub.telemetry import logs, tracing

HOUR_S = 3_600.0


class InjectedHub(Hub):
    """Makes revisions below the pipeline: committed through the storage, told like any other."""

    _prepared: tuple[str, int, list[Delta]] = ("", 0, [])

    async def prepare(self, resource: str, count: int) -> int:
        loaded = await self._storage.load(resource)
        assert loaded is not None, f"{resource} does not exist"
        revision = loaded.cursor.revision
        deltas = [workload.delta(revision + number + 1) for number in range(count)]
        self._prepared = resource, revision, deltas
        return revision

    async def inject(self, rate: float) -> list[int]:
        resource, base, deltas = self._prepared
        times: list[int] = []
        end = self._storage.follow(resource, lambda _: times.append(time.monotonic_ns()))
        commits = []
        async for number in paced(len(deltas), rate):
            commit = Commit(resource, base + number, deltas[number], now_ms())
            commits.append(asyncio.ensure_future(self._storage.commit(commit)))
        stored = await asyncio.gather(*commits)
        end()
        assert all(isinstance(answer, Committed) for answer in stored)
        return times


async def paced(count: int, rate: float) -> AsyncIterator[int]:
    """0 to `count` - 1, so many a second; what fell due while nobody looked comes at once."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for number in range(count):
        wait = start + number / rate - loop.time()
        if wait > 0:
            await asyncio.sleep(wait)
        yield number


def hub_config(folder: Path, adapter: str) -> Config:
    """The development configuration with files in `folder`, on a port that the system chooses.

    What the hub does by the clock is put off: it would fall into some runs and not into others.
    """
    backend = BackendConfig(adapter="bench.null_adapter:create")
    if adapter == "reference":
        options = {"path": str(folder / "reference.sqlite3")}
        backend = BackendConfig(adapter="legato_adapters.reference:create", options=options)
    return msgspec.structs.replace(
        default_config(),
        server=ServerConfig(listen="127.0.0.1:0", progress_seconds=HOUR_S, refresh_seconds=HOUR_S),
        storage=StorageConfig(url=f"sqlite:{folder / 'hub.sqlite3'}"),
        backends={adapter: backend},
        routing=RoutingConfig(default=adapter),
    )


async def main(config: Config) -> None:
    hub = InjectedHub(config)
    await hub.start()
    settle_collector()
    await obey(hub, hub.port)
    await hub.stop()


if __name__ == "__main__":
    chosen = hub_config(Path(sys.argv[1]), sys.argv[2])
    logs.configure(msgspec.structs.replace(chosen.logging, level="warning"))
    tracing.configure()
    event_loop_runner()(main(chosen))
    tracing.shutdown()
