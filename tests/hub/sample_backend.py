"""A backend that does as it is told: on time, late, failing, with fewer capabilities. For tests of the hub's reads."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc
import grpc.aio

from legato.adapter.v1 import catalog_service_pb2 as catalog
from legato.adapter.v1 import catalog_service_pb2_grpc as catalog_rpc
from legato.adapter.v1 import identity_service_pb2 as identity
from legato.adapter.v1 import identity_service_pb2_grpc as identity_rpc
from legato.adapter.v1 import inventory_service_pb2 as inventory
from legato.adapter.v1 import inventory_service_pb2_grpc as inventory_rpc
from legato.commerce.v1 import product_pb2
from legato.contract import agree_on_version
from legato_hub.config import BackendConfig

_Response = TypeVar("_Response")

made: dict[str, "SampleBackend"] = {}
"""Every adapter that `create` made, by name: what a hub hosts its test can reach."""


class SampleBackend(
    identity_rpc.IdentityServiceServicer,
    catalog_rpc.CatalogServiceServicer,
    inventory_rpc.InventoryServiceServicer,
):
    """One product, "p1" or "lamp", with one variant."""

    def __init__(self, name: str, capabilities: Sequence[str], contract_version: str, effect_class: str) -> None:
        self.info = identity.GetInfoResponse(
            name=name,
            version="1.0",
            contract_version=contract_version,
            capabilities=[identity.Capability.Value(f"CAPABILITY_{word}") for word in capabilities],
            effect_class=identity.EffectClass.Value(f"EFFECT_CLASS_{effect_class}"),
        )
        self.spoken: Sequence[str] = ()
        """Versions of the contract to choose from; none: the one of `info`, whatever the hub speaks."""
        self.failures: dict[str, tuple[grpc.StatusCode, str]] = {}
        """By method: the status it fails with."""
        self.late: set[str] = set()
        """Methods that never answer."""
        self.asked: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        """Every call that came, with its request."""
        self.ended = 0
        """Calls that never answered and are over: given up by the caller."""
        self.closed = False

    async def until_asked(self, method: str) -> Any:
        """The request of the next call of a method; calls before it are passed over."""
        while True:
            asked, request = await self.asked.get()
            if asked == method:
                return request

    def add_to(self, server: grpc.aio.Server) -> None:
        identity_rpc.add_IdentityServiceServicer_to_server(self, server)
        catalog_rpc.add_CatalogServiceServicer_to_server(self, server)
        inventory_rpc.add_InventoryServiceServicer_to_server(self, server)

    async def start(self) -> None:
        if "start" in self.failures:
            raise OSError(self.failures["start"][1])

    async def close(self) -> None:
        self.closed = True

    async def _answer(self, method: str, request: Any, context: Any, answer: _Response) -> _Response:
        self.asked.put_nowait((method, request))
        if method in self.failures:
            await context.abort(*self.failures[method])
        if method in self.late:
            try:
                await asyncio.Event().wait()
            finally:
                self.ended += 1
        return answer

    async def GetInfo(self, request: identity.GetInfoRequest, context: Any) -> identity.GetInfoResponse:
        info = await self._answer("GetInfo", request, context, self.info)
        if self.spoken:
            info.contract_version = await agree_on_version(request, context, self.spoken)
        return info

    async def Probe(self, request: identity.ProbeRequest, context: Any) -> identity.ProbeResponse:
        return await self._answer("Probe", request, context, identity.ProbeResponse())

    async def GetProduct(self, request: catalog.GetProductRequest, context: Any) -> catalog.GetProductResponse:
        if request.product not in (catalog.ProductKey(product_id="p1"), catalog.ProductKey(slug="lamp")):
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such product")
        product = product_pb2.Product(id="p1", slug="lamp", name=f"Lamp of {self.info.name}")
        return await self._answer("GetProduct", request, context, catalog.GetProductResponse(product=product))

    async def GetPrices(self, request: catalog.GetPricesRequest, context: Any) -> catalog.GetPricesResponse:
        answer = catalog.GetPricesResponse(prices=[product_pb2.Price(sku="lamp-1")])
        return await self._answer("GetPrices", request, context, answer)

    async def SearchProducts(
        self, request: catalog.SearchProductsRequest, context: Any
    ) -> catalog.SearchProductsResponse:
        answer = catalog.SearchProductsResponse(next_page_token="2", total=7)
        answer.hits.add(product=product_pb2.Product(id="p1"), price=product_pb2.Price(sku="lamp-1"))
        return await self._answer("SearchProducts", request, context, answer)

    async def GetAvailability(
        self, request: inventory.GetAvailabilityRequest, context: Any
    ) -> inventory.GetAvailabilityResponse:
        answer = inventory.GetAvailabilityResponse(availability=[product_pb2.Availability(sku="lamp-1")])
        return await self._answer("GetAvailability", request, context, answer)


def create(
    *,
    name: str = "sample",
    capabilities: Sequence[str] = ("CATALOG", "INVENTORY"),
    contract_version: str = "1",
    effect_class: str = "UNSPECIFIED",
    broken: str = "",
    commands: Mapping[str, str] | None = None,
    spoken: Sequence[str] = (),
) -> SampleBackend:
    """The factory that a hub calls. `broken` is what its start fails with, `commands` has effect classes."""
    backend = made[name] = SampleBackend(name, capabilities, contract_version, effect_class)
    backend.spoken = spoken
    for capability, its_class in (commands or {}).items():
        backend.info.command_claims.add(
            capability=identity.Capability.Value(f"CAPABILITY_{capability}"),
            effect_class=identity.EffectClass.Value(f"EFFECT_CLASS_{its_class}"),
        )
    if broken:
        backend.failures["start"] = grpc.StatusCode.UNAVAILABLE, broken
    return backend


def embedded(name: str = "sample", **options: Any) -> BackendConfig:
    """The configuration of a sample in the hub's process."""
    timeout_ms = options.pop("timeout_ms", 5_000)
    adapter = "tests.hub.sample_backend:create"
    return BackendConfig(adapter=adapter, options={"name": name, **options}, timeout_ms=timeout_ms)


@asynccontextmanager
async def served(backend: SampleBackend, port: int = 0) -> AsyncIterator[int]:
    """A real server with the sample; its port."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    backend.add_to(server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(None)
