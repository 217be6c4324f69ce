"""The built-in shop is what tests and demos rely on, and its search finds things."""

import tomllib
from importlib import resources

import pytest

from legato_adapters.reference.catalog import Catalog
from legato_adapters.reference.search import SearchIndex, page_offset, page_token, words


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    data = resources.files("legato_adapters.reference") / "seed_data.toml"
    return Catalog(tomllib.loads(data.read_text("utf-8")))


@pytest.fixture(scope="module")
def index(catalog: Catalog) -> SearchIndex:
    return SearchIndex(catalog.products)


def test_the_shop_is_large_enough_and_consistent(catalog: Catalog) -> None:
    variants = [variant for product in catalog.products for variant in product.variants]
    assert len(catalog.products) >= 40
    assert len(variants) >= 80
    assert len(catalog.by_id) == len(catalog.by_slug) == len(catalog.products)
    assert len(catalog.by_sku) == len(variants)
    assert list(catalog.locations) == ["berlin-mitte", "hamburg-hafen"]
    for product in catalog.products:
        assert product.names.keys() == product.descriptions.keys() == {"en", "de"}
        assert product.variants
        options = [variant.options for variant in product.variants]
        assert len(set(options)) == len(options), "variants differ in their options"
    for variant in variants:
        assert variant.prices.keys() == {market.currency for market in catalog.markets}
        for currency, regular in variant.regular_prices.items():
            assert regular > variant.prices[currency]
        for market in catalog.markets:
            assert variant.product.tax_class in market.tax_rates
    assert any(variant.regular_prices for variant in variants)


def test_what_tests_rely_on(catalog: Catalog) -> None:
    assert dict(catalog.by_sku["STOVE-TI"].stock) == {"berlin-mitte": 3, "hamburg-hafen": 2}
    assert catalog.by_sku["LAMP-400-RED"].total_stock == 0
    assert catalog.by_sku["PEG-ALU"].total_stock == 100_000_000
    assert {code for code, entry in catalog.codes.items() if not entry.expired} == {"WELCOME10", "SAVE5", "FREESHIP"}
    assert catalog.codes["SUMMER19"].expired


def test_markets_are_found_by_what_is_known_of_them(catalog: Catalog) -> None:
    def found(country: str, currency: str) -> str | None:
        market = catalog.market(country, currency)
        return market.country if market is not None else None

    assert found("DE", "EUR") == found("", "EUR") == found("DE", "") == found("", "") == "DE"
    assert found("US", "USD") == found("", "USD") == found("US", "") == "US"
    assert found("DE", "USD") is found("US", "EUR") is found("FR", "EUR") is found("DE", "eur") is None


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("enamel mug", "enamel-mug"),
        ("becher", "enamel-mug"),
        ("ENAM", "enamel-mug"),
        ("gaskocher titan", "titan-stove"),
        ("reisefuhrer", "guide-baltic"),
        ("STOVE-TI", "titan-stove"),
        ("fjellheim socks", "hiking-socks"),
    ],
)
def test_the_best_hit(index: SearchIndex, query: str, first: str) -> None:
    assert index.find(query, "")[0].slug == first


def test_every_word_must_be_found(index: SearchIndex) -> None:
    assert index.find("enamel zyxwv", "") == []
    assert {product.slug for product in index.find("tent", "")} >= {"lofoten-2-tent", "alu-tent-peg"}
    assert index.find("tent", "cooking") == []


def test_names_count_more_than_descriptions(index: SearchIndex) -> None:
    """The power bank mentions nothing of lanterns, but the lantern's description mentions a power bank."""
    assert [product.slug for product in index.find("power bank", "")] == ["power-bank", "camp-lantern"]


def test_words_lose_case_and_accents() -> None:
    assert words("Straße, ÄÖÜ-Café 3×4") == ["strasse", "aou", "cafe", "3", "4"]


def test_page_tokens() -> None:
    token = page_token(300, ("tent", ""))
    assert page_offset(token, ("tent", "")) == 300
    assert page_offset("", ("tent", "")) == 0
    for bad in ("x", "ü", token[:-4], token + "AAAA"):
        with pytest.raises(ValueError, match="the page token is"):
            page_offset(bad, ("tent", ""))
    with pytest.raises(ValueError, match="not of this search"):
        page_offset(token, ("ten", "t"))
