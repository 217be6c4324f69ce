"""Sharded subscriptions on one server: kept over reconnections, one connection however many channels."""

import asyncio
import logging
import math
from collections.abc import Callable

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from legato_hub.storage.valkey_link import Connect
from legato_hub.telemetry.metrics import RECONNECTS

_log = logging.getLogger(__name__)

FIRST_DELAY_S = 0.05
LONGEST_DELAY_S = 2.0


class Subscriber:
    """`on_message(channel, data)` and `on_subscribed(channel)` are called in the event loop; `on_moved()` when the
    server does not have, or no longer has, the slot of a channel."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connect: Connect,
        name: str,
        timeout_s: float,
        on_message: Callable[[bytes, bytes], None],
        on_subscribed: Callable[[bytes], None],
        on_moved: Callable[[], None],
    ) -> None:
        self._connect = connect
        self._name = name
        self._timeout_s = timeout_s
        self._on_message = on_message
        self._on_subscribed = on_subscribed
        self._on_moved = on_moved
        self._loop = loop
        self._wanted: set[bytes] = set()
        self._subscribed: set[bytes] = set()
        """What the server was asked for on the present connection."""
        self.confirmed: set[bytes] = set()
        """What it said yes to."""
        self._changed = asyncio.Event()
        self._unwanted = asyncio.Event()
        self._ping = False
        self._unheard = False
        self._task = self._loop.create_task(self._run(), name=f"subscriber {name}")

    def add(self, channel: bytes) -> None:
        self._wanted.add(channel)
        self._changed.set()

    def discard(self, channel: bytes) -> None:
        self._wanted.discard(channel)
        self._changed.set()

    def probe(self) -> None:
        """Ask for a sign of life; without one until the next probe, reconnect."""
        if self._unheard:
            self.reconnect()
        self._ping = self._unheard = True
        self._changed.set()

    def reconnect(self) -> None:
        """Give the present connection up, and subscribe again on another."""
        self._unwanted.set()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        delay = FIRST_DELAY_S
        while True:
            while not self._wanted:  # a server that is gone for good is not called for ever
                self._changed.clear()
                await self._changed.wait()
            try:
                async with asyncio.timeout(self._timeout_s):
                    connection = await self._connect()
                try:
                    delay = FIRST_DELAY_S
                    error = await self._serve(connection)
                    RECONNECTS.add("feeds")
                finally:
                    await connection.disconnect(nowait=True)
            except (RedisError, OSError) as failure:
                error = failure
            _log.warning(
                "a subscription was lost",
                extra={"server": self._name, "error": str(error) or type(error).__name__},
            )
            await asyncio.sleep(delay)
            delay = min(2 * delay, LONGEST_DELAY_S)

    async def _serve(self, connection: AbstractConnection) -> BaseException:
        """Until the connection is lost; why it was."""
        self._subscribed.clear()
        self.confirmed.clear()
        self._changed.set()
        self._unwanted.clear()
        self._ping = self._unheard = False
        parts = [
            self._loop.create_task(self._ask(connection)),
            self._loop.create_task(self._listen(connection)),
            self._loop.create_task(self._give_up()),
        ]
        try:
            (ended, *_), _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
        return ended.exception() or ConnectionError("it was silent")

    async def _give_up(self) -> None:
        await self._unwanted.wait()

    async def _ask(self, connection: AbstractConnection) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            # A channel a command: in a Cluster those of one command must share a slot.
            commands = [(b"SUNSUBSCRIBE", channel) for channel in self._subscribed - self._wanted]
            commands += [(b"SSUBSCRIBE", channel) for channel in self._wanted - self._subscribed]
            self._subscribed = set(self._wanted)
            if self._ping:
                self._ping = False
                commands.append((b"PING", b"probe"))
            if commands:
                await connection.send_packed_command(connection.pack_commands(commands), check_health=False)

    async def _listen(self, connection: AbstractConnection) -> None:
        while True:
            try:
                answer = await connection.read_response(timeout=math.inf, disconnect_on_error=False)
            except ResponseError as error:
                _log.info("a channel is elsewhere", extra={"server": self._name, "error": str(error)})
                self._on_moved()
                continue
            self._unheard = False
            kind, channel, *data = answer if isinstance(answer, list) else (b"pong", b"")
            if kind == b"smessage":
                self._on_message(channel, data[0])
            elif kind == b"ssubscribe":
                self.confirmed.add(channel)
                self._on_subscribed(channel)
            elif kind == b"sunsubscribe":
                self.confirmed.discard(channel)
                if channel in self._wanted:
                    self._subscribed.discard(channel)
                    self._on_moved()
