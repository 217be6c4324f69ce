"""Every adapter in both placements: in the test's process through a LocalChannel, and as a server process of its own.

A test that takes `shop` runs on each shop that its marks `needs` (claimed intents), `claims` (capabilities) and
`effect` (effect class of carts) let in.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from legato.hosting import load_adapter
from legato.local_channel import LocalChannel
from legato_adapters.commercetools.dev_server import CommercetoolsServer, running_commercetools
from legato_adapters.conformance.cart_user import CartUser
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.vendure.dev_server import VendureServer
from tests.adapters.commercetools.known_failures import KNOWN_FAILURES
from tests.adapters.shops import COMMERCETOOLS, SHOPS, Shop
from tests.support.adapter_process import AdapterProcess, running_adapter
from tests.support.shared_server import PEERS, shared_server
from tests.support.vendure import shared_vendure


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*intents): run on shops whose adapter claims these cart intents")
    config.addinivalue_line("markers", "claims(*capabilities): run on shops whose adapter claims these capabilities")
    config.addinivalue_line("markers", "effect(*classes): run on shops whose adapter is of one of these effect classes")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "shop" in metafunc.fixturenames:
        needed = {intent for mark in metafunc.definition.iter_markers("needs") for intent in mark.args}
        claimed = {name for mark in metafunc.definition.iter_markers("claims") for name in mark.args}
        effect = metafunc.definition.get_closest_marker("effect")
        shops = [
            shop
            for shop in SHOPS
            if needed <= shop.intents
            and claimed <= shop.capabilities
            and (effect is None or shop.effect_class in effect.args)
        ]
        metafunc.parametrize("shop", shops, ids=str, scope="session")
    if "placement" in metafunc.fixturenames:
        metafunc.parametrize("placement", ["in_process", "own_process"], scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "vendure" in item.nodeid:
            # The first of them waits until Vendure has started, which a busy machine makes long.
            item.add_marker(pytest.mark.timeout(180))
        callspec = getattr(item, "callspec", None)
        if callspec is not None and callspec.params.get("shop") is COMMERCETOOLS:
            known = KNOWN_FAILURES.get(getattr(item, "originalname", ""))
            if known is not None:
                reason = f"the emulator is wrong: {known.why}; recorded: emulator/{known.payload}.json"
                item.add_marker(pytest.mark.xfail(strict=True, reason=reason))


@pytest.fixture(scope="session")
def reference_options(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    path = str(tmp_path_factory.mktemp("reference") / "shop.db")
    return {"path": path, "webhook_secret": "a secret of the tests"}


@pytest.fixture(scope="session")
def vendure_server() -> Iterator[VendureServer]:
    with shared_vendure() as server:
        yield server


@pytest.fixture(scope="session")
def vendure_options(vendure_server: VendureServer) -> Mapping[str, Any]:
    return {"url": f"http://127.0.0.1:{vendure_server.port}"}


@pytest.fixture(scope="session")
def commercetools_server() -> Iterator[CommercetoolsServer]:
    with shared_server("commercetools", running_commercetools(PEERS / "commercetools")) as server:
        yield server


@pytest.fixture(scope="session")
def commercetools_options(commercetools_server: CommercetoolsServer) -> Mapping[str, Any]:
    return commercetools_server.options()


@pytest.fixture(scope="session")
def processes() -> Iterator[Callable[[Shop, Mapping[str, Any]], AdapterProcess]]:
    """Starts the process of a shop when it is first wanted; ends all in the end."""
    with contextlib.ExitStack() as stack:
        started: dict[str, AdapterProcess] = {}

        def of(shop: Shop, options: Mapping[str, Any]) -> AdapterProcess:
            if shop.name not in started:
                started[shop.name] = stack.enter_context(running_adapter(shop.factory, options))
            return started[shop.name]

        yield of


@contextlib.asynccontextmanager
async def in_process(shop: Shop, options: Mapping[str, Any]) -> AsyncIterator[grpc.aio.Channel]:
    adapter = load_adapter(shop.factory, options)
    try:
        async with LocalChannel() as channel:
            adapter.add_to(channel)
            await adapter.start()
            yield channel
    finally:
        await adapter.close()


@pytest.fixture
async def channel(
    shop: Shop,
    placement: str,
    request: pytest.FixtureRequest,
    processes: Callable[[Shop, Mapping[str, Any]], AdapterProcess],
) -> AsyncIterator[grpc.aio.Channel]:
    options = request.getfixturevalue(f"{shop.name}_options")
    if placement == "in_process":
        async with in_process(shop, options) as channel:
            yield channel
    else:
        async with grpc.aio.insecure_channel(processes(shop, options).address) as channel:
            yield channel


@pytest.fixture
def stubs(channel: grpc.aio.Channel) -> Stubs:
    return Stubs(channel)


@pytest.fixture
async def user(shop: Shop, stubs: Stubs) -> CartUser:
    """Somebody with a new cart."""
    user = CartUser(stubs.cart, shop.context())
    await user.apply(create_cart={})
    return user


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where a reference adapter of the test's own may keep its file."""
    return str(tmp_path / "shop.db")
