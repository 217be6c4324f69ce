"""Products, prices and stock, without a session: nobody's cart is concerned."""

import base64
import binascii
import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from legato.adapter.v1 import catalog_service_pb2, inventory_service_pb2, request_context_pb2
from legato.commerce.v1 import product_pb2, provenance_pb2, ref_pb2
from legato_adapters.http.errors import Failure
from legato_adapters.vendure import queries
from legato_adapters.vendure.api import READ_TIMEOUT_S, Refused, VendureApi, left
from legato_adapters.vendure.channel import Channel, Channels
from legato_adapters.vendure.mapping import SYSTEM, money, options, stock_word
from legato_adapters.vendure.skus import Skus

__all__ = ["Catalog"]

Code = grpc.StatusCode

_MAX_SKUS = 100
_MAX_PAGE = 100
_ROOT = "__root_collection__"

_STATUSES = {
    "IN_STOCK": product_pb2.AVAILABILITY_STATUS_IN_STOCK,
    "LOW_STOCK": product_pb2.AVAILABILITY_STATUS_LOW_STOCK,
    "OUT_OF_STOCK": product_pb2.AVAILABILITY_STATUS_OUT_OF_STOCK,
}

_Json = Mapping[str, Any]


class Catalog:
    """Catalog and inventory service without their transport. Raises Failure and ApiError."""

    def __init__(self, api: VendureApi, channels: Channels, skus: Skus) -> None:
        self._api = api
        self._channels = channels
        self._skus = skus

    async def product(
        self, request: catalog_service_pb2.GetProductRequest, deadline: float | None
    ) -> catalog_service_pb2.GetProductResponse:
        channel = await self._market(request.context, deadline)
        found = await self._one(request.product, channel, request.context, deadline)
        return catalog_service_pb2.GetProductResponse(product=product_message(found))

    async def search(
        self, request: catalog_service_pb2.SearchProductsRequest, deadline: float | None
    ) -> catalog_service_pb2.SearchProductsResponse:
        """Vendure decides what a query finds: without a search server a part of a name, a description, or a sku.

        It ignores queries of one or two characters.
        """
        if not 1 <= request.page_size <= _MAX_PAGE:
            raise Failure(Code.INVALID_ARGUMENT, f"page_size must be 1 to {_MAX_PAGE}")
        offset = page_offset(request)
        channel = await self._market(request.context, deadline)
        wanted: dict[str, Any] = {"groupByProduct": True, "take": request.page_size, "skip": offset}
        if request.query:
            wanted["term"] = request.query
        if request.category:
            wanted["collectionSlug"] = request.category
        data = await self._ask(queries.SEARCH, {"input": wanted}, channel, request.context, deadline)
        found, total = data["search"]["items"], data["search"]["totalItems"]
        response = catalog_service_pb2.SearchProductsResponse(total=total)
        if found:
            ids = [item["productId"] for item in found]
            data = await self._ask(queries.PRODUCTS, {"ids": ids}, channel, request.context, deadline)
            products = {product["id"]: product for product in data["products"]["items"]}
            now = _now()
            # The index may know products a moment longer than the catalog does.
            for product in (products[product_id] for product_id in ids if product_id in products):
                if not product["variants"]:
                    continue
                price = min((price_message(v, channel, now) for v in product["variants"]), key=_units)
                response.hits.add(product=product_message(product), price=price)
        if found and offset + len(found) < total:
            response.next_page_token = page_token(request, offset + len(found))
        return response

    async def prices(
        self, request: catalog_service_pb2.GetPricesRequest, deadline: float | None
    ) -> catalog_service_pb2.GetPricesResponse:
        channel = await self._market(request.context, deadline)
        variants = await self._variants(request, channel, deadline)
        now = _now()
        return catalog_service_pb2.GetPricesResponse(prices=[price_message(v, channel, now) for v in variants])

    async def availability(
        self, request: inventory_service_pb2.GetAvailabilityRequest, deadline: float | None
    ) -> inventory_service_pb2.GetAvailabilityResponse:
        """For the online shop alone: shoppers are not told what lies where."""
        channel = await self._market(request.context, deadline)
        variants = await self._variants(request, channel, deadline)
        response = inventory_service_pb2.GetAvailabilityResponse()
        if not request.location_id:
            now = _now()
            response.availability.extend(availability_message(variant, now) for variant in variants)
        return response

    async def _market(self, context: request_context_pb2.RequestContext, deadline: float | None) -> Channel:
        channel = await self._channels.get(deadline)
        if not channel.serves(context.country, context.currency_code):
            raise Failure(Code.FAILED_PRECONDITION, "Vendure does not serve this market")
        return channel

    async def _ask(
        self,
        document: str,
        variables: _Json,
        channel: Channel,
        context: request_context_pb2.RequestContext,
        deadline: float | None,
    ) -> _Json:
        parameters = self._channels.parameters(channel, context)
        timeout = left(deadline, READ_TIMEOUT_S)
        return (await self._api.post(document, variables, parameters=parameters, timeout=timeout)).data

    async def _one(
        self,
        key: catalog_service_pb2.ProductKey,
        channel: Channel,
        context: request_context_pb2.RequestContext,
        deadline: float | None,
    ) -> _Json:
        name = "id" if key.HasField("product_id") else "slug"
        value = key.product_id or key.slug
        if not value:
            raise Failure(Code.INVALID_ARGUMENT, "a product is named by its id or slug")
        try:
            data = await self._ask(queries.PRODUCT, {name: value}, channel, context, deadline)
        except Refused as error:
            if error.code != "ENTITY_NOT_FOUND":
                raise
            data = {"product": None}
        product: _Json | None = data["product"]
        if product is None or not product["variants"]:
            raise Failure(Code.NOT_FOUND, "there is no such product")
        return product

    async def _variants(
        self,
        request: catalog_service_pb2.GetPricesRequest | inventory_service_pb2.GetAvailabilityRequest,
        channel: Channel,
        deadline: float | None,
    ) -> Sequence[_Json]:
        """The variants asked for, without the unknown ones."""
        if request.HasField("product"):
            product = await self._one(request.product, channel, request.context, deadline)
            variants: Sequence[_Json] = product["variants"]
            return variants
        wanted = list(dict.fromkeys(request.skus))
        if not 1 <= len(wanted) <= _MAX_SKUS:
            raise Failure(Code.INVALID_ARGUMENT, f"a product or 1 to {_MAX_SKUS} skus are needed")
        known = await self._skus.find(wanted, deadline)
        if not known:
            return []
        variables = {"ids": sorted({sku.product_id for sku in known.values()}), "skus": list(known)}
        data = await self._ask(queries.VARIANTS, variables, channel, request.context, deadline)
        by_sku = {
            variant["sku"]: variant
            for product in data["products"]["items"]
            for variant in product["variantList"]["items"]
        }
        return [by_sku[sku] for sku in wanted if sku in by_sku]


