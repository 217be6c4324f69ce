"""One trace: from the tap on the phone through adapter call and commit to the push that the till receives."""

from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from legato.commerce.v1 import cart_intent_pb2, quantity_pb2
from legato.orchestrator.v1 import command_pb2
from legato.protocol.ids import new_id
from legato_hub.telemetry import tracing
from tests.support.hub import hub_config, running_hub
from tests.support.shop import SKU
from tests.support.stream import Stream

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TAP = f"00-{TRACE_ID}-b7ad6b7169203331-01"


def put_in(cart: str, seq: int, traceparent: str) -> command_pb2.Command:
    made = command_pb2.Command(command_id=new_id(), resource=cart, seq=seq, traceparent=traceparent)
    quantity = quantity_pb2.Quantity(steps=1)
    made.cart.CopyFrom(cart_intent_pb2.CartIntent(add_line=cart_intent_pb2.AddLine(sku=SKU, quantity=quantity)))
    return made


async def test_one_trace_goes_from_the_command_to_the_push(tmp_path: Path) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with tracing.recording(provider):
        async with running_hub(hub_config(tmp_path)) as hub:
            shopper = await hub.shopper()
            async with Stream(hub, shopper.token) as phone, Stream(hub, shopper.token, channel="pos") as till:
                cart = await phone.create_cart()
                await till.subscribe(cart)
                result = await phone.execute(put_in(cart, 2, TAP))
                await till.until_revision(result.cursor.revision)
                pushed = [m.delta for m in till.received if m.HasField("delta")][-1]
    spans = {span.name: span for span in exporter.get_finished_spans() if f"{span.context.trace_id:032x}" == TRACE_ID}
    adapter_call = "legato.adapter.v1.CartService/ApplyCommand"
    assert {"command", adapter_call, "storage.commit", "stream.push"} <= spans.keys()
    command = spans["command"]
    assert command.parent is not None
    assert f"{command.parent.span_id:016x}" == TAP.split("-")[2]
    for caused in (adapter_call, "storage.commit", "stream.push"):
        parent = spans[caused].parent
        assert parent is not None
        assert parent.span_id == command.context.span_id, caused
    # What the till received names the same command, so that its own span continues the trace.
    assert [f"{TRACE_ID}-{command.context.span_id:016x}" in trace for trace in pushed.traceparents] == [True]
    # The stream itself is not a span that never ends: it only marks its opening, and pushes link to it.
    assert spans["stream.push"].links


@pytest.mark.parametrize("traceparent", ["nonsense", "00-00-00-00"])
async def test_a_malformed_trace_context_is_named_and_starts_no_trace(tmp_path: Path, traceparent: str) -> None:
    async with running_hub(hub_config(tmp_path)) as hub:
        shopper = await hub.shopper()
        async with Stream(hub, shopper.token) as phone:
            cart = await phone.create_cart()
            result = await phone.execute(put_in(cart, 2, traceparent))
            assert result.outcome == command_pb2.OUTCOME_REJECTED
            assert result.error.field_violations[0].field == "command.traceparent"


async def test_a_trace_passes_through_a_hub_that_does_not_trace(tmp_path: Path) -> None:
    async with running_hub(hub_config(tmp_path)) as hub:
        shopper = await hub.shopper()
        async with Stream(hub, shopper.token) as phone, Stream(hub, shopper.token, channel="pos") as till:
            cart = await phone.create_cart()
            await till.subscribe(cart)
            result = await phone.execute(put_in(cart, 2, TAP))
            await till.until_revision(result.cursor.revision)
            pushed = [m.delta for m in till.received if m.HasField("delta")][-1]
            assert list(pushed.traceparents) == [TAP]
