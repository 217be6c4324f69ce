"""A client on the bare stub that records every message it sends and receives.

It does what the contract asks of a client and no more: it keeps its cursor, subscribes from it after a reconnect, sends
every command again, in order, until it has a final result, and acknowledges. It judges nothing; the validator does.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from legato.orchestrator.v1 import command_pb2, cursor_pb2, error_pb2, orchestrator_service_pb2_grpc, stream_pb2
from legato.protocol import state
from legato.protocol.state import Delta
from tests.robustness.history import Recorder
from tests.robustness.ids import uuid7
from tests.support.hub import bearer

FINAL = (command_pb2.OUTCOME_APPLIED, command_pb2.OUTCOME_NO_OP, command_pb2.OUTCOME_REJECTED)
Mangling = Callable[[stream_pb2.ConnectRequest], list[stream_pb2.ConnectRequest]]
"""What is sent in the place of a message."""

RESEND_S = 0.1
PING_S = 5.0
SILENCE_MS = 10_000
"""After this a connection that says nothing is asked, and given up after twice that again. Machines are busy."""


def options(silence_ms: int = SILENCE_MS) -> list[tuple[str, int]]:
    """Of a connection that is asked after `silence_ms` of nothing, and given up after twice that again."""
    return [
        ("grpc.use_local_subchannel_pool", 1),  # Else clients of one target share a connection.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 5_000),  # The time that an attempt has.
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.keepalive_time_ms", silence_ms),
        ("grpc.keepalive_timeout_ms", 2 * silence_ms),
        ("grpc.http2.ping_timeout_ms", 2 * silence_ms),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.max_receive_message_length", -1),
    ]


def is_final(result: command_pb2.CommandResult) -> bool:
    """Whether nothing else can become of the command."""
    unknown = result.outcome == command_pb2.OUTCOME_UNKNOWN
    return result.outcome in FINAL or (unknown and result.error.reason == error_pb2.ERROR_REASON_OUTCOME_UNKNOWN)


@dataclass
class Replica:
    """What a client holds of one resource."""

    cursor: cursor_pb2.Cursor | None = None
    entries: dict[str, bytes] = field(default_factory=dict)
    subscription_id: str = ""
    acknowledged: cursor_pb2.Cursor | None = None
    torn: int = 0
    """How often it had to begin again."""

    def take(self, message: stream_pb2.ServerMessage) -> bool:
        """Apply a snapshot, a delta or a progress message; False if it does not fit."""
        match message.WhichOneof("message"):
            case "snapshot":
                self.entries = state.entries_from_bytes(message.snapshot.payload)
                self.cursor = message.snapshot.cursor
                return state.digest(self.entries) == message.snapshot.digest
            case "delta":
                at, delta = self.cursor, message.delta
                if at is None or (at.epoch, at.revision) != (delta.cursor.epoch, delta.prev_revision):
                    return False
                self.entries = state.apply(self.entries, Delta.from_bytes(delta.payload))
                self.cursor = delta.cursor
            case "progress":
                return self.cursor == message.progress.cursor and state.digest(self.entries) == message.progress.digest
        return True


class Client:
    """One installation of a client. `run` is its life until `leave`; the rest may be called at any time."""

    def __init__(
        self,
        name: str,
        token: str,
        targets: Sequence[tuple[str, int]],
        recorder: Recorder,
        rng: random.Random,
        *,
        channel: grpc.aio.Channel | None = None,
        acknowledges: bool = True,
        silence_ms: int = SILENCE_MS,
    ) -> None:
        self.name = name
        self.client_id = uuid7(rng)
        self.acknowledges = acknowledges
        self.replicas: dict[str, Replica] = {}
        self.pending: dict[str, list[command_pb2.Command]] = {}
        """Commands without a final result, in the order of seq."""
        self.results: dict[str, command_pb2.CommandResult] = {}
        """Final ones, by command id."""
        self.refused: set[str] = set()
        """Resources that a hub would not show."""
        self.mangle: Mangling = lambda one: [one]
        self.ahead_ms = 0
        """How far its clock is ahead."""
        self.connected = asyncio.Event()
        self.connections = 0
        self.news = asyncio.Condition()
        self._token = token
        self._targets = list(targets)
        self._recorder = recorder
        self._rng = rng
        self._channel = channel
        self._silence_ms = silence_ms
        self._next_seq: dict[str, int] = {}
        self._outgoing: asyncio.Queue[stream_pb2.ConnectRequest] = asyncio.Queue()
        self._resend: dict[str, asyncio.TimerHandle] = {}
        self._left = asyncio.Event()
        self._connection = ""
        self._ending = ""

    # What it is told to do.

    def follow(self, resource: str, *, since: cursor_pb2.Cursor | None = None) -> None:
        """Subscribe, now and after every reconnect; at first from a cursor that it claims to have."""
        self.replicas.setdefault(resource, Replica(since))
        if self.connected.is_set():
            self._subscribe(resource)

    def submit(self, command: command_pb2.Command, *, stateless: bool = False) -> None:
        """Take a command of this client, number it, and send it until it has a final result."""
        if not stateless:
            command.seq = self._next_seq.get(command.resource, 1)
            self._next_seq[command.resource] = command.seq + 1
        self.pending.setdefault(command.resource, []).append(command)
        if self.connected.is_set():
            self.say(command=command)
            command.resent = True

    def say(self, **message: Any) -> None:
        """Send a message as it is."""
        self._outgoing.put_nowait(stream_pb2.ConnectRequest(**message))

    def leave(self, how: str = "client") -> None:
        """End for good."""
        self._ending = how
        self._left.set()

    async def until(self, holds: Any) -> None:
        """Wait for something about this client to become true."""
        async with self.news:
            await self.news.wait_for(holds)

    def was_answered(self, resource: str) -> bool:
        """Whether a hub has shown a resource that it follows, or has refused to."""
        return resource in self.refused or self.replicas[resource].cursor is not None

    @property
    def unsettled(self) -> int:
        """Commands without a final result."""
        return sum(len(commands) for commands in self.pending.values())

    # Its life.

    async def run(self) -> None:
        """Connect, and connect again, each time to the next hub, until it leaves."""
        attempt = 0
        while not self._left.is_set():
            hub, port = self._targets[attempt % len(self._targets)]
            attempt += 1
            await self._connect(hub, port)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._rng.uniform(0.02, 0.2)):
                    await self._left.wait()

    async def _connect(self, hub: str, port: int) -> None:
        self.connections += 1
        self._connection = f"{self.name}/{self.connections}"
        self._recorder.record("open", self.name, connection=self._connection, hub=hub)
        channel = self._channel or grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options(self._silence_ms))
        code, details, by = "OK", "", "hub"
        stub: Any = orchestrator_service_pb2_grpc.OrchestratorServiceStub(channel)
        call = stub.Connect(metadata=bearer(self._token))
        work = [asyncio.create_task(self._send(call)), asyncio.create_task(self._receive(call))]
        leaving = asyncio.create_task(self._left.wait())
        try:
            await asyncio.wait([*work, leaving], return_when=asyncio.FIRST_COMPLETED)
            if leaving.done():
                by = "client"
            else:
                work[0].cancel()
                await asyncio.wait(work)
                code, details = (await call.code()).name, await call.details() or ""
        finally:
            self.connected.clear()
            call.cancel()
            for task in (*work, leaving):
                task.cancel()
            await asyncio.gather(*work, leaving, return_exceptions=True)
            for handle in self._resend.values():
                handle.cancel()
            self._resend.clear()
            connection = self._connection
            self._recorder.record("closed", self.name, connection=connection, code=code, details=details, by=by)
            if self._channel is None:
                await channel.close()
            await self._tell()

    async def _send(self, call: Any) -> None:
        hello = stream_pb2.Hello(client_id=self.client_id, channel=stream_pb2.Channel(kind="pos"))
        self._outgoing = asyncio.Queue()
        self.say(hello=hello)
        for resource in self.replicas:
            self._subscribe(resource)
        for resource in self.pending:
            self._send_all(resource)
        self.connected.set()
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while True:
                for request in self.mangle(await self._next()):
                    self._recorder.sent(self.name, self._connection, request)
                    await call.write(request)
        # The stream has ended; `_receive` learns why.
        await asyncio.Event().wait()

    async def _next(self) -> stream_pb2.ConnectRequest:
        """What is to be sent; a ping when there has been nothing for a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PING_S):
                return await self._outgoing.get()
        return stream_pb2.ConnectRequest(ping=stream_pb2.Ping(nonce=self.connections))

    async def _receive(self, call: Any) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for response in call:
                self._recorder.received(self.name, self._connection, response)
                for message in response.messages:
                    self._take(message)
                if self.acknowledges:
                    self._acknowledge()
                await self._tell()

    async def _tell(self) -> None:
        async with self.news:
            self.news.notify_all()

    def _subscribe(self, resource: str) -> None:
        replica = self.replicas[resource]
        replica.subscription_id = uuid7(self._rng)
        replica.acknowledged = None
        commands = self.pending.get(resource)
        first = next((one.seq for one in commands or [] if one.seq), self._next_seq.get(resource, 1))
        wish = stream_pb2.Subscribe(
            subscription_id=replica.subscription_id,
            resource=resource,
            since=replica.cursor,
            first_unacknowledged_seq=first,
        )
        self.say(subscribe=wish)

    def _acknowledge(self) -> None:
        for replica in self.replicas.values():
            if replica.cursor is not None and replica.cursor != replica.acknowledged:
                replica.acknowledged = replica.cursor
                self.say(ack=stream_pb2.Ack(subscription_id=replica.subscription_id, cursor=replica.cursor))

    def _take(self, message: stream_pb2.ServerMessage) -> None:
        kind = message.WhichOneof("message")
        if kind == "command_result":
            self._answered(message.command_result)
        elif kind == "subscription_status" and message.subscription_status.HasField("error"):
            status = message.subscription_status
            if self._current(status.resource, status.subscription_id):
                self._not_shown(status)
        elif kind in ("snapshot", "delta", "progress"):
            subscription_id = getattr(message, kind).subscription_id
            for resource, replica in self.replicas.items():
                if replica.subscription_id == subscription_id and not replica.take(message):
                    self._begin_again(resource, replica)

    def _current(self, resource: str, subscription_id: str) -> bool:
        replica = self.replicas.get(resource)
        return replica is not None and replica.subscription_id == subscription_id

    def _not_shown(self, status: stream_pb2.SubscriptionStatus) -> None:
        if status.error.HasField("retry_delay"):
            asyncio.get_running_loop().call_later(RESEND_S, self._subscribe_if_connected, status.resource)
        else:
            self.refused.add(status.resource)

    def _begin_again(self, resource: str, replica: Replica) -> None:
        """A hub that keeps its promises never makes this happen; one that does not must not keep us busy for good."""
        replica.torn += 1
        if replica.torn <= 3:
            replica.cursor, replica.entries = None, {}
            self.say(unsubscribe=stream_pb2.Unsubscribe(subscription_id=replica.subscription_id))
            self._subscribe(resource)

    def _subscribe_if_connected(self, resource: str) -> None:
        if self.connected.is_set():
            self._subscribe(resource)

    def _answered(self, result: command_pb2.CommandResult) -> None:
        commands = self.pending.get(result.resource, [])
        command = next((one for one in commands if one.command_id == result.command_id), None)
        if command is None:
            return
        if is_final(result):
            commands.remove(command)
            self.results[result.command_id] = result
            return
        numbered = [one for one in commands if one.seq]
        if result.expected_seq and result.expected_seq < numbered[0].seq:
            # The hub has forgotten: the pending ones take the numbers that it expects; their ids stay.
            for seq, one in enumerate(numbered, result.expected_seq):
                one.seq = seq
            self._next_seq[result.resource] = numbered[-1].seq + 1
        if result.resource not in self._resend:
            delay = self._rng.uniform(RESEND_S / 2, RESEND_S * 2)
            resend = asyncio.get_running_loop().call_later(delay, self._send_again, result.resource)
            self._resend[result.resource] = resend

    def _send_again(self, resource: str) -> None:
        del self._resend[resource]
        self._send_all(resource)

    def _send_all(self, resource: str) -> None:
        """Every command without a final result, in order."""
        for command in self.pending[resource]:
            self.say(command=command)
            command.resent = True
