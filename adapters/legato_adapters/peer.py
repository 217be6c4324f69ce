"""A backend of `peers/` on loopback for tests and the demo: started, waited for, and ended with its user.

A peer is a folder with a `server.mjs`, which prints one JSON line when it is ready and ends with its standard input.
"""

import asyncio
import contextlib
import json
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["PeerError", "running_peer"]

_log = logging.getLogger(__name__)

_STOP_TIMEOUT = 10.0
_KEPT_LINES = 20


class PeerError(RuntimeError):
    """The server could not be started; the message ends with the last lines it wrote to stderr."""


@contextlib.asynccontextmanager
async def running_peer(
    folder: Path, name: str, environment: Mapping[str, str], *, start_timeout: float
) -> AsyncIterator[dict[str, Any]]:
    """Start the server of `folder` on a free port of 127.0.0.1; gives its line and `pid`, and ends it on leaving.

    The server does not hear this terminal's Ctrl-C, and ends by itself if this process dies. Raises `PeerError` if it
    is not installed, ends early, or is not ready within `start_timeout` seconds.
    """
    process = await _spawn(folder, name, environment)
    last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.create_task(_follow(process.stderr, name, last_lines))
    try:
        ready = await _ready_line(process.stdout, name, errors, last_lines, start_timeout)
        yield {**ready, "pid": process.pid}
    finally:
        await _end(process)
        await errors


async def _spawn(folder: Path, name: str, environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    if not (folder / "node_modules").is_dir():
        raise PeerError(f"{name} is not installed: run `npm ci` in {folder}")
    try:
        return await asyncio.create_subprocess_exec(
            "node",
            "server.mjs",
            cwd=folder,
            env={**os.environ, "PORT": "0", "LEGATO_EXIT_WITH_PARENT": "1", **environment},
            stdin=asyncio.subprocess.PIPE,  # never written to: its end tells the server that we are gone
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise PeerError(f"{name} needs node 20 or newer on the PATH") from error


async def _ready_line(
    stdout: asyncio.StreamReader,
    name: str,
    errors: asyncio.Task[None],
    last_lines: deque[str],
    start_timeout: float,
) -> dict[str, Any]:
    try:
        async with asyncio.timeout(start_timeout):
            line = await stdout.readline()
            if not line:
                await errors
    except TimeoutError:
        raise PeerError(_told(name, f"not ready within {start_timeout} s", last_lines)) from None
    if not line:
        raise PeerError(_told(name, "ended before it was ready", last_lines))
    ready: dict[str, Any] = json.loads(line)
    return ready


def _told(name: str, what: str, last_lines: deque[str]) -> str:
    return "\n".join([f"{name}: {what}", *last_lines])


async def _follow(stream: asyncio.StreamReader, name: str, last_lines: deque[str]) -> None:
    async for line in stream:
        text = line.decode("utf-8", "replace").rstrip()
        last_lines.append(text)
        _log.debug("%s: %s", name, text)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_TIMEOUT):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
