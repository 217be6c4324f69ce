"""The servicers of the reference adapter: they check requests, call the logic, turn its errors into status codes."""

import functools
import importlib.metadata
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, Never, TypeVar

import grpc
import grpc.aio

from legato.adapter.v1 import (
    cart_service_pb2,
    cart_service_pb2_grpc,
    catalog_service_pb2,
    catalog_service_pb2_grpc,
    identity_service_pb2,
    identity_service_pb2_grpc,
    inventory_service_pb2,
    inventory_service_pb2_grpc,
    request_context_pb2,
)
from legato.contract import agree_on_version
from legato.protocol.ids import is_uuid7
from legato_adapters.reference import carts
from legato_adapters.reference.catalog import (
    SYSTEM,
    Catalog,
    Market,
    Product,
    Variant,
    availability_message,
    price_message,
    product_message,
)
from legato_adapters.reference.database import Database, DatabaseUnavailable
from legato_adapters.reference.intents import CLAIMED, Malformed
from legato_adapters.reference.search import SearchIndex, page_offset, page_token
from legato_adapters.reference.seed import seed

_Result = TypeVar("_Result")

_MAX_SKUS = 100
_MAX_PAGE = 100

_CODES: dict[type[Exception], grpc.StatusCode] = {
    Malformed: grpc.StatusCode.INVALID_ARGUMENT,
    carts.CartNotFound: grpc.StatusCode.NOT_FOUND,
    carts.CommandIdReused: grpc.StatusCode.ABORTED,
    carts.VersionMismatch: grpc.StatusCode.FAILED_PRECONDITION,
    carts.DeadlinePassed: grpc.StatusCode.DEADLINE_EXCEEDED,
}


class ReferenceAdapter:
    """The embedded backend and its translator in one; made by `create`."""

    def __init__(self, path: str, *, seeded: bool) -> None:
        self._seeded = seeded
        self._database = Database(path)
        self._cart_servicer = _CartServicer(self._database)
        self._catalog_servicer = _CatalogServicer()
        self._inventory_servicer = _InventoryServicer()

    def add_to(self, server: grpc.aio.Server) -> None:
        identity_service_pb2_grpc.add_IdentityServiceServicer_to_server(_IdentityServicer(self._database), server)
        catalog_service_pb2_grpc.add_CatalogServiceServicer_to_server(self._catalog_servicer, server)
        inventory_service_pb2_grpc.add_InventoryServiceServicer_to_server(self._inventory_servicer, server)
        cart_service_pb2_grpc.add_CartServiceServicer_to_server(self._cart_servicer, server)

    async def start(self) -> None:
        """Open the file, fill it if it is new and wanted, read the catalog; raises sqlite3.Error."""
        await self._database.start()
        if self._seeded:
            await self._database.run(seed, writes=True)
        catalog = await self._database.run(Catalog.load, writes=False)
        self._cart_servicer.carts = carts.Carts(catalog)
        self._catalog_servicer.use(catalog)
        self._inventory_servicer.catalog = catalog

    async def close(self) -> None:
        await self._database.close()


class _IdentityServicer(identity_service_pb2_grpc.IdentityServiceServicer):
    def __init__(self, database: Database) -> None:
        self._database = database

    async def GetInfo(
        self, request: identity_service_pb2.GetInfoRequest, context: Any
    ) -> identity_service_pb2.GetInfoResponse:
        return identity_service_pb2.GetInfoResponse(
            name=SYSTEM,
            version=importlib.metadata.version("legato"),
            contract_version=await agree_on_version(request, context),
            capabilities=[
                identity_service_pb2.CAPABILITY_CATALOG,
                identity_service_pb2.CAPABILITY_SEARCH,
                identity_service_pb2.CAPABILITY_PRICING,
                identity_service_pb2.CAPABILITY_INVENTORY,
                identity_service_pb2.CAPABILITY_CART,
            ],
            effect_class=identity_service_pb2.EFFECT_CLASS_KEYED,
            cart_intents=CLAIMED,
        )

    async def Probe(
        self, request: identity_service_pb2.ProbeRequest, context: Any
    ) -> identity_service_pb2.ProbeResponse:
        await _run(context, self._database, lambda connection: connection.execute("SELECT 1").fetchone(), writes=False)
        return identity_service_pb2.ProbeResponse()


class _CatalogServicer(catalog_service_pb2_grpc.CatalogServiceServicer):
    _catalog: Catalog
    _index: SearchIndex

    def use(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._index = SearchIndex(catalog.products)

    async def GetProduct(
        self, request: catalog_service_pb2.GetProductRequest, context: Any
    ) -> catalog_service_pb2.GetProductResponse:
        market = await _market(self._catalog, request.context, context)
        product = await _product(self._catalog, request.product, context)
        locale = request.context.locale or market.locale
        return catalog_service_pb2.GetProductResponse(product=product_message(product, locale))

    async def SearchProducts(
        self, request: catalog_service_pb2.SearchProductsRequest, context: Any
    ) -> catalog_service_pb2.SearchProductsResponse:
        market = await _market(self._catalog, request.context, context)
        if not 1 <= request.page_size <= _MAX_PAGE:
            await _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, f"page_size must be 1 to {_MAX_PAGE}")
        search = (request.query, request.category)
        try:
            offset = page_offset(request.page_token, search)
        except ValueError as error:
            await _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
        found = [p for p in self._index.find(*search) if any(market.currency in v.prices for v in p.variants)]
        end = offset + request.page_size
        locale = request.context.locale or market.locale
        now = carts.now()
        hits = []
        for product in found[offset:end]:
            sold = [variant for variant in product.variants if market.currency in variant.prices]
            cheapest = min(sold, key=lambda variant: variant.prices[market.currency])
            price = price_message(cheapest, market, now)
            hits.append(catalog_service_pb2.SearchHit(product=product_message(product, locale), price=price))
        token = page_token(end, search) if end < len(found) else ""
        return catalog_service_pb2.SearchProductsResponse(hits=hits, next_page_token=token, total=len(found))

    async def GetPrices(
        self, request: catalog_service_pb2.GetPricesRequest, context: Any
    ) -> catalog_service_pb2.GetPricesResponse:
        market = await _market(self._catalog, request.context, context)
        variants = await _variants(self._catalog, request, context)
        now = carts.now()
        return catalog_service_pb2.GetPricesResponse(
            prices=[price_message(variant, market, now) for variant in variants if market.currency in variant.prices]
        )


