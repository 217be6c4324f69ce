"""The generated stub against a real hub, through pytest-grpc's fixtures.

pytest-grpc knows threaded servers only, so what starts and reaches a server is overridden for grpc.aio; `grpc_stub` is
its own. Every call of the API is made once, as an internal service would.
"""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest
import pytest_asyncio

from legato.commerce.v1 import cart_intent_pb2, quantity_pb2
from legato.orchestrator.v1 import command_pb2, orchestrator_service_pb2_grpc, reads_pb2, stream_pb2
from legato.orchestrator.v1 import orchestrator_service_pb2 as pb
from legato.protocol.ids import new_id
from legato_hub.core.identity import IdentityKind
from tests.support.hub import RunningHub, bearer, hub_config, running_hub
from tests.support.shop import SKU

if TYPE_CHECKING:
    from legato.orchestrator.v1.orchestrator_service_pb2_grpc import OrchestratorServiceAsyncStub as Stub

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def grpc_stub_cls() -> Any:
    return orchestrator_service_pb2_grpc.OrchestratorServiceStub


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def grpc_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningHub]:
    async with running_hub(hub_config(tmp_path_factory.mktemp("hub"))) as hub:
        yield hub


@pytest.fixture(scope="module")
def grpc_addr(grpc_server: RunningHub) -> str:
    return grpc_server.target


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def grpc_channel(grpc_addr: str) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(grpc_addr) as channel:
        yield channel


@pytest.fixture(scope="module")
def service(grpc_server: RunningHub) -> tuple[tuple[str, str], ...]:
    return bearer(grpc_server.token(IdentityKind.SERVICE, "crm", "main"))


async def a_cart(grpc_stub: "Stub", service: Any) -> str:
    cart = f"carts/{new_id()}"
    create = command_pb2.Command(command_id=new_id(), resource=cart)
    create.cart.create_cart.SetInParent()
    add = command_pb2.Command(command_id=new_id(), resource=cart)
    line = cart_intent_pb2.AddLine(sku=SKU, quantity=quantity_pb2.Quantity(steps=2))
    add.cart.add_line.CopyFrom(line)
    answer = await grpc_stub.Execute(pb.ExecuteRequest(commands=[create, add]), metadata=service)
    assert [result.outcome for result in answer.results] == [command_pb2.OUTCOME_APPLIED] * 2
    return cart


async def test_carts(grpc_stub: "Stub", service: Any) -> None:
    cart = await a_cart(grpc_stub, service)
    read = await grpc_stub.GetCart(reads_pb2.GetCartRequest(resource=cart), metadata=service)
    assert [(line.sku, line.quantity.steps) for line in read.cart.lines] == [(SKU, 2)]
    listed = await grpc_stub.ListCarts(reads_pb2.ListCartsRequest(page_size=100), metadata=service)
    assert read.cart.id in [entry.cart.id for entry in listed.carts]
    shared = await grpc_stub.ShareCart(reads_pb2.ShareCartRequest(cart_id=read.cart.id), metadata=service)
    found = await grpc_stub.LookUpCart(reads_pb2.LookUpCartRequest(code=shared.code), metadata=service)
    assert found.cart == read.cart


async def test_sessions(grpc_stub: "Stub", grpc_server: RunningHub) -> None:
    started = await grpc_stub.StartSession(reads_pb2.StartSessionRequest(), metadata=bearer("dev-web"))
    mine = bearer(started.access_token)
    signed_in = await grpc_stub.SignIn(reads_pb2.SignInRequest(credential=grpc_server.credential("ada")), metadata=mine)
    assert signed_in.session.login.customer_id == "ada"
    read = await grpc_stub.GetSession(
        reads_pb2.GetSessionRequest(min_cursor=signed_in.cursor), metadata=bearer(signed_in.access_token)
    )
    assert read.session == signed_in.session


async def test_catalog(grpc_stub: "Stub", service: Any) -> None:
    market = reads_pb2.Market(store="main")
    found = await grpc_stub.SearchProducts(
        reads_pb2.SearchProductsRequest(page_size=3, market=market), metadata=service
    )
    assert len(found.hits) == 3
    product = found.hits[0].product
    page = await grpc_stub.GetProductPage(
        reads_pb2.GetProductPageRequest(product_id=product.id, market=market), metadata=service
    )
    assert page.product == product
    assert {price.sku for price in page.prices} == {variant.sku for variant in product.variants}
    assert not page.gaps
    stock = await grpc_stub.GetAvailability(
        reads_pb2.GetAvailabilityRequest(skus=[product.variants[0].sku], market=market), metadata=service
    )
    assert {entry.location_id for entry in stock.availability} == {"", "berlin-mitte", "hamburg-hafen"}


async def test_streams(grpc_stub: "Stub", service: Any) -> None:
    cart = await a_cart(grpc_stub, service)
    wish = stream_pb2.Subscribe(subscription_id="s", resource=cart)
    watch: Any = grpc_stub.Watch(pb.WatchRequest(subscriptions=[wish]), metadata=service)
    kinds = [message.WhichOneof("message") for message in (await watch.read()).messages]
    assert "snapshot" in kinds
    watch.cancel()
    connect: Any = grpc_stub.Connect(metadata=service)
    hello = stream_pb2.Hello(client_id=new_id(), channel=stream_pb2.Channel(kind="service"))
    await connect.write(stream_pb2.ConnectRequest(hello=hello))
    assert [message.WhichOneof("message") for message in (await connect.read()).messages] == ["welcome"]
    await connect.write(stream_pb2.ConnectRequest(ping=stream_pb2.Ping(nonce=7)))
    assert (await connect.read()).messages[0].pong.nonce == 7
    await connect.done_writing()
    assert await connect.read() is grpc.aio.EOF
