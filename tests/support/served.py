"""`legato serve`, alone or with workers, as an operator runs it on a Valkey that hubs share."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 45.0


class Served:
    """A hub's process, or the one that looks after its workers. Logs are read one after the other, as they come."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.target = ""
        self.logs: list[dict[str, Any]] = []
        self.pids: dict[int, int] = {}
        """Of the workers that were last said to serve, by number."""

    async def log(self, message: str, **facts: object) -> dict[str, Any]:
        """The next line of log with this message (and these facts)."""
        assert self.process.stderr is not None
        async with asyncio.timeout(TIMEOUT_S):
            while line := await self.process.stderr.readline():
                if not line.startswith(b"{"):
                    self.logs.append({"message": line.decode().strip()})
                    continue
                entry: dict[str, Any] = json.loads(line)
                self.logs.append(entry)
                if entry["message"] == "a worker serves":
                    self.pids[entry["worker"]] = entry["pid"]
                if message in entry["message"] and facts.items() <= entry.items():
                    return entry
        raise AssertionError(f"it ended without saying {message!r}: {self.logs}")

    async def ended(self) -> int:
        """Wait for its end; the exit status. What it said until then is in `logs`."""
        async with asyncio.timeout(TIMEOUT_S):
            while line := await _line(self.process.stderr):
                self.logs.append(json.loads(line) if line.startswith(b"{") else {"message": line.decode().strip()})
            await self.process.communicate()
            return await self.process.wait()

    async def stop(self) -> int:
        """As an operator stops it."""
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()


async def _line(stream: asyncio.StreamReader | None) -> bytes:
    assert stream is not None
    return await stream.readline()


@asynccontextmanager
async def serve(folder: Path, *arguments: str, **environ: str) -> AsyncIterator[Served]:
    """`legato serve` with arguments, just started; killed on leaving if it still runs, and so are its workers."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("LEGATO_", "OTEL_"))}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "legato_hub.cli", "serve", *arguments),
        cwd=folder,
        env={**plain, "PYTHONPATH": str(ROOT), "LEGATO_LOGGING__FORMAT": "json", **environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    served = Served(process)
    try:
        yield served
    finally:
        if process.returncode is None:
            process.kill()
            # The end of standard error: no worker has it any more.
            await served.ended()


@asynccontextmanager
async def hub(folder: Path, storage: str, *arguments: str, **environ: str) -> AsyncIterator[Served]:
    """A hub that serves, on a port that the system chose unless told otherwise."""
    async with serve(folder, "--listen", "127.0.0.1:0", "--storage", storage, *arguments, **environ) as served:
        async with asyncio.timeout(TIMEOUT_S):
            line = (await _line(served.process.stdout)).decode()
        assert line.startswith("legato serves on 127.0.0.1:"), line
        served.target = line.split()[-1]
        yield served


@asynccontextmanager
async def workers(folder: Path, storage: str, count: int) -> AsyncIterator[Served]:
    """One with workers, all of which serve."""
    async with hub(folder, storage, "--workers", str(count)) as served:
        for _ in range(count):
            await served.log("a worker serves")
        yield served
