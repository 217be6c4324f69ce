"""Reading the catalog: product pages with and without gaps, searches, stock, and what is wrong with requests."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest

from legato.orchestrator.v1 import cursor_pb2, error_pb2, reads_pb2
from legato_hub import composition, remote_backend
from legato_hub.backends import Backends
from legato_hub.catalog import Catalog
from legato_hub.config import BackendConfig, RoutingConfig
from legato_hub.core.identity import Identity
from legato_hub.core.problem import Problem
from tests.hub.sample_backend import SampleBackend, create, embedded, made, served
from tests.hub.session_world import CHANNEL, SERVICE, STORES, TERMINAL

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


class Shop:
    """A catalog in "shop" and an inventory in "warehouse"."""

    def __init__(self, backends: Backends, samples: Sequence[SampleBackend]) -> None:
        self.catalog = Catalog(backends, STORES)
        self.shop, self.warehouse = samples

    async def page(
        self, timeout: float | None = 10.0, who: Identity = CHANNEL, **wish: Any
    ) -> reads_pb2.GetProductPageResponse:
        return await self.catalog.page(who, reads_pb2.GetProductPageRequest(**(wish or {"slug": "lamp"})), timeout)

    async def search(self, **wish: Any) -> reads_pb2.SearchProductsResponse:
        return await self.catalog.search(CHANNEL, reads_pb2.SearchProductsRequest(**wish), 10.0)

    async def availability(self, **wish: Any) -> reads_pb2.GetAvailabilityResponse:
        return await self.catalog.availability(CHANNEL, reads_pb2.GetAvailabilityRequest(**wish), 10.0)


@asynccontextmanager
async def serving(
    shop: BackendConfig, warehouse: BackendConfig, samples: Sequence[SampleBackend] = ()
) -> AsyncIterator[Shop]:
    backends = Backends({"shop": shop, "warehouse": warehouse}, RoutingConfig(default="shop", inventory="warehouse"))
    await backends.start()
    try:
        yield Shop(backends, samples or (made["shop"], made["warehouse"]))
    finally:
        await backends.close()


@pytest.fixture(params=["in process", "over the network"])
async def shop(request: pytest.FixtureRequest) -> AsyncIterator[Shop]:
    """Both placements of both backends."""
    async with AsyncExitStack() as stack:
        if request.param == "in process":
            yield await stack.enter_async_context(serving(embedded("shop"), embedded("warehouse")))
        else:
            samples = create(name="shop"), create(name="warehouse")
            ports = [await stack.enter_async_context(served(sample)) for sample in samples]
            configs = [BackendConfig(adapter=f"grpc://127.0.0.1:{port}") for port in ports]
            yield await stack.enter_async_context(serving(configs[0], configs[1], samples))


def gaps(page: reads_pb2.GetProductPageResponse) -> list[tuple[str, str, str]]:
    return [(gap.section, gap.backend, gap.reason) for gap in page.gaps]


async def refusal(reading: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        await reading
    return caught.value


async def test_a_page_has_what_all_backends_say(shop: Shop) -> None:
    for page in (await shop.page(slug="lamp"), await shop.page(product_id="p1")):
        assert page.product.name == "Lamp of shop"
        assert [price.sku for price in page.prices] == ["lamp-1"]
        assert [stock.sku for stock in page.availability] == ["lamp-1"]
        assert gaps(page) == []


async def test_backends_learn_for_whom_and_which_market_they_are_asked(shop: Shop) -> None:
    market = reads_pb2.Market(store="main", currency_code="CHF", locale="de-CH")
    await shop.page(who=SERVICE, slug="lamp", market=market)
    context = (await shop.warehouse.until_asked("GetAvailability")).context
    found = context.tenant, context.store, context.country, context.currency_code, context.locale
    assert found == ("demo", "main", "DE", "CHF", "de-CH")


@pytest.mark.parametrize("late", [("GetPrices",), ("GetPrices", "GetAvailability"), ("GetProduct",)])
async def test_a_late_section_is_a_gap_and_is_given_up(shop: Shop, late: Sequence[str]) -> None:
    sections = {"GetProduct": "product", "GetPrices": "prices", "GetAvailability": "availability"}
    for sample in (shop.shop, shop.warehouse):
        sample.late.update(late)
    page = await shop.page(timeout=0.6)
    assert {(section, reason) for section, _, reason in gaps(page)} == {
        (sections[method], "DEADLINE_EXCEEDED") for method in late
    }
    assert page.HasField("product") is ("GetProduct" not in late)
    assert bool(page.prices) is ("GetPrices" not in late)
    assert bool(page.availability) is ("GetAvailability" not in late)


async def test_a_failing_section_is_a_gap_that_names_its_backend(shop: Shop) -> None:
    shop.warehouse.failures["GetAvailability"] = UNAVAILABLE, "down"
    shop.shop.failures["GetPrices"] = grpc.StatusCode.FAILED_PRECONDITION, "no such market"
    page = await shop.page()
    assert page.product.id == "p1"
    assert gaps(page) == [
        ("prices", "shop", "REJECTED_BY_BACKEND"),
        ("availability", "warehouse", "BACKEND_UNAVAILABLE"),
    ]


async def test_a_product_that_is_not_there_is_not_waited_for(shop: Shop) -> None:
    shop.shop.late.add("GetPrices")
    shop.warehouse.late.add("GetAvailability")
    problem = await refusal(shop.page(timeout=None, slug="unknown"))
    assert problem.reason == error_pb2.ERROR_REASON_NOT_FOUND


async def test_a_page_without_a_single_section_is_an_error(shop: Shop) -> None:
    for method in ("GetProduct", "GetPrices"):
        shop.shop.failures[method] = UNAVAILABLE, "down"
    shop.warehouse.late.add("GetAvailability")
    problem = await refusal(shop.page(timeout=0.1))
    assert problem.reason == error_pb2.ERROR_REASON_BACKEND_UNAVAILABLE
    assert "availability DEADLINE_EXCEEDED" in str(problem)


async def test_a_caller_without_a_deadline_waits_for_the_default(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composition, "DEADLINE_S", 0.5)
    shop.warehouse.late.add("GetAvailability")
    assert gaps(await shop.page(timeout=None)) == [("availability", "warehouse", "DEADLINE_EXCEEDED")]


async def test_nothing_is_left_behind() -> None:
    async with serving(embedded("shop"), embedded("warehouse")) as shop:
        before = asyncio.all_tasks()
        for sample, method in ((shop.shop, "GetPrices"), (shop.warehouse, "GetAvailability")):
            sample.late.add(method)
        await shop.page(timeout=0.05)
        assert asyncio.all_tasks() <= before
        assert (shop.shop.ended, shop.warehouse.ended) == (1, 1)
        await refusal(shop.page(slug="unknown"))
        assert asyncio.all_tasks() <= before
        shop.shop.asked, shop.warehouse.asked = asyncio.Queue(), asyncio.Queue()
        reading = asyncio.create_task(shop.page(timeout=None))
        await shop.shop.until_asked("GetPrices")
        await shop.warehouse.until_asked("GetAvailability")
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert asyncio.all_tasks() <= before


async def test_a_missing_capability_is_a_gap_until_nothing_is_left() -> None:
    async with serving(embedded("shop"), embedded("warehouse", capabilities=("CART",), effect_class="NONE")) as shop:
        assert gaps(await shop.page()) == [("availability", "warehouse", "CAPABILITY_MISSING")]
        problem = await refusal(shop.availability(skus=["lamp-1"]))
        assert problem.reason == error_pb2.ERROR_REASON_CAPABILITY_MISSING
    without = ("CART",)
    async with serving(
        embedded("shop", capabilities=without, effect_class="NONE"),
        embedded("warehouse", capabilities=without, effect_class="NONE"),
    ) as shop:
        for reading in (shop.page(), shop.search(), shop.availability(skus=["lamp-1"])):
            assert (await refusal(reading)).reason == error_pb2.ERROR_REASON_CAPABILITY_MISSING


async def test_a_backend_that_was_never_there_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_backend, "FIRST_ANSWER_S", 0.01)
    async with served(create(name="gone")) as port:
        pass
    nowhere = BackendConfig(adapter=f"grpc://127.0.0.1:{port}")
    async with serving(embedded("shop"), nowhere, (made["gone"], made["gone"])) as shop:
        assert gaps(await shop.page()) == [("availability", "warehouse", "BACKEND_UNAVAILABLE")]
        assert (await refusal(shop.availability(skus=["a"]))).reason == error_pb2.ERROR_REASON_BACKEND_UNAVAILABLE


async def test_a_search_is_passed_on_and_back(shop: Shop) -> None:
    answer = await shop.search(query="lamp", category="lights", page_size=7, page_token="2")
    assert [(hit.product.id, hit.price.sku) for hit in answer.hits] == [("p1", "lamp-1")]
    assert (answer.next_page_token, answer.total) == ("2", 7)
    wish = await shop.shop.until_asked("SearchProducts")
    assert (wish.query, wish.category, wish.page_size, wish.page_token) == ("lamp", "lights", 7, "2")
    await shop.search()
    assert (await shop.shop.until_asked("SearchProducts")).page_size == 20


async def test_a_page_token_of_another_search_is_named(shop: Shop) -> None:
    shop.shop.failures["SearchProducts"] = grpc.StatusCode.INVALID_ARGUMENT, "page token"
    problem = await refusal(shop.search(page_token="of another"))
    assert [violation.field for violation in problem.error.field_violations] == ["page_token"]
    assert (await refusal(shop.search())).reason == error_pb2.ERROR_REASON_INVALID_FIELD


async def test_stock_is_passed_on_and_back(shop: Shop) -> None:
    answer = await shop.availability(skus=["lamp-1", "unknown"], location_id="berlin")
    assert [stock.sku for stock in answer.availability] == ["lamp-1"]
    wish = await shop.warehouse.until_asked("GetAvailability")
    assert (list(wish.skus), wish.location_id) == (["lamp-1", "unknown"], "berlin")
    assert not wish.HasField("product")


CURSOR = cursor_pb2.Cursor(epoch="e", revision=1)


@pytest.mark.parametrize(
    ("reading", "wish", "field"),
    [
        ("search", {"query": "x" * 201}, "query"),
        ("search", {"query": "a\x00b"}, "query"),
        ("search", {"category": "x" * 129}, "category"),
        ("search", {"page_size": -1}, "page_size"),
        ("search", {"page_size": 101}, "page_size"),
        ("search", {"page_token": "x" * 2_049}, "page_token"),
        ("search", {"min_cursor": CURSOR}, "min_cursor"),
        ("search", {"market": reads_pb2.Market(store="moon")}, "market.store"),
        ("search", {"market": reads_pb2.Market(currency_code="USD")}, "market.currency_code"),
        ("page", {"slug": ""}, "slug"),
        ("page", {"slug": "x" * 257}, "slug"),
        ("page", {"product_id": ""}, "product_id"),
        ("page", {"product_id": "x" * 129}, "product_id"),
        ("page", {"market": reads_pb2.Market()}, "key"),
        ("page", {"slug": "lamp", "min_cursor": CURSOR}, "min_cursor"),
        ("page", {"slug": "lamp", "market": reads_pb2.Market(country="US")}, "market.country"),
        ("availability", {"skus": []}, "skus"),
        ("availability", {"skus": ["a"] * 101}, "skus"),
        ("availability", {"skus": ["a", ""]}, "skus[1]"),
        ("availability", {"skus": ["x" * 129]}, "skus[0]"),
        ("availability", {"skus": ["a"], "location_id": "x" * 129}, "location_id"),
        ("availability", {"skus": ["a"], "min_cursor": CURSOR}, "min_cursor"),
    ],
)
async def test_what_is_wrong_with_a_request_is_named_and_nobody_is_asked(
    reading: str, wish: dict[str, Any], field: str
) -> None:
    async with serving(embedded("shop"), embedded("warehouse")) as shop:
        problem = await refusal(getattr(shop, reading)(**wish))
        assert field in [violation.field for violation in problem.error.field_violations]
        asked = [sample.asked.get_nowait()[0] for sample in (shop.shop, shop.warehouse)]
        assert asked == ["GetInfo", "GetInfo"]
        assert shop.shop.asked.empty()


async def test_a_currency_that_the_store_does_not_sell_in_has_its_own_reason(shop: Shop) -> None:
    problem = await refusal(shop.search(market=reads_pb2.Market(currency_code="USD")))
    assert problem.reason == error_pb2.ERROR_REASON_UNKNOWN_CURRENCY


async def test_another_tenants_stores_are_not_served(shop: Shop) -> None:
    stranger = Identity(TERMINAL.kind, "nowhere", "till", "main")
    request = reads_pb2.SearchProductsRequest()
    assert (await refusal(shop.catalog.search(stranger, request, None))).error.field_violations[
        0
    ].field == "market.store"


async def test_the_embedded_shop_fills_every_section() -> None:
    reference = BackendConfig(adapter="legato_adapters.reference:create")
    backends = Backends({"reference": reference}, RoutingConfig())
    await backends.start()
    try:
        catalog = Catalog(backends, STORES)
        found = await catalog.search(CHANNEL, reads_pb2.SearchProductsRequest(page_size=3), 10.0)
        assert len(found.hits) == 3
        assert found.total >= 40
        for hit in found.hits:
            page = await catalog.page(CHANNEL, reads_pb2.GetProductPageRequest(slug=hit.product.slug), 10.0)
            skus = {variant.sku for variant in page.product.variants}
            assert gaps(page) == []
            assert {price.sku for price in page.prices} == {stock.sku for stock in page.availability} == skus
            assert {price.amount.currency_code for price in page.prices} == {"EUR"}
            request = reads_pb2.GetAvailabilityRequest(skus=sorted(skus))
            stock = await catalog.availability(CHANNEL, request, 10.0)
            assert {entry.sku for entry in stock.availability} == skus
        unknown = await refusal(catalog.page(CHANNEL, reads_pb2.GetProductPageRequest(slug="no-such-thing"), 10.0))
        assert unknown.reason == error_pb2.ERROR_REASON_NOT_FOUND
        lost = reads_pb2.SearchProductsRequest(page_token="x")
        assert (await refusal(catalog.search(CHANNEL, lost, 10.0))).error.field_violations[0].field == "page_token"
    finally:
        await backends.close()
