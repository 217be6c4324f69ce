"""A `LocalChannel` and a real server over TCP for the same tests: the fixtures `servicer`, `channel` and `stub`."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import catalog_service_pb2 as pb
from legato.adapter.v1 import catalog_service_pb2_grpc as rpc
from legato.local_channel import LocalChannel

Handler = Callable[[pb.SearchProductsRequest, Any], Awaitable[Any]]
# Known to the type checker alone: the generated module has one stub class for both kinds of channel.
Stub: TypeAlias = "rpc.CatalogServiceAsyncStub"
Code = grpc.StatusCode
ANSWER = pb.SearchProductsResponse(next_page_token="x")


class Servicer(rpc.CatalogServiceServicer):
    """`SearchProducts` does what the test wants; the other methods are left unimplemented."""

    handler: Handler

    async def SearchProducts(self, request: pb.SearchProductsRequest, context: Any) -> Any:
        return await self.handler(request, context)


@contextlib.asynccontextmanager
async def over_tcp(servicer: Servicer) -> AsyncIterator[grpc.aio.Channel]:
    server = grpc.aio.server()
    rpc.add_CatalogServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


@contextlib.asynccontextmanager
async def locally(servicer: Servicer) -> AsyncIterator[grpc.aio.Channel]:
    async with LocalChannel() as channel:
        rpc.add_CatalogServiceServicer_to_server(servicer, channel)
        yield channel


@pytest.fixture
def servicer() -> Servicer:
    return Servicer()  # type: ignore[abstract]  # methods are missing on purpose


@pytest.fixture(params=[locally, over_tcp])
async def channel(request: pytest.FixtureRequest, servicer: Servicer) -> AsyncIterator[grpc.aio.Channel]:
    async with request.param(servicer) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> Stub:
    return rpc.CatalogServiceStub(channel)


def call(stub: Stub, **arguments: Any) -> Any:
    return stub.SearchProducts(pb.SearchProductsRequest(), **arguments)


async def failure(servicer: Servicer, stub: Stub, handler: Handler, **arguments: Any) -> grpc.aio.AioRpcError:
    servicer.handler = handler
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(stub, **arguments)
    return caught.value
