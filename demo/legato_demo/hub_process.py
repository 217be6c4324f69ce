"""The demo's hub: `legato serve` as a process of its own, so that it can be killed and started again."""

import json
import socket
import sys
from pathlib import Path
from typing import Any

from legato_demo.processes import Process


class HubProcess(Process):
    """Starts, kills and restarts a hub on one port."""

    def __init__(self, name: str, folder: Path, secret: str, storage: str, backend: dict[str, Any]) -> None:
        super().__init__(name, folder / f"{name}.log")
        self.port = free_port()
        self._config = folder / f"{name}.toml"
        self._config.write_text(_toml(self.port, secret, storage, backend))

    @property
    def target(self) -> str:
        """Where it serves."""
        return f"127.0.0.1:{self.port}"

    async def start(self, failpoints: str = "") -> None:
        """Start, and wait until it serves. Raise RuntimeError with the end of its log if it does not."""
        command = (sys.executable, "-m", "legato_hub.cli", "serve", "--config", str(self._config))
        await self.launch(*command, ready="legato serves on", LEGATO_FAILPOINTS=failpoints)


def free_port() -> int:
    """A port for something that is started again: the system's choice is made once."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _toml(port: int, secret: str, storage: str, backend: dict[str, Any]) -> str:
    options = "\n".join(f"{key} = {json.dumps(value)}" for key, value in backend["options"].items())
    return f"""
[server]
listen = "127.0.0.1:{port}"
grace_seconds = 2.0
slot_seconds = 1.0

[storage]
url = {json.dumps(storage)}

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
