"""The adapter contract: products, prices, stock."""

from typing import Any

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import catalog_service_pb2, inventory_service_pb2
from legato.adapter.v1.catalog_service_pb2 import ProductKey
from legato.commerce.v1 import product_pb2
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.conformance.wire import TIMEOUT_S
from tests.adapters.shops import Shop

pytestmark = pytest.mark.usefixtures("placement")

Code = grpc.StatusCode


def search(shop: Shop, **fields: Any) -> catalog_service_pb2.SearchProductsRequest:
    return catalog_service_pb2.SearchProductsRequest(**{"context": shop.context(), "page_size": 100, **fields})


async def all_products(shop: Shop, stubs: Stubs, **fields: Any) -> list[product_pb2.Product]:
    found = await stubs.catalog.SearchProducts(search(shop, **fields), timeout=TIMEOUT_S)
    assert not found.next_page_token
    return [hit.product for hit in found.hits]


async def availability(
    shop: Shop, stubs: Stubs, *skus: str, location: str = ""
) -> dict[tuple[str, str], product_pb2.Availability]:
    request = inventory_service_pb2.GetAvailabilityRequest(context=shop.context(), skus=skus, location_id=location)
    answer = await stubs.inventory.GetAvailability(request, timeout=TIMEOUT_S)
    entries = {(entry.sku, entry.location_id): entry for entry in answer.availability}
    assert len(entries) == len(answer.availability), "one entry a variant and location"
    return entries


# Products


async def test_a_product_by_slug_and_by_id(shop: Shop, stubs: Stubs) -> None:
    request = catalog_service_pb2.GetProductRequest(context=shop.context(), product=ProductKey(slug=shop.slug))
    product = (await stubs.catalog.GetProduct(request, timeout=TIMEOUT_S)).product
    assert product.slug == shop.slug
    assert product.name
    assert {variant.sku for variant in product.variants} == shop.product_skus
    assert all(variant.name for variant in product.variants)
    request = catalog_service_pb2.GetProductRequest(context=shop.context(), product=ProductKey(product_id=product.id))
    assert (await stubs.catalog.GetProduct(request, timeout=TIMEOUT_S)).product == product


@pytest.mark.parametrize(
    "key", [ProductKey(slug="no-such-product"), ProductKey(product_id="999999999")], ids=["slug", "id"]
)
async def test_an_unknown_product(shop: Shop, stubs: Stubs, key: ProductKey) -> None:
    context = shop.context()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stubs.catalog.GetProduct(
            catalog_service_pb2.GetProductRequest(context=context, product=key), timeout=TIMEOUT_S
        )
    assert caught.value.code() is Code.NOT_FOUND
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stubs.catalog.GetPrices(
            catalog_service_pb2.GetPricesRequest(context=context, product=key), timeout=TIMEOUT_S
        )
    assert caught.value.code() is Code.NOT_FOUND
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stubs.inventory.GetAvailability(
            inventory_service_pb2.GetAvailabilityRequest(context=context, product=key), timeout=TIMEOUT_S
        )
    assert caught.value.code() is Code.NOT_FOUND


async def test_a_market_that_is_not_served(shop: Shop, stubs: Stubs) -> None:
    context = shop.context()
    context.country, context.currency_code = shop.unserved
    key = ProductKey(slug=shop.slug)
    calls: list[Any] = [
        stubs.catalog.GetProduct(catalog_service_pb2.GetProductRequest(context=context, product=key)),
        stubs.catalog.SearchProducts(search(shop, context=context)),
        stubs.catalog.GetPrices(catalog_service_pb2.GetPricesRequest(context=context, product=key)),
    ]
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is Code.FAILED_PRECONDITION


async def test_neither_product_nor_skus(shop: Shop, stubs: Stubs) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stubs.catalog.GetPrices(catalog_service_pb2.GetPricesRequest(context=shop.context()), timeout=TIMEOUT_S)
    assert caught.value.code() is Code.INVALID_ARGUMENT
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stubs.inventory.GetAvailability(
            inventory_service_pb2.GetAvailabilityRequest(context=shop.context()), timeout=TIMEOUT_S
        )
    assert caught.value.code() is Code.INVALID_ARGUMENT


# Search


async def test_a_word_finds_its_product(shop: Shop, stubs: Stubs) -> None:
    found = await stubs.catalog.SearchProducts(search(shop, query=shop.search_word), timeout=TIMEOUT_S)
    assert shop.slug in {hit.product.slug for hit in found.hits}
    assert found.total in {-1, len(found.hits)}
    assert len(found.hits) < shop.products
    nothing = await stubs.catalog.SearchProducts(search(shop, query="zyxwvutsrq"), timeout=TIMEOUT_S)
    assert not nothing.hits
    assert not nothing.next_page_token


async def test_a_hit_has_the_price_of_its_cheapest_variant(shop: Shop, stubs: Stubs) -> None:
    found = await stubs.catalog.SearchProducts(search(shop, query=shop.search_word), timeout=TIMEOUT_S)
    hit = next(hit for hit in found.hits if hit.product.slug == shop.slug)
    request = catalog_service_pb2.GetPricesRequest(context=shop.context(), product=ProductKey(slug=shop.slug))
    prices = (await stubs.catalog.GetPrices(request, timeout=TIMEOUT_S)).prices
    assert hit.price.amount.units == min(price.amount.units for price in prices)
    assert hit.price.sku in {price.sku for price in prices if price.amount == hit.price.amount}


