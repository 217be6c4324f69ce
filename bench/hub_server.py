"""The hub under test: the real one, started as `legato serve` starts it, that can also be told to make revisions.

`python -m bench.hub_server FOLDER ADAPTER [STORAGE_URL]`, with `null` or `reference`, and SQLite in the folder unless
another storage is named. The OTEL_ variables turn tracing on.
"""

import asyncio
import sys
import time
from pathlib import Path

import msgspec

from bench import workload
from bench.control import happen, obey, paced
from legato.protocol.state import Delta
from legato_hub.cli_serve import event_loop_runner
from legato_hub.clock import now_ms
from legato_hub.config import BackendConfig, Config, RoutingConfig, ServerConfig, StorageConfig, default_config
from legato_hub.live import Live
from legato_hub.server import Hub, settle_collector
from legato_hub.storage.base import Commit, Committed, Cursor, Update
from legato_hub.telemetry import logs, tracing

HOUR_S = 3_600.0


class InjectedHub(Hub):
    """Makes revisions below the pipeline of commands."""

    _prepared: tuple[Live, list[Delta]]

    async def prepare(self, resource: str, count: int) -> int:
        live = await self._resources.get(resource)
        assert live.exists, f"{resource} does not exist"
        self._prepared = live, [workload.delta(live.revision + number + 1) for number in range(count)]
        return live.revision

    async def inject(self, rate: float, *, committed: bool) -> list[int]:
        """Through the storage; or only told to the resource in memory, as if another hub had committed them.

        What was only told is in no storage: nothing can be committed to that resource any more.
        """
        live, deltas = self._prepared
        return await (self._commit if committed else self._tell)(live, deltas, rate)

    async def _tell(self, live: Live, deltas: list[Delta], rate: float) -> list[int]:
        epoch, base = live.cursor.epoch, live.revision
        times: list[int] = []

        def tell(number: int) -> None:
            live.update(Update(live.name, Cursor(epoch, base + number + 1), deltas[number]))

        await happen(len(deltas), rate, times, tell)
        return times

    async def _commit(self, live: Live, deltas: list[Delta], rate: float) -> list[int]:
        base = live.revision
        times: list[int] = []
        commits = []
        end = self._storage.follow(live.name, lambda _: times.append(time.monotonic_ns()))
        async for number in paced(len(deltas), rate):
            commit = Commit(live.name, base + number, deltas[number], now_ms())
            commits.append(asyncio.ensure_future(self._storage.commit(commit)))
        stored = await asyncio.gather(*commits)
        end()
        assert all(isinstance(answer, Committed) for answer in stored)
        return times


def hub_config(folder: Path, adapter: str, storage_url: str = "") -> Config:
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
        storage=StorageConfig(url=storage_url or f"sqlite:{folder / 'hub.sqlite3'}"),
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
    chosen = hub_config(Path(sys.argv[1]), *sys.argv[2:])
    logs.configure(msgspec.structs.replace(chosen.logging, level="warning"))
    tracing.configure()
    event_loop_runner()(main(chosen))
    tracing.shutdown()
