"""A forwarder between the kit and an adapter's server that breaks connections at a chosen frame.

It reads no more of HTTP/2 than the nine bytes before each frame: enough to know when a request has gone out whole and
when an answer has come back whole.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from enum import Enum

_PREFACE = 24
_HEADER = 9
_DATA, _HEADERS = 0, 1
_END_STREAM = 0x1


class Break(Enum):
    """When a connection is cut."""

    AFTER_REQUEST = "some time after a request has gone out"
    BEFORE_ANSWER = "when a whole answer has come back, of which nothing is passed on"


@contextlib.asynccontextmanager
async def breaking(address: str, when: Break, delay_s: float = 0.0) -> AsyncIterator[str]:
    """The address of a forwarder to `address` ("host:port"), every connection of which is cut at its first call."""
    host, _, port = address.rpartition(":")
    forwarder = _Forwarder(host.strip("[]"), int(port), when, delay_s)
    server = await asyncio.start_server(forwarder.accept, "127.0.0.1", 0, family=socket.AF_INET)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await forwarder.close()


class _Forwarder:
    def __init__(self, host: str, port: int, when: Break, delay_s: float) -> None:
        self._host = host
        self._port = port
        self._when = when
        self._delay_s = delay_s
        self._tasks: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        ends = [writer]
        try:
            there, back = await asyncio.open_connection(self._host, self._port)
            ends.append(back)
            await self._carry((reader, back), (there, writer))
        except OSError:
            # Nobody is there: so much for this connection.
            return
        finally:
            for end in ends:
                # A reset, not a farewell: nothing that is still in a buffer arrives.
                end.transport.abort()
            for end in ends:
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    async def _carry(
        self,
        there: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        back: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        directions = [asyncio.ensure_future(self._requests(*there)), asyncio.ensure_future(self._answers(*back))]
        try:
            # Whichever ends first ends the connection on both sides.
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)

    async def _requests(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        sink.write(await source.readexactly(_PREFACE))
        while True:
            kind, flags, frame = await _frame(source)
            sink.write(frame)
            await sink.drain()
            if self._when is Break.AFTER_REQUEST and kind == _DATA and flags & _END_STREAM:
                await asyncio.sleep(self._delay_s)
                return

    async def _answers(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while True:
            kind, flags, frame = await _frame(source)
            if kind in (_DATA, _HEADERS) and self._when is Break.BEFORE_ANSWER:
                if flags & _END_STREAM:
                    return
                continue
            sink.write(frame)
            await sink.drain()

    async def close(self) -> None:
        await asyncio.sleep(0)  # A connection that was just accepted has its task begun by then.
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _frame(source: asyncio.StreamReader) -> tuple[int, int, bytes]:
    header = await source.readexactly(_HEADER)
    body = await source.readexactly(int.from_bytes(header[:3], "big"))
    return header[3], header[4], header + body
