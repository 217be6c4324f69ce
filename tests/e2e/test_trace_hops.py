"""Nothing stops a trace at the hub: every way in, every way out, and from hub to hub."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import msgspec
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from legato.commerce.v1 import cart_intent_pb2, quantity_pb2
from legato.orchestrator.v1 import command_pb2, reads_pb2, session_intent_pb2
from legato.protocol.ids import new_id
from legato_hub.config import BackendConfig, StorageConfig
from legato_hub.telemetry import tracing
from tests.storage.valkey_servers import own_server
from tests.support import wayward
from tests.support.hub import hub_config, running_hub
from tests.support.shop import SKU
from tests.support.stream import Stream

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TAP = f"00-{TRACE_ID}-b7ad6b7169203331-01"
TRACEPARENT = (("traceparent", TAP),)


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with tracing.recording(provider):
        yield exporter


def of_the_tap(exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if f"{span.context.trace_id:032x}" == TRACE_ID]


def parents(spans: list[ReadableSpan]) -> set[tuple[str, str]]:
    """(name, name of its parent) of each; the parent outside is "tap"."""
    names = {span.context.span_id: span.name for span in spans}
    return {(span.name, names.get(span.parent.span_id, "tap") if span.parent else "") for span in spans}


def put_in(cart: str, seq: int) -> command_pb2.Command:
    made = command_pb2.Command(command_id=new_id(), resource=cart, seq=seq, traceparent=TAP)
    made.cart.add_line.CopyFrom(cart_intent_pb2.AddLine(sku=SKU, quantity=quantity_pb2.Quantity(steps=1)))
    return made


async def test_a_session_command_goes_on_to_the_push(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    async with running_hub(hub_config(tmp_path)) as hub:
        shopper = await hub.shopper()
        async with Stream(hub, shopper.token) as phone:
            session = f"sessions/{shopper.session_id}"
            await phone.subscribe(session)
            command = command_pb2.Command(command_id=new_id(), resource=session, seq=1, traceparent=TAP)
            command.session.view_product.CopyFrom(session_intent_pb2.ViewProduct(product_id="p1"))
            result = await phone.execute(command)
            await phone.until_revision(result.cursor.revision)
    found = parents(of_the_tap(spans))
    assert {("command", "tap"), ("storage.begin", "command"), ("storage.commit", "command")} <= found
    assert ("stream.push", "command") in found


async def test_a_sign_in_and_a_share_go_on_to_storage_and_push(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    async with running_hub(hub_config(tmp_path)) as hub:
        shopper = await hub.shopper()
        async with Stream(hub, shopper.token) as phone:
            cart = await phone.create_cart()
            await phone.subscribe(f"sessions/{shopper.session_id}")
            before = phone.cursors["s"].revision
            mine = (*shopper.metadata, *TRACEPARENT)
            await hub.stub.SignIn(reads_pb2.SignInRequest(credential=hub.credential("ada")), metadata=mine)
            await phone.until_revision(before + 1)
            await hub.stub.ShareCart(reads_pb2.ShareCartRequest(cart_id=cart.removeprefix("carts/")), metadata=mine)
    service = "legato.orchestrator.v1.OrchestratorService"
    found = parents(of_the_tap(spans))
    assert {(f"{service}/SignIn", "tap"), (f"{service}/ShareCart", "tap")} <= found
    assert {("storage.commit", f"{service}/SignIn"), ("storage.put", f"{service}/ShareCart")} <= found
    assert ("stream.push", f"{service}/SignIn") in found


async def test_a_refresh_is_a_trace_of_its_own_down_to_the_push(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    backends = {"wayward": wayward.backend(str(tmp_path / "ledger"), "KEYED")}
    config = hub_config(tmp_path, backends=backends, cart="wayward", refresh_seconds=0.1)
    async with running_hub(config) as hub:
        shopper = await hub.shopper()
        async with Stream(hub, shopper.token) as phone:
            cart = await phone.create_cart()
            await phone.subscribe(cart)
            before = phone.cursors["s"].revision
            # Somebody edits the cart in the backend itself.
            adapter = wayward.of(hub)
            row = (cart.removeprefix("carts/"), new_id(), SKU, 1)
            adapter._database.execute("INSERT INTO effects VALUES (?, ?, ?, ?)", row)
            adapter._database.execute("UPDATE carts SET version = version + 1")
            await phone.until_revision(before + 1)
    done = spans.get_finished_spans()
    pushes = [span for span in done if span.name == "stream.push" and span.attributes]
    last = next(span for span in pushes if (span.attributes or {}).get("legato.revision") == before + 1)
    trace = [span for span in done if span.context.trace_id == last.context.trace_id]
    found = parents(trace)
    assert {("refresh", ""), ("legato.adapter.v1.CartService/GetCart", "refresh")} <= found
    assert {("storage.commit", "refresh"), ("stream.push", "refresh")} <= found


async def test_a_resolution_goes_on_in_the_trace_of_its_command(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    backends = {"wayward": wayward.backend(str(tmp_path / "ledger"), "MARKED")}
    async with running_hub(hub_config(tmp_path, backends=backends, cart="wayward")) as hub:
        shopper = await hub.shopper()
        async with Stream(hub, shopper.token) as phone:
            cart = await phone.create_cart()
            await phone.subscribe(cart)
            adapter = wayward.of(hub)

            async def lost_answer(request: Any, context: Any) -> Any:
                del adapter.instead["ApplyCommand"]
                await super(wayward.Wayward, adapter).ApplyCommand(request, context)
                await context.abort(grpc.StatusCode.UNKNOWN, "the answer was lost")

            adapter.instead["ApplyCommand"] = lost_answer
            result = await phone.execute(put_in(cart, 2))
            assert result.outcome == command_pb2.OUTCOME_APPLIED
            await phone.until_revision(result.cursor.revision)
    found = parents(of_the_tap(spans))
    assert {("resolve", "command"), ("legato.adapter.v1.CartService/ResolveCommand", "resolve")} <= found
    assert {("storage.commit", "resolve"), ("stream.push", "resolve")} <= found


@asynccontextmanager
async def served(adapter: wayward.Wayward) -> AsyncIterator[str]:
    """An adapter on a port of its own."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    adapter.add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"grpc://127.0.0.1:{port}"
    await server.stop(None)


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("remote", [True, False])
async def test_an_adapter_gets_the_context_whether_or_not_it_is_recorded(
    tmp_path: Path, spans: InMemorySpanExporter, remote: bool, recorded: bool
) -> None:
    told: list[dict[str, str]] = []
    adapter = wayward.create(path=str(tmp_path / "ledger"), effect_class="KEYED")

    def listen_in(to: wayward.Wayward) -> None:
        async def listen(request: Any, context: Any) -> Any:
            told.append({**dict(context.invocation_metadata()), "context": request.context.traceparent})
            return await super(wayward.Wayward, to).ApplyCommand(request, context)

        to.instead["ApplyCommand"] = listen

    async with served(adapter) as address:
        backend = BackendConfig(adapter=address) if remote else wayward.backend(str(tmp_path / "own"), "KEYED")
        async with running_hub(hub_config(tmp_path, backends={"carts": backend}, cart="carts")) as hub:
            listen_in(adapter if remote else wayward.of(hub))
            shopper = await hub.shopper()
            async with Stream(hub, shopper.token) as phone:
                cart = await phone.create_cart()
                command = put_in(cart, 2)
                if not recorded:
                    command.traceparent = f"{TAP[:-2]}00"
                assert (await phone.execute(command)).outcome == command_pb2.OUTCOME_APPLIED
    given = told[-1]
    assert given["traceparent"][3:35] == TRACE_ID
    assert given["traceparent"].endswith("01" if recorded else "00")
    assert given["context"][3:35] == TRACE_ID
    assert bool(of_the_tap(spans)) is recorded
    if recorded:
        calls = [f"{s.context.span_id:016x}" for s in of_the_tap(spans) if s.name.endswith("/ApplyCommand")]
        assert given["traceparent"][36:52] in calls


async def test_a_trace_goes_from_hub_to_hub(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    with own_server() as server:
        storage = StorageConfig(url=f"valkey://127.0.0.1:{server.port}")
        config = msgspec.structs.replace(hub_config(tmp_path), storage=storage)
        async with running_hub(config) as first, running_hub(config) as second:
            shopper = await first.shopper()
            async with Stream(first, shopper.token) as phone, Stream(second, shopper.token, channel="pos") as till:
                cart = await phone.create_cart()
                await till.subscribe(cart)
                result = await phone.execute(put_in(cart, 2))
                await till.until_revision(result.cursor.revision)
                pushed = [m.delta for m in till.received if m.HasField("delta")][-1]
    trace = of_the_tap(spans)
    found = parents(trace)
    assert {("command", "tap"), ("storage.commit", "command"), ("stream.push", "command")} <= found
    (command,) = [span for span in trace if span.name == "command"]
    assert [text[36:52] for text in pushed.traceparents] == [f"{command.context.span_id:016x}"]
