"""Reading the catalog: which market, what is wrong with the request, and which backend answers."""

from legato.adapter.v1 import catalog_service_pb2, inventory_service_pb2, request_context_pb2
from legato.orchestrator.v1 import error_pb2, reads_pb2
from legato_hub.backend import INVENTORY, SEARCH
from legato_hub.backends import Backends
from legato_hub.composition import DEADLINE_S, compose
from legato_hub.core.identity import Identity
from legato_hub.core.market import Stores, resolve
from legato_hub.core.problem import Problem, invalid
from legato_hub.core.validation import Violations, check_text, raise_for

PAGE_SIZE, MAX_PAGE_SIZE = 20, 100
MAX_SKUS = 100

_CatalogRequest = reads_pb2.SearchProductsRequest | reads_pb2.GetProductPageRequest | reads_pb2.GetAvailabilityRequest


class Catalog:
    """What every identity may read. Timeouts are in seconds; None is no deadline.

    Every method may raise Problem: INVALID_FIELD, UNKNOWN_CURRENCY, CAPABILITY_MISSING, BACKEND_UNAVAILABLE,
    DEADLINE_EXCEEDED, THROTTLED, and REJECTED_BY_BACKEND for a market that the backend does not serve.
    """

    def __init__(self, backends: Backends, stores: Stores) -> None:
        self._backends = backends
        self._stores = stores

    async def search(
        self, identity: Identity, request: reads_pb2.SearchProductsRequest, timeout: float | None
    ) -> reads_pb2.SearchProductsResponse:
        """A page of hits."""
        context = self._context(identity, request, _search_violations(request))
        wish = catalog_service_pb2.SearchProductsRequest(
            context=context,
            query=request.query,
            category=request.category,
            page_size=request.page_size or PAGE_SIZE,
            page_token=request.page_token,
        )
        backend = self._backends.routed(SEARCH)
        backend.require(SEARCH)
        try:
            answer = await backend.read(backend.catalog.SearchProducts, wish, _budget(timeout))
        except Problem as problem:
            if problem.reason == error_pb2.ERROR_REASON_INVALID_FIELD and request.page_token:
                raise invalid("page_token", "is of another search") from problem
            raise
        hits = [reads_pb2.ProductHit(product=hit.product, price=hit.price) for hit in answer.hits]
        return reads_pb2.SearchProductsResponse(hits=hits, next_page_token=answer.next_page_token, total=answer.total)

    async def page(
        self, identity: Identity, request: reads_pb2.GetProductPageRequest, timeout: float | None
    ) -> reads_pb2.GetProductPageResponse:
        """A product page, with gaps where a backend was late or down. Raise Problem (NOT_FOUND) as well."""
        context = self._context(identity, request, _page_violations(request))
        key = catalog_service_pb2.ProductKey()
        if request.HasField("slug"):
            key.slug = request.slug
        else:
            key.product_id = request.product_id
        return await compose(self._backends, context, key, timeout)

    async def availability(
        self, identity: Identity, request: reads_pb2.GetAvailabilityRequest, timeout: float | None
    ) -> reads_pb2.GetAvailabilityResponse:
        """Stock of some variants."""
        context = self._context(identity, request, _availability_violations(request))
        wish = inventory_service_pb2.GetAvailabilityRequest(
            context=context, skus=request.skus, location_id=request.location_id
        )
        backend = self._backends.routed(INVENTORY)
        backend.require(INVENTORY)
        answer = await backend.read(backend.inventory.GetAvailability, wish, _budget(timeout))
        return reads_pb2.GetAvailabilityResponse(availability=answer.availability)

    def _context(
        self, identity: Identity, request: _CatalogRequest, violations: Violations
    ) -> request_context_pb2.RequestContext:
        raise_for(violations)
        if request.HasField("min_cursor"):
            raise invalid("min_cursor", "must be absent: a catalog has no revisions of the hub")
        market = resolve(
            self._stores.get(identity.tenant, {}),
            identity.store,
            store=request.market.store,
            country=request.market.country,
            currency_code=request.market.currency_code,
            locale=request.market.locale,
            path="market",
        )
        return request_context_pb2.RequestContext(
            tenant=identity.tenant,
            store=market.store,
            country=market.country,
            currency_code=market.currency_code,
            locale=market.locale,
        )


def _budget(timeout: float | None) -> float:
    return DEADLINE_S if timeout is None else timeout


def _search_violations(request: reads_pb2.SearchProductsRequest) -> Violations:
    yield from check_text("query", request.query, 200)
    yield from check_text("category", request.category, 128)
    yield from check_text("page_token", request.page_token, 2_048)
    if not 0 <= request.page_size <= MAX_PAGE_SIZE:
        yield "page_size", f"must be 1 to {MAX_PAGE_SIZE}, or 0 for {PAGE_SIZE}"


def _page_violations(request: reads_pb2.GetProductPageRequest) -> Violations:
    match request.WhichOneof("key"):
        case "product_id":
            yield from check_text("product_id", request.product_id, 128, least=1)
        case "slug":
            yield from check_text("slug", request.slug, 256, least=1)
        case None:
            yield "key", "must be product_id or slug"


def _availability_violations(request: reads_pb2.GetAvailabilityRequest) -> Violations:
    if not 1 <= len(request.skus) <= MAX_SKUS:
        yield "skus", f"must have 1 to {MAX_SKUS} entries"
    for number, sku in enumerate(request.skus[:MAX_SKUS]):
        yield from check_text(f"skus[{number}]", sku, 128, least=1)
    yield from check_text("location_id", request.location_id, 128)
