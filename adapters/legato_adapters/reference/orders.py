"""Orders: what became of carts that were bought. Every function here runs on the database's thread."""

import json
import sqlite3
from collections.abc import Sequence

from legato.adapter.v1 import event_service_pb2, order_service_pb2
from legato.commerce.v1 import cart_pb2, money_pb2, order_pb2, ref_pb2, total_pb2
from legato_adapters.reference import carts, events
from legato_adapters.reference.catalog import Catalog
from legato_adapters.reference.ledger import Ledger, Outcome, Refused
from legato_adapters.reference.order_records import (
    OrderRow,
    append_adjustment,
    append_event,
    load,
    load_of_cart,
    of_customer,
    save,
)
from legato_adapters.reference.payments import holding
from legato_adapters.reference.shared import SYSTEM, Malformed, NotFound, VersionMismatch, now
from legato_adapters.reference.stock import Stock

COMMANDS = ("place", "cancel")

_Reason = order_service_pb2.OrderRejectionReason


def _refuse(reason: "_Reason.ValueType", message: str, *paths: str, entity_id: str = "") -> Refused:
    return Refused(order_service_pb2.OrderRejection(reason=reason, message=message, paths=paths), entity_id)


class Orders:
    """The orders in the database."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.ledger = Ledger("order", self._execute, _answer)

    def get(
        self, connection: sqlite3.Connection, request: order_service_pb2.GetOrderRequest
    ) -> order_service_pb2.GetOrderResponse:
        """One order; raises NotFound or Malformed."""
        tenant = request.context.tenant
        match request.WhichOneof("key"):
            case "order_id":
                row = load(connection, tenant, request.order_id)
            case "number":
                row = load(connection, tenant, request.number.removeprefix("R-"))
            case "cart_id":
                row = load_of_cart(connection, tenant, request.cart_id)
            case _:
                raise Malformed("an order is needed")
        return order_service_pb2.GetOrderResponse(order=row.message())

    def list(
        self, connection: sqlite3.Connection, tenant: str, customer_id: str, before: int, limit: int
    ) -> list[order_pb2.Order]:
        """Orders of a customer, newest first, with ids below `before`, or any if that is 0."""
        return [row.message() for row in of_customer(connection, tenant, customer_id, before, limit)]

    def _execute(self, connection: sqlite3.Connection, request: order_service_pb2.ApplyOrderCommandRequest) -> Outcome:
        match request.command.WhichOneof("command"):
            case "place":
                return Outcome(self._place(connection, request))
            case "cancel":
                return Outcome(_cancel(connection, request.context.tenant, request.command.cancel.order_id))
            case None:
                raise Malformed("command must be set")

    def _place(self, connection: sqlite3.Connection, request: order_service_pb2.ApplyOrderCommandRequest) -> str:
        tenant, wish = request.context.tenant, request.command.place
        row = carts.seen_by(carts.load(connection, wish.cart_id), tenant)
        if row is None:
            raise NotFound("no such cart")
        if request.expected_version and request.expected_version != str(row.version):
            raise VersionMismatch(f"the cart has version {row.version}")
        cart = cart_pb2.Cart.FromString(row.body)
        _check_complete(cart)
        stock = Stock(connection)
        variants = [self._catalog.by_sku[line.sku] for line in cart.lines]
        short = [
            f"line/{line.id}"
            for line, left in zip(cart.lines, stock.left_of(variants), strict=True)
            if line.quantity.steps > left
        ]
        if short:
            raise _refuse(_Reason.ORDER_REJECTION_REASON_INSUFFICIENT_STOCK, "not enough in stock", *short)
        _check_payments(connection, tenant, cart, wish.payments)

        first = cart.fulfilment.selected.location_id
        taken = [
            part
            for line, variant in zip(cart.lines, variants, strict=True)
            for part in stock.take(variant, line.quantity.steps, first)
        ]
        made = connection.execute(
            "INSERT INTO orders (tenant, cart_id, customer_id, taken, body) VALUES (?, ?, ?, ?, x'')",
            (tenant, cart.id, cart.customer_id, json.dumps(taken)),
        )
        order = _order_of(cart, str(made.lastrowid))
        order.payments.extend(wish.payments)
        save(connection, OrderRow(made.lastrowid or 0, tenant, "", b""), order, "order.placed")
        carts.mark_ordered(connection, row, cart)
        events.record(connection, tenant, event_service_pb2.CHANGED_ENTITY_CART, cart.id, "cart.ordered")
        _record_stock(connection, tenant, [line.sku for line in cart.lines])
        return order.id


def _answer(
    connection: sqlite3.Connection, tenant: str, outcome: Outcome
) -> order_service_pb2.ApplyOrderCommandResponse:
    response = order_service_pb2.ApplyOrderCommandResponse()
    if outcome.entity_id:
        response.order.CopyFrom(load(connection, tenant, outcome.entity_id).message())
    if outcome.rejection is not None:
        response.rejection.MergeFromString(outcome.rejection)
    return response


def _check_complete(cart: cart_pb2.Cart) -> None:
    if cart.state != cart_pb2.CART_STATE_ACTIVE:
        raise _refuse(_Reason.ORDER_REJECTION_REASON_CART_NOT_ACTIVE, "the cart cannot be ordered any more")
    if not cart.lines:
        raise _refuse(_Reason.ORDER_REJECTION_REASON_CART_EMPTY, "the cart has no lines")
    missing = []
    if not cart.email:
        missing.append("email")
    if not cart.fulfilment.HasField("selected"):
        missing.append("fulfilment")
    elif not cart.fulfilment.selected.location_id and not cart.HasField("shipping_address"):
        missing.append("address/shipping")
    if missing:
        reason = _Reason.ORDER_REJECTION_REASON_CART_INCOMPLETE
        raise _refuse(reason, f"missing: {', '.join(missing)}", *missing)


def _check_payments(
    connection: sqlite3.Connection, tenant: str, cart: cart_pb2.Cart, given: Sequence[order_pb2.OrderPayment]
) -> None:
    """What is paid must be what the cart costs; what this backend holds itself, it looks up."""
    if not given:
        return
    total = _grand_total(cart.totals)
    amounts = [
        holding(connection, tenant, payment.payment_id, cart.id) if payment.system == SYSTEM else payment.authorized
        for payment in given
    ]
    same_kind = all((a.currency_code, a.scale) == (total.currency_code, total.scale) for a in amounts)
    twice = len({(payment.system, payment.payment_id) for payment in given}) < len(given)
    if twice or not same_kind or sum(amount.units for amount in amounts) != total.units:
        reason = _Reason.ORDER_REJECTION_REASON_PAYMENT_MISMATCH
        raise _refuse(reason, "the payments are not what the cart costs")


def _grand_total(totals: total_pb2.Totals) -> money_pb2.Money:
    return next(item.amount for item in totals.items if item.type == total_pb2.TOTAL_TYPE_GRAND_TOTAL)


def _order_of(cart: cart_pb2.Cart, order_id: str) -> order_pb2.Order:
    """The snapshot. Everything that the cart still says after this is the past."""
    number = f"R-{order_id}"
    order = order_pb2.Order(
        id=order_id,
        number=number,
        cart_id=cart.id,
        tenant=cart.tenant,
        store=cart.store,
        country=cart.country,
        currency_code=cart.currency_code,
        locale=cart.locale,
        customer_id=cart.customer_id,
        email=cart.email,
        note=cart.note,
        state=order_pb2.ORDER_STATE_OPEN,
        placed_at=now(),
        lines=[order_pb2.OrderLine(item=line, current_steps=line.quantity.steps) for line in cart.lines],
        discount_codes=cart.discount_codes,
        totals=cart.totals,
        delivery=cart.fulfilment.selected,
        refs=[ref_pb2.Ref(system=SYSTEM, type="order", id=order_id, key=number, version="0")],
    )
    if not cart.fulfilment.selected.location_id:
        order.shipping_address.CopyFrom(cart.shipping_address)
    if cart.HasField("billing_address"):
        order.billing_address.CopyFrom(cart.billing_address)
    elif order.HasField("shipping_address"):
        order.billing_address.CopyFrom(order.shipping_address)
    append_event(order, order_pb2.ORDER_EVENT_TYPE_PLACED)
    return order


def _cancel(connection: sqlite3.Connection, tenant: str, order_id: str) -> str:
    row = load(connection, tenant, order_id)
    order = row.message()
    if order.state != order_pb2.ORDER_STATE_OPEN or any(line.fulfilled_steps for line in order.lines):
        reason = _Reason.ORDER_REJECTION_REASON_NOT_CANCELABLE
        raise _refuse(reason, "the order is on its way, completed or cancelled", entity_id=order.id)
    order.state = order_pb2.ORDER_STATE_CANCELED
    append_event(order, order_pb2.ORDER_EVENT_TYPE_CANCELED)
    total = _grand_total(order.totals)
    adjustment = append_adjustment(order, order_pb2.ORDER_ADJUSTMENT_TYPE_CANCELLATION)
    adjustment.amount.CopyFrom(total)
    adjustment.amount.units = -total.units
    for line in order.lines:
        adjustment.parts.add(line_id=line.item.id, steps=line.current_steps)
        line.current_steps = 0
    save(connection, row, order, "order.canceled")
    Stock(connection).give_back([tuple(part) for part in json.loads(row.taken)])
    _record_stock(connection, tenant, [line.item.sku for line in order.lines])
    return order.id


def _record_stock(connection: sqlite3.Connection, tenant: str, skus: list[str]) -> None:
    for sku in skus:
        events.record(connection, tenant, event_service_pb2.CHANGED_ENTITY_AVAILABILITY, sku, "stock.changed")
