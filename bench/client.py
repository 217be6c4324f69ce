"""The load client: the same for every server. It deals in bytes; what they say is checked after the measurement."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import grpc.aio

from bench import workload
from legato.commerce.v1 import cart_intent_pb2
from legato.orchestrator.v1 import command_pb2, cursor_pb2, stream_pb2
from legato.protocol import state
from legato.protocol.entities import assemble_cart
from legato.protocol.ids import new_id
from legato.protocol.state import Delta

ACK_EVERY = 16
"""Acknowledgements are cumulative; the hub holds back after 64 messages without one."""

QUIET_S = 0.1
PATIENCE_S = 20.0
"""What has not arrived by then does not arrive."""


class WrongWorkError(Exception):
    """The server did not do what was measured."""


class Arrivals:
    """Counts what arrives on some streams."""

    def __init__(self) -> None:
        self.count = 0
        self._wanted = 0
        self._reached = asyncio.Event()
        self._broken: grpc.aio.AioRpcError | None = None

    def add(self) -> None:
        """One more."""
        self.count += 1
        if self.count >= self._wanted:
            self._reached.set()

    def broke(self, error: grpc.aio.AioRpcError) -> None:
        """A stream has ended before its time: nothing more will be reached."""
        self._broken = error
        self._reached.set()

    async def reach(self, count: int) -> None:
        """Wait until so many have arrived since the beginning. Raise WrongWorkError if they do not or a stream ends."""
        self._wanted = count
        if self.count < count and self._broken is None:
            self._reached.clear()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._reached.wait()
            except TimeoutError:
                raise WrongWorkError(f"{self.count} messages have arrived, not {count}") from None
        if self._broken is not None:
            raise WrongWorkError("a stream has ended") from self._broken

    async def quiet(self) -> None:
        """Wait until nothing has arrived for a moment."""
        before = -1
        while before != self.count:
            before = self.count
            await asyncio.sleep(QUIET_S)


def open_channel(port: int) -> grpc.aio.Channel:
    """A connection of its own."""
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])


class LoadStream:
    """One `Connect` stream that keeps what it receives, and when (CLOCK_MONOTONIC, nanoseconds)."""

    def __init__(self, channel: grpc.aio.Channel, token: str, arrivals: Arrivals) -> None:
        self.received: list[tuple[int, bytes]] = []
        self.entries: dict[str, bytes] = {}
        self.cursor = cursor_pb2.Cursor()
        self._arrivals = arrivals
        self._call: Any = channel.stream_stream(workload.CONNECT)(metadata=(("authorization", f"Bearer {token}"),))
        self._reader: asyncio.Task[None] | None = None
        self._seq = 0

    async def open(self, resource: str = "") -> None:
        """Say hello, and subscribe if there is a resource; then read on."""
        await self._greet()
        if resource:
            wish = stream_pb2.Subscribe(subscription_id=workload.SUBSCRIPTION, resource=resource)
            await self._send(stream_pb2.ConnectRequest(subscribe=wish))
            self._take((await self._until("snapshot")).snapshot)
        self._reader = asyncio.create_task(self._read())

    async def resume(self, resource: str, lost: "LoadStream") -> None:
        """Go on where another stream was lost: what was missed has come as deltas. Raise WrongWorkError if it has not,
        AioRpcError if the stream was refused."""
        self.entries, self.cursor = lost.entries, lost.cursor
        await self._greet()
        wish = stream_pb2.Subscribe(subscription_id=workload.SUBSCRIPTION, resource=resource, since=lost.cursor)
        await self._send(stream_pb2.ConnectRequest(subscribe=wish))
        self._build((await self._until("delta", never="snapshot")).delta)
        self._reader = asyncio.create_task(self._read())

    async def close(self) -> None:
        self._call.cancel()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)

    async def send_command(self, resource: str, intent: cart_intent_pb2.CartIntent) -> None:
        """The client's next command on the one resource that it changes."""
        self._seq += 1
        command = command_pb2.Command(command_id=new_id(), resource=resource, seq=self._seq, cart=intent)
        await self._send(stream_pb2.ConnectRequest(command=command))

    def replay(self, *, chained: bool) -> list[tuple[int, int]]:
        """Take in what was received since the last time; when each revision was reached. Raise WrongWorkError.

        `chained`: each delta must build on the one before, as the hub promises.
        """
        reached = []
        for arrived, data in self.received:
            for message in stream_pb2.ConnectResponse.FromString(data).messages:
                kind = message.WhichOneof("message")
                if kind == "delta":
                    self._build(message.delta, chained=chained)
                    reached.append((arrived, self.cursor.revision))
                elif kind == "snapshot":  # What a stream gets that fell behind.
                    self._take(message.snapshot)
                    reached.append((arrived, message.snapshot.cursor.revision))
                elif kind == "command_result":
                    if message.command_result.outcome != command_pb2.OUTCOME_APPLIED:
                        raise WrongWorkError(f"a command was not applied: {message.command_result}")
                elif kind == "progress":  # What a stream gets that has resumed.
                    if message.progress.digest != self.digest:
                        raise WrongWorkError("a replica is not what the hub says it is")
                elif kind not in ("presence", "subscription_status"):
                    raise WrongWorkError(f"a {kind} that nobody asked for")
        self.received.clear()
        return reached

    async def until_revision(self, revision: int) -> None:
        """Wait until a message has led so far."""
        seen = 0
        while not any(_cursor_in(data).revision >= revision for _, data in reversed(self.received[seen:])):
            seen = len(self.received)
            await self._arrivals.reach(self._arrivals.count + 1)

    @property
    def digest(self) -> bytes:
        return state.digest(self.entries)

    @property
    def quantity(self) -> int:
        """In the first line of the replica."""
        return assemble_cart(self.entries).lines[0].quantity.steps

    async def _send(self, request: stream_pb2.ConnectRequest) -> None:
        await self._call.write(request.SerializeToString())

    async def _greet(self) -> None:
        hello = stream_pb2.Hello(client_id=new_id(), channel=stream_pb2.Channel(kind="web"))
        await self._send(stream_pb2.ConnectRequest(hello=hello))
        await self._until("welcome")

    async def _until(self, kind: str, *, never: str = "") -> stream_pb2.ServerMessage:
        while True:
            data = await self._call.read()
            if data is grpc.aio.EOF:
                raise WrongWorkError(f"the stream has ended: {await self._call.details()}")
            for message in stream_pb2.ConnectResponse.FromString(data).messages:
                came = message.WhichOneof("message")
                if came == kind:
                    return message
                if came == never:
                    raise WrongWorkError(f"a {never} came instead of a {kind}")

    def _build(self, delta: stream_pb2.Delta, *, chained: bool = True) -> None:
        if chained and delta.prev_revision != self.cursor.revision:
            raise WrongWorkError(f"{delta.prev_revision} does not follow on {self.cursor.revision}")
        self.entries = state.apply(self.entries, Delta.from_bytes(delta.payload))
        self.cursor = delta.cursor

    def _take(self, snapshot: stream_pb2.Snapshot) -> None:
        self.entries, self.cursor = state.entries_from_bytes(snapshot.payload), snapshot.cursor
        if state.digest(self.entries) != snapshot.digest:
            raise WrongWorkError("a snapshot is not what its digest says")

    async def _read(self) -> None:
        try:
            await self._receive()
        except grpc.aio.AioRpcError as error:
            self._arrivals.broke(error)

    async def _receive(self) -> None:
        unacknowledged = 0
        while (data := await self._call.read()) is not grpc.aio.EOF:
            self.received.append((time.monotonic_ns(), data))
            self._arrivals.add()
            unacknowledged += 1
            if unacknowledged == ACK_EVERY and self.cursor.revision:
                unacknowledged = 0
                ack = stream_pb2.Ack(subscription_id=workload.SUBSCRIPTION, cursor=_cursor_in(data))
                await self._send(stream_pb2.ConnectRequest(ack=ack))


def _cursor_in(data: bytes) -> cursor_pb2.Cursor:
    """Where a message of state leads to; an empty one for other messages."""
    for message in reversed(stream_pb2.ConnectResponse.FromString(data).messages):
        if message.HasField("delta"):
            return message.delta.cursor
        if message.HasField("snapshot"):
            return message.snapshot.cursor
    return cursor_pb2.Cursor()


async def open_streams(
    port: int, token: str, resource: str, count: int, per_connection: int, arrivals: Arrivals
) -> tuple[list[grpc.aio.Channel], list[LoadStream]]:
    """Streams that subscribe to one resource, so many to a connection."""
    channels = [open_channel(port) for _ in range(-(-count // per_connection))]
    streams = [LoadStream(channels[number // per_connection], token, arrivals) for number in range(count)]
    for start in range(0, count, per_connection):
        await asyncio.gather(*(stream.open(resource) for stream in streams[start : start + per_connection]))
    await arrivals.quiet()
    return channels, streams


async def close_streams(channels: Sequence[grpc.aio.Channel], streams: Sequence[LoadStream]) -> None:
    """End them all."""
    await asyncio.gather(*(stream.close() for stream in streams))
    await asyncio.gather(*(channel.close() for channel in channels))
