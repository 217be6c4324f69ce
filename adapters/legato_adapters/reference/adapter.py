"""The reference adapter, and its servicers for identity, catalog, stock and carts. `servicers` has the others."""

import functools
import importlib.metadata
import sqlite3
from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio

from legato.adapter.v1 import (
    cart_service_pb2,
    cart_service_pb2_grpc,
    catalog_service_pb2,
    catalog_service_pb2_grpc,
    content_service_pb2_grpc,
    customer_service_pb2_grpc,
    event_service_pb2_grpc,
    fulfilment_service_pb2_grpc,
    identity_service_pb2,
    identity_service_pb2_grpc,
    inventory_service_pb2,
    inventory_service_pb2_grpc,
    order_service_pb2_grpc,
    payment_service_pb2_grpc,
)
from legato.contract import agree_on_version
from legato_adapters.reference import carts, customers, orders, payments, shipments
from legato_adapters.reference.catalog import (
    Catalog,
    Product,
    Variant,
    availability_message,
    price_message,
    product_message,
)
from legato_adapters.reference.database import Database
from legato_adapters.reference.intents import CLAIMED
from legato_adapters.reference.search import SearchIndex, page_token
from legato_adapters.reference.seed import seed
from legato_adapters.reference.servicers import (
    ContentServicer,
    CustomerServicer,
    EventServicer,
    FulfilmentServicer,
    OrderServicer,
    PaymentServicer,
)
from legato_adapters.reference.servicing import check_id, deadline_of, market_of, offset_of, refuse, run
from legato_adapters.reference.shared import SYSTEM, now
from legato_adapters.reference.stock import Stock

_MAX_SKUS = 100

_COMMANDS = {
    identity_service_pb2.CAPABILITY_ORDER: orders.COMMANDS,
    identity_service_pb2.CAPABILITY_PAYMENT: payments.COMMANDS,
    identity_service_pb2.CAPABILITY_CUSTOMER: customers.COMMANDS,
    identity_service_pb2.CAPABILITY_FULFILMENT: shipments.COMMANDS,
}


class ReferenceAdapter:
    """The embedded backend and its translator in one; made by `create`."""

    def __init__(self, path: str, *, seeded: bool, webhook_secret: str) -> None:
        self._seeded = seeded
        self._database = Database(path)
        self._cart_servicer = _CartServicer(self._database)
        self._catalog_servicer = _CatalogServicer()
        self._inventory_servicer = _InventoryServicer(self._database)
        self._order_servicer = OrderServicer(self._database)
        self._payment_servicer = PaymentServicer(self._database)
        self._customer_servicer = CustomerServicer(self._database)
        self._content_servicer = ContentServicer()
        self._fulfilment_servicer = FulfilmentServicer(self._database)
        self._event_servicer = EventServicer(self._database, webhook_secret)

    def add_to(self, server: grpc.aio.Server) -> None:
        identity_service_pb2_grpc.add_IdentityServiceServicer_to_server(_IdentityServicer(self._database), server)
        catalog_service_pb2_grpc.add_CatalogServiceServicer_to_server(self._catalog_servicer, server)
        inventory_service_pb2_grpc.add_InventoryServiceServicer_to_server(self._inventory_servicer, server)
        cart_service_pb2_grpc.add_CartServiceServicer_to_server(self._cart_servicer, server)
        order_service_pb2_grpc.add_OrderServiceServicer_to_server(self._order_servicer, server)
        payment_service_pb2_grpc.add_PaymentServiceServicer_to_server(self._payment_servicer, server)
        customer_service_pb2_grpc.add_CustomerServiceServicer_to_server(self._customer_servicer, server)
        content_service_pb2_grpc.add_ContentServiceServicer_to_server(self._content_servicer, server)
        fulfilment_service_pb2_grpc.add_FulfilmentServiceServicer_to_server(self._fulfilment_servicer, server)
        event_service_pb2_grpc.add_EventServiceServicer_to_server(self._event_servicer, server)

    async def start(self) -> None:
        """Open the file, fill it if it is new and wanted, read the catalog; raises sqlite3.Error."""
        await self._database.start()
        if self._seeded:
            await self._database.run(seed, writes=True)
        catalog = await self._database.run(Catalog.load, writes=False)
        self._cart_servicer.carts = carts.Carts(catalog)
        self._catalog_servicer.use(catalog)
        self._inventory_servicer.catalog = catalog
        self._order_servicer.orders = orders.Orders(catalog)
        self._payment_servicer.payments = payments.Payments(catalog)
        self._content_servicer.content = catalog.content
        self._fulfilment_servicer.use(catalog)

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
                *(identity_service_pb2.CAPABILITY_CATALOG, identity_service_pb2.CAPABILITY_SEARCH),
                *(identity_service_pb2.CAPABILITY_PRICING, identity_service_pb2.CAPABILITY_INVENTORY),
                *(identity_service_pb2.CAPABILITY_CART, *_COMMANDS),
                *(identity_service_pb2.CAPABILITY_CREDENTIALS, identity_service_pb2.CAPABILITY_CONTENT),
                identity_service_pb2.CAPABILITY_DELIVERY_OPTIONS,
                identity_service_pb2.CAPABILITY_PICKUP_LOCATIONS,
                *(identity_service_pb2.CAPABILITY_CHANGES, identity_service_pb2.CAPABILITY_WEBHOOKS),
            ],
            effect_class=identity_service_pb2.EFFECT_CLASS_KEYED,
            cart_intents=CLAIMED,
            command_claims=[
                identity_service_pb2.CommandClaim(
                    capability=capability, effect_class=identity_service_pb2.EFFECT_CLASS_KEYED, commands=commands
                )
                for capability, commands in _COMMANDS.items()
            ],
        )

    async def Probe(
        self, request: identity_service_pb2.ProbeRequest, context: Any
    ) -> identity_service_pb2.ProbeResponse:
        await run(context, self._database, lambda connection: connection.execute("SELECT 1").fetchone(), writes=False)
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
        market = await market_of(self._catalog, request.context, context)
        product = await _product(self._catalog, request.product, context)
        locale = request.context.locale or market.locale
        return catalog_service_pb2.GetProductResponse(product=product_message(product, locale))

    async def SearchProducts(
        self, request: catalog_service_pb2.SearchProductsRequest, context: Any
    ) -> catalog_service_pb2.SearchProductsResponse:
        market = await market_of(self._catalog, request.context, context)
        search = (request.query, request.category)
        offset = await offset_of(request, search, context)
        found = [p for p in self._index.find(*search) if any(market.currency in v.prices for v in p.variants)]
        end = offset + request.page_size
        locale = request.context.locale or market.locale
        read_at = now()
        hits = []
        for product in found[offset:end]:
            sold = [variant for variant in product.variants if market.currency in variant.prices]
            cheapest = min(sold, key=lambda variant: variant.prices[market.currency])
            price = price_message(cheapest, market, read_at)
            hits.append(catalog_service_pb2.SearchHit(product=product_message(product, locale), price=price))
        token = page_token(end, search) if end < len(found) else ""
        return catalog_service_pb2.SearchProductsResponse(hits=hits, next_page_token=token, total=len(found))

    async def GetPrices(
        self, request: catalog_service_pb2.GetPricesRequest, context: Any
    ) -> catalog_service_pb2.GetPricesResponse:
        market = await market_of(self._catalog, request.context, context)
        variants = await _variants(self._catalog, request, context)
        read_at = now()
        return catalog_service_pb2.GetPricesResponse(
            prices=[
                price_message(variant, market, read_at) for variant in variants if market.currency in variant.prices
            ]
        )


