"""The adapters under test, in the test's process, and what their backends need.

To add an adapter: put a shop file beside it, name it in tried.py, add here a fixture of session scope `{name}_options`
that returns the options of its factory, and run the conformance kit on it as test_reference_conformance.py does.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
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
from tests.adapters.tried import REFERENCE, Tried
from tests.support.shared_server import PEERS, shared_server
from tests.support.vendure import shared_vendure


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "vendure" in item.nodeid and item.get_closest_marker("timeout") is None:
            # The first of them waits until Vendure has started, which a busy machine makes long.
            item.add_marker(pytest.mark.timeout(180))


@pytest.fixture(scope="session")
def reference_options(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    path = str(tmp_path_factory.mktemp("reference") / "shop.db")
    return {**REFERENCE.shop.options, "path": path}


@pytest.fixture(scope="session")
def vendure_server() -> Iterator[VendureServer]:
    with shared_vendure() as server:
        yield server


@pytest.fixture(scope="session")
def vendure_options(vendure_server: VendureServer) -> Mapping[str, Any]:
    return vendure_server.options()


@pytest.fixture(scope="session")
def commercetools_server() -> Iterator[CommercetoolsServer]:
    with shared_server("commercetools", running_commercetools(PEERS / "commercetools")) as server:
        yield server


@pytest.fixture(scope="session")
def commercetools_options(commercetools_server: CommercetoolsServer) -> Mapping[str, Any]:
    return commercetools_server.options()


@contextlib.asynccontextmanager
async def in_process(adapter: Tried, options: Mapping[str, Any]) -> AsyncIterator[grpc.aio.Channel]:
    hosted = load_adapter(adapter.factory, options)
    try:
        async with LocalChannel() as channel:
            hosted.add_to(channel)
            await hosted.start()
            yield channel
    finally:
        await hosted.close()


@pytest.fixture
async def channel(reference_options: Mapping[str, Any]) -> AsyncIterator[grpc.aio.Channel]:
    """To the reference adapter, unless a folder has another."""
    async with in_process(REFERENCE, reference_options) as channel:
        yield channel


@pytest.fixture
def stubs(channel: grpc.aio.Channel) -> Stubs:
    return Stubs(channel)


@pytest.fixture
async def user(stubs: Stubs) -> CartUser:
    """Somebody with a new cart."""
    user = CartUser(stubs.cart, REFERENCE.context())
    await user.apply(create_cart={})
    return user


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where a reference adapter of the test's own may keep its file."""
    return str(tmp_path / "shop.db")
