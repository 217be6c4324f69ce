"""One connection that many tasks share.

Whatever they ask in one turn of the event loop goes out in one write, and answers are taken as they come: nobody waits
for the answers of others before asking. A task that is cancelled leaves its command, and its neighbours, alone.
"""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import BusyLoadingError, RedisError, ResponseError

from legato_hub.storage.base import StorageError
from legato_hub.telemetry.metrics import RECONNECTS

Argument = bytes | str | int
Connect = Callable[[], Awaitable[AbstractConnection]]


class Unsent(StorageError):
    """The server cannot be reached, and the command never left: asking again is harmless."""


class Lost(StorageError):
    """The connection was lost before the answer came: the command may have been done."""


class Link:
    """Connects when it is first needed, and again after each loss. All methods are for one event loop.

    A connection is given up when `timeout_s` pass without an answer to what was asked.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, connect: Connect, name: str, timeout_s: float) -> None:
        self._connect = connect
        self._timeout_s = timeout_s
        self._loop = loop
        self.name = name
        self.connection = 0
        """Which one this is, counted."""
        self._queue: list[tuple[bytes, asyncio.Future[Any]]] = []
        self._barriers: dict[tuple[Argument, ...], asyncio.Future[Any]] = {}
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._heard_at = 0.0
        self._asked = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._unwanted = asyncio.Event()
        self._task = self._loop.create_task(self._run(), name=f"link {name}")

    def call(self, *command: Argument) -> asyncio.Future[Any]:
        """The answer to a command. Raise Unsent, Lost, or redis' ResponseError."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._queue.append((_pack(command), future))
        self._idle.clear()
        self._asked.set()
        return future

    def barrier(self, *command: Argument) -> asyncio.Future[Any]:
        """As `call`, for a command that is about all that were asked before: it is sent once, behind everything asked
        in this turn, however many ask it."""
        future = self._barriers.get(command)
        if future is None:
            future = self._barriers[command] = self._loop.create_future()
            future.add_done_callback(retrieve)  # whoever asked may be told by the command before it
            self._idle.clear()
            self._asked.set()
        return future

    def reconnect(self, connection: int) -> None:
        """Give a connection up, for one that may lead elsewhere; harmless if it is not the present one."""
        if connection == self.connection:
            self._unwanted.set()

    async def close(self) -> None:
        """Wait for the answers to what was asked, then let go."""
        await self._idle.wait()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._asked.wait()
            try:
                async with asyncio.timeout(self._timeout_s):
                    connection = await self._connect()
            except (RedisError, OSError) as error:  # TimeoutError is an OSError
                self._fail(error)
                continue
            try:
                self._fail(await self._serve(connection))
                RECONNECTS.add("commands")
            finally:
                await connection.disconnect(nowait=True)

    async def _serve(self, connection: AbstractConnection) -> BaseException:
        """Until the connection is lost; why it was."""
        self._unwanted.clear()
        self.connection += 1
        parts = [self._loop.create_task(part(connection)) for part in (self._write, self._read, self._watch)]
        try:
            (ended, *_), _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
        return ended.exception() or StorageError("closed")

    async def _write(self, connection: AbstractConnection) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            queue, self._queue = self._queue, []
            barriers, self._barriers = self._barriers, {}
            for command, future in barriers.items():
                queue.append((_pack(command), future))
            if not self._waiting:
                self._heard_at = self._loop.time()
            self._waiting.extend(future for _, future in queue)
            await connection.send_packed_command([b"".join(packed for packed, _ in queue)], check_health=False)

    async def _read(self, connection: AbstractConnection) -> None:
        while True:
            answer: Any
            try:
                answer = await connection.read_response(timeout=math.inf, disconnect_on_error=False)
            except (ResponseError, BusyLoadingError) as error:
                answer = error
            self._heard_at = self._loop.time()
            future = self._waiting.popleft()
            if not future.done():  # else its caller was cancelled
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
            if not self._waiting and not self._queue and not self._barriers:
                self._idle.set()

    async def _watch(self, _: AbstractConnection) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timeout_s / 4):
                    await self._unwanted.wait()
                    return
            if self._waiting and self._loop.time() - self._heard_at > self._timeout_s:
                raise TimeoutError(f"no answer for {self._timeout_s:g} s")

    def _fail(self, reason: BaseException) -> None:
        """Tell everybody who is waiting."""
        self._asked.clear()
        sent, unsent = list(self._waiting), [future for _, future in self._queue] + list(self._barriers.values())
        self._waiting.clear()
        self._queue, self._barriers = [], {}
        for futures, kind in ((sent, Lost), (unsent, Unsent)):
            for future in futures:
                if not future.done():
                    # A new one for each: a raised exception collects its caller's traceback.
                    error = kind(f"{self.name}: the connection was lost: {str(reason) or type(reason).__name__}")
                    error.__cause__ = reason
                    future.set_exception(error)
        self._idle.set()


def _pack(command: tuple[Argument, ...]) -> bytes:
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub forgets the dots
    return packed


def retrieve(future: asyncio.Future[Any]) -> None:
    """Look at what became of a future that nobody else may look at."""
    if not future.cancelled():
        future.exception()