class _InventoryServicer(inventory_service_pb2_grpc.InventoryServiceServicer):
    catalog: Catalog

    async def GetAvailability(
        self, request: inventory_service_pb2.GetAvailabilityRequest, context: Any
    ) -> inventory_service_pb2.GetAvailabilityResponse:
        response = inventory_service_pb2.GetAvailabilityResponse()
        now = carts.now()
        for variant in await _variants(self.catalog, request, context):
            if not request.location_id:
                response.availability.append(availability_message(variant, "", "", variant.total_stock, now))
            for location, steps in variant.stock.items():
                if request.location_id in {"", location}:
                    name = self.catalog.locations[location]
                    response.availability.append(availability_message(variant, location, name, steps, now))
        return response


class _CartServicer(cart_service_pb2_grpc.CartServiceServicer):
    carts: carts.Carts

    def __init__(self, database: Database) -> None:
        self._database = database

    async def GetCart(self, request: cart_service_pb2.GetCartRequest, context: Any) -> cart_service_pb2.GetCartResponse:
        await _check_id(context, "cart_id", request.cart_id)
        work = functools.partial(self.carts.get, tenant=request.context.tenant, cart_id=request.cart_id)
        return await _run(context, self._database, work, writes=False)

    async def ApplyCommand(
        self, request: cart_service_pb2.ApplyCommandRequest, context: Any
    ) -> cart_service_pb2.ApplyCommandResponse:
        await _check_call(context, request)
        remaining = context.time_remaining()
        deadline = None if remaining is None else time.monotonic() + remaining
        work = functools.partial(self.carts.apply, request=request, deadline=deadline)
        return await _run(context, self._database, work, writes=True)

    async def ResolveCommand(
        self, request: cart_service_pb2.ResolveCommandRequest, context: Any
    ) -> cart_service_pb2.ResolveCommandResponse:
        await _check_call(context, request.call)
        work = functools.partial(self.carts.resolve, call=request.call)
        return await _run(context, self._database, work, writes=False)


async def _run(
    context: Any, database: Database, work: Callable[[sqlite3.Connection], _Result], *, writes: bool
) -> _Result:
    try:
        return await database.run(work, writes=writes)
    except DatabaseUnavailable as error:
        await context.abort(grpc.StatusCode.UNAVAILABLE, str(error), (("legato-effect", "none"),))
    except tuple(_CODES) as error:
        await _refuse(context, _CODES[type(error)], str(error))
    raise AssertionError("abort does not return")


async def _refuse(context: Any, code: grpc.StatusCode, details: str) -> Never:
    await context.abort(code, details)
    raise AssertionError("abort does not return")


async def _check_id(context: Any, name: str, value: str) -> None:
    if not is_uuid7(value):
        await _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, f"{name} must be a UUIDv7 in lower case")


async def _check_call(context: Any, request: cart_service_pb2.ApplyCommandRequest) -> None:
    await _check_id(context, "cart_id", request.cart_id)
    await _check_id(context, "command_id", request.command_id)
    if request.intent.WhichOneof("intent") is None:
        await _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "intent must be set")


async def _market(catalog: Catalog, wanted: request_context_pb2.RequestContext, context: Any) -> Market:
    market = catalog.market(wanted.country, wanted.currency_code)
    if market is None:
        await _refuse(context, grpc.StatusCode.FAILED_PRECONDITION, "the market is not served")
    return market


async def _product(catalog: Catalog, key: catalog_service_pb2.ProductKey, context: Any) -> Product:
    product = catalog.by_id.get(key.product_id) if key.HasField("product_id") else catalog.by_slug.get(key.slug)
    if product is None:
        await _refuse(context, grpc.StatusCode.NOT_FOUND, "no such product")
    return product


async def _variants(
    catalog: Catalog,
    request: catalog_service_pb2.GetPricesRequest | inventory_service_pb2.GetAvailabilityRequest,
    context: Any,
) -> Sequence[Variant]:
    """The variants asked for, without the unknown ones."""
    if request.HasField("product"):
        return (await _product(catalog, request.product, context)).variants
    if not 1 <= len(request.skus) <= _MAX_SKUS:
        await _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, f"a product or 1 to {_MAX_SKUS} skus are needed")
    return [catalog.by_sku[sku] for sku in request.skus if sku in catalog.by_sku]
