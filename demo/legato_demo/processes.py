"""What the demo starts beside itself: programs that say a line when they are ready."""

import asyncio
import os
import signal
from pathlib import Path

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0


class Process:
    """Starts, kills and stops a program; what it logs goes to a file."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._rest: asyncio.Task[bytes] | None = None

    async def launch(self, *command: str, ready: str, **environ: str) -> str:
        """Start it, and wait for the line that says that it is ready: the line. Raise RuntimeError with the end of its
        log if that does not come."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**os.environ, **environ},
                # Ctrl-C in the terminal is for the demo, which then stops one after the other.
                start_new_session=True,
            )
        assert self._process.stdout is not None
        line = "begin"
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while line and ready not in line:
                    line = (await self._process.stdout.readline()).decode()
        except TimeoutError:
            line = ""
        if not line:
            await self.kill()
            raise RuntimeError(f"{self.name} did not start:\n{self._log.read_text()[-2_000:]}")
        # Read on, or it would stand still at a full pipe.
        self._rest = asyncio.create_task(self._process.stdout.read())
        return line.strip()

    @property
    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def died(self) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        assert self._process is not None
        async with asyncio.timeout(START_TIMEOUT_S):
            return await self._process.wait()

    async def kill(self) -> None:
        """End it with SIGKILL, as a power cut would."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> bool:
        """Let it end in peace; whether it did so by itself and well."""
        if self._process is None or self._process.returncode is not None:
            return False
        self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                return await self._process.wait() == 0
        except TimeoutError:
            await self.kill()
            return False
