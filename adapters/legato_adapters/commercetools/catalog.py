"""Products, prices and stock."""

from collections.abc import Mapping, Sequence
from typing import Any

import grpc

from legato.adapter.v1 import catalog_service_pb2, inventory_service_pb2, request_context_pb2
from legato.commerce.v1 import product_pb2
from legato_adapters.commercetools import mapping, product_mapping
from legato_adapters.commercetools.api import Api, Json
from legato_adapters.commercetools.project import Project, Projects
from legato_adapters.http import Call, Failure, Malformed, check_page_size, page_position, page_token

__all__ = ["Catalog", "availability"]

Code = grpc.StatusCode

_MAX_SKUS = 100
_MAX_OFFSET = 10_000
_LOW = 5
_EXPAND = ("categories[*]", "categories[*].ancestors[*]")
_OF_SKUS = "masterVariant(sku in (:skus)) or variants(sku in (:skus))"


class Catalog:
    """Catalog and inventory service without their transport. Raises Failure and ApiError."""

    def __init__(self, api: Api, projects: Projects) -> None:
        self._api = api
        self._projects = projects

    async def product(
        self, call: Call, request: catalog_service_pb2.GetProductRequest
    ) -> catalog_service_pb2.GetProductResponse:
        project = await self._projects.market(call, request.context)
        found = await self._one(call, request.product, project)
        language = project.language(request.context.locale)
        return catalog_service_pb2.GetProductResponse(product=product_mapping.product(found, language))

    async def search(
        self, call: Call, request: catalog_service_pb2.SearchProductsRequest
    ) -> catalog_service_pb2.SearchProductsResponse:
        """commercetools decides what a query finds, and ranks it. Its index may be seconds behind its catalog."""
        check_page_size(request.page_size)
        listing = (request.query, request.category)
        offset = int(page_position(request.page_token, *listing) or 0)
        project = await self._projects.market(call, request.context)
        language = project.language(request.context.locale)
        query = await self._search_query(call, request, language)
        if query is None:
            return catalog_service_pb2.SearchProductsResponse()
        body: dict[str, Any] = {"limit": request.page_size, "offset": offset}
        if query:
            body["query"] = query
        else:
            # Without words all score the same, and pages need an order.
            body["sort"] = [{"field": "id", "order": "asc"}]
        page = await self._search(call, body, request.context)
        results, total = page["results"], page["total"]
        response = catalog_service_pb2.SearchProductsResponse(total=total)
        for projection in (result["productProjection"] for result in results):
            prices = self._prices(projection, project, request.context)
            if prices:
                cheapest = min(prices, key=_amount)
                response.hits.add(product=product_mapping.product(projection, language), price=cheapest)
        end = offset + len(results)
        if results and end < min(total, _MAX_OFFSET):
            response.next_page_token = page_token(str(end), *listing)
        return response

    async def prices(
        self, call: Call, request: catalog_service_pb2.GetPricesRequest
    ) -> catalog_service_pb2.GetPricesResponse:
        project = await self._projects.market(call, request.context)
        if request.HasField("product"):
            one = await self._one(call, request.product, project)
            found = await self._priced(call, "id", [one["id"]], request.context)
            wanted = None
        else:
            wanted = frozenset(_skus(request.skus))
            found = await self._priced(call, "variants.sku", sorted(wanted), request.context)
        prices = [price for one in found for price in self._prices(one, project, request.context)]
        return catalog_service_pb2.GetPricesResponse(prices=[p for p in prices if wanted is None or p.sku in wanted])

    async def availability(
        self, call: Call, request: inventory_service_pb2.GetAvailabilityRequest
    ) -> inventory_service_pb2.GetAvailabilityResponse:
        """By supply channel, and what has none: that is what commercetools sells where no channel is named."""
        if request.HasField("product"):
            project = await self._projects.get(call)
            one = await self._one(call, request.product, project)
            skus = [variant["sku"] for variant in product_mapping.variants(one)]
            entries = await self._stock(call, skus)
        else:
            skus = list(dict.fromkeys(_skus(request.skus)))
            entries = await self._stock(call, skus)
            untracked = sorted(set(skus) - {entry["sku"] for entry in entries})
            if untracked:
                # What is not tracked can be sold; what does not exist is left out.
                found = await self._read(call, _OF_SKUS, {"skus": untracked})
                known = {variant["sku"] for one in found for variant in product_mapping.variants(one)}
                skus = [sku for sku in skus if sku in known or sku not in untracked]
        project = await self._projects.get(call)
        language = project.language(request.context.locale)
        response = inventory_service_pb2.GetAvailabilityResponse()
        for sku in skus:
            own = [entry for entry in entries if entry["sku"] == sku]
            told = [availability(entry, language) for entry in own]
            if not any(not entry.location_id for entry in told):
                told.append(product_pb2.Availability(sku=sku, provenance=mapping.now()))
            wanted = request.location_id
            response.availability.extend(entry for entry in told if not wanted or entry.location_id == wanted)
        return response

    async def sellable(self, call: Call, sku: str) -> int | None:
        """How much commercetools would sell of a variant where no channel is named; None for as much as one likes."""
        for entry in await self._stock(call, [sku]):
            if not entry.get("supplyChannel"):
                return max(int(entry["availableQuantity"]), 0)
        return None

    async def exists(self, call: Call, sku: str) -> bool:
        """Whether a variant is in the catalog."""
        return bool(await self._read(call, _OF_SKUS, {"skus": [sku]}))

    async def _stock(self, call: Call, skus: Sequence[str]) -> list[Json]:
        return await self._api.query(
            call, "/inventory", "sku in (:skus)", variables={"skus": skus}, expand=["supplyChannel"]
        )

    async def _one(
        self,
        call: Call,
        key: catalog_service_pb2.ProductKey,
        project: Project,
    ) -> Json:
        if not key.product_id and not key.slug:
            raise Failure(Code.INVALID_ARGUMENT, "a product is named by its id or slug")
        if key.HasField("product_id"):
            found = await self._read(call, "id = :id", {"id": key.product_id})
        else:
            found = await self._read(call, _slug_in(project.languages), {"slug": key.slug})
        if not found:
            raise Failure(Code.NOT_FOUND, "there is no such product")
        return found[0]

    async def _read(self, call: Call, where: str, variables: Mapping[str, str | Sequence[str]]) -> list[Json]:
        """Products as they are published now, without prices of a market."""
        return await self._api.query(call, "/product-projections", where, variables=variables, expand=_EXPAND)

    async def _search(self, call: Call, body: dict[str, Any], context: request_context_pb2.RequestContext) -> Json:
        """The search, which selects prices for a market."""
        shown: dict[str, Any] = {"expand": list(_EXPAND), "priceCurrency": context.currency_code}
        if context.country:
            shown["priceCountry"] = context.country
        return await self._api.search(call, "/products/search", {**body, "productProjectionParameters": shown})

    async def _priced(
        self, call: Call, field: str, values: Sequence[str], context: request_context_pb2.RequestContext
    ) -> list[Json]:
        body = {"query": {"exact": {"field": field, "values": list(values)}}, "limit": _MAX_SKUS}
        page = await self._search(call, body, context)
        return [result["productProjection"] for result in page["results"]]

    async def _search_query(
        self, call: Call, request: catalog_service_pb2.SearchProductsRequest, language: str
    ) -> dict[str, Any] | None:
        """The query; empty for all products, None where nothing can match."""
        parts: list[dict[str, Any]] = []
        if request.query:
            names = [
                {"fullText": {"field": field, "language": language, "value": request.query, "mustMatch": "all"}}
                for field in ("name", "description")
            ]
            parts.append({"or": [*names, {"exact": {"field": "variants.sku", "value": request.query}}]})
        if request.category:
            project = await self._projects.get(call)
            where = f"key = :key or {_slug_in(project.languages).replace(':slug', ':key')}"
            categories = await self._api.query(call, "/categories", where, variables={"key": request.category}, limit=1)
            if not categories:
                return None
            parts.append({"exact": {"field": "categoriesSubTree", "value": categories[0]["id"]}})
        return parts[0] if len(parts) == 1 else {"and": parts} if parts else {}

    def _prices(
        self, projection: Json, project: Project, context: request_context_pb2.RequestContext
    ) -> list[product_pb2.Price]:
        included = project.tax_included(context.country)
        found = (
            product_mapping.price(variant, context.currency_code, tax_included=included)
            for variant in product_mapping.variants(projection)
        )
        return [price for price in found if price is not None]