class _InventoryServicer(inventory_service_pb2_grpc.InventoryServiceServicer):
    catalog: Catalog

    def __init__(self, database: Database) -> None:
        self._database = database

    async def GetAvailability(
        self, request: inventory_service_pb2.GetAvailabilityRequest, context: Any
    ) -> inventory_service_pb2.GetAvailabilityResponse:
        variants = await _variants(self.catalog, request, context)
        work = functools.partial(self._availability, variants=variants, wanted=request.location_id)
        return await run(context, self._database, work, writes=False)

    def _availability(
        self, connection: sqlite3.Connection, variants: Sequence[Variant], wanted: str
    ) -> inventory_service_pb2.GetAvailabilityResponse:
        response = inventory_service_pb2.GetAvailabilityResponse()
        stock, read_at = Stock(connection), now()
        for variant in variants:
            there = stock.by_location(variant)
            if not wanted:
                response.availability.append(availability_message(variant, "", "", sum(there.values()), read_at))
            for location, steps in there.items():
                if wanted in {"", location}:
                    name = self.catalog.locations[location]
                    response.availability.append(availability_message(variant, location, name, steps, read_at))
        return response


class _CartServicer(cart_service_pb2_grpc.CartServiceServicer):
    carts: carts.Carts

    def __init__(self, database: Database) -> None:
        self._database = database

    async def GetCart(self, request: cart_service_pb2.GetCartRequest, context: Any) -> cart_service_pb2.GetCartResponse:
        await check_id(context, "cart_id", request.cart_id)
        work = functools.partial(self.carts.get, tenant=request.context.tenant, cart_id=request.cart_id)
        return await run(context, self._database, work, writes=False)

    async def ApplyCommand(
        self, request: cart_service_pb2.ApplyCommandRequest, context: Any
    ) -> cart_service_pb2.ApplyCommandResponse:
        await _check_call(context, request)
        work = functools.partial(self.carts.apply, request=request, deadline=deadline_of(context))
        return await run(context, self._database, work, writes=True)

    async def ResolveCommand(
        self, request: cart_service_pb2.ResolveCommandRequest, context: Any
    ) -> cart_service_pb2.ResolveCommandResponse:
        await _check_call(context, request.call)
        work = functools.partial(self.carts.resolve, call=request.call)
        return await run(context, self._database, work, writes=False)


async def _check_call(context: Any, request: cart_service_pb2.ApplyCommandRequest) -> None:
    await check_id(context, "cart_id", request.cart_id)
    await check_id(context, "command_id", request.command_id)
    if request.intent.WhichOneof("intent") is None:
        await refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "intent must be set")


async def _product(catalog: Catalog, key: catalog_service_pb2.ProductKey, context: Any) -> Product:
    product = catalog.by_id.get(key.product_id) if key.HasField("product_id") else catalog.by_slug.get(key.slug)
    if product is None:
        await refuse(context, grpc.StatusCode.NOT_FOUND, "no such product")
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
        await refuse(context, grpc.StatusCode.INVALID_ARGUMENT, f"a product or 1 to {_MAX_SKUS} skus are needed")
    return [catalog.by_sku[sku] for sku in request.skus if sku in catalog.by_sku]
