"""From commercetools' orders to the canonical ones. Pure."""

from collections.abc import Sequence

from legato.adapter.v1 import request_context_pb2
from legato.commerce.v1 import money_pb2, order_pb2, ref_pb2
from legato_adapters.commercetools import marks
from legato_adapters.commercetools.api import SYSTEM, Json
from legato_adapters.commercetools.mapping import CartMapping, money, now, owner_of, timestamp
from legato_adapters.commercetools.project import Project

__all__ = ["order", "payment"]

_STATES = {
    "Open": order_pb2.ORDER_STATE_OPEN,
    "Confirmed": order_pb2.ORDER_STATE_OPEN,
    "Complete": order_pb2.ORDER_STATE_COMPLETED,
    "Cancelled": order_pb2.ORDER_STATE_CANCELED,
}


def order(source: Json, project: Project, context: request_context_pb2.RequestContext) -> order_pb2.Order:
    """An order whose discount codes and payments were expanded.

    commercetools keeps no list of what happened: the events are what its state tells. It is the time of the last change
    that a cancellation is said to be of.
    """
    common = CartMapping(source, project, context)
    fields, owner = marks.fields(source), owner_of(source)
    native = source["orderState"]
    state = _STATES.get(native, order_pb2.ORDER_STATE_UNSPECIFIED)
    canceled = state == order_pb2.ORDER_STATE_CANCELED
    mapped = order_pb2.Order(
        id=source["id"],
        number=source.get("orderNumber") or "",
        cart_id=fields.get(marks.CART) or "",
        tenant=context.tenant,
        store=fields.get(marks.STORE) or "",
        country=source.get("country") or "",
        currency_code=common.currency,
        locale=source.get("locale") or "",
        customer_id=owner[1] if owner and owner[0] == "customer_id" else "",
        email=source.get("customerEmail") or "",
        note=fields.get(marks.NOTE) or "",
        state=state,
        native_status=source.get("shipmentState") or ("" if native in {"Open", "Complete", "Cancelled"} else native),
        placed_at=timestamp(source["createdAt"]),
        discount_codes=common.discount_codes(),
        totals=common.totals(),
        delivery=common.delivery(),
        payments=[payment(reference["obj"], common.currency) for reference in _payments(source)],
        refs=[
            ref_pb2.Ref(
                system=SYSTEM,
                type="Order",
                id=source["id"],
                key=source.get("orderNumber") or "",
                version=str(source["version"]),
            )
        ],
        provenance=now(),
    )
    sent = _sent(source)
    for line in common.lines():
        steps = line.quantity.steps
        fulfilled = min(sent.get(line.id, 0), steps)
        mapped.lines.add(item=line, current_steps=0 if canceled else steps, fulfilled_steps=fulfilled)
    common.put_addresses(mapped)
    mapped.events.add(id="placed", type=order_pb2.ORDER_EVENT_TYPE_PLACED, occurred_at=mapped.placed_at)
    if canceled:
        _note_cancellation(mapped, source)
    return mapped


def _note_cancellation(mapped: order_pb2.Order, source: Json) -> None:
    when = timestamp(source["lastModifiedAt"])
    mapped.events.add(id="canceled", type=order_pb2.ORDER_EVENT_TYPE_CANCELED, occurred_at=when)
    less = money_pb2.Money()
    less.CopyFrom(mapped.totals.items[-1].amount)
    less.units = -less.units
    parts = [
        order_pb2.OrderLinePart(line_id=line.item.id, steps=line.item.quantity.steps)
        for line in mapped.lines
        if line.item.quantity.steps
    ]
    mapped.adjustments.add(
        id="canceled",
        type=order_pb2.ORDER_ADJUSTMENT_TYPE_CANCELLATION,
        occurred_at=when,
        parts=parts,
        amount=less,
    )


def payment(source: Json, currency: str) -> order_pb2.OrderPayment:
    """What became of a payment, as its transactions say."""
    told = (step.get("interactionId") for step in source["transactions"] if step.get("interactionId"))
    mapped = order_pb2.OrderPayment(
        payment_id=source.get("interfaceId") or next(told, source["id"]),
        system=(source.get("paymentMethodInfo") or {}).get("paymentInterface") or SYSTEM,
    )
    sums = {"Authorization": mapped.authorized, "Charge": mapped.captured, "Refund": mapped.refunded}
    for step in source["transactions"]:
        target = sums.get(step["type"])
        if target is None or step["state"] != "Success":
            continue
        amount = money(step["amount"], currency)
        amount.units += target.units
        target.CopyFrom(amount)
    return mapped


def _payments(source: Json) -> Sequence[Json]:
    info = source.get("paymentInfo") or {"payments": []}
    found: Sequence[Json] = [reference for reference in info["payments"] if "obj" in reference]
    return found


def _sent(source: Json) -> dict[str, int]:
    """How much of each line is in a delivery."""
    sent: dict[str, int] = {}
    for delivery in (source.get("shippingInfo") or {}).get("deliveries") or ():
        for item in delivery["items"]:
            sent[item["id"]] = sent.get(item["id"], 0) + item["quantity"]
    return sent
