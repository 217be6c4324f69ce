"""A real Vendure server on loopback for tests and the demo: started, waited for, and ended with its user.

It runs `server.mjs` of the peer's folder (`peers/vendure`), which must have been installed with `npm ci`.
"""

import asyncio
import contextlib
import json
import logging
import os
import secrets
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["VendureServer", "VendureServerError", "running_vendure"]

_log = logging.getLogger(__name__)

_USERNAME = "superadmin"
_STOP_TIMEOUT = 10.0
_KEPT_LINES = 20


class VendureServerError(RuntimeError):
    """The server could not be started; the message ends with the last lines it wrote to stderr."""


@dataclass(frozen=True)
class VendureServer:
    """Where a started server listens and who may administer it. Its data live as long as its process."""

    pid: int
    port: int
    shop_api: str
    """URL of the shop's GraphQL endpoint."""
    admin_api: str
    """URL of the administration's GraphQL endpoint."""
    username: str
    password: str = field(repr=False)


@contextlib.asynccontextmanager
async def running_vendure(peer: Path, *, start_timeout: float = 120.0) -> AsyncIterator[VendureServer]:
    """Start the Vendure of folder `peer` on a free port of 127.0.0.1, seeded and searchable; end it on leaving.

    The port and the administrator's password are new each time. The server does not hear this terminal's Ctrl-C,
    and ends by itself if this process dies.

    Raises `VendureServerError` if it is not installed, ends early, or is not ready within `start_timeout` seconds
    (it takes about 10 on an idle machine).
    """
    password = secrets.token_urlsafe(18)
    process = await _spawn(peer, password)
    last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.create_task(_follow(process.stderr, last_lines))
    try:
        ready = await _ready_line(process.stdout, errors, last_lines, start_timeout)
        yield VendureServer(
            pid=process.pid,
            port=ready["port"],
            shop_api=ready["shop_api"],
            admin_api=ready["admin_api"],
            username=_USERNAME,
            password=password,
        )
    finally:
        await _end(process)
        await errors


async def _spawn(peer: Path, password: str) -> asyncio.subprocess.Process:
    if not (peer / "node_modules").is_dir():
        raise VendureServerError(f"Vendure is not installed: run `npm ci` in {peer}")
    environment = {
        **os.environ,
        "PORT": "0",
        "LEGATO_EXIT_WITH_PARENT": "1",
        "VENDURE_SUPERADMIN_USERNAME": _USERNAME,
        "VENDURE_SUPERADMIN_PASSWORD": password,
    }
    try:
        return await asyncio.create_subprocess_exec(
            "node",
            "server.mjs",
            cwd=peer,
            env=environment,
            stdin=asyncio.subprocess.PIPE,  # never written to: its end tells the server that we are gone
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise VendureServerError("Vendure needs node 20 or newer on the PATH") from error


async def _ready_line(
    stdout: asyncio.StreamReader, errors: asyncio.Task[None], last_lines: deque[str], start_timeout: float
) -> dict[str, Any]:
    try:
        async with asyncio.timeout(start_timeout):
            line = await stdout.readline()
            if not line:
                await errors
    except TimeoutError:
        raise VendureServerError(_told(f"not ready within {start_timeout} s", last_lines)) from None
    if not line:
        raise VendureServerError(_told("ended before it was ready", last_lines))
    ready: dict[str, Any] = json.loads(line)
    return ready


def _told(what: str, last_lines: deque[str]) -> str:
    return "\n".join([f"Vendure: {what}", *last_lines])


async def _follow(stream: asyncio.StreamReader, last_lines: deque[str]) -> None:
    async for line in stream:
        text = line.decode("utf-8", "replace").rstrip()
        last_lines.append(text)
        _log.debug("vendure: %s", text)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_TIMEOUT):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
