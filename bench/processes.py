"""Servers under test as processes of their own: started, told, measured from outside, ended by their pid."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 30.0
END_TIMEOUT_S = 10.0
LONGEST_LINE = 4 * 1024 * 1024


class ServerProcess:
    """A running server."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.pid = process.pid
        self.port = 0
        self._process = process

    def cpu_s(self) -> float:
        """CPU time of the whole process so far, all threads, in seconds.

        Linux numbers the clock of another process so (CPUCLOCK_SCHED; what clock_getcpuclockid(3) returns).
        """
        return time.clock_gettime((~self.pid << 3) | 2)

    def rss_kb(self) -> int:
        """Resident memory in KiB."""
        status = Path(f"/proc/{self.pid}/status").read_text("utf-8")
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1])

    async def tell(self, **wish: Any) -> dict[str, Any]:
        """Send a line, and wait for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(wish).encode() + b"\n")
        return await self.answer()

    async def answer(self) -> dict[str, Any]:
        """The server's next line. Raise EOFError if it has ended."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise EOFError(f"{self.name} has ended with {await self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def end(self) -> None:
        """Let it go down in peace; kill it if it does not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def server(
    name: str, module: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[ServerProcess]:
    """`python -m MODULE ARGUMENTS`, ready; it ends on leaving."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", module, *arguments),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LONGEST_LINE,
        env={**inherited, **(environment or {})},
    )
    started = ServerProcess(name, process)
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            started.port = (await started.answer())["port"]
        yield started
    finally:
        await started.end()
