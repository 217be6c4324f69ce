"""PRICING: prices of products and variants."""

from fractions import Fraction

from legato.adapter.v1.catalog_service_pb2 import GetPricesRequest, ProductKey
from legato.commerce.v1 import money_pb2
from legato_adapters.conformance.check import Code, check, ends_with, expect, same
from legato_adapters.conformance.checks.catalog import UNKNOWN
from legato_adapters.conformance.subject import Subject

# Decimal places of a currency, where they are not two. Amounts may have more places, never fewer.
_PLACES = {"JPY": 0, "KRW": 0, "CLP": 0, "ISK": 0, "VND": 0, "BHD": 3, "JOD": 3, "KWD": 3, "OMR": 3, "TND": 3}


def check_money(subject: Subject, what: str, money: money_pb2.Money) -> None:
    """An amount is in the market's currency, and exact to its smallest coin."""
    market = subject.shop.market
    same(f"the currency of {what}", money.currency_code, market.currency)
    least = _PLACES.get(market.currency, 2)
    expect(least <= money.scale <= 9, f"{what} has scale {money.scale}, not {least} to 9")


@check("pricing.product", "PRICING", "all variants of a product have a price in the market's currency, and who said so")
async def product(subject: Subject) -> None:
    data = subject.shop.catalog
    request = GetPricesRequest(context=subject.context, product=ProductKey(slug=data.slug))
    prices = (await subject.stubs.catalog.GetPrices(request)).prices
    same("the skus that have a price", sorted(price.sku for price in prices), sorted(data.skus))
    for price in prices:
        expect(price.amount.units > 0, f"the price of {price.sku} is {price.amount.units}")
        check_money(subject, f"the price of {price.sku}", price.amount)
        if price.HasField("regular_amount"):
            check_money(subject, f"the regular price of {price.sku}", price.regular_amount)
            expect(
                price.regular_amount.units * 10**price.amount.scale
                > price.amount.units * 10**price.regular_amount.scale,
                f"the regular price of {price.sku} is not higher than the price",
            )
        same(f"tax_included of {price.sku}", price.tax_included, subject.shop.market.tax_included)
        expect(price.provenance.source, f"the price of {price.sku} does not say who said so")
        expect(price.provenance.HasField("observed_at"), f"the price of {price.sku} does not say when it was read")
        expect(not price.provenance.stale, f"the price of {price.sku} is stale")


@check("pricing.skus", "PRICING", "prices by sku are the same, and leave unknown skus out")
async def skus(subject: Subject) -> None:
    data = subject.shop.catalog
    request = GetPricesRequest(context=subject.context, product=ProductKey(slug=data.slug))
    by_product = (await subject.stubs.catalog.GetPrices(request)).prices
    request = GetPricesRequest(context=subject.context, skus=[*data.skus, "NO-SUCH-SKU"])
    by_sku = (await subject.stubs.catalog.GetPrices(request)).prices
    same(
        "the prices by sku",
        sorted((price.sku, price.amount.units, price.amount.scale) for price in by_sku),
        sorted((price.sku, price.amount.units, price.amount.scale) for price in by_product),
    )


@check("pricing.unknown", "PRICING", "prices of a product that does not exist are NOT_FOUND")
async def unknown(subject: Subject) -> None:
    for name, key in UNKNOWN.items():
        request = GetPricesRequest(context=subject.context, product=key)
        await ends_with(subject.stubs.catalog.GetPrices(request), f"prices by unknown {name}", Code.NOT_FOUND)


@check("pricing.neither", "PRICING", "a request with neither product nor skus is INVALID_ARGUMENT")
async def neither(subject: Subject) -> None:
    call = subject.stubs.catalog.GetPrices(GetPricesRequest(context=subject.context))
    await ends_with(call, "neither product nor skus", Code.INVALID_ARGUMENT)


@check("pricing.market", "PRICING", "prices in a market that is not served are FAILED_PRECONDITION")
async def market(subject: Subject) -> None:
    key = ProductKey(slug=subject.shop.catalog.slug)
    request = GetPricesRequest(context=subject.shop.unserved_context(), product=key)
    await ends_with(subject.stubs.catalog.GetPrices(request), "a market not served", Code.FAILED_PRECONDITION)


def _value(money: money_pb2.Money) -> Fraction:
    return Fraction(money.units, 10**money.scale)
