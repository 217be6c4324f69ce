"""How the load client talks to a server under test: lines of JSON on its standard input and output.

    server   {"port": 50051}                                    it serves
    client   {"prepare": "carts/...", "count": 4000}            make so many revisions, outside of what is measured
    server   {"revision": 1}                                    the present one
    client   {"rate": 2000.0, "committed": false}               let them happen, so many a second, stored or only told
    server   {"times": [...]}                                   when each did, on CLOCK_MONOTONIC in nanoseconds

The end of its input is the end of the server: it never outlives the client.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol


class Injector(Protocol):
    """Makes revisions of a resource without a command."""

    async def prepare(self, resource: str, count: int) -> int:
        """Get ready for `count` revisions; the present one."""

    async def inject(self, rate: float, *, committed: bool) -> list[int]:
        """Let them happen; when each did. Returns when the server has handed out the last one.

        `committed`: through the storage, where there is one; else straight to whoever tells the streams.
        """


async def paced(count: int, rate: float) -> AsyncIterator[int]:
    """0 to `count` - 1, so many a second; what fell due while nobody looked comes at once."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for number in range(count):
        wait = start + number / rate - loop.time()
        if wait > 0:
            await asyncio.sleep(wait)
        yield number


async def happen(count: int, rate: float, times: list[int], each: Callable[[int], None] = lambda _: None) -> None:
    """Call `each` with 0 to `count` - 1, so many a second; `times` gets when, on CLOCK_MONOTONIC in nanoseconds."""
    async for number in paced(count, rate):
        times.append(time.monotonic_ns())
        each(number)


def say(message: dict[str, Any]) -> None:
    """Write a line."""
    print(json.dumps(message), flush=True)


async def obey(injector: Injector, port: int) -> None:
    """Serve the client until its end."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    say({"port": port})
    while line := await reader.readline():
        wish = json.loads(line)
        if "prepare" in wish:
            say({"revision": await injector.prepare(wish["prepare"], wish["count"])})
        else:
            say({"times": await injector.inject(wish["rate"], committed=wish["committed"])})
