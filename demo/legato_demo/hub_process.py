"""The demo's hub: `legato serve` as a process of its own, so that it can be killed and started again."""

import asyncio
import json
import os
import secrets
import signal
import socket
import sys
from pathlib import Path
from typing import Any

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0


class HubProcess:
    """Starts, kills and restarts a hub on one port, with one folder for its files."""

    def __init__(self, folder: Path, backend: dict[str, Any]) -> None:
        self.secret = secrets.token_urlsafe(32)
        self.port = _free_port()
        self._config = folder / "legato.toml"
        self._log = folder / "hub.log"
        self._config.write_text(_toml(folder, self.port, self.secret, backend))
        self._process: asyncio.subprocess.Process | None = None

    @property
    def target(self) -> str:
        """Where it serves."""
        return f"127.0.0.1:{self.port}"

    async def start(self, failpoints: str = "") -> None:
        """Start, and wait until it serves. Raise RuntimeError with the end of its log if it does not."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "legato_hub.cli", "serve", "--config", str(self._config)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**os.environ, "LEGATO_FAILPOINTS": failpoints},
                # Ctrl-C in the terminal is for the demo, which then tells the hub to drain.
                start_new_session=True,
            )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                line = await self._process.stdout.readline()
        except TimeoutError:
            line = b""
        if not line.startswith(b"legato serves on"):
            await self.kill()
            raise RuntimeError(f"the hub did not start:\n{self._log.read_text()[-2_000:]}")

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
        """Let it drain; whether it ended by itself and well."""
        if self._process is None or self._process.returncode is not None:
            return False
        self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                return await self._process.wait() == 0
        except TimeoutError:
            await self.kill()
            return False


def _free_port() -> int:
    # The port must be the same after a restart, so the system's choice is made once.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _toml(folder: Path, port: int, secret: str, backend: dict[str, Any]) -> str:
    options = "\n".join(f"{key} = {json.dumps(value)}" for key, value in backend["options"].items())
    return f"""
[server]
listen = "127.0.0.1:{port}"
grace_seconds = 2.0
slot_seconds = 1.0

[storage]
url = {json.dumps(f"sqlite:{folder}/hub.sqlite3")}

[auth]
secret = "{secret}"
development = true

[routing]
default = "{backend["name"]}"

[backends.{backend["name"]}]
adapter = "{backend["adapter"]}"

[backends.{backend["name"]}.options]
{options}

[logging]
format = "json"
"""
