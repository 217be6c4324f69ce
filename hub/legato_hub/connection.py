"""One stream of `Connect`: reads what the client sends, in order, and lets its downstream answer."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import chain

from legato.orchestrator.v1 import command_pb2, error_pb2, stream_pb2
from legato.protocol.ids import is_uuid, new_id
from legato_hub.auth import Verifier
from legato_hub.clock import now_ms
from legato_hub.commands import Commands
from legato_hub.connections import Connections
from legato_hub.core.identity import Caller, Identity, IdentityKind
from legato_hub.core.outbox import timestamp
from legato_hub.core.problem import Problem
from legato_hub.core.validation import check_text, check_word, raise_for
from legato_hub.downstream import Downstream
from legato_hub.line import Write

_log = logging.getLogger(__name__)

HELLO_S = 10.0
"""A stream that does not say hello by then is ended."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What one stream may ask of the hub."""

    max_commands_in_flight: int
    max_message_bytes: int
    max_subscriptions: int
    max_unacknowledged: int


def check_channel(channel: stream_pb2.Channel, path: str) -> None:
    """Raise Problem INVALID_FIELD unless a channel is well described."""

    faults = chain(check_word(f"{path}.kind", channel.kind, 32), check_text(f"{path}.name", channel.name, 64))
    raise_for(faults)


MakeDownstream = Callable[[Identity, str, stream_pb2.Channel, str], Downstream]
"""From identity, connection id, channel and client id."""


