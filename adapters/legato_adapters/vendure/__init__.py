"""Vendure as a backend: catalog, stock and carts of one shop, through its shop API.

Effect class ABSOLUTE: a command about a line means "the line has N", which Vendure may hear twice. The hub must be the
only one that writes to these carts. Each cart is an order in a session of its own, whose token lives in the cart's
`adapter_state`; the adapter itself keeps nothing that a restart would miss, and has no credentials.

What Vendure must have: `bearer` among its `authOptions.tokenMethod`, and for notes a public Order custom field `note`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from legato_adapters.vendure.adapter import VendureAdapter

__all__ = ["create"]


def create(*, url: str, language: str = "", currency_code: str = "") -> "VendureAdapter":
    """The adapter to the Vendure at `url`, for example "http://127.0.0.1:3000".

    `language` and `currency_code` count where a request names none; empty takes the channel's own. Needs extra
    `vendure`. Raises ValueError for a URL that is none.
    """
    # Whoever only imports this package, for instance to start a server, needs no HTTP client.
    from legato_adapters.vendure.adapter import VendureAdapter

    return VendureAdapter(url, language=language, currency_code=currency_code)
