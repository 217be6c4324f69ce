"""Vendure as a backend: catalog, stock, carts and orders of one shop.

Effect class ABSOLUTE: a command about a line means "the line has N", which Vendure may hear twice. The hub must be the
only one that writes to these carts. Each cart is an order in a session of its own, whose token lives in the cart's
`adapter_state`; the adapter itself keeps nothing that a restart would miss. Orders, which no shopper can read for long,
it reads and cancels as an administrator, if it is given one.

What Vendure must have: `bearer` among its `authOptions.tokenMethod`, for notes a public Order custom field `note`, and
for orders one named `cartId`, by which an order is found again.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from legato_adapters.vendure.adapter import VendureAdapter

__all__ = ["create"]


def create(
    *,
    url: str,
    language: str = "",
    currency_code: str = "",
    admin_url: str = "",
    username: str = "",
    password: str = "",
    payment_method: str = "",
) -> "VendureAdapter":
    """The adapter to the Vendure at `url`, for example "http://127.0.0.1:3000".

    `language` and `currency_code` count where a request names none; empty takes the channel's own. Orders need an
    administrator: `admin_url` (the address of the admin API), `username` and `password`, with the rights to read and
    change orders and to read customers; and `payment_method`, the code of the one that orders are placed with. Needs
    extra `vendure`. Raises ValueError for an address that is none, or for a part of an administrator.
    """
    # Whoever only imports this package, for instance to start a server, needs no HTTP client.
    from legato_adapters.http.client import base_url
    from legato_adapters.vendure.adapter import VendureAdapter
    from legato_adapters.vendure.back_office import BackOffice

    office = None
    if admin_url or username or password or payment_method:
        if not (admin_url and username and password and payment_method):
            raise ValueError("admin_url, username, password and payment_method belong together")
        office = BackOffice(base_url(admin_url), username, password)
    return VendureAdapter(
        url, language=language, currency_code=currency_code, office=office, payment_method=payment_method
    )
