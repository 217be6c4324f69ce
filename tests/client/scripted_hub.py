"""A real gRPC server on which the test itself plays the hub, message by message."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import grpc.aio

import legato
from legato.commerce.v1.cart_pb2 import Cart
from legato.commerce.v1.line_item_pb2 import LineItem
from legato.commerce.v1.quantity_pb2 import Quantity
from legato.error_table import ERROR_METADATA_KEY
from legato.orchestrator.v1 import command_pb2, orchestrator_service_pb2_grpc, reads_pb2, stream_pb2
from legato.orchestrator.v1.command_pb2 import CommandResult
from legato.orchestrator.v1.cursor_pb2 import Cursor
from legato.orchestrator.v1.error_pb2 import Error, ErrorReason
from legato.orchestrator.v1.stream_pb2 import ConnectRequest, ConnectResponse, ServerMessage
from legato.protocol import entities, state

CART = "01900000-0000-7000-8000-00000000000a"
SESSION = "01900000-0000-7000-8000-000000000001"


class Stream:
    """One stream, as the hub holds it."""

    def __init__(self, metadata: dict[str, str]) -> None:
        self.metadata = metadata
        self.requests: asyncio.Queue[ConnectRequest] = asyncio.Queue()
        self.responses: asyncio.Queue[ConnectResponse | Error | None] = asyncio.Queue()
        self.half_closed = asyncio.Event()
        self.revision = 0
        self.entries: dict[str, bytes] = {}

    async def expect(self, kind: str) -> Any:
        """The next request, which must be of this kind; acks are skipped unless asked for."""
        async with asyncio.timeout(10):
            while True:
                request = await self.requests.get()
                found = request.WhichOneof("message")
                if found == kind:
                    return getattr(request, kind)
                assert found == "ack", f"{found} instead of {kind}"

    def send(self, *messages: ServerMessage) -> None:
        self.responses.put_nowait(ConnectResponse(messages=messages))

    def end(self, reason: ErrorReason.ValueType | None = None, code: grpc.StatusCode = grpc.StatusCode.OK) -> None:
        """End the stream, in peace or with an error."""
        self.responses.put_nowait(None if reason is None else Error(reason=reason, code=code.value[0], message="said"))

    async def welcome(self) -> None:
        await self.expect("hello")
        identity = stream_pb2.IdentitySummary(kind="shopper", tenant="t", session_id=SESSION)
        limits = stream_pb2.Limits(max_commands_in_flight=64, max_message_bytes=4_096)
        self.send(ServerMessage(welcome=stream_pb2.Welcome(identity=identity, limits=limits)))

    async def follow(self, revision: int = 1) -> stream_pb2.Subscribe:
        """Take a subscription and give a snapshot."""
        asked: stream_pb2.Subscribe = await self.expect("subscribe")
        self.revision = revision
        self.entries = entities.split_cart(Cart(id=asked.resource.removeprefix("carts/")))
        snapshot = stream_pb2.Snapshot(
            subscription_id=asked.subscription_id,
            target=asked.resource,
            cursor=Cursor(epoch="e", revision=revision),
            digest=state.digest(self.entries),
            payload=state.entries_to_bytes(self.entries),
        )
        self.send(ServerMessage(snapshot=snapshot))
        return asked

    def change(
        self, asked: stream_pb2.Subscribe, upserts: dict[str, bytes], *, traceparents: tuple[str, ...] = ()
    ) -> None:
        """Send a delta, one revision on."""
        self.revision += 1
        delta = stream_pb2.Delta(
            subscription_id=asked.subscription_id,
            prev_revision=self.revision - 1,
            cursor=Cursor(epoch="e", revision=self.revision),
            payload=state.Delta(upserts).to_bytes(),
            traceparents=traceparents,
        )
        self.send(ServerMessage(delta=delta))

    def answer(
        self,
        command: command_pb2.Command,
        outcome: command_pb2.Outcome.ValueType = command_pb2.OUTCOME_APPLIED,
        reason: ErrorReason.ValueType | None = None,
    ) -> None:
        result = CommandResult(
            command_id=command.command_id, resource=command.resource, seq=command.seq, outcome=outcome
        )
        if reason is not None:
            result.error.reason = reason
        self.send(ServerMessage(command_result=result))


class ScriptedHub(orchestrator_service_pb2_grpc.OrchestratorServiceServicer):
    """Streams are played by the test; the few calls that are needed have an answer."""

    def __init__(self) -> None:
        self.streams: asyncio.Queue[Stream] = asyncio.Queue()
        self.port = 0
        self.calls: list[dict[str, str]] = []

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def accept(self) -> Stream:
        """The next stream that a client opens."""
        async with asyncio.timeout(10):
            return await self.streams.get()

    async def Connect(self, request_iterator: Any, context: Any) -> AsyncIterator[ConnectResponse]:
        stream = Stream({str(key): str(value) for key, value in context.invocation_metadata()})
        self.streams.put_nowait(stream)

        async def read() -> None:
            async for request in request_iterator:
                stream.requests.put_nowait(request)
            stream.half_closed.set()

        reader = asyncio.create_task(read())
        closing = asyncio.create_task(stream.half_closed.wait())
        try:
            while True:
                speaking = asyncio.ensure_future(stream.responses.get())
                await asyncio.wait({speaking, closing}, return_when=asyncio.FIRST_COMPLETED)
                if not speaking.done():
                    speaking.cancel()
                    return
                response = speaking.result()
                if response is None:
                    return
                if isinstance(response, Error):
                    trailing = ((ERROR_METADATA_KEY, response.SerializeToString()),)
                    code = next(code for code in grpc.StatusCode if code.value[0] == response.code)
                    await context.abort(code, response.message, trailing)
                else:
                    yield response
        finally:
            reader.cancel()
            closing.cancel()

    async def StartSession(self, request: reads_pb2.StartSessionRequest, context: Any) -> Any:
        return reads_pb2.StartSessionResponse(access_token="from the hub")

    async def GetCart(self, request: reads_pb2.GetCartRequest, context: Any) -> Any:
        self.calls.append({str(key): str(value) for key, value in context.invocation_metadata()})
        if request.resource != "carts/known":
            error = Error(code=5, reason=14, message="no such cart")  # type: ignore[arg-type]
            trailing = ((ERROR_METADATA_KEY, error.SerializeToString()),)
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such cart", trailing)
        return reads_pb2.GetCartResponse(cart=Cart(id="known"))


@asynccontextmanager
async def scripted_hub() -> AsyncIterator[ScriptedHub]:
    hub = ScriptedHub()  # type: ignore[abstract]  # methods are missing on purpose
    server = grpc.aio.server(options=[("grpc.http2.min_ping_interval_without_data_ms", 100)])
    orchestrator_service_pb2_grpc.add_OrchestratorServiceServicer_to_server(hub, server)
    hub.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield hub
    await server.stop(None)


@asynccontextmanager
async def connected(
    hub: ScriptedHub, outbox: legato.Outbox | None = None, close_timeout: float = 0.2
) -> AsyncIterator[tuple[legato.Hub, Stream]]:
    """A client and its first stream, welcomed."""
    async with AsyncExitStack() as stack:
        connecting = legato.connect(hub.target, access_token="token", outbox=outbox, close_timeout=close_timeout)
        opening = asyncio.create_task(stack.enter_async_context(connecting))
        stream = await hub.accept()
        await stream.welcome()
        yield await opening, stream


def line(steps: int) -> bytes:
    """The entity of a line of tea."""
    return LineItem(id="l", sku="tea", quantity=Quantity(steps=steps)).SerializeToString()