def product_message(product: _Json) -> product_pb2.Product:
    images = [asset["preview"] for asset in (product["featuredAsset"], *product["assets"]) if asset is not None]
    return product_pb2.Product(
        id=product["id"],
        slug=product["slug"],
        name=product["name"],
        description=product["description"],
        categories=categories(product["collections"]),
        image_urls=list(dict.fromkeys(images)),
        variants=[
            product_pb2.Variant(sku=variant["sku"], name=variant["name"], options=options(variant["options"]))
            for variant in product["variants"]
        ],
        refs=[ref_pb2.Ref(system=SYSTEM, type="Product", id=product["id"], key=product["slug"])],
    )


def categories(collections: Iterable[_Json]) -> list[str]:
    """Slugs of all collections that hold the product and of those above them, widest first."""
    depths: dict[str, int] = {}
    for collection in collections:
        path = [crumb["slug"] for crumb in collection["breadcrumbs"] if crumb["slug"] != _ROOT]
        depths.update((slug, depth) for depth, slug in enumerate(path))
    return sorted(depths, key=lambda slug: depths[slug])


def price_message(variant: _Json, channel: Channel, now: Timestamp) -> product_pb2.Price:
    return product_pb2.Price(
        sku=variant["sku"],
        amount=money(variant["currencyCode"], variant["priceWithTax" if channel.tax_included else "price"]),
        tax_included=channel.tax_included,
        provenance=provenance_pb2.Provenance(source=SYSTEM, observed_at=now),
    )


def availability_message(variant: _Json, now: Timestamp) -> product_pb2.Availability:
    level = variant["stockLevel"]
    message = product_pb2.Availability(
        sku=variant["sku"],
        status=_STATUSES.get(stock_word(level), product_pb2.AVAILABILITY_STATUS_UNSPECIFIED),
        provenance=provenance_pb2.Provenance(source=SYSTEM, observed_at=now),
    )
    if level.isdecimal():
        # An installation may be set up to show figures.
        message.available.steps = int(level)
        message.available.SetInParent()
    return message


def page_token(request: catalog_service_pb2.SearchProductsRequest, offset: int) -> str:
    """Names the page that begins at `offset` of this search."""
    return base64.urlsafe_b64encode(_fingerprint(request) + offset.to_bytes(4)).decode()


def page_offset(request: catalog_service_pb2.SearchProductsRequest) -> int:
    """The offset that the request's token names; Failure if it names none, or one of another search."""
    if not request.page_token:
        return 0
    try:
        raw = base64.b64decode(request.page_token, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise Failure(Code.INVALID_ARGUMENT, "page_token is malformed") from error
    if len(raw) != 12 or raw[:8] != _fingerprint(request):
        raise Failure(Code.INVALID_ARGUMENT, "page_token is not of this search")
    return int.from_bytes(raw[8:])


def _fingerprint(request: catalog_service_pb2.SearchProductsRequest) -> bytes:
    return hashlib.sha256(f"{request.query}\0{request.category}".encode()).digest()[:8]


def _units(price: product_pb2.Price) -> int:
    return price.amount.units


def _now() -> Timestamp:
    now = Timestamp()
    now.FromNanoseconds(time.time_ns())
    return now
