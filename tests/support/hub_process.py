"""A hub as a process of its own, so that it can be killed."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio

from legato.orchestrator.v1 import orchestrator_service_pb2_grpc
from legato.protocol.ids import new_id
from legato_hub.config import default_config
from tests.support.hub import RunningHub

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 30.0


class HubProcess:
    """`legato serve` on a port that the system chose."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.port = port

    async def died(self) -> int:
        """Wait for its end; the exit code (negative: the signal)."""
        async with asyncio.timeout(START_TIMEOUT_S):
            return await self.process.wait()


@asynccontextmanager
async def hub_process(
    folder: Path,
    *,
    failpoints: str = "",
    backend: Mapping[str, object] | None = None,
    port: int = 0,
    storage: str = "",
    server: Mapping[str, float] | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[tuple[HubProcess, RunningHub]]:
    """A running process and a channel to it; killed on leaving if it still runs.

    `storage` is a URL, empty for a file in the folder; `server` has further settings of that section. Hubs on one
    folder share the backends in it.
    """
    reference = {"adapter": "legato_adapters.reference:create", "options": {"path": str(folder / "reference.sqlite3")}}
    backends = {"reference": reference, **({"ledger": backend} if backend else {})}
    config = folder / f"legato-{new_id()}.toml"
    text = [
        "[server]",
        f'listen = "127.0.0.1:{port}"',
        "grace_seconds = 1.0",
        "slot_seconds = 1.0",
        *(f"{key} = {json.dumps(value)}" for key, value in (server or {}).items()),
        "[storage]",
        f"url = {json.dumps(storage or 'sqlite:' + str(folder / 'hub.sqlite3'))}",
        "[routing]",
        f'cart = "{"ledger" if backend else ""}"',
    ]
    for name, table in backends.items():
        text += [f"[backends.{name}]", f"adapter = {json.dumps(table['adapter'])}", f"[backends.{name}.options]"]
        options = table["options"]
        assert isinstance(options, Mapping)
        text += [f"{key} = {json.dumps(value)}" for key, value in options.items()]
    config.write_text("\n".join(text))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "legato_hub.cli",
        "serve",
        "--config",
        str(config),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "LEGATO_FAILPOINTS": failpoints, **(environment or {})},
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_TIMEOUT_S):
            line = (await process.stdout.readline()).decode()
        assert line.startswith("legato serves on "), line
        bound = int(line.rpartition(":")[2])
        async with grpc.aio.insecure_channel(f"127.0.0.1:{bound}") as channel:
            stub = orchestrator_service_pb2_grpc.OrchestratorServiceStub(channel)
            # The hub behind it is another process: nothing may ask this one for more than its port.
            yield HubProcess(process, bound), RunningHub(None, default_config(), channel, stub)  # type: ignore[arg-type]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
