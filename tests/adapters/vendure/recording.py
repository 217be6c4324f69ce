"""What Vendure answers to the adapter's own queries, recorded for tests that need no server.

To record it again after a query has changed, with the server of `peers/vendure` listening on port 8320:

    python -m tests.adapters.vendure.recording http://127.0.0.1:8320
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from legato.commerce.v1 import address_pb2
from legato_adapters.vendure import queries
from legato_adapters.vendure.api import VendureApi, endpoint
from legato_adapters.vendure.mapping import address_input

FOLDER = Path(__file__).resolve().parents[1] / "fixtures/vendure"

ADA = address_pb2.Address(
    first_name="Ada", last_name="Brew", street="Lindenweg 1", postal_code="8010", city="Graz", country="AT"
)


def recorded(name: str) -> Any:
    """The `data` of a recorded answer."""
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))


class Shopper:
    """A session with an order, driven by hand."""

    def __init__(self, api: VendureApi) -> None:
        self._api = api
        self._token = ""

    async def ask(self, document: str, **variables: Any) -> Any:
        answer = await self._api.post(document, variables, token=self._token, timeout=20)
        self._token = answer.new_token or self._token
        return answer.data

    async def create(self) -> Any:
        return await self.ask(queries.create_order(note=True))

    async def change(self, field: str, **variables: Any) -> Any:
        return (await self.ask(queries.CHANGES[field], **variables))[field]

    async def add(self, sku: str, quantity: int) -> Any:
        found = await self.ask(queries.find_skus(1), s0=sku)
        variant = next(hit["productVariantId"] for hit in found["s0"]["items"] if hit["sku"] == sku)
        return await self.change("addItemToOrder", variant=variant, quantity=quantity)

    async def whole(self) -> Any:
        return await self.ask(queries.whole_order(note=True))


async def record(address: str) -> dict[str, Any]:
    """All answers, by name."""
    api = VendureApi(address)
    await api.open()
    try:
        nobody, shopper, patron = Shopper(api), Shopper(api), Shopper(api)
        answers = {"channel": await nobody.ask(queries.CHANNEL), "order_fields": await nobody.ask(queries.ORDER_FIELDS)}
        answers["product"] = await nobody.ask(queries.PRODUCT, slug="ethiopia-yirgacheffe")
        answers["order_created"] = await shopper.create()
        await shopper.add("PAPER-02", 2)
        await shopper.change("applyCouponCode", code="ESPRESSO20")
        answers["order_code_without_effect"] = await shopper.whole()
        await shopper.add("LIN-250-BEAN", 3)
        answers["order_code_on_a_line"] = await shopper.whole()
        await shopper.change("removeCouponCode", code="ESPRESSO20")
        await shopper.change("applyCouponCode", code="ROAST10")
        await shopper.change("setCustomerForOrder", input=_customer("ada@example.com"))
        await shopper.change("setOrderShippingAddress", input=address_input(ADA))
        await shopper.change("setOrderBillingAddress", input=address_input(ADA))
        await shopper.change("setOrderShippingMethod", methods=["1"])
        await shopper.change("setOrderCustomFields", input={"customFields": {"note": "Ring twice"}})
        answers["order_complete"] = await shopper.whole()
        answers["refusal_of_stock"] = {"addItemToOrder": await shopper.add("KEN-250-BEAN", 7)}
        await patron.create()
        await patron.add("GRIND-38-BLACK", 1)
        await patron.change("setOrderShippingMethod", methods=["4"])
        answers["order_low_stock"] = await patron.whole()
        return answers
    finally:
        await api.close()


def _customer(email: str) -> dict[str, str]:
    return {"emailAddress": email, "firstName": "Ada", "lastName": "Brew"}


def main() -> None:
    for name, data in asyncio.run(record(endpoint(sys.argv[1]))).items():
        text = json.dumps(data, ensure_ascii=False, indent=1)
        (FOLDER / f"{name}.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
