"""Backends: how they start in process and behind an address, and what their failures mean."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import cart_service_pb2, catalog_service_pb2, identity_service_pb2
from legato.adapter.v1.request_context_pb2 import RequestContext
from legato.hosting import AdapterLoadError
from legato.orchestrator.v1 import error_pb2
from legato_hub import remote_backend
from legato_hub.backend import CART, CATALOG, INVENTORY, PRICING, SEARCH
from legato_hub.backends import Backends
from legato_hub.cart_backend import CartBackend
from legato_hub.config import BackendConfig, RoutingConfig
from legato_hub.core.problem import Problem
from tests.hub.sample_backend import create, embedded, made, served


@asynccontextmanager
async def started(routing: RoutingConfig | None = None, **configs: BackendConfig) -> AsyncIterator[Backends]:
    """Backends of a hub; the first is the default."""
    backends = Backends(configs, routing or RoutingConfig(default=next(iter(configs))))
    await backends.start()
    try:
        yield backends
    finally:
        await backends.close()


def remote(port: int, timeout_ms: int = 5_000) -> BackendConfig:
    return BackendConfig(adapter=f"grpc://127.0.0.1:{port}", timeout_ms=timeout_ms)


async def product(backends: Backends, timeout: float = 5.0) -> str:
    """The name of the one product, read as the hub does."""
    backend = backends.routed(CATALOG)
    backend.require(CATALOG)
    key = catalog_service_pb2.ProductKey(slug="lamp")
    request = catalog_service_pb2.GetProductRequest(product=key)
    return (await backend.read(backend.catalog.GetProduct, request, timeout)).product.name


async def failure(backends: Backends, timeout: float = 5.0) -> Problem:
    with pytest.raises(Problem) as caught:
        await product(backends, timeout)
    return caught.value


async def until(backends: Backends, reason: int | None) -> None:
    """Read again and again until it fails for this reason, or (None) does not fail."""
    backend = backends.routed(CATALOG)
    key = catalog_service_pb2.ProductKey(slug="lamp")
    while True:
        # A call of its own in each round, whatever the hub knows of the adapter: it gives the loop its turn.
        with contextlib.suppress(grpc.aio.AioRpcError):
            await backend.catalog.GetProduct(catalog_service_pb2.GetProductRequest(product=key), timeout=5)
        try:
            await product(backends)
        except Problem as problem:
            if problem.reason == reason:
                return
        else:
            if reason is None:
                return


async def test_an_adapter_in_the_process_is_ready_at_the_start_and_closed_at_the_end() -> None:
    async with started(sample=embedded("in process")) as backends:
        assert await product(backends) == "Lamp of in process"
        assert not made["in process"].closed
    assert made["in process"].closed


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (embedded(broken="disk full"), "backend 'sample' cannot start: disk full"),
        (embedded(contract_version="2"), "version '2' of the adapter contract, the hub '1.1' or '1'"),
        (embedded(capabilities=("CART",)), "it has cart and does not say which effect class"),
        (embedded(capabilities=("PAYMENT",)), "it has payment and does not say which effect class"),
        (
            embedded(capabilities=("PAYMENT",), commands={"ORDER": "KEYED", "PAYMENT": "UNSPECIFIED"}),
            "it has payment and does not say which effect class",
        ),
        (embedded(spoken=("3", "2")), "the hub speaks version '1.1' or '1', this adapter '3' or '2'"),
        (embedded(mistyped=True), "mistyped"),
        (BackendConfig(adapter="tests.hub.nowhere:create"), "there is no module"),
    ],
)
async def test_an_adapter_that_cannot_be_used_keeps_the_hub_from_starting(config: BackendConfig, text: str) -> None:
    backends = Backends({"first": embedded("first"), "sample": config}, RoutingConfig(default="first"))
    with pytest.raises(AdapterLoadError, match=text):
        await backends.start()
    assert made["first"].closed


async def test_an_adapter_whose_start_failed_is_closed() -> None:
    with pytest.raises(AdapterLoadError):
        async with started(sample=embedded("broken", broken="disk full")):
            pass
    assert made["broken"].closed


async def test_one_that_does_not_close_keeps_no_other_from_it(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise OSError("stuck")

    async with started(a=embedded("a"), b=embedded("b")):
        made["a"].close = fail  # type: ignore[method-assign]
    assert made["b"].closed
    assert [record.getMessage() for record in caplog.records] == ["backend a did not close"]


async def test_each_capability_goes_to_its_backend() -> None:
    routing = RoutingConfig(default="shop", inventory="warehouse")
    warehouse = embedded("warehouse", capabilities=("INVENTORY",))
    async with started(routing, shop=embedded("shop", capabilities=("CATALOG",)), warehouse=warehouse) as backends:
        assert backends.routed(CATALOG).name == "shop"
        assert backends.routed(INVENTORY).name == "warehouse"
        assert backends.carts.name == "shop"
        backends.routed(CATALOG).require(CATALOG)
        backends.routed(INVENTORY).require(INVENTORY)
        with pytest.raises(Problem, match="backend shop has no cart") as caught:
            await backends.carts.claims()
        assert caught.value.reason == error_pb2.ERROR_REASON_CAPABILITY_MISSING


async def test_search_and_prices_may_come_from_backends_of_their_own() -> None:
    routing = RoutingConfig(default="other", catalog="shop", search="index")
    index = embedded("index", capabilities=("SEARCH",), contract_version="1.1")
    async with started(routing, shop=embedded("shop"), index=index, other=embedded("other")) as backends:
        assert backends.routed(SEARCH).name == "index"
        backends.routed(SEARCH).require(SEARCH)
        assert backends.routed(PRICING).name == "shop"


async def test_catalog_claims_search_and_pricing_in_the_first_version_only() -> None:
    old = embedded("old", capabilities=("CATALOG",), contract_version="1")
    new = embedded("new", capabilities=("CATALOG",), contract_version="1.1")
    async with started(RoutingConfig(default="old", pricing="new"), old=old, new=new) as backends:
        backends.routed(SEARCH).require(SEARCH)
        with pytest.raises(Problem, match="backend new has no pricing"):
            backends.routed(PRICING).require(PRICING)


async def test_the_hub_tells_which_versions_it_speaks() -> None:
    sample = create(name="far", spoken=("1.1",))
    async with served(sample) as port, started(far=remote(port)) as backends:
        request = await sample.until_asked("GetInfo")
        assert request.contract_versions == ["1.1", "1"]
        info = backends.routed(CATALOG).info
        assert info is not None
        assert info.contract_version == "1.1"


async def test_an_effect_class_a_capability() -> None:
    commands = {"PAYMENT": "KEYED", "ORDER": "MARKED"}
    mixed = embedded(capabilities=("CART", "PAYMENT", "ORDER"), effect_class="ABSOLUTE", commands=commands)
    async with started(sample=mixed) as backends:
        assert (await backends.carts.claims()).command_claims[0].capability == identity_service_pb2.CAPABILITY_PAYMENT


async def test_what_a_newer_adapter_claims_beyond_us_is_ignored() -> None:
    sample = create(name="far")
    sample.info.capabilities.append(4_711)  # type: ignore[arg-type]
    sample.info.command_claims.add().capability = 4_711  # type: ignore[assignment]
    async with served(sample) as port, started(far=remote(port)) as backends:
        assert await product(backends) == "Lamp of far"


async def test_each_tenant_has_its_own_adapter(caplog: pytest.LogCaptureFixture) -> None:
    tenants = {"acme": {"name": "of acme"}, "bits": {"name": "of bits"}}
    config = BackendConfig(adapter="tests.hub.sample_backend:create", tenants=tenants)
    async with started(sample=config) as backends:
        catalog = backends.routed(CATALOG).catalog
        key = catalog_service_pb2.ProductKey(slug="lamp")
        for tenant, name in (("bits", "Lamp of of bits"), ("acme", "Lamp of of acme")):
            request = catalog_service_pb2.GetProductRequest(context=RequestContext(tenant=tenant), product=key)
            assert (await catalog.GetProduct(request, timeout=5)).product.name == name
        request = catalog_service_pb2.GetProductRequest(context=RequestContext(tenant="nobody"), product=key)
        with pytest.raises(grpc.aio.AioRpcError, match="there are no credentials for tenant 'nobody'") as caught:
            await catalog.GetProduct(request, timeout=5)
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert made["of acme"].closed
    assert made["of bits"].closed


async def test_the_carts_backend_passes_calls_on_as_they_are() -> None:
    async with started(sample=embedded(capabilities=("CART",), effect_class="KEYED")) as backends:
        carts: CartBackend = backends.carts
        assert CART in (await carts.claims()).capabilities
        for call in (
            carts.get_cart(cart_service_pb2.GetCartRequest(), 1.0),
            carts.apply_command(cart_service_pb2.ApplyCommandRequest(), 1.0),
            carts.resolve_command(cart_service_pb2.ResolveCommandRequest(), 1.0),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("code", "reason", "said"),
    [
        (grpc.StatusCode.UNAVAILABLE, error_pb2.ERROR_REASON_BACKEND_UNAVAILABLE, False),
        (grpc.StatusCode.NOT_FOUND, error_pb2.ERROR_REASON_NOT_FOUND, True),
        (grpc.StatusCode.INVALID_ARGUMENT, error_pb2.ERROR_REASON_INVALID_FIELD, True),
        (grpc.StatusCode.FAILED_PRECONDITION, error_pb2.ERROR_REASON_REJECTED_BY_BACKEND, True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, error_pb2.ERROR_REASON_THROTTLED, False),
        (grpc.StatusCode.UNIMPLEMENTED, error_pb2.ERROR_REASON_CAPABILITY_MISSING, False),
        (grpc.StatusCode.UNKNOWN, error_pb2.ERROR_REASON_BACKEND_UNAVAILABLE, False),
        (grpc.StatusCode.INTERNAL, error_pb2.ERROR_REASON_BACKEND_UNAVAILABLE, False),
        (grpc.StatusCode.DATA_LOSS, error_pb2.ERROR_REASON_BACKEND_UNAVAILABLE, False),
        (grpc.StatusCode.PERMISSION_DENIED, error_pb2.ERROR_REASON_BACKEND_UNAVAILABLE, False),
    ],
)
async def test_what_a_failed_read_means(code: grpc.StatusCode, reason: int, said: bool) -> None:
    async with started(sample=embedded()) as backends:
        made["sample"].failures["GetProduct"] = code, "password is hunter2"
        problem = await failure(backends)
    assert problem.reason == reason
    assert ("hunter2" in str(problem)) is said


async def test_a_read_ends_at_the_callers_deadline_or_the_backends() -> None:
    for timeout_ms, timeout in ((20, 60.0), (60_000, 0.02)):
        async with started(sample=embedded(timeout_ms=timeout_ms)) as backends:
            made["sample"].late.add("GetProduct")
            assert (await failure(backends, timeout)).reason == error_pb2.ERROR_REASON_DEADLINE_EXCEEDED


async def test_a_remote_adapter_that_is_there_is_known_at_the_start() -> None:
    async with served(create(name="far")) as port, started(far=remote(port)) as backends:
        assert await product(backends) == "Lamp of far"


async def test_a_hub_starts_without_a_remote_adapter_and_finds_it_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_backend, "FIRST_ANSWER_S", 0.01)
    sample = create(name="far")
    async with served(sample) as port:
        pass
    async with started(far=remote(port)) as backends:
        assert (await failure(backends)).reason == error_pb2.ERROR_REASON_BACKEND_UNAVAILABLE
        monkeypatch.setattr(remote_backend, "FIRST_ANSWER_S", 10.0)
        async with served(sample, port), started(far=remote(port)) as later:
            assert await product(later) == "Lamp of far"
            await until(backends, None)


async def test_a_remote_adapter_may_go_and_come_back_as_another() -> None:
    async with AsyncExitStack() as server:
        port = await server.enter_async_context(served(create(name="first life")))
        async with started(far=remote(port)) as backends:
            assert await product(backends) == "Lamp of first life"
            await server.aclose()
            assert (await failure(backends)).reason == error_pb2.ERROR_REASON_BACKEND_UNAVAILABLE
            async with served(create(name="second life", capabilities=("INVENTORY",)), port):
                await until(backends, error_pb2.ERROR_REASON_CAPABILITY_MISSING)


@pytest.mark.parametrize(
    "fault",
    [
        "version '2' of the adapter contract",
        "UNAVAILABLE: no credentials",
        "FAILED_PRECONDITION: of the adapter contract",
    ],
)
async def test_a_remote_adapter_that_cannot_be_used_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    monkeypatch.setattr(remote_backend, "FIRST_RETRY_S", 0.01)
    monkeypatch.setattr(remote_backend, "FIRST_ANSWER_S", 0.01)
    sample = create(name="far", contract_version="2" if "version" in fault else "1")
    if "FAILED_PRECONDITION" in fault:
        sample.spoken = ("2",)
    if "credentials" in fault:
        sample.failures["GetInfo"] = grpc.StatusCode.UNAVAILABLE, "no credentials"
    async with served(sample) as port, started(far=remote(port)) as backends:
        await sample.until_asked("GetInfo")
        await sample.until_asked("GetInfo")
        assert (await failure(backends)).reason == error_pb2.ERROR_REASON_BACKEND_UNAVAILABLE
        errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        assert fault in errors[0]
        sample.failures.clear()
        sample.info.contract_version = "1"
        sample.spoken = ()
        await until(backends, None)
        assert await product(backends) == "Lamp of far"


async def test_a_remote_adapter_that_dies_amid_a_read_is_unavailable() -> None:
    sample = create(name="far")
    sample.late.add("GetProduct")
    async with AsyncExitStack() as server:
        port = await server.enter_async_context(served(sample))
        async with started(far=remote(port)) as backends:
            reading = asyncio.create_task(failure(backends))
            await sample.until_asked("GetProduct")
            await server.aclose()
            assert (await reading).reason == error_pb2.ERROR_REASON_BACKEND_UNAVAILABLE