def availability(entry: Json, language: str) -> product_pb2.Availability:
    """One entry of the inventory; a supply channel without a key goes by its id."""
    channel = (entry.get("supplyChannel") or {}).get("obj") or entry.get("supplyChannel") or {}
    available = entry["availableQuantity"]
    if type(available) is not int:
        raise Malformed("a stock level is no integer")
    status = product_pb2.AVAILABILITY_STATUS_IN_STOCK
    if available <= 0:
        status = product_pb2.AVAILABILITY_STATUS_OUT_OF_STOCK
    elif available <= _LOW:
        status = product_pb2.AVAILABILITY_STATUS_LOW_STOCK
    location = channel.get("key") or channel.get("id") or ""
    told = product_pb2.Availability(
        sku=entry["sku"],
        location_id=location,
        location_name=(mapping.localized(channel.get("name"), language) or location) if location else "",
        status=status,
        provenance=mapping.now(),
    )
    told.available.steps = max(available, 0)
    return told


def _skus(skus: Sequence[str]) -> Sequence[str]:
    if not skus:
        raise Failure(Code.INVALID_ARGUMENT, "product or skus must be set")
    if len(skus) > _MAX_SKUS:
        raise Failure(Code.INVALID_ARGUMENT, f"at most {_MAX_SKUS} skus")
    return skus


def _slug_in(languages: Sequence[str]) -> str:
    # Names with a hyphen are written in backticks.
    return " or ".join(f"slug(`{name}` = :slug)" if "-" in name else f"slug({name} = :slug)" for name in languages)


def _amount(price: product_pb2.Price) -> float:
    return price.amount.units * 10.0**-price.amount.scale
