"""One trace over two hubs: the push that a till receives on one belongs to the tap on the phone at the other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from legato.commerce.v1 import cart_intent_pb2, quantity_pb2
from legato.orchestrator.v1 import command_pb2
from legato.protocol.ids import new_id
from tests.support.shop import SKU
from tests.support.stream import Stream
from tests.support.two_hubs import two_hubs

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TAP = f"00-{TRACE_ID}-b7ad6b7169203331-01"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """What an operator's collector receives. Each span of the trace by its name: its id, and that of its parent."""

    def __init__(self) -> None:
        self.port = 0
        self.spans: dict[str, tuple[str, str, int]] = {}
        """And the number of the export's sender, so that hubs are told apart."""
        self.senders: list[str] = []

    async def Export(self, request, context):  # type: ignore[no-untyped-def]  # its stubs are untyped
        peer = context.peer()
        if peer not in self.senders:
            self.senders.append(peer)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    if span.trace_id.hex() == TRACE_ID:
                        sender = self.senders.index(peer)
                        self.spans[span.name] = (span.span_id.hex(), span.parent_span_id.hex(), sender)
        return trace_service_pb2.ExportTraceServiceResponse()


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    server, collector = grpc.aio.server(), Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    collector.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield collector
    finally:
        await server.stop(None)


async def test_one_trace_goes_from_the_tap_at_one_hub_to_the_push_of_the_other(tmp_path: Path) -> None:
    async with collecting() as collector:
        traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}"}
        async with two_hubs(tmp_path, environment=traced) as hubs:
            shopper = await hubs.one.shopper()
            async with Stream(hubs.one, shopper.token) as phone, Stream(hubs.two, shopper.token, channel="pos") as till:
                cart = await phone.create_cart()
                await till.subscribe(cart)
                tap = command_pb2.Command(command_id=new_id(), resource=cart, seq=2, traceparent=TAP)
                quantity = quantity_pb2.Quantity(steps=1)
                tap.cart.CopyFrom(
                    cart_intent_pb2.CartIntent(add_line=cart_intent_pb2.AddLine(sku=SKU, quantity=quantity))
                )
                result = await phone.execute(tap)
                await till.until_revision(result.cursor.revision)
                pushed = [m.delta for m in till.received if m.HasField("delta")][-1]
            for process in hubs.processes:
                process.process.terminate()  # and export what is pending
            assert await asyncio.gather(*(process.died() for process in hubs.processes)) == [0, 0]
    spans = collector.spans
    assert {"command", "storage.commit", "stream.push"} <= spans.keys()
    command_span, tapped, first_hub = spans["command"]
    assert tapped == TAP.split("-")[2]
    _, pushed_by, second_hub = spans["stream.push"]
    assert pushed_by == command_span
    assert second_hub != first_hub
    assert spans["storage.commit"][2] == first_hub
    # What the till received names the same command, so that its own span continues the trace.
    assert [trace.split("-")[1:3] for trace in pushed.traceparents] == [[TRACE_ID, command_span]]
