"""Carts as transactions: who may see them, command ids, versions. Every function here runs on the database's thread.

A command's outcome is remembered in the transaction that has its effect, so a repeat has no second effect, even if it
comes years later or through another hub.
"""

import hashlib
import sqlite3
import time
from typing import NamedTuple

from legato.adapter.v1 import cart_service_pb2
from legato.commerce.v1 import cart_intent_pb2, cart_pb2, ref_pb2
from legato_adapters.reference.catalog import Catalog
from legato_adapters.reference.intents import CartChange, Refusal
from legato_adapters.reference.priced_cart import reprice
from legato_adapters.reference.shared import SYSTEM, CommandIdReused, DeadlinePassed, NotFound, VersionMismatch, now
from legato_adapters.reference.stock import Stock


class Row(NamedTuple):
    """A cart as the table has it."""

    tenant: str
    version: int
    next_line: int
    body: bytes


class Carts:
    """The carts in the database, priced from a catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def get(self, connection: sqlite3.Connection, tenant: str, cart_id: str) -> cart_service_pb2.GetCartResponse:
        """The cart; raises NotFound."""
        row = seen_by(load(connection, cart_id), tenant)
        if row is None:
            raise NotFound("no such cart")
        response = cart_service_pb2.GetCartResponse(version=str(row.version))
        _show(row.body, response.cart)
        return response

    def apply(
        self, connection: sqlite3.Connection, request: cart_service_pb2.ApplyCommandRequest, deadline: float | None
    ) -> cart_service_pb2.ApplyCommandResponse:
        """Execute a command once. `deadline` is on the monotonic clock.

        Raises, all without any effect: NotFound, CommandIdReused, VersionMismatch, DeadlinePassed, Malformed.
        """
        if deadline is not None and time.monotonic() >= deadline:
            raise DeadlinePassed("the deadline passed before the command began")
        creates = request.intent.HasField("create_cart")
        row = load(connection, request.cart_id)
        visible = seen_by(row, request.context.tenant)
        if visible is None and not creates:
            raise NotFound("no such cart")
        body_hash = _meaning(request.intent)
        known = _recall(connection, request.cart_id, request.command_id)
        if known is not None:
            if known.body_hash != body_hash:
                raise CommandIdReused("the command id came before with another body")
            return known.answer(visible)
        if request.expected_version and visible is not None and request.expected_version != str(visible.version):
            raise VersionMismatch(f"the cart has version {visible.version}")
        rejection: cart_service_pb2.Rejection | None = None
        line_id = ""
        try:
            if creates:
                visible = self._create(connection, request, row, visible)
            elif visible is not None:
                visible, line_id = self._change(connection, request, visible)
        except Refusal as refusal:
            rejection = refusal.rejection
        outcome = _Outcome(body_hash, rejection.SerializeToString() if rejection is not None else None, line_id)
        connection.execute(
            "INSERT INTO commands (cart_id, command_id, body_hash, rejection, line_id) VALUES (?, ?, ?, ?, ?)",
            (request.cart_id, request.command_id, *outcome),
        )
        return outcome.answer(visible)

    def resolve(
        self, connection: sqlite3.Connection, call: cart_service_pb2.ApplyCommandRequest
    ) -> cart_service_pb2.ResolveCommandResponse:
        """Whether the command was executed. The table of commands knows, so the answer is never UNKNOWN."""
        row = seen_by(load(connection, call.cart_id), call.context.tenant)
        known = _recall(connection, call.cart_id, call.command_id)
        if known is not None and known.body_hash == _meaning(call.intent):
            return cart_service_pb2.ResolveCommandResponse(
                resolution=cart_service_pb2.RESOLUTION_APPLIED, response=known.answer(row)
            )
        return cart_service_pb2.ResolveCommandResponse(
            resolution=cart_service_pb2.RESOLUTION_NOT_APPLIED, response=_Outcome(b"", None, "").answer(row)
        )

    def _create(
        self,
        connection: sqlite3.Connection,
        request: cart_service_pb2.ApplyCommandRequest,
        taken: Row | None,
        visible: Row | None,
    ) -> Row:
        if taken is not None:
            reason = "the cart id is taken" if visible is not None else "the cart id cannot be used"
            raise Refusal(cart_service_pb2.REJECTION_REASON_CART_EXISTS, reason)
        wanted, context = request.intent.create_cart, request.context
        country = wanted.country or context.country
        market = self._catalog.market(country, wanted.currency_code or context.currency_code)
        if market is None:
            raise Refusal(cart_service_pb2.REJECTION_REASON_UNKNOWN_CURRENCY, "the market is not served")
        cart = cart_pb2.Cart(
            id=request.cart_id,
            tenant=context.tenant,
            store=wanted.store or context.store,
            country=market.country,
            currency_code=market.currency,
            locale=wanted.locale or context.locale or market.locale,
            state=cart_pb2.CART_STATE_ACTIVE,
            refs=[ref_pb2.Ref(system=SYSTEM, type="cart", id=request.cart_id)],
            created_at=now(),
        )
        if (owner := request.owner.WhichOneof("owner")) is not None:
            setattr(cart, owner, getattr(request.owner, owner))
        reprice(self._catalog, Stock(connection), market, cart)
        row = Row(context.tenant, 1, 1, cart.SerializeToString())
        connection.execute(
            "INSERT INTO carts (id, tenant, version, next_line, body) VALUES (?, ?, ?, ?, ?)", (request.cart_id, *row)
        )
        return row

    def _change(
        self, connection: sqlite3.Connection, request: cart_service_pb2.ApplyCommandRequest, row: Row
    ) -> tuple[Row, str]:
        cart = cart_pb2.Cart.FromString(row.body)
        if cart.state != cart_pb2.CART_STATE_ACTIVE:
            raise Refusal(cart_service_pb2.REJECTION_REASON_CART_NOT_ACTIVE, "the cart accepts no more changes")
        market = self._catalog.market(cart.country, cart.currency_code)
        if market is None:
            raise LookupError(f"cart {cart.id} is of a market that the shop no longer has")
        stock = Stock(connection)
        change = CartChange(self._catalog, stock, market, cart, row.next_line, request.channel)
        change.apply(request.intent)
        reprice(self._catalog, stock, market, cart)
        body = cart.SerializeToString()
        if body != row.body:
            row = Row(row.tenant, row.version + 1, change.next_line, body)
            connection.execute(
                "UPDATE carts SET version = ?, next_line = ?, body = ? WHERE id = ?",
                (row.version, row.next_line, body, request.cart_id),
            )
        return row, change.line_id


class _Outcome(NamedTuple):
    """What became of a command, as the table keeps it."""

    body_hash: bytes
    rejection: bytes | None
    line_id: str

    def answer(self, row: Row | None) -> cart_service_pb2.ApplyCommandResponse:
        """The outcome with the cart as it is now."""
        response = cart_service_pb2.ApplyCommandResponse(line_id=self.line_id)
        if row is not None:
            _show(row.body, response.cart)
            response.version = str(row.version)
        if self.rejection is not None:
            response.rejection.MergeFromString(self.rejection)
            response.rejection.SetInParent()
        return response


def _meaning(intent: cart_intent_pb2.CartIntent) -> bytes:
    """Hash of what the command wants. The rest of a request may differ in a repeat: the hub computes it anew."""
    return hashlib.sha256(intent.SerializeToString(deterministic=True)).digest()


def _show(body: bytes, cart: cart_pb2.Cart) -> None:
    cart.MergeFromString(body)
    cart.provenance.source = SYSTEM
    cart.provenance.observed_at.CopyFrom(now())


def load(connection: sqlite3.Connection, cart_id: str) -> Row | None:
    """The cart, whoever's it is."""
    row = connection.execute("SELECT tenant, version, next_line, body FROM carts WHERE id = ?", (cart_id,)).fetchone()
    return None if row is None else Row(*row)


def mark_ordered(connection: sqlite3.Connection, row: Row, cart: cart_pb2.Cart) -> None:
    """An order was made of the cart."""
    cart.state = cart_pb2.CART_STATE_ORDERED
    values = (row.version + 1, cart.SerializeToString(), cart.id)
    connection.execute("UPDATE carts SET version = ?, body = ? WHERE id = ?", values)


def seen_by(row: Row | None, tenant: str) -> Row | None:
    """Another tenant's cart does not exist."""
    return row if row is not None and row.tenant == tenant else None


def _recall(connection: sqlite3.Connection, cart_id: str, command_id: str) -> _Outcome | None:
    row = connection.execute(
        "SELECT body_hash, rejection, line_id FROM commands WHERE cart_id = ? AND command_id = ?", (cart_id, command_id)
    ).fetchone()
    return None if row is None else _Outcome(*row)
