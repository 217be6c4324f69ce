"""What Vendure itself says about a cart, past the hub and past the adapter: for tests and the demo."""

from collections.abc import Mapping
from typing import Any

from legato_adapters.vendure.api import READ_TIMEOUT_S, VendureApi

__all__ = ["VendureAdmin", "read_order"]

_LOGIN = """
mutation($username: String!, $password: String!) {
  login(username: $username, password: $password) { __typename }
}
"""
_ORDERS = """
query($options: OrderListOptions!) { orders(options: $options) { items { lines { quantity productVariant { sku } } } } }
"""


class VendureAdmin:
    """A signed-in administrator: `async with VendureAdmin(url, username, password) as admin`. Raises ApiError."""

    def __init__(self, admin_api: str, username: str, password: str) -> None:
        self._api = VendureApi(admin_api)
        self._credentials = {"username": username, "password": password}
        self._token = ""

    async def __aenter__(self) -> "VendureAdmin":
        await self._api.open()
        try:
            answer = await self._api.post(_LOGIN, self._credentials, timeout=READ_TIMEOUT_S)
            if answer.data["login"]["__typename"] != "CurrentUser":
                raise PermissionError("Vendure refuses the administrator's credentials")
        except BaseException:
            await self._api.close()
            raise
        self._token = answer.new_token
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._api.close()

    async def query(self, document: str, **variables: Any) -> Mapping[str, Any]:
        """The `data` of one operation."""
        return (await self._api.post(document, variables, token=self._token, timeout=READ_TIMEOUT_S)).data

    async def quantities(self, order: str) -> dict[str, int]:
        """Quantities by sku of the order with this id or code; raises LookupError if there is none."""
        for name in ("code", "id"):
            found = (await self.query(_ORDERS, options={"filter": {name: {"eq": order}}}))["orders"]["items"]
            if found:
                return {line["productVariant"]["sku"]: line["quantity"] for line in found[0]["lines"]}
        raise LookupError("Vendure has no such order")


async def read_order(admin_url: str, credentials: tuple[str, str], order: str) -> dict[str, int]:
    """What is in an order, by sku, as the administration sees it. `order` is its id or its code."""
    async with VendureAdmin(admin_url, *credentials) as admin:
        return await admin.quantities(order)
