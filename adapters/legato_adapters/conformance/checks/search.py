"""SEARCH: hits and pages."""

from typing import Any

from legato.adapter.v1.catalog_service_pb2 import GetPricesRequest, ProductKey, SearchProductsRequest
from legato_adapters.conformance.check import Code, check, ends_with, expect, one_of, same
from legato_adapters.conformance.pages import Listing
from legato_adapters.conformance.shop import told
from legato_adapters.conformance.subject import Subject


def search(subject: Subject, **fields: Any) -> SearchProductsRequest:
    return SearchProductsRequest(**{"context": subject.context, "page_size": 100, **fields})


def listing(subject: Subject, **fields: Any) -> Listing:
    return Listing(
        lambda size, token: subject.stubs.catalog.SearchProducts(
            search(subject, page_size=size, page_token=token, **fields)
        ),
        lambda answer: [hit.product.id for hit in answer.hits],
    )


@check("search.word", "SEARCH", "a word finds its product and not every one; nonsense finds nothing")
async def word(subject: Subject) -> None:
    data = subject.shop.search
    found = await subject.stubs.catalog.SearchProducts(search(subject, query=data.word))
    expect(data.slug in {hit.product.slug for hit in found.hits}, f"{data.word!r} does not find {data.slug}")
    expect(len(found.hits) < data.products, f"{data.word!r} finds every product")
    one_of("the total", found.total, (-1, len(found.hits)))
    nothing = await subject.stubs.catalog.SearchProducts(search(subject, query="zyxwvutsrq"))
    same("the number of hits of nonsense", len(nothing.hits), 0)
    same("the page token of no hits", nothing.next_page_token, "")


@check("search.pages", "SEARCH", "an empty search lists every product once, page by page")
async def pages(subject: Subject) -> None:
    products = subject.shop.search.products
    same("the number of products on all pages", len(await listing(subject).all(max(2, products // 7))), products)
    page = await subject.stubs.catalog.SearchProducts(search(subject, page_size=1))
    one_of("the total", page.total, (-1, products))


@check("search.category", "SEARCH", "a category holds its products only")
async def category(subject: Subject) -> None:
    data = subject.shop.search
    name = told(data.category, "search.category")
    found = await subject.stubs.catalog.SearchProducts(search(subject, category=name))
    expect(data.slug in {hit.product.slug for hit in found.hits}, f"{name!r} does not hold {data.slug}")
    expect(all(name in hit.product.categories for hit in found.hits), f"a hit is not in category {name!r}")
    expect(len(found.hits) < data.products, f"{name!r} holds every product")


@check(
    "search.price",
    "SEARCH",
    "a hit has the price of its cheapest variant, in the currency of the market",
    also=("PRICING",),
)
async def price(subject: Subject) -> None:
    data = subject.shop.search
    found = await subject.stubs.catalog.SearchProducts(search(subject, query=data.word))
    hits = [hit for hit in found.hits if hit.product.slug == data.slug]
    expect(hits, f"{data.word!r} does not find {data.slug}")
    request = GetPricesRequest(context=subject.context, product=ProductKey(slug=data.slug))
    prices = (await subject.stubs.catalog.GetPrices(request)).prices
    cheapest = min(price.amount.units for price in prices)
    same("the price of a hit", hits[0].price.amount.units, cheapest)
    skus = [price.sku for price in prices if price.amount.units == cheapest]
    one_of("the sku of the price of a hit", hits[0].price.sku, skus)
    same("the currency", hits[0].price.amount.currency_code, subject.shop.market.currency)


@check("search.bounds", "SEARCH", "a page size out of range and a page token that is none are INVALID_ARGUMENT")
async def bounds(subject: Subject) -> None:
    await listing(subject).refuses()


@check("search.foreign_token", "SEARCH", "a page token of another search is INVALID_ARGUMENT")
async def foreign_token(subject: Subject) -> None:
    token = await listing(subject).token()
    call = subject.stubs.catalog.SearchProducts(search(subject, page_token=token, query=subject.shop.search.word))
    await ends_with(call, "a page token of another search", Code.INVALID_ARGUMENT)


@check("search.market", "SEARCH", "a search in a market that is not served is FAILED_PRECONDITION")
async def market(subject: Subject) -> None:
    call = subject.stubs.catalog.SearchProducts(search(subject, context=subject.shop.unserved_context()))
    await ends_with(call, "a market not served", Code.FAILED_PRECONDITION)
