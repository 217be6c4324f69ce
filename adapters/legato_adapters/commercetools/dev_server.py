"""An emulator of commercetools on loopback for tests and the demo.

It runs `server.mjs` of the peer's folder (`peers/commercetools`), which must have been installed with `npm ci`.
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from legato_adapters.peer import running_peer

__all__ = ["CommercetoolsServer", "read_cart", "running_commercetools"]

_CLIENT = "legato"


@dataclass(frozen=True)
class CommercetoolsServer:
    """Where a started emulator listens, with the same shop in each of its projects. It forgets all when it ends."""

    pid: int
    url: str
    projects: tuple[str, ...]

    def options(self, project: str = "legato") -> dict[str, Any]:
        """What the adapter's factory needs; the emulator gives tokens to everybody."""
        return {
            "url": self.url,
            "auth_url": self.url,
            "project_key": project,
            "client_id": _CLIENT,
            "client_secret": "local-test-only",
        }


@contextlib.asynccontextmanager
async def running_commercetools(
    peer: Path, *, projects: tuple[str, ...] = ("legato",), start_timeout: float = 120.0
) -> AsyncIterator[CommercetoolsServer]:
    """Start the emulator of folder `peer` on a free port of 127.0.0.1, seeded; end it on leaving. Raises PeerError."""
    environment = {"PROJECTS": ",".join(projects)}
    async with running_peer(peer, "commercetools", environment, start_timeout=start_timeout) as ready:
        yield CommercetoolsServer(ready["pid"], ready["url"], projects)


async def read_cart(server: CommercetoolsServer, cart_id: str) -> dict[str, int]:
    """What the emulator itself has in a cart: quantities by sku."""
    # Only the reader of a cart needs an HTTP client.
    from legato_adapters.commercetools.api import Api
    from legato_adapters.http import Call

    options = server.options()
    api = Api(**options, scope="")
    await api.open()
    try:
        cart = await api.get(Call.within(30), "/carts/{id}", id=cart_id)
    finally:
        await api.close()
    return {line["variant"]["sku"]: line["quantity"] for line in cart["lineItems"]}
