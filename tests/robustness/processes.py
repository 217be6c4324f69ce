"""What a world is made of: hubs that can be killed, each behind a proxy, and Valkey servers, behind another."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from tests.robustness.history import Recorder
from tests.robustness.proxy import Proxy

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0


class Hub:
    """One hub: a process that comes and goes behind a port that stays."""

    def __init__(self, name: str, folder: Path, recorder: Recorder, *, mutant: str = "") -> None:
        self.name = name
        self.proxy = Proxy()
        self.port = 0
        """Its own; clients use the proxy's."""
        self.clock = folder / f"{name}.clock"
        self.clock.write_text("0")
        self._folder = folder
        self._recorder = recorder
        self._mutant = mutant
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, config: str, *, failpoints: str = "") -> None:
        """Start the process and wait until it serves."""
        path = self._folder / f"{self.name}.toml"
        path.write_text(config)
        command = [sys.executable, "-m", "tests.robustness.launch", "--clock", str(self.clock)]
        command += ["--mutant", self._mutant] if self._mutant else []
        with (self._folder / f"{self.name}.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                *("--", "serve", "--config", str(path)),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT), "LEGATO_FAILPOINTS": failpoints},
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(START_TIMEOUT_S):
            line = (await self._process.stdout.readline()).decode()
        if not line.startswith("legato serves on "):
            raise RuntimeError(f"{self.name} said {line!r}; see {self._folder / (self.name + '.log')}")
        self.port = self.proxy.target = int(line.rpartition(":")[2])

    @property
    def runs(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.returncode is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end; the exit code (negative: the signal)."""
        assert self._process is not None
        async with asyncio.timeout(STOP_TIMEOUT_S):
            code = await self._process.wait()
        self.proxy.target = 0
        self.proxy.cut()
        self._recorder.record("exit", self.name, code=code)
        return code

    async def kill(self) -> None:
        """As a power cut would."""
        self.signal(signal.SIGKILL)
        await self.ended()

    def memory(self) -> int:
        """Bytes that it holds."""
        assert self._process is not None
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def config(storage: str, backend: str, *, progress_s: float) -> str:
    """The configuration of a hub whose waits are short."""
    return "\n".join(
        [
            "[server]",
            'listen = "127.0.0.1:0"',
            "grace_seconds = 5.0",
            "slot_seconds = 1.0",
            "keepalive_ms = 10000",
            "keepalive_timeout_ms = 20000",
            f"progress_seconds = {progress_s}",
            "refresh_seconds = 1.0",
            "[storage]",
            f"url = {json.dumps(storage)}",
            "[routing]",
            'default = "shop"',
            "[backends.shop]",
            f"adapter = {json.dumps('grpc://' + backend)}",
            "timeout_ms = 2000",
        ]
    )