class Connection:
    """A `Connect` stream. `run` is its life; everything else is called from there."""

    def __init__(
        self,
        identity: Identity,
        verifier: Verifier,
        commands: Commands,
        connections: Connections,
        make_downstream: MakeDownstream,
        limits: StreamLimits,
    ) -> None:
        self.identity = identity
        self.connection_id = new_id()
        self._verifier = verifier
        self._commands = commands
        self._connections = connections
        self._make_downstream = make_downstream
        self._limits = limits
        self._client_id = ""
        self._channel = stream_pb2.Channel()
        self._in_flight = 0
        self._room = asyncio.Event()
        self._room.set()
        self._queues: dict[str, deque[tuple[command_pb2.Command, Caller]]] = {}
        self._workers: set[asyncio.Task[None]] = set()

    async def run(self, requests: AsyncIterator[stream_pb2.ConnectRequest], write: Write) -> None:
        """Serve from the welcome to the end. Raise Problem for what ends the stream, and StorageError."""
        downstream = await self._greet(requests)
        reader = asyncio.create_task(self._read(requests, downstream), name=f"read {self.connection_id}")
        try:
            await downstream.pump(write)
        finally:
            self._connections.leave(downstream)
            reader.cancel()
            try:
                await asyncio.gather(reader, return_exceptions=True)
            finally:
                await downstream.close()

    async def _greet(self, requests: AsyncIterator[stream_pb2.ConnectRequest]) -> Downstream:
        try:
            async with asyncio.timeout(HELLO_S):
                first = await anext(requests, None)
        except TimeoutError:
            message = f"no hello came within {HELLO_S:g} s"
            raise Problem(error_pb2.ERROR_REASON_PROTOCOL_VIOLATION, message) from None
        if first is None or not first.HasField("hello"):
            raise Problem(error_pb2.ERROR_REASON_PROTOCOL_VIOLATION, "the first message must be hello")
        hello = first.hello
        if not is_uuid(hello.client_id):
            raise_for(iter([("hello.client_id", "must be a UUID in lower-case hyphenated form")]))
        check_channel(hello.channel, "hello.channel")
        raise_for(check_text("hello.user_agent", hello.user_agent, 100))
        if self.identity.kind is IdentityKind.CHANNEL:
            message = "a channel's key opens no stream: start a session and use its token"
            raise Problem(error_pb2.ERROR_REASON_NOT_ALLOWED, message)
        self._client_id, self._channel = hello.client_id, hello.channel
        downstream = self._make_downstream(self.identity, self.connection_id, hello.channel, hello.client_id)
        self._connections.enter(downstream)
        try:
            await self._connections.bind(self.identity, hello.client_id, downstream)
            await downstream.open()
        except BaseException:
            self._connections.leave(downstream)
            await downstream.close()
            raise
        welcome = stream_pb2.Welcome(
            connection_id=self.connection_id, identity=summary(self.identity), server_time=timestamp(now_ms())
        )
        welcome.limits.max_commands_in_flight = self._limits.max_commands_in_flight
        welcome.limits.max_message_bytes = self._limits.max_message_bytes
        welcome.limits.max_subscriptions = self._limits.max_subscriptions
        welcome.limits.max_unacknowledged = self._limits.max_unacknowledged
        downstream.say(stream_pb2.ServerMessage(welcome=welcome))
        return downstream

    async def _read(self, requests: AsyncIterator[stream_pb2.ConnectRequest], downstream: Downstream) -> None:
        """Serve the client's messages in order. Ends the stream when the client has ended its half, or by a Problem."""
        try:
            async for request in requests:
                await downstream.room()
                await self._serve(request, downstream)
            # The client has said all it wanted to: let it have its answers, then end.
            await self._worked_off()
        except Problem as problem:
            downstream.end(problem)
        except Exception as error:  # noqa: BLE001 -- handed on: `run` raises it, and the service logs and answers it
            downstream.end(error)
        else:
            downstream.end()

    async def _serve(self, request: stream_pb2.ConnectRequest, downstream: Downstream) -> None:
        kind = request.WhichOneof("message")
        if kind != "command" and request.ByteSize() > self._limits.max_message_bytes:
            message = f"a message must have at most {self._limits.max_message_bytes} bytes"
            raise Problem(error_pb2.ERROR_REASON_MESSAGE_TOO_LARGE, message)
        match kind:
            case "command":
                await self._room.wait()
                self._enqueue(request.command, downstream)
            case "subscribe":
                await downstream.subscribe(request.subscribe)
            case "unsubscribe":
                downstream.unsubscribe(request.unsubscribe.subscription_id)
            case "ack":
                downstream.acknowledge(request.ack)
            case "authenticate":
                await self._authenticate(request.authenticate.access_token, downstream)
            case "ping":
                pong = stream_pb2.Pong(nonce=request.ping.nonce, server_time=timestamp(now_ms()))
                downstream.say(stream_pb2.ServerMessage(pong=pong))
            case "hello":
                raise Problem(error_pb2.ERROR_REASON_PROTOCOL_VIOLATION, "hello must be sent once")
            case _:
                message = "an empty message, or one of a kind that this hub does not know"
                raise Problem(error_pb2.ERROR_REASON_PROTOCOL_VIOLATION, message)

    async def _authenticate(self, token: str, downstream: Downstream) -> None:
        answer = stream_pb2.Authenticated()
        try:
            identity = self._verifier.verify(token, now_ms())
            if identity.kind is IdentityKind.CHANNEL:
                raise Problem(error_pb2.ERROR_REASON_NOT_ALLOWED, "a channel's key opens no stream")
            await self._connections.bind(identity, self._client_id, downstream)
            self.identity = identity
            await downstream.change_identity(identity)
            answer.identity.CopyFrom(summary(identity))
        except Problem as problem:
            answer.error.CopyFrom(problem.error)
        downstream.say(stream_pb2.ServerMessage(authenticated=answer))

    def _enqueue(self, command: command_pb2.Command, downstream: Downstream) -> None:
        """Commands on one resource run one after the other, in the order they came; those on others beside them."""
        self._in_flight += 1
        if self._in_flight >= self._limits.max_commands_in_flight:
            self._room.clear()
        # As whoever the client is now: an `authenticate` counts for what comes after it.
        work = command, Caller(self.identity, self._channel.kind, self._client_id)
        queue = self._queues.get(command.resource)
        if queue is not None:
            queue.append(work)
            return
        self._queues[command.resource] = deque([work])
        worker = asyncio.create_task(self._work(command.resource, downstream), name=f"commands {command.resource}")
        self._workers.add(worker)
        worker.add_done_callback(self._workers.discard)

    async def _work(self, resource: str, downstream: Downstream) -> None:
        queue = self._queues[resource]
        while queue:
            result = await self._execute(*queue.popleft())
            downstream.answer(result)
            self._in_flight -= 1
            self._room.set()
        del self._queues[resource]

    async def _worked_off(self) -> None:
        # Waited for and not gathered: commands go on if this is cancelled because the client has gone.
        if self._workers:
            done, _ = await asyncio.wait(self._workers)
            for worker in done:
                worker.result()

    async def _execute(self, command: command_pb2.Command, caller: Caller) -> command_pb2.CommandResult:
        if caller.identity.expired(now_ms()):
            problem = Problem(error_pb2.ERROR_REASON_TOKEN_EXPIRED, "the identity of this stream has expired")
            return self._commands.refuse(command, problem)
        return await self._commands.execute(command, caller)


def summary(identity: Identity) -> stream_pb2.IdentitySummary:
    """An identity as its holder sees it."""
    result = stream_pb2.IdentitySummary(kind=identity.kind.value, tenant=identity.tenant)
    if identity.kind is IdentityKind.SHOPPER:
        result.session_id = identity.subject
    if identity.expires_at:
        result.expires_at.FromMilliseconds(identity.expires_at)
    return result
