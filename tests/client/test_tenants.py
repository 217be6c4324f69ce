"""One set of credentials per tenant: whose adapter answers, also behind a network, and what is said of a stranger."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import cart_service_pb2 as cart
from legato.adapter.v1 import cart_service_pb2_grpc as cart_rpc
from legato.adapter.v1 import identity_service_pb2 as identity
from legato.adapter.v1 import identity_service_pb2_grpc as identity_rpc
from legato.adapter.v1.request_context_pb2 import RequestContext
from legato.hosting import AdapterLoadError, load_adapter
from legato.local_channel import LocalChannel
from legato.tenants import TenantsAdapter

FACTORY = f"{__name__}:Shop"
TIMEOUT_S = 20.0


class Shop(identity_rpc.IdentityServiceServicer, cart_rpc.CartServiceServicer):
    """An adapter whose carts carry the token that it was made with."""

    def __init__(self, *, url: str, token: str, down: bool = False) -> None:
        if not token:
            raise ValueError("a token is needed")
        self.url, self.token, self.down = url, token, down
        self.running = False

    def add_to(self, server: grpc.aio.Server) -> None:
        identity_rpc.add_IdentityServiceServicer_to_server(self, server)
        cart_rpc.add_CartServiceServicer_to_server(self, server)

    async def start(self) -> None:
        self.running = True
        if self.url == "broken":
            raise OSError(f"{self.token} cannot start")

    async def close(self) -> None:
        self.running = False

    async def GetInfo(self, request: identity.GetInfoRequest, context: Any) -> identity.GetInfoResponse:
        return identity.GetInfoResponse(name=self.token)

    async def Probe(self, request: identity.ProbeRequest, context: Any) -> identity.ProbeResponse:
        if self.down:
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"{self.token} is down")
        return identity.ProbeResponse()

    async def GetCart(self, request: cart.GetCartRequest, context: Any) -> cart.GetCartResponse:
        return cart.GetCartResponse(version=f"{self.token}@{self.url}")

    async def ResolveCommand(self, request: cart.ResolveCommandRequest, context: Any) -> cart.ResolveCommandResponse:
        return cart.ResolveCommandResponse(response=cart.ApplyCommandResponse(version=self.token))


OPTIONS = {"url": "shop"}
TENANTS = {"acme": {"token": "a"}, "bits": {"token": "b", "url": "elsewhere"}}


@pytest.fixture(params=["in_process", "network"])
async def channel(request: pytest.FixtureRequest) -> Any:
    adapter = load_adapter(FACTORY, OPTIONS, TENANTS)
    if request.param == "in_process":
        async with LocalChannel() as local:
            adapter.add_to(local)
            yield local
        return
    server = grpc.aio.server()
    adapter.add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as remote:
        yield remote
    await server.stop(None)


async def test_the_tenant_of_the_context_decides(channel: grpc.aio.Channel) -> None:
    carts: Any = cart_rpc.CartServiceStub(channel)

    async def version(tenant: str) -> str:
        answer: cart.GetCartResponse = await carts.GetCart(
            cart.GetCartRequest(context=RequestContext(tenant=tenant)), timeout=TIMEOUT_S
        )
        return answer.version

    assert tuple(await asyncio.gather(version("acme"), version("bits"))) == ("a@shop", "b@elsewhere")


async def test_a_resolution_goes_where_its_call_went(channel: grpc.aio.Channel) -> None:
    carts: Any = cart_rpc.CartServiceStub(channel)
    request = cart.ResolveCommandRequest(call=cart.ApplyCommandRequest(context=RequestContext(tenant="bits")))
    assert (await carts.ResolveCommand(request, timeout=TIMEOUT_S)).response.version == "b"


@pytest.mark.parametrize("tenant", ["nobody", ""])
async def test_a_stranger_is_told(channel: grpc.aio.Channel, tenant: str) -> None:
    carts: Any = cart_rpc.CartServiceStub(channel)
    with pytest.raises(grpc.aio.AioRpcError, match=f"there are no credentials for tenant '{tenant}'") as caught:
        await carts.GetCart(cart.GetCartRequest(context=RequestContext(tenant=tenant)), timeout=TIMEOUT_S)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_method_that_is_not_there_is_unimplemented(channel: grpc.aio.Channel) -> None:
    carts: Any = cart_rpc.CartServiceStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await carts.ApplyCommand(cart.ApplyCommandRequest(context=RequestContext(tenant="acme")), timeout=TIMEOUT_S)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_one_introduces_all(channel: grpc.aio.Channel) -> None:
    stub: Any = identity_rpc.IdentityServiceStub(channel)
    assert (await stub.GetInfo(identity.GetInfoRequest(), timeout=TIMEOUT_S)).name == "a"


async def test_a_probe_asks_one_or_all() -> None:
    adapter = load_adapter(FACTORY, OPTIONS, {**TENANTS, "bits": {"token": "b", "down": True}})
    async with LocalChannel() as local:
        adapter.add_to(local)
        stub: Any = identity_rpc.IdentityServiceStub(local)
        await stub.Probe(identity.ProbeRequest(context=RequestContext(tenant="acme")), timeout=TIMEOUT_S)
        for context in (RequestContext(), RequestContext(tenant="bits")):
            with pytest.raises(grpc.aio.AioRpcError, match="b is down"):
                await stub.Probe(identity.ProbeRequest(context=context), timeout=TIMEOUT_S)
        with pytest.raises(grpc.aio.AioRpcError, match="no credentials for tenant 'nobody'"):
            await stub.Probe(identity.ProbeRequest(context=RequestContext(tenant="nobody")), timeout=TIMEOUT_S)


async def test_all_are_started_and_closed() -> None:
    make: Any = Shop  # to the type checker it is abstract: one method is left out, as a test wants it
    shops = {"acme": make(url="broken", token="a"), "bits": make(url="shop", token="b")}
    adapter = TenantsAdapter(shops)
    with pytest.raises(OSError, match="a cannot start"):
        await adapter.start()
    assert shops["bits"].running
    await adapter.close()
    assert not any(shop.running for shop in shops.values())


def test_a_tenants_mistake_is_told_with_its_name() -> None:
    with pytest.raises(AdapterLoadError, match=r"tenant 'acme': .* refuses its options: a token is needed"):
        load_adapter(FACTORY, OPTIONS, {"acme": {"token": ""}})


def test_without_tenants_everybody_shares_the_options() -> None:
    assert isinstance(load_adapter(FACTORY, {"url": "shop", "token": "c"}, {}), Shop)
