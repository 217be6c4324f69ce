"""A real Vendure server on loopback for tests and the demo: started, waited for, and ended with its user.

It runs `server.mjs` of the peer's folder (`peers/vendure`), which must have been installed with `npm ci`.
"""

import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from legato_adapters.peer import PeerError as VendureServerError
from legato_adapters.peer import running_peer

__all__ = ["VendureServer", "VendureServerError", "running_vendure"]

_USERNAME = "superadmin"
PAYMENT_METHOD = "invoice"
"""The code of the one that is seeded."""


@dataclass(frozen=True)
class VendureServer:
    """Where a started server listens and who may administer it. Its data live as long as its process."""

    pid: int
    port: int
    shop_api: str
    """URL of the shop's GraphQL endpoint."""
    admin_api: str
    """URL of the administration's GraphQL endpoint."""
    username: str
    password: str = field(repr=False)

    def options(self) -> dict[str, Any]:
        """What the adapter's factory needs for all that it can do."""
        return {
            "url": f"http://127.0.0.1:{self.port}",
            "admin_url": self.admin_api,
            "username": self.username,
            "password": self.password,
            "payment_method": PAYMENT_METHOD,
        }


@contextlib.asynccontextmanager
async def running_vendure(peer: Path, *, start_timeout: float = 120.0) -> AsyncIterator[VendureServer]:
    """Start the Vendure of folder `peer` on a free port of 127.0.0.1, seeded and searchable; end it on leaving.

    The port and the administrator's password are new each time. The server does not hear this terminal's Ctrl-C,
    and ends by itself if this process dies.

    Raises `VendureServerError` if it is not installed, ends early, or is not ready within `start_timeout` seconds
    (it takes about 10 on an idle machine).
    """
    password = secrets.token_urlsafe(18)
    environment = {"VENDURE_SUPERADMIN_USERNAME": _USERNAME, "VENDURE_SUPERADMIN_PASSWORD": password}
    async with running_peer(peer, "Vendure", environment, start_timeout=start_timeout) as ready:
        yield VendureServer(
            pid=ready["pid"],
            port=ready["port"],
            shop_api=ready["shop_api"],
            admin_api=ready["admin_api"],
            username=_USERNAME,
            password=password,
        )
