"""From a placed order of Vendure to the canonical order. Pure.

Vendure keeps no picture of the moment: when an order is cancelled its lines and totals become those of nothing. The
quantities that were ordered remain.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from legato.adapter.v1 import request_context_pb2
from legato.commerce.v1 import money_pb2, order_pb2
from legato_adapters.vendure.mapping import CartMapping, id_order, money, timestamp
from legato_adapters.vendure.notebook import Notebook

__all__ = ["held_elsewhere", "order_message", "state_of_order"]

Json = Mapping[str, Any]


def order_message(source: Json, context: request_context_pb2.RequestContext, *, tax_included: bool) -> order_pb2.Order:
    """The order; its market is that of `context`, save the currency."""
    cart_id = (source.get("customFields") or {}).get("cartId") or ""
    notebook = Notebook(context.tenant, cart_id, "", source["id"], source["code"])
    cart = CartMapping(source, (), tax_included=tax_included, notebook=notebook).cart(context)
    order = order_pb2.Order(
        id=source["id"],
        number=source["code"],
        cart_id=cart_id,
        tenant=context.tenant,
        store=context.store,
        country=context.country,
        currency_code=cart.currency_code,
        locale=context.locale,
        customer_id=(source["customer"] or {}).get("id", ""),
        email=cart.email,
        note=cart.note,
        placed_at=timestamp(source["orderPlacedAt"]),
        discount_codes=cart.discount_codes,
        totals=cart.totals,
        refs=cart.refs,
        payments=_payments(source, cart.currency_code),
        events=_events(source),
    )
    order.state, order.native_status = state_of_order(source["state"])
    if cart.fulfilment.HasField("selected"):
        order.delivery.CopyFrom(cart.fulfilment.selected)
    for name in ("shipping_address", "billing_address"):
        if cart.HasField(name):
            getattr(order, name).CopyFrom(getattr(cart, name))
    lines = {line["id"]: line for line in source["lines"]}
    fulfilled = _fulfilled(source)
    for item in cart.lines:
        line = order.lines.add(item=item, current_steps=item.quantity.steps, fulfilled_steps=fulfilled.get(item.id, 0))
        line.item.quantity.steps = lines[item.id]["orderPlacedQuantity"]
    return order


def state_of_order(state: str) -> tuple["order_pb2.OrderState.ValueType", str]:
    """The canonical state, and the native one where it says more."""
    match state:
        case "Cancelled":
            return order_pb2.ORDER_STATE_CANCELED, ""
        case "Delivered":
            return order_pb2.ORDER_STATE_COMPLETED, ""
        case (
            "PaymentAuthorized"
            | "PaymentSettled"
            | "PartiallyShipped"
            | "Shipped"
            | "PartiallyDelivered"
            | "Modifying"
            | "ArrangingAdditionalPayment"
        ):
            return order_pb2.ORDER_STATE_OPEN, state
    return order_pb2.ORDER_STATE_UNSPECIFIED, state


def _counting(payments: Iterable[Json] | None) -> Iterable[Json]:
    """Those that were not refused, oldest first."""
    counting = (payment for payment in payments or () if payment["state"] not in {"Declined", "Error", "Cancelled"})
    return sorted(counting, key=lambda payment: id_order(payment["id"]))


def held_elsewhere(payments: Iterable[order_pb2.OrderPayment]) -> list[dict[str, Any]]:
    """What is noted on Vendure's own payment of what payment backends hold."""
    return [
        {
            "id": payment.payment_id,
            "system": payment.system,
            "authorized": [payment.authorized.units, payment.authorized.scale],
            "captured": [payment.captured.units, payment.captured.scale],
        }
        for payment in payments
    ]


def _payments(source: Json, currency: str) -> Iterable[order_pb2.OrderPayment]:
    for payment in _counting(source["payments"]):
        held = (payment["metadata"] or {}).get("legato")
        if not held:
            yield _payment(payment, currency)
            continue
        for other in held:
            authorized, captured = (
                money_pb2.Money(currency_code=currency, units=units, scale=scale)
                for units, scale in (other["authorized"], other["captured"])
            )
            yield order_pb2.OrderPayment(
                payment_id=other["id"], system=other["system"], authorized=authorized, captured=captured
            )


def _payment(payment: Json, currency: str) -> order_pb2.OrderPayment:
    refunded = sum(refund["total"] for refund in payment["refunds"] if refund["state"] != "Failed")
    return order_pb2.OrderPayment(
        payment_id=payment["id"],
        system=payment["method"],
        authorized=money(currency, payment["amount"]),
        captured=money(currency, payment["amount"] if payment["state"] == "Settled" else 0),
        refunded=money(currency, refunded),
    )


def _fulfilled(source: Json) -> dict[str, int]:
    fulfilled: dict[str, int] = {}
    for fulfillment in source["fulfillments"] or ():
        if fulfillment["state"] in {"Shipped", "Delivered"}:
            for line in fulfillment["lines"]:
                fulfilled[line["orderLineId"]] = fulfilled.get(line["orderLineId"], 0) + line["quantity"]
    return fulfilled


def _events(source: Json) -> Iterable[order_pb2.OrderEvent]:
    yield order_pb2.OrderEvent(
        id="placed", type=order_pb2.ORDER_EVENT_TYPE_PLACED, occurred_at=timestamp(source["orderPlacedAt"])
    )
    if source["state"] == "Cancelled":
        yield order_pb2.OrderEvent(
            id="canceled", type=order_pb2.ORDER_EVENT_TYPE_CANCELED, occurred_at=timestamp(source["updatedAt"])
        )
