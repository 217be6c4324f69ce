"""How goods reach shoppers: where they may go, where they may be collected, and what was done about it.

Every function of `Shipments` runs on the database's thread.
"""

import sqlite3
from collections.abc import Sequence

from legato.adapter.v1 import fulfilment_service_pb2
from legato.commerce.v1 import cart_pb2, fulfilment_pb2, location_pb2, order_pb2, ref_pb2, shipment_pb2
from legato_adapters.reference import carts
from legato_adapters.reference.catalog import Catalog, Market
from legato_adapters.reference.ledger import Ledger, Outcome, Refused
from legato_adapters.reference.order_records import append_event, load, save
from legato_adapters.reference.shared import SYSTEM, Malformed, NotFound, now, observed

COMMANDS = ("ship", "hand_over")

_Reason = fulfilment_service_pb2.FulfilmentRejectionReason
_Wish = fulfilment_service_pb2.ShipOrder | fulfilment_service_pb2.HandOverOrder


class Shipments:
    """The shipments in the database."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.ledger = Ledger("fulfilment", self._execute, _answer)

    def options(
        self, connection: sqlite3.Connection, tenant: str, cart_id: str, country: str
    ) -> Sequence[fulfilment_pb2.DeliveryOption]:
        """What a cart could choose if it went to a country; raises NotFound."""
        row = carts.seen_by(carts.load(connection, cart_id), tenant)
        if row is None:
            raise NotFound("no such cart")
        cart = cart_pb2.Cart.FromString(row.body)
        market = self._catalog.market(country, cart.currency_code)
        if market is None or country != cart.country:
            return ()
        return self._catalog.fulfilment(market, cart.locale, "").available

    def pickup_locations(self, market: Market) -> list[location_pb2.Location]:
        """Where shoppers of a market collect what they bought."""
        return [
            location_pb2.Location(
                id=location,
                name=self._catalog.locations[location],
                address=address,
                refs=[ref_pb2.Ref(system=SYSTEM, type="location", id=location)],
            )
            for location, address in self._catalog.addresses.items()
            if any(method.location == location and market.country in method.prices for method in self._catalog.delivery)
        ]

    def list(self, connection: sqlite3.Connection, tenant: str, order_id: str) -> list[shipment_pb2.Shipment]:
        """The shipments of an order, oldest first; raises NotFound."""
        order = load(connection, tenant, order_id)
        rows = connection.execute("SELECT body FROM shipments WHERE order_id = ? ORDER BY id", (order.id,))
        return [_message(body) for (body,) in rows]

    def _execute(
        self, connection: sqlite3.Connection, request: fulfilment_service_pb2.ApplyFulfilmentCommandRequest
    ) -> Outcome:
        command = request.command
        kind = command.WhichOneof("command")
        if kind is None:
            raise Malformed("command must be set")
        wish: _Wish = command.ship if kind == "ship" else command.hand_over
        row = load(connection, request.context.tenant, wish.order_id)
        order = row.message()
        if order.state == order_pb2.ORDER_STATE_CANCELED:
            raise _refuse(_Reason.FULFILMENT_REJECTION_REASON_ORDER_NOT_OPEN, "the order is called off")
        if kind == "hand_over" and command.hand_over.location_id not in self._catalog.locations:
            raise _refuse(_Reason.FULFILMENT_REJECTION_REASON_LOCATION_NOT_FOUND, "there is no such location")
        parts = _parts(order, wish)

        made = connection.execute(
            "INSERT INTO shipments (tenant, order_id, body) VALUES (?, ?, x'')", (row.tenant, row.id)
        )
        shipment = shipment_pb2.Shipment(
            id=str(made.lastrowid),
            order_id=order.id,
            parts=parts,
            created_at=now(),
            refs=[ref_pb2.Ref(system=SYSTEM, type="shipment", id=str(made.lastrowid))],
        )
        if kind == "ship":
            shipment.state = shipment_pb2.SHIPMENT_STATE_SHIPPED
            shipment.parcel.CopyFrom(command.ship.parcel)
            event = append_event(order, order_pb2.ORDER_EVENT_TYPE_SHIPPED)
        else:
            shipment.state = shipment_pb2.SHIPMENT_STATE_DELIVERED
            shipment.hand_over.location_id = command.hand_over.location_id
            event = append_event(order, order_pb2.ORDER_EVENT_TYPE_HANDED_OVER)
        connection.execute("UPDATE shipments SET body = ? WHERE id = ?", (shipment.SerializeToString(), made.lastrowid))
        event.shipment_id = shipment.id
        event.parts.extend(parts)
        lines = {line.item.id: line for line in order.lines}
        for part in parts:
            lines[part.line_id].fulfilled_steps += part.steps
        if all(line.fulfilled_steps == line.current_steps for line in order.lines):
            order.state = order_pb2.ORDER_STATE_COMPLETED
        save(connection, row, order, "order.shipped" if kind == "ship" else "order.handed_over")
        return Outcome(shipment.id)


def _parts(order: order_pb2.Order, wish: _Wish) -> list[order_pb2.OrderLinePart]:
    """What is to go: all that is left where nothing is named."""
    left = {line.item.id: line.current_steps - line.fulfilled_steps for line in order.lines}
    if not wish.parts:
        parts = [order_pb2.OrderLinePart(line_id=line_id, steps=steps) for line_id, steps in left.items() if steps]
        if not parts:
            raise _refuse(_Reason.FULFILMENT_REJECTION_REASON_QUANTITY_LIMIT, "nothing is left")
        return parts
    if len({part.line_id for part in wish.parts}) < len(wish.parts):
        raise Malformed("a line is named twice")
    for part in wish.parts:
        if part.steps < 1:
            raise Malformed("parts.steps must be 1 or more")
        if part.line_id not in left:
            raise _refuse(_Reason.FULFILMENT_REJECTION_REASON_LINE_NOT_FOUND, "the order has no such line")
        if part.steps > left[part.line_id]:
            reason = _Reason.FULFILMENT_REJECTION_REASON_QUANTITY_LIMIT
            raise _refuse(reason, f"{left[part.line_id]} of line {part.line_id} are left")
    return list(wish.parts)


def _message(body: bytes) -> shipment_pb2.Shipment:
    shipment = shipment_pb2.Shipment.FromString(body)
    shipment.provenance.CopyFrom(observed())
    return shipment


def _answer(
    connection: sqlite3.Connection, tenant: str, outcome: Outcome
) -> fulfilment_service_pb2.ApplyFulfilmentCommandResponse:
    response = fulfilment_service_pb2.ApplyFulfilmentCommandResponse()
    if outcome.entity_id:
        where = (outcome.entity_id, tenant)
        row = connection.execute("SELECT body FROM shipments WHERE id = ? AND tenant = ?", where).fetchone()
        response.shipment.CopyFrom(_message(row[0]))
    if outcome.rejection is not None:
        response.rejection.MergeFromString(outcome.rejection)
    return response


def _refuse(reason: "_Reason.ValueType", message: str) -> Refused:
    return Refused(fulfilment_service_pb2.FulfilmentRejection(reason=reason, message=message))
