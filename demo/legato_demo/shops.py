"""The backends that the demo can run on, and what each of them says when it is asked past the hub."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from legato.commerce.v1 import cart_pb2

VENDURE_PEER = Path("peers/vendure")
COMMERCETOOLS_PEER = Path("peers/commercetools")


@dataclass(frozen=True, slots=True)
class Shop:
    """A running backend."""

    config: dict[str, Any]
    """Name, adapter and options, as the hub's configuration wants them."""
    sku: str
    """Something that there is plenty of."""
    read: Callable[[cart_pb2.Cart], Awaitable[dict[str, int]]]
    """What the backend itself has in a cart: steps by sku."""


@asynccontextmanager
async def reference(folder: Path) -> AsyncIterator[Shop]:
    """The embedded reference shop, in a file."""
    from legato_adapters.reference import read_cart

    path = str(folder / "shop.sqlite3")

    async def read(cart: cart_pb2.Cart) -> dict[str, int]:
        return dict(read_cart(path, cart.id))

    config = {"name": "reference", "adapter": "legato_adapters.reference:create", "options": {"path": path}}
    yield Shop(config, "PEG-ALU", read)


@asynccontextmanager
async def vendure(folder: Path) -> AsyncIterator[Shop]:
    """A real Vendure server with a shop of its own kind. Its packages are installed by `make demo BACKEND=vendure`."""
    from legato_adapters.vendure.admin import read_order
    from legato_adapters.vendure.dev_server import running_vendure

    async with running_vendure(VENDURE_PEER) as server:

        async def read(cart: cart_pb2.Cart) -> dict[str, int]:
            order = next(ref for ref in cart.refs if ref.type == "Order")
            return await read_order(server.admin_api, (server.username, server.password), order.id)

        options = {"url": server.shop_api.removesuffix("/shop-api")}
        config = {"name": "vendure", "adapter": "legato_adapters.vendure:create", "options": options}
        yield Shop(config, "BRA-1000-BEAN", read)


@asynccontextmanager
async def commercetools(folder: Path) -> AsyncIterator[Shop]:
    """An emulator of commercetools. Its packages are installed by `make demo BACKEND=commercetools`."""
    from legato_adapters.commercetools.dev_server import read_cart, running_commercetools

    async with running_commercetools(COMMERCETOOLS_PEER) as server:

        async def read(cart: cart_pb2.Cart) -> dict[str, int]:
            return await read_cart(server, next(ref.id for ref in cart.refs if ref.type == "Cart"))

        adapter = "legato_adapters.commercetools:create"
        yield Shop({"name": "commercetools", "adapter": adapter, "options": server.options()}, "SPOKE-STEEL", read)


SHOPS = {"reference": reference, "vendure": vendure, "commercetools": commercetools}
