"""The adapter in this process, with a proxy between it and the real server."""

from collections.abc import AsyncIterator

import grpc.aio
import pytest

from legato_adapters.conformance.cart_user import CartUser
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.vendure.admin import VendureAdmin
from legato_adapters.vendure.dev_server import VendureServer
from tests.adapters.conftest import in_process
from tests.adapters.tried import VENDURE
from tests.support.http_proxy import HttpProxy


@pytest.fixture
async def proxy(vendure_server: VendureServer) -> AsyncIterator[HttpProxy]:
    async with HttpProxy(vendure_server.shop_api) as proxy:
        yield proxy


@pytest.fixture
async def channel(proxy: HttpProxy) -> AsyncIterator[grpc.aio.Channel]:
    async with in_process(VENDURE, {"url": proxy.url}) as channel:
        yield channel


@pytest.fixture
async def user(stubs: Stubs) -> CartUser:
    """Somebody with a new cart."""
    user = CartUser(stubs.cart, VENDURE.context())
    await user.apply(create_cart={})
    return user


@pytest.fixture
async def admin(vendure_server: VendureServer) -> AsyncIterator[VendureAdmin]:
    async with VendureAdmin(vendure_server.admin_api, vendure_server.username, vendure_server.password) as admin:
        yield admin
