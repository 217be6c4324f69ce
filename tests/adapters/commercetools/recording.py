"""Records what the emulator answers: `python -m tests.adapters.commercetools.recording` writes the fixtures anew.

`fixtures/commercetools/*.json` is what mapping is tested on; `documented/` there is written by hand, after its
documentation, and never recorded. The adapter's folder `emulator` holds the answers that are wrong, each the reason of
a known failure.
"""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import aiohttp

import legato_adapters.commercetools
from legato_adapters.commercetools.dev_server import CommercetoolsServer, running_commercetools
from tests.support.shared_server import PEERS

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures/commercetools"
EMULATOR = Path(legato_adapters.commercetools.__file__).parent / "emulator"

CODES = {"expand": "discountCodes[*].discountCode"}
ADDRESS = {"country": "DE", "city": "Berlin", "streetName": "Torstraße 1", "postalCode": "10119", "firstName": "Ada"}
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Project:
    """The emulator's API, without any of our layers."""

    def __init__(self, server: CommercetoolsServer, http: aiohttp.ClientSession, token: str) -> None:
        self._base = f"{server.url}/{server.projects[0]}"
        self._http = http
        self._headers = {"authorization": f"Bearer {token}"}

    @classmethod
    async def open(cls, server: CommercetoolsServer, http: aiohttp.ClientSession) -> "Project":
        basic = {"authorization": "Basic " + "cmVjb3JkZXI6cmVjb3JkZXI="}
        form = {"grant_type": "client_credentials"}
        async with http.post(f"{server.url}/oauth/token", data=form, headers=basic) as answer:
            return cls(server, http, (await answer.json())["access_token"])

    async def send(self, path: str, body: Any = None, **query: str) -> dict[str, Any]:
        """Status and body of one request."""
        method = "GET" if body is None else "POST"
        async with self._http.request(
            method, self._base + path, json=body, params=query, headers=self._headers
        ) as answer:
            return {"request": f"{method} {path}", "sent": body, "status": answer.status, "body": await answer.json()}

    async def get(self, path: str, **query: str) -> Any:
        return (await self.send(path, **query))["body"]

    async def update(self, path: str, resource: Any, *actions: Any, **query: str) -> dict[str, Any]:
        body = {"version": resource["version"], "actions": list(actions)}
        return await self.send(f"{path}/{resource['id']}", body, **query)


async def record(project: Project) -> dict[str, Any]:
    """Every fixture by its name."""
    told: dict[str, Any] = {}
    told["project"] = await project.get("")
    told["tax_categories"] = await project.get("/tax-categories")
    told["inventory"] = await project.get("/inventory", where='sku = "LAMP-DYNAMO"', expand="supplyChannel")
    told["product_projection"] = (
        await project.get("/product-projections", where='slug(en = "city-tyre")', expand="categories[*]")
    )["results"][0]
    search = {"query": {"fullText": {"field": "name", "language": "en", "value": "tyre"}}}
    shown = {"priceCurrency": "EUR", "priceCountry": "DE"}
    told["search"] = (await project.send("/products/search", {**search, "productProjectionParameters": shown}))["body"]

    custom = {
        "type": {"typeId": "type", "key": "legato"},
        "fields": {"legatoTenant": "acme", "legatoStore": "bicycles"},
    }
    draft = {"key": "recorded", "currency": "EUR", "country": "DE", "locale": "en", "custom": custom}
    told["cart_created"] = (await project.send("/carts", draft))["body"]
    told["emulator/cart_by_key"] = await project.send("/carts/key=recorded")
    cart = told["cart_created"]
    conflict = {"action": "addLineItem", "sku": "BELL-BRASS", "quantity": 10}
    cart = (await project.update("/carts", cart, conflict))["body"]
    told["conflict"] = await project.update("/carts", told["cart_created"], conflict)
    entered = await project.update("/carts", cart, {"action": "addDiscountCode", "code": "SPRING10"}, **CODES)
    told["emulator/discount_code"] = entered
    cart = entered["body"]
    actions = [
        {"action": "addLineItem", "sku": "TYRE-28-CRM", "quantity": 2},
        {"action": "setCustomerEmail", "email": "ada@shop.example"},
        {"action": "setShippingAddress", "address": ADDRESS},
    ]
    cart = (await project.update("/carts", cart, *actions, **CODES))["body"]
    told["matching_methods"] = await project.get("/shipping-methods/matching-cart", cartId=cart["id"])
    method = {"typeId": "shipping-method", "key": "standard"}
    told["emulator/shipping_in_totals"] = await project.update(
        "/carts", cart, {"action": "setShippingMethod", "shippingMethod": method}, **CODES
    )
    cart = told["cart"] = told["emulator/shipping_in_totals"]["body"]
    order = {"cart": {"typeId": "cart", "id": cart["id"]}, "version": cart["version"], "orderNumber": "AAAA-BBBB-CCCC"}
    told["order"] = (await project.send("/orders", order, **CODES))["body"]
    told["emulator/cart_after_ordering"] = await project.send(f"/carts/{cart['id']}")
    ordered = 'sku = "BELL-BRASS"'
    told["emulator/stock_after_ordering"] = await project.send("/inventory", where=ordered)
    again = {**order, "version": 1, "orderNumber": "DDDD-EEEE-FFFF"}
    told["emulator/order_of_an_old_version"] = await project.send("/orders", again)
    told["emulator/orders_not_sorted"] = await project.send("/orders", sort="createdAt desc")

    told["customer"] = (await project.get("/customers", limit="1"))["results"][0]
    signing_in = {"email": "ada@shop.example", "password": "correct horse"}
    told["emulator/login"] = await project.send("/login", signing_in)
    grace = {"email": "grace@shop.example", "authenticationMode": "ExternalAuth"}
    grace = (await project.send("/customers", grace))["body"]["customer"]
    taken = {"action": "changeEmail", "email": "ada@shop.example"}
    told["emulator/email_taken"] = await project.update("/customers", grace, taken)
    told["emulator/default_address_unset"] = await project.update(
        "/customers", told["emulator/email_taken"]["body"], {"action": "setDefaultShippingAddress"}
    )
    return told


def settled(value: Any, known: dict[str, str]) -> Any:
    """The same with ids and times that do not change from one recording to the next."""

    def uuid(match: re.Match[str]) -> str:
        return known.setdefault(match[0], f"00000000-0000-4000-8000-{len(known) + 1:012}")

    text = _UUID.sub(uuid, json.dumps(value))
    return json.loads(_TIME.sub("2026-11-25T12:00:00.000Z", text))


async def main() -> None:
    async with (
        running_commercetools(PEERS / "commercetools") as server,
        aiohttp.ClientSession() as http,
    ):
        known: dict[str, str] = {}
        for name, value in (await record(await Project.open(server, http))).items():
            text = json.dumps(settled(value, known), indent=1, ensure_ascii=False, sort_keys=True)
            wrong, _, plain = name.rpartition("/")
            ((EMULATOR if wrong else FIXTURES) / f"{plain}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
