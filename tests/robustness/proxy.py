"""A TCP proxy that stands between any two processes and breaks on command: what a network can do, at a known moment."""

import asyncio
import contextlib
import socket
from collections.abc import Callable

CHUNK = 16_384
SMALL_BUFFER = 8_192
"""Of a throttled link, so that the sender feels it and not the kernel."""

Filter = Callable[[bytes], bytes]


class Direction:
    """What is done to bytes on their way in one direction."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.lost = False
        self.bytes_per_second = 0

    def stall(self) -> None:
        """Nothing passes, nothing is closed, and senders are not read from: what is sent arrives after `flow`."""
        self.open.clear()

    def lose(self) -> None:
        """Half-open: whatever is sent is taken and goes nowhere, until the connection is cut."""
        self.lost = True

    def flow(self) -> None:
        """As a network should. Connections that lost bytes must be cut as well."""
        self.lost = False
        self.open.set()


class Proxy:
    """Listens on a port of its own for as long as it lives, wherever its target is at the time.

    `up` is the direction from the clients to the target, `down` the way back. `down_filter` may change what comes back
    on a connection; it is asked once for each, with what the client said first.
    """

    def __init__(self, target: int = 0, *, down_filter: Callable[[bytes], Filter | None] | None = None) -> None:
        self.target = target
        self.up, self.down = Direction(), Direction()
        self.refuses = False
        """New connections are closed at once."""
        self.port = 0
        self._down_filter = down_filter
        self._links: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, family=socket.AF_INET, limit=CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._links, return_exceptions=True)

    def cut(self) -> None:
        """Reset every connection there is."""
        for task, writers in self._links.items():
            for writer in writers:
                writer.transport.abort()
            task.cancel()

    def mend(self) -> None:
        """All is well again, for new connections: old ones are cut."""
        self.refuses = False
        self.up.flow()
        self.down.flow()
        self.up.bytes_per_second = self.down.bytes_per_second = 0
        self.cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links[task] = (writer,)
        try:
            if self.refuses or not self.target:
                return
            there, back = await asyncio.open_connection("127.0.0.1", self.target, limit=CHUNK)
            self._links[task] = (writer, back)
            if self.down.bytes_per_second:
                for end in (writer, back):
                    sock = end.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
            await self._join(reader, writer, there, back)
        except (OSError, asyncio.CancelledError):
            pass  # Cut, or nobody is there: both ends learn it from the closing.
        finally:
            for end in self._links.pop(task):
                end.transport.abort()

    async def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        change: list[Filter | None] = [None]

        def heard(data: bytes) -> bytes:
            if self._down_filter is not None and change[0] is None:
                change[0] = self._down_filter(data)
            return data

        def told(data: bytes) -> bytes:
            return data if change[0] is None else change[0](data)

        ways = [
            asyncio.create_task(_pump(reader, back, self.up, heard)),
            asyncio.create_task(_pump(there, writer, self.down, told)),
        ]
        try:
            # The end of either is the end of both: no protocol here has half-closed connections.
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: Direction, change: Filter) -> None:
    with contextlib.suppress(OSError):
        while True:
            # At most a tenth of a second's worth at a time.
            data = await source.read(max(way.bytes_per_second // 10, 1) if way.bytes_per_second else CHUNK)
            if not data:
                return
            await way.open.wait()
            if way.lost:
                continue
            if way.bytes_per_second:
                await asyncio.sleep(len(data) / way.bytes_per_second)
            sink.write(change(data))
            await sink.drain()
