"""commercetools as a backend: catalog, stock, carts, orders and customers of one project, through its HTTP API.

It moves no money: what payment backends hold for an order is written down as Payment objects, which others keep.

Effect class MARKED: the id of each command is written in the same mutation as its effect, into a custom field of the
cart or customer; an order's number is made of it. Changes go out with the version that they were made for, so
that of two writers one is told, reads again, and says what it wants once more (rebase by intent).

What the project must have is a Type, `legato` by default: see the README of `peers/commercetools`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from legato_adapters.commercetools.adapter import CommercetoolsAdapter

__all__ = ["create"]


def create(
    *,
    url: str,
    auth_url: str,
    project_key: str,
    client_id: str,
    client_secret: str,
    scope: str = "",
    type_key: str = "legato",
    inventory_mode: str = "ReserveOnOrder",
) -> "CommercetoolsAdapter":
    """The adapter to one project, for example at "https://api.europe-west1.gcp.commercetools.com".

    `scope` is sent with the request for a token where it is given. `inventory_mode` is that of new carts: None,
    TrackOnly, ReserveOnOrder. Needs extra `commercetools`. Raises ValueError for options that cannot be right.
    """
    # Whoever only imports this package, for instance to start a server, needs no HTTP client.
    from legato_adapters.commercetools.adapter import CommercetoolsAdapter
    from legato_adapters.commercetools.api import Api

    if inventory_mode not in {"None", "TrackOnly", "ReserveOnOrder"}:
        raise ValueError("inventory_mode must be None, TrackOnly or ReserveOnOrder")
    if not client_id or not client_secret:
        raise ValueError("client_id and client_secret must be given")
    api = Api(url, auth_url, project_key, client_id, client_secret, scope)
    return CommercetoolsAdapter(api, type_key=type_key, inventory_mode=inventory_mode)
