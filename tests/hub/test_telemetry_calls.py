"""Spans around calls: every way a call can end, on a real server, and the same through a LocalChannel."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_status import rpc_status
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from legato.adapter.v1 import identity_service_pb2 as pb
from legato.adapter.v1 import identity_service_pb2_grpc as rpc
from legato.local_channel import LocalChannel
from legato.orchestrator.v1 import orchestrator_service_pb2_grpc, stream_pb2
from legato_hub.core.traceparent import format_traceparent
from legato_hub.telemetry import tracing
from legato_hub.telemetry.interceptors import server_interceptors, stream_opened, traced
from legato_hub.telemetry.tracing import tracer

PARENT = f"00-{'a' * 32}-{'b' * 16}-01"
GET_INFO = "legato.adapter.v1.IdentityService/GetInfo"
CONNECT = "legato.orchestrator.v1.OrchestratorService/Connect"

Context = grpc.aio.ServicerContext[Any, Any]
Behaviour = Callable[[Context], Awaitable[pb.GetInfoResponse]]


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with tracing.recording(provider):
        yield exporter


class Identity(rpc.IdentityServiceServicer):
    """GetInfo behaves as a test says; Probe is what generated code leaves unimplemented."""

    Probe = rpc.IdentityServiceServicer.Probe

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.metadata: list[tuple[str, str | bytes]] = []
        self.left = asyncio.Event()

    async def GetInfo(self, request: pb.GetInfoRequest, context: Context) -> pb.GetInfoResponse:
        self.metadata = [(key, value) for key, value in context.invocation_metadata() or ()]
        try:
            return await self.behaviour(context)
        finally:
            self.left.set()


async def served(server: grpc.aio.Server) -> str:
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return f"127.0.0.1:{port}"


async def ok(context: Context) -> pb.GetInfoResponse:
    return pb.GetInfoResponse(name="it")


async def abort(context: Context) -> pb.GetInfoResponse:
    await context.abort(grpc.StatusCode.INTERNAL, "plain")


async def abort_refusal(context: Context) -> pb.GetInfoResponse:
    await context.abort(grpc.StatusCode.NOT_FOUND, "not there")


async def abort_with_status(context: Context) -> pb.GetInfoResponse:
    status = status_pb2.Status(code=grpc.StatusCode.UNAVAILABLE.value[0], message="rich")
    await context.abort_with_status(rpc_status.to_status(status))


async def abort_below_a_span(context: Context) -> pb.GetInfoResponse:
    with tracer.span("inner"):
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")


async def set_code(context: Context) -> pb.GetInfoResponse:
    context.set_code(grpc.StatusCode.DATA_LOSS)
    return pb.GetInfoResponse()


async def set_code_as_number(context: Context) -> pb.GetInfoResponse:
    context.set_code(5)  # type: ignore[arg-type]  # allowed by grpc, not by its stubs
    return pb.GetInfoResponse()


async def fail(context: Context) -> pb.GetInfoResponse:
    raise ValueError("anna@shop.example")


async def set_code_and_fail(context: Context) -> pb.GetInfoResponse:
    context.set_code(grpc.StatusCode.ABORTED)
    raise ValueError("anna@shop.example")


async def hang(context: Context) -> pb.GetInfoResponse:
    await asyncio.Event().wait()
    raise AssertionError("never")


OUTCOMES: dict[Behaviour, tuple[str, StatusCode]] = {
    ok: ("OK", StatusCode.UNSET),
    abort: ("INTERNAL", StatusCode.ERROR),
    abort_refusal: ("NOT_FOUND", StatusCode.UNSET),
    abort_with_status: ("UNAVAILABLE", StatusCode.ERROR),
    abort_below_a_span: ("PERMISSION_DENIED", StatusCode.UNSET),
    set_code: ("DATA_LOSS", StatusCode.ERROR),
    fail: ("UNKNOWN", StatusCode.ERROR),
    set_code_and_fail: ("ABORTED", StatusCode.ERROR),
    hang: ("DEADLINE_EXCEEDED", StatusCode.ERROR),
}


def named(exporter: InMemorySpanExporter, name: str, kind: SpanKind) -> ReadableSpan:
    (span,) = [span for span in exporter.get_finished_spans() if span.name == name and span.kind is kind]
    return span


def facts(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


@pytest.fixture(params=OUTCOMES, ids=lambda behaviour: behaviour.__name__)
def identity(request: pytest.FixtureRequest) -> Identity:
    return Identity(request.param)


# On a server a number is a code too; a caller never sees the difference.
AT_THE_SERVER = {**OUTCOMES, set_code_as_number: ("NOT_FOUND", StatusCode.UNSET)}


@pytest.mark.parametrize(
    ("behaviour", "code", "status"), [(behaviour, *outcome) for behaviour, outcome in AT_THE_SERVER.items()]
)
async def test_a_server_span_tells_how_the_call_ended(
    spans: InMemorySpanExporter, behaviour: Behaviour, code: str, status: StatusCode
) -> None:
    identity = Identity(behaviour)
    server = grpc.aio.server(interceptors=server_interceptors())
    rpc.add_IdentityServiceServicer_to_server(identity, server)
    async with grpc.aio.insecure_channel(await served(server)) as channel:
        call = rpc.IdentityServiceStub(channel).GetInfo(
            pb.GetInfoRequest(), metadata=(("traceparent", PARENT),), timeout=0.3 if code == "DEADLINE_EXCEEDED" else 20
        )
        assert (await call.code()).name == code
        await identity.left.wait()
    span = named(spans, GET_INFO, SpanKind.SERVER)
    await server.stop(None)
    assert span.status.status_code is status
    assert facts(span)["rpc.system.name"] == "grpc"
    assert facts(span)["rpc.method"] == GET_INFO
    assert facts(span)["rpc.response.status_code"] == code
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x}" == "a" * 32
    assert "anna@" not in span.to_json()


async def test_a_call_that_its_caller_cancels_is_cancelled_and_no_error(spans: InMemorySpanExporter) -> None:
    begun = asyncio.Event()

    async def wait(context: Context) -> pb.GetInfoResponse:
        begun.set()
        return await hang(context)

    identity = Identity(wait)
    server = grpc.aio.server(interceptors=server_interceptors())
    rpc.add_IdentityServiceServicer_to_server(identity, server)
    async with traced(grpc.aio.insecure_channel(await served(server))) as channel:
        call = rpc.IdentityServiceStub(channel).GetInfo(pb.GetInfoRequest())
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await identity.left.wait()
    await server.stop(None)
    span = named(spans, GET_INFO, SpanKind.SERVER)
    assert facts(span)["rpc.response.status_code"] == "CANCELLED"
    assert span.status.status_code is StatusCode.UNSET
    assert facts(named(spans, GET_INFO, SpanKind.CLIENT))["rpc.response.status_code"] == "CANCELLED"


@pytest.fixture(params=["network", "local"])
async def channel(request: pytest.FixtureRequest, identity: Identity) -> AsyncIterator[grpc.aio.Channel]:
    if request.param == "local":
        local = LocalChannel()
        rpc.add_IdentityServiceServicer_to_server(identity, local)
        async with local:
            yield local
    else:
        server = grpc.aio.server()
        rpc.add_IdentityServiceServicer_to_server(identity, server)
        async with grpc.aio.insecure_channel(await served(server)) as remote:
            yield remote
        await server.stop(None)


async def test_a_client_span_tells_how_the_call_ended_and_carries_the_trace(
    spans: InMemorySpanExporter, identity: Identity, channel: grpc.aio.Channel
) -> None:
    code, _ = OUTCOMES[identity.behaviour]
    stub = rpc.IdentityServiceStub(traced(channel))
    with tracer.span("pipeline") as outer:
        try:
            response = await stub.GetInfo(
                pb.GetInfoRequest(),
                metadata=(("x-kept", "1"),),
                timeout=0.3 if code == "DEADLINE_EXCEEDED" else 20,
            )
            ended = "OK"
            assert code != "OK" or response.name == "it"
        except grpc.aio.AioRpcError as error:
            ended = error.code().name
        assert tracer.current_traceparent() == outer.traceparent
    await identity.left.wait()
    span = named(spans, GET_INFO, SpanKind.CLIENT)
    assert facts(span)["rpc.response.status_code"] == ended
    assert span.status.status_code is (StatusCode.UNSET if ended == "OK" else StatusCode.ERROR)
    where = span.get_span_context()
    assert where is not None
    sent = format_traceparent(where.trace_id, where.span_id, where.trace_flags)
    assert dict(identity.metadata)["traceparent"] == sent
    assert dict(identity.metadata)["x-kept"] == "1"
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == outer.traceparent[36:52]


async def test_a_local_handler_works_below_the_client_span(spans: InMemorySpanExporter) -> None:
    async def work(context: Context) -> pb.GetInfoResponse:
        with tracer.span("adapter"):
            return pb.GetInfoResponse()

    local = LocalChannel()
    rpc.add_IdentityServiceServicer_to_server(Identity(work), local)
    async with traced(local) as channel:
        await rpc.IdentityServiceStub(channel).GetInfo(pb.GetInfoRequest())
    assert named(spans, "adapter", SpanKind.INTERNAL).parent == named(spans, GET_INFO, SpanKind.CLIENT).context


async def test_a_trace_context_of_the_caller_is_the_parent(spans: InMemorySpanExporter) -> None:
    local = LocalChannel()
    identity = Identity(ok)
    rpc.add_IdentityServiceServicer_to_server(identity, local)
    async with traced(local) as channel:
        await rpc.IdentityServiceStub(channel).GetInfo(pb.GetInfoRequest(), metadata=(("traceparent", PARENT),))
    sent = [value for key, value in identity.metadata if key == "traceparent"]
    assert len(sent) == 1
    assert str(sent[0])[3:35] == "a" * 32
    assert str(sent[0])[36:52] != "b" * 16


async def connect(
    requests: AsyncIterator[stream_pb2.ConnectRequest], context: Context
) -> AsyncIterator[stream_pb2.ConnectResponse]:
    """Answers once, telling what it knows of its opening, then waits for the caller to go."""
    assert tracer.current() is None
    welcome = stream_pb2.Welcome(connection_id=stream_opened())
    yield stream_pb2.ConnectResponse(messages=[stream_pb2.ServerMessage(welcome=welcome)])
    async for _ in requests:
        pass


def serve_connect(server: grpc.aio.Server) -> None:
    handler = grpc.stream_stream_rpc_method_handler(
        connect, stream_pb2.ConnectRequest.FromString, stream_pb2.ConnectResponse.SerializeToString
    )
    service, _, name = CONNECT.partition("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))


async def test_a_stream_marks_its_opening_and_has_no_span_of_its_own(spans: InMemorySpanExporter) -> None:
    server = grpc.aio.server(interceptors=server_interceptors())
    serve_connect(server)
    async with traced(grpc.aio.insecure_channel(await served(server))) as channel:
        stub = orchestrator_service_pb2_grpc.OrchestratorServiceStub(channel)
        stream = stub.Connect(metadata=(("traceparent", PARENT),))
        first = await stream.read()
        assert isinstance(first, stream_pb2.ConnectResponse)
        # The stream still runs, and its opening is told already.
        opened = named(spans, f"{CONNECT} opened", SpanKind.SERVER)
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF
    await server.stop(None)
    assert opened.context is not None
    assert first.messages[0].welcome.connection_id[36:52] == f"{opened.context.span_id:016x}"
    assert f"{opened.context.trace_id:032x}" == "a" * 32
    assert len(spans.get_finished_spans()) == 1


async def test_what_nobody_implemented_and_what_only_watches_makes_no_span(spans: InMemorySpanExporter) -> None:
    server = grpc.aio.server(interceptors=server_interceptors())
    rpc.add_IdentityServiceServicer_to_server(Identity(ok), server)
    health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(), server)
    async with grpc.aio.insecure_channel(await served(server)) as channel:
        probe = rpc.IdentityServiceStub(channel).Probe(pb.ProbeRequest())
        assert await probe.code() is grpc.StatusCode.UNIMPLEMENTED
        for path, code in (("/no.Such/Method", "UNIMPLEMENTED"), ("/grpc.health.v1.Health/Check", "OK")):
            method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
            assert (await method(b"").code()).name == code
    await server.stop(None)
    assert spans.get_finished_spans() == ()


async def test_off_leaves_both_out() -> None:
    assert server_interceptors() == []
    channel = LocalChannel()
    assert traced(channel) is channel
    assert stream_opened() == ""


async def test_a_traced_channel_is_a_channel(spans: InMemorySpanExporter) -> None:
    server = grpc.aio.server()
    serve_connect(server)
    channel = traced(grpc.aio.insecure_channel(await served(server)))
    await channel.channel_ready()
    assert channel.get_state() is grpc.ChannelConnectivity.READY
    await server.stop(None)
    await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
    await channel.close()
    assert channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN
    assert spans.get_finished_spans() == ()
