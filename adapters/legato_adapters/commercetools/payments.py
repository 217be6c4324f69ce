"""What payment backends hold, written down: one Payment object each, with a transaction for each step."""

import hashlib
from collections.abc import Sequence
from typing import Any

from legato.commerce.v1 import money_pb2, order_pb2
from legato_adapters.commercetools.api import Api, Json, codes
from legato_adapters.http import Call, Malformed, Refused

__all__ = ["Payments", "cents", "draft"]


class Payments:
    """The project's Payment objects."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def attach(
        self,
        call: Call,
        cart: Json,
        payments: Sequence[order_pb2.OrderPayment],
        digits: int,
        query: Sequence[tuple[str, str]],
    ) -> Json:
        """The cart, with an object for each payment, in a currency with so many digits. Nothing is made twice."""
        ids = [await self._ensure(call, draft(payment, digits)) for payment in payments]

        async def decide(current: Json) -> list[Json]:
            info = current.get("paymentInfo") or {"payments": []}
            present = {reference["id"] for reference in info["payments"]}
            return [
                {"action": "addPayment", "payment": {"typeId": "payment", "id": payment_id}}
                for payment_id in ids
                if payment_id not in present
            ]

        return await self._api.revise(call, "/carts/{id}", cart, decide, query)

    async def _ensure(self, call: Call, wanted: Json) -> str:
        found = await self._api.find(call, "/payments/key={key}", key=wanted["key"])
        if found is None:
            try:
                found = await self._api.post(call, "/payments", wanted)
            except Refused as refused:
                if "DuplicateField" not in codes(refused):
                    raise
                found = await self._api.get(call, "/payments/key={key}", key=wanted["key"])
        payment_id = found["id"]
        if not isinstance(payment_id, str):
            raise Malformed("commercetools answered with a payment without an id")
        return payment_id


def draft(payment: order_pb2.OrderPayment, digits: int) -> dict[str, Any]:
    """The object for a payment in a currency with so many digits; its key is made of the payment's own name."""
    steps = (("Authorization", payment.authorized), ("Charge", payment.captured), ("Refund", payment.refunded))
    name = f"{payment.system}\0{payment.payment_id}"
    return {
        "key": f"legato-{hashlib.sha256(name.encode()).hexdigest()[:40]}",
        "interfaceId": payment.payment_id,
        "amountPlanned": _amount(payment.authorized, digits),
        "paymentMethodInfo": {"paymentInterface": payment.system},
        "transactions": [
            {"type": kind, "amount": _amount(money, digits), "state": "Success", "interactionId": payment.payment_id}
            for kind, money in steps
            if money.units
        ],
    }


def cents(money: money_pb2.Money, digits: int) -> int | None:
    """The amount counted as its currency is; None where it has a part that is smaller than that."""
    units, rest = divmod(money.units * 10**digits, 10**money.scale)
    return None if rest else units


def _amount(money: money_pb2.Money, digits: int) -> dict[str, Any]:
    return {"currencyCode": money.currency_code, "centAmount": cents(money, digits)}
