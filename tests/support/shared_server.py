"""A server of `peers/` that all tests of one process share."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeVar

PEERS = Path(__file__).resolve().parents[2] / "peers"

_Server = TypeVar("_Server")


@contextlib.contextmanager
def shared_server(name: str, running: AbstractAsyncContextManager[_Server]) -> Iterator[_Server]:
    """A started server. It is looked after in a thread, as each test has an event loop of its own."""
    started: Future[_Server] = Future()
    ending: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        end = asyncio.Event()
        ending.set_result((asyncio.get_running_loop(), end))
        try:
            async with running as server:
                started.set_result(server)
                await end.wait()
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name=name)
    thread.start()
    try:
        yield started.result()
    finally:
        loop, end = ending.result()
        with contextlib.suppress(RuntimeError):  # The loop is closed where the server could not be started.
            loop.call_soon_threadsafe(end.set)
        thread.join()
