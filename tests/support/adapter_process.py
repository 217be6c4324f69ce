"""An adapter as a process of its own, for tests."""

import contextlib
import json
import selectors
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

_START_TIMEOUT_S = 40.0
_STOP_TIMEOUT_S = 20.0


class AdapterProcess:
    """A started `python -m legato_adapters.server`. `address` is where it listens."""

    def __init__(self, factory: str, options: Mapping[str, Any], *arguments: str) -> None:
        command = [sys.executable, "-m", "legato_adapters.server", factory, *arguments]
        for key, value in options.items():
            command += ["--option", f"{key}={json.dumps(value)}"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            self.address = self._read_address()
        except BaseException:
            self.kill()
            raise

    def _read_address(self) -> str:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(_START_TIMEOUT_S):
                raise TimeoutError("the adapter's process did not listen in time")
        line = self._process.stdout.readline()
        if not line.startswith("listening "):
            raise RuntimeError(f"the adapter's process said {line!r} and not where it listens")
        return line.split()[1]

    def terminate(self) -> int:
        """End it as an operator would; the exit code is returned."""
        self._process.terminate()
        return self._wait()

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._wait()

    def _wait(self) -> int:
        assert self._process.stdout is not None
        code = self._process.wait(_STOP_TIMEOUT_S)
        self._process.stdout.close()
        return code


@contextlib.contextmanager
def running_adapter(factory: str, options: Mapping[str, Any], *arguments: str) -> Iterator[AdapterProcess]:
    """A process that is ended on leaving, if it has not been before."""
    process = AdapterProcess(factory, options, *arguments)
    try:
        yield process
    finally:
        process.terminate()
