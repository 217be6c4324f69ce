"""What the client adds to a trace, and that it adds nothing where there is none."""

import asyncio
from collections.abc import Iterator

import grpc
import grpc.aio
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import legato
from legato import tracing
from legato.orchestrator.v1 import command_pb2, error_pb2, reads_pb2
from legato.orchestrator.v1 import orchestrator_service_pb2_grpc as rpc
from tests.client.scripted_hub import CART, connected, line, scripted_hub

OTHER = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
NEWEST = "00-fedcba9876543210fedcba9876543210-fedcba9876543210-01"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Where spans go once an application has set up tracing. The global provider could be set only once a process."""
    collected = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(collected))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield collected
    provider.shutdown()


def named(exporter: InMemorySpanExporter, name: str) -> ReadableSpan:
    (span,) = [span for span in exporter.get_finished_spans() if span.name == name]
    return span


def written(span: ReadableSpan) -> str:
    where = span.context
    assert where is not None
    return f"00-{where.trace_id:032x}-{where.span_id:016x}-{where.trace_flags:02x}"


async def test_a_command_carries_its_span(exporter: InMemorySpanExporter) -> None:
    tracer = trace.get_tracer_provider().get_tracer("test")
    async with scripted_hub() as hub, connected(hub) as (client, stream):
        cart = client.cart(CART)
        await stream.follow()
        with tracer.start_as_current_span("tap") as tap:
            adding = asyncio.create_task(cart.add("tea", 2))
        command = await stream.expect("command")
        assert [span.name for span in exporter.get_finished_spans()] == ["tap"], "it lasts until the result"
        stream.answer(command)
        await adding
        span = named(exporter, "legato add_line")
        assert command.traceparent == written(span)
        assert span.parent == tap.get_span_context()
        assert span.kind is trace.SpanKind.CLIENT
        assert span.attributes == {"legato.intent": "add_line", "legato.resource": f"carts/{CART}"}


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        (error_pb2.ERROR_REASON_UNKNOWN_SKU, trace.StatusCode.UNSET),
        (error_pb2.ERROR_REASON_OUTCOME_UNKNOWN, trace.StatusCode.ERROR),
    ],
)
async def test_a_refusal_is_no_error_and_a_failure_is_one(
    exporter: InMemorySpanExporter, reason: error_pb2.ErrorReason.ValueType, status: trace.StatusCode
) -> None:
    async with scripted_hub() as hub, connected(hub) as (client, stream):
        cart = client.cart(CART)
        await stream.follow()
        adding = asyncio.create_task(cart.add("tea", 2))
        stream.answer(await stream.expect("command"), command_pb2.OUTCOME_REJECTED, reason)
        with pytest.raises(legato.LegatoError):
            await adding
    span = named(exporter, "legato add_line")
    assert span.status.status_code is status
    assert span.attributes is not None
    assert span.attributes["legato.reason"] == error_pb2.ErrorReason.Name(reason).removeprefix("ERROR_REASON_")


async def test_what_the_hub_pushes_belongs_to_the_trace_of_the_tap(exporter: InMemorySpanExporter) -> None:
    async with scripted_hub() as hub, connected(hub) as (client, stream):
        cart = client.cart(CART)
        asked = await stream.follow()
        stream.change(asked, {"line/l": line(1)}, traceparents=(OTHER, "nonsense", NEWEST))
        async for view in cart.watch():
            if view.confirmed.lines:
                break
    span = named(exporter, "legato receive delta")
    assert span.context is not None
    assert span.parent is not None
    assert f"00-{span.context.trace_id:032x}-{span.parent.span_id:016x}-01" == NEWEST
    assert [f"00-{link.context.trace_id:032x}-{link.context.span_id:016x}-01" for link in span.links] == [OTHER]
    assert span.kind is trace.SpanKind.CONSUMER


async def test_interceptors_carry_the_current_trace_async_and_sync(exporter: InMemorySpanExporter) -> None:
    request = reads_pb2.GetCartRequest(resource="carts/known")
    tracer = trace.get_tracer_provider().get_tracer("test")
    async with scripted_hub() as hub:
        interceptors = tracing.aio_interceptors()
        async with grpc.aio.insecure_channel(hub.target, interceptors=interceptors) as rpc_channel:
            with tracer.start_as_current_span("async"):
                await rpc.OrchestratorServiceStub(rpc_channel).GetCart(request, metadata=(("a", "1"),), timeout=5)

        def call() -> None:
            with grpc.insecure_channel(hub.target) as plain, tracer.start_as_current_span("sync"):
                stub = rpc.OrchestratorServiceStub(grpc.intercept_channel(plain, *tracing.interceptors()))
                stub.GetCart(request, metadata=(("a", "1"),), timeout=5)

        await asyncio.to_thread(call)
        sent = [(call["a"], call[tracing.HEADER]) for call in hub.calls]
    assert sent == [("1", written(named(exporter, name))) for name in ("async", "sync")]


async def test_without_a_provider_nothing_is_sent() -> None:
    async with scripted_hub() as hub, connected(hub) as (client, stream):
        cart = client.cart(CART)
        await stream.follow()
        cart.submit(legato.intents.add("tea"))
        assert (await stream.expect("command")).traceparent == ""
        assert "traceparent" not in stream.metadata
    assert tracing.metadata() == ()
    assert tracing.command("a", "b") is tracing.received([]), "one object that does nothing"
