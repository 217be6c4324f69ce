"""The adapter behind a proxy: in front of the emulator, or of payloads that a test writes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from legato_adapters.commercetools.dev_server import CommercetoolsServer
from legato_adapters.conformance.cart_user import CartUser
from legato_adapters.conformance.stubs import Stubs
from tests.adapters.commercetools.payloads import Written
from tests.adapters.conftest import in_process
from tests.adapters.tried import COMMERCETOOLS
from tests.support.http_backend import HttpBackend


def options(backend: HttpBackend) -> dict[str, Any]:
    return {
        "url": backend.url,
        "auth_url": backend.url,
        "project_key": "legato",
        "client_id": "hub",
        "client_secret": "swordfish",
    }


@pytest.fixture
async def backend(commercetools_server: CommercetoolsServer) -> AsyncIterator[HttpBackend]:
    """The emulator, behind a proxy that does what a test tells it."""
    async with HttpBackend(commercetools_server.url) as backend:
        yield backend


@pytest.fixture
async def stubs(backend: HttpBackend) -> AsyncIterator[Stubs]:
    """The adapter at the proxy. When the test is over nothing of it may be left."""
    async with in_process(COMMERCETOOLS, options(backend)) as channel:
        yield Stubs(channel)
    left = [task for task in asyncio.all_tasks() if "legato_adapters" in repr(task.get_coro())]
    assert not left
    await backend.until_idle()


@pytest.fixture
async def user(stubs: Stubs) -> CartUser:
    user = CartUser(stubs.cart, COMMERCETOOLS.context())
    await user.apply(create_cart={})
    return user


@pytest.fixture
async def written() -> AsyncIterator[Written]:
    """A backend that answers what commercetools documents."""
    async with HttpBackend() as backend:
        yield Written(backend)


@pytest.fixture
async def written_stubs(written: Written) -> AsyncIterator[Stubs]:
    async with in_process(COMMERCETOOLS, options(written.backend)) as channel:
        yield Stubs(channel)