async def test_pages_hold_every_product_once(shop: Shop, stubs: Stubs) -> None:
    seen: list[str] = []
    token = ""
    while True:
        request = search(shop, page_size=7, page_token=token)
        page = await stubs.catalog.SearchProducts(request, timeout=TIMEOUT_S)
        assert len(page.hits) <= 7
        assert page.total in {-1, shop.products}
        seen += [hit.product.id for hit in page.hits]
        token = page.next_page_token
        if not token:
            break
        assert page.hits, "a page before the last one is not empty"
    assert len(seen) == len(set(seen)) == shop.products


async def test_a_category(shop: Shop, stubs: Stubs) -> None:
    products = await all_products(shop, stubs, category=shop.category)
    assert shop.slug in {product.slug for product in products}
    assert all(shop.category in product.categories for product in products)
    assert len(products) < shop.products


@pytest.mark.parametrize("page_size", [0, -1, 101])
async def test_a_page_size_out_of_range(shop: Shop, stubs: Stubs, page_size: int) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stubs.catalog.SearchProducts(search(shop, page_size=page_size), timeout=TIMEOUT_S)
    assert caught.value.code() is Code.INVALID_ARGUMENT


async def test_page_tokens_of_other_searches(shop: Shop, stubs: Stubs) -> None:
    page = await stubs.catalog.SearchProducts(search(shop, page_size=2), timeout=TIMEOUT_S)
    assert page.next_page_token
    for fields in (
        {"page_token": "nonsense"},
        {"page_token": page.next_page_token, "query": shop.search_word},
        {"page_token": page.next_page_token, "category": shop.category},
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stubs.catalog.SearchProducts(search(shop, **fields), timeout=TIMEOUT_S)
        assert caught.value.code() is Code.INVALID_ARGUMENT


# Prices


async def test_prices_by_product_and_by_sku(shop: Shop, stubs: Stubs) -> None:
    request = catalog_service_pb2.GetPricesRequest(context=shop.context(), product=ProductKey(slug=shop.slug))
    prices = (await stubs.catalog.GetPrices(request, timeout=TIMEOUT_S)).prices
    assert {price.sku for price in prices} == shop.product_skus
    for price in prices:
        assert price.amount.units > 0
        assert price.amount.currency_code == shop.currency
        assert price.tax_included == shop.tax_included
        assert price.provenance.source
        assert price.provenance.HasField("observed_at")
        assert not price.provenance.stale
    skus = sorted(shop.product_skus)
    request = catalog_service_pb2.GetPricesRequest(context=shop.context(), skus=[*skus, "NO-SUCH-SKU"])
    by_sku = (await stubs.catalog.GetPrices(request, timeout=TIMEOUT_S)).prices
    assert sorted((price.sku, price.amount.units) for price in by_sku) == sorted(
        (price.sku, price.amount.units) for price in prices
    )


# Stock


async def test_stock_levels(shop: Shop, stubs: Stubs) -> None:
    entries = await availability(shop, stubs, shop.abundant_sku, shop.low_sku, shop.empty_sku, "NO-SUCH-SKU")
    assert {sku for sku, _ in entries} == {shop.abundant_sku, shop.low_sku, shop.empty_sku}
    abundant, low, empty = (entries[sku, ""] for sku in (shop.abundant_sku, shop.low_sku, shop.empty_sku))
    assert abundant.status == product_pb2.AVAILABILITY_STATUS_IN_STOCK
    assert low.status in {product_pb2.AVAILABILITY_STATUS_IN_STOCK, product_pb2.AVAILABILITY_STATUS_LOW_STOCK}
    assert empty.status == product_pb2.AVAILABILITY_STATUS_OUT_OF_STOCK
    assert not low.HasField("available") or low.available.steps == shop.low_stock
    assert not empty.HasField("available") or empty.available.steps == 0
    assert all(entry.provenance.HasField("observed_at") for entry in entries.values())


async def test_stock_by_location(shop: Shop, stubs: Stubs) -> None:
    entries = await availability(shop, stubs, shop.sku)
    assert {location for _, location in entries} == {"", *shop.locations}
    assert all(entry.location_name for (_, location), entry in entries.items() if location)
    for location in shop.locations:
        only = await availability(shop, stubs, shop.sku, location=location)
        assert set(only) == {(shop.sku, location)}
        assert only[shop.sku, location].available == entries[shop.sku, location].available
    assert await availability(shop, stubs, shop.sku, location="no-such-location") == {}


async def test_stock_of_a_product(shop: Shop, stubs: Stubs) -> None:
    request = inventory_service_pb2.GetAvailabilityRequest(context=shop.context(), product=ProductKey(slug=shop.slug))
    answer = await stubs.inventory.GetAvailability(request, timeout=TIMEOUT_S)
    assert {entry.sku for entry in answer.availability} == shop.product_skus
