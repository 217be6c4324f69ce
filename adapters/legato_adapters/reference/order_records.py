"""Orders as the table has them, and how something is noted on one: what orders, payments and shipments share."""

import sqlite3
from typing import NamedTuple

from legato.adapter.v1 import event_service_pb2
from legato.commerce.v1 import order_pb2
from legato_adapters.reference import events
from legato_adapters.reference.shared import NotFound, now, observed, row_id


class OrderRow(NamedTuple):
    """One row; `taken` is what the order took from the stock, as JSON."""

    id: int
    tenant: str
    taken: str
    body: bytes

    def message(self) -> order_pb2.Order:
        order = order_pb2.Order.FromString(self.body)
        order.provenance.CopyFrom(observed())
        return order


def load(connection: sqlite3.Connection, tenant: str, order_id: str) -> OrderRow:
    """The order; raises NotFound."""
    return _one(connection, "id = ? AND tenant = ?", (row_id(order_id), tenant))


def load_of_cart(connection: sqlite3.Connection, tenant: str, cart_id: str) -> OrderRow:
    """The order that a cart became; raises NotFound."""
    return _one(connection, "cart_id = ? AND tenant = ?", (cart_id, tenant))


def of_customer(
    connection: sqlite3.Connection, tenant: str, customer_id: str, before: int, limit: int
) -> list[OrderRow]:
    """Orders of a customer, newest first, with ids below `before`, or any if that is 0."""
    rows = connection.execute(
        "SELECT id, tenant, taken, body FROM orders WHERE tenant = ? AND customer_id = ? AND id < ?"
        " ORDER BY id DESC LIMIT ?",
        (tenant, customer_id, before or 2**62, limit),
    )
    return [OrderRow(*row) for row in rows]


def save(connection: sqlite3.Connection, row: OrderRow, order: order_pb2.Order, native_type: str) -> None:
    """Write an order that something happened to, and report it."""
    order.ClearField("provenance")
    order.refs[0].version = str(int(order.refs[0].version) + 1)
    connection.execute("UPDATE orders SET body = ? WHERE id = ?", (order.SerializeToString(), row.id))
    events.record(connection, row.tenant, event_service_pb2.CHANGED_ENTITY_ORDER, str(row.id), native_type)


def append_event(order: order_pb2.Order, event_type: "order_pb2.OrderEventType.ValueType") -> order_pb2.OrderEvent:
    """Note that something happened now."""
    return order.events.add(id=str(len(order.events) + 1), type=event_type, occurred_at=now())


def append_adjustment(
    order: order_pb2.Order, adjustment_type: "order_pb2.OrderAdjustmentType.ValueType"
) -> order_pb2.OrderAdjustment:
    """Note that what is owed changed now."""
    return order.adjustments.add(id=str(len(order.adjustments) + 1), type=adjustment_type, occurred_at=now())


def _one(connection: sqlite3.Connection, where: str, values: tuple[str | int, ...]) -> OrderRow:
    row = connection.execute(f"SELECT id, tenant, taken, body FROM orders WHERE {where}", values).fetchone()
    if row is None:
        raise NotFound("no such order")
    return OrderRow(*row)
