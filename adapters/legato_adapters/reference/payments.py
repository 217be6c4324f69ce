"""A small payment backend: cards that pay, that decline and that ask their holder first.

What the first capture leaves is let go. Every function here runs on the database's thread, save `answer_challenge`,
which stands for the holder at the bank.
"""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from legato.adapter.v1 import event_service_pb2, payment_service_pb2
from legato.commerce.v1 import money_pb2, order_pb2, payment_pb2, ref_pb2
from legato_adapters.reference import events
from legato_adapters.reference.catalog import Catalog
from legato_adapters.reference.ledger import Ledger, Outcome, Refused
from legato_adapters.reference.order_records import append_adjustment, load_of_cart, save
from legato_adapters.reference.shared import SYSTEM, Malformed, NotFound, now, observed, row_id

COMMANDS = ("authorize", "capture", "void", "refund")

_Reason = payment_service_pb2.PaymentRejectionReason
_Type = payment_pb2.PaymentTransactionType
_State = payment_pb2.PaymentTransactionState


@dataclass(frozen=True, slots=True)
class Card:
    """What a token stands for, and what its bank says: nothing for yes."""

    last_digits: str
    declines: str = ""
    challenges: bool = False


CARDS = {
    "tok_visa": Card("4242"),
    "tok_declined": Card("0002", declines="card_declined"),
    "tok_poor": Card("9995", declines="insufficient_funds"),
    "tok_challenge": Card("3220", challenges=True),
}


class _Row(NamedTuple):
    id: int
    tenant: str
    body: bytes

    def message(self) -> payment_pb2.Payment:
        payment = payment_pb2.Payment.FromString(self.body)
        payment.provenance.CopyFrom(observed())
        return payment


class Payments:
    """The payments in the database."""

    def __init__(self, catalog: Catalog) -> None:
        self._scales = {market.currency: market.scale for market in catalog.markets}
        self.ledger = Ledger("payment", self._execute, _answer)

    def _execute(
        self, connection: sqlite3.Connection, request: payment_service_pb2.ApplyPaymentCommandRequest
    ) -> Outcome:
        tenant, command_id, command = request.context.tenant, request.command_id, request.command
        kind = command.WhichOneof("command")
        if kind is None:
            raise Malformed("command must be set")
        if kind == "authorize":
            return Outcome(self._authorize(connection, tenant, command_id, command.authorize))
        wish = getattr(command, kind)
        row = _load(connection, tenant, wish.payment_id)
        payment = row.message()
        refunded = 0
        if kind == "capture":
            units = self._part(payment, payment.capturable, wish, payment_pb2.PAYMENT_STATE_AUTHORIZED)
            _add(payment, payment.captured, units)
            payment.state = payment_pb2.PAYMENT_STATE_CAPTURED
            payment.ClearField("capturable")
            _note(payment, _Type.PAYMENT_TRANSACTION_TYPE_CAPTURE, units, command_id)
        elif kind == "refund":
            left = money_pb2.Money()
            left.CopyFrom(payment.captured)
            left.units -= payment.refunded.units
            refunded = self._part(payment, left, wish, payment_pb2.PAYMENT_STATE_CAPTURED)
            _add(payment, payment.refunded, refunded)
            _note(payment, _Type.PAYMENT_TRANSACTION_TYPE_REFUND, refunded, command_id)
        else:
            if payment.state not in (payment_pb2.PAYMENT_STATE_AUTHORIZED, payment_pb2.PAYMENT_STATE_REQUIRES_ACTION):
                raise _wrong_state(payment)
            payment.state = payment_pb2.PAYMENT_STATE_VOIDED
            _note(payment, _Type.PAYMENT_TRANSACTION_TYPE_VOID, payment.capturable.units, command_id)
            payment.ClearField("capturable")
            payment.ClearField("next_action")
        _save(connection, row, payment, f"payment.{kind}")
        _tell_order(connection, row.tenant, payment, refunded=refunded)
        return Outcome(payment.id)

    def _authorize(
        self, connection: sqlite3.Connection, tenant: str, command_id: str, wish: payment_service_pb2.AuthorizePayment
    ) -> str:
        currency = wish.amount.currency_code
        if wish.amount.units < 1:
            raise Malformed("authorize.amount must be more than 0")
        if currency not in self._scales:
            raise _refuse(_Reason.PAYMENT_REJECTION_REASON_UNKNOWN_CURRENCY, "the currency is not handled")
        card = CARDS.get(wish.method_token)
        if card is None:
            raise _refuse(_Reason.PAYMENT_REJECTION_REASON_METHOD_INVALID, "the token is unknown")
        amount = money_pb2.Money(currency_code=currency, units=self._units(wish.amount), scale=self._scales[currency])
        made = connection.execute("INSERT INTO payments (tenant, body) VALUES (?, x'')", (tenant,))
        payment = payment_pb2.Payment(
            id=str(made.lastrowid),
            cart_id=wish.cart_id,
            amount=amount,
            method=payment_pb2.PaymentMethod(kind="card", brand="visa", last_digits=card.last_digits),
            created_at=now(),
            refs=[ref_pb2.Ref(system=SYSTEM, type="payment", id=str(made.lastrowid), version="0")],
        )
        transaction = _note(payment, _Type.PAYMENT_TRANSACTION_TYPE_AUTHORIZATION, amount.units, command_id)
        declines = card.declines or ("authentication_required" if card.challenges and not wish.return_url else "")
        if declines:
            _fail(payment, transaction, declines)
        elif card.challenges:
            payment.state = payment_pb2.PAYMENT_STATE_REQUIRES_ACTION
            transaction.state = _State.PAYMENT_TRANSACTION_STATE_PENDING
            query = urlencode({"return_url": wish.return_url})
            payment.next_action.redirect_url = f"https://bank.example/challenges/{payment.id}?{query}"
        else:
            _hold(payment)
        _save(connection, _Row(made.lastrowid or 0, tenant, b""), payment, "payment.authorize")
        if declines:
            raise _refuse(_Reason.PAYMENT_REJECTION_REASON_DECLINED, "the bank declines", declines, payment.id)
        return payment.id

    def _part(
        self,
        payment: payment_pb2.Payment,
        whole: money_pb2.Money,
        wish: payment_service_pb2.CapturePayment | payment_service_pb2.RefundPayment,
        state: "payment_pb2.PaymentState.ValueType",
    ) -> int:
        """Units of what is left that a capture or refund is about: all where it names no amount."""
        if payment.state != state:
            raise _wrong_state(payment)
        if wish.HasField("amount") and wish.amount.units < 1:
            raise Malformed("the amount must be more than 0")
        units = whole.units
        if wish.HasField("amount"):
            if wish.amount.currency_code != whole.currency_code:
                reason = _Reason.PAYMENT_REJECTION_REASON_AMOUNT_INVALID
                raise _refuse(reason, f"the payment is in {whole.currency_code}", entity_id=payment.id)
            units = self._units(wish.amount, payment.id)
        if not 1 <= units <= whole.units:
            reason = _Reason.PAYMENT_REJECTION_REASON_AMOUNT_INVALID
            raise _refuse(reason, f"{whole.units} units are left", entity_id=payment.id)
        return units

    def _units(self, amount: money_pb2.Money, payment_id: str = "") -> int:
        """The amount in the currency's smallest unit; two amounts of one currency may differ in scale."""
        finer = amount.scale - self._scales[amount.currency_code]
        step = int(10 ** abs(finer))
        if finer <= 0:
            return amount.units * step
        units, rest = divmod(amount.units, step)
        if rest:
            reason = _Reason.PAYMENT_REJECTION_REASON_AMOUNT_INVALID
            raise _refuse(reason, "is finer than the currency", entity_id=payment_id)
        return units


def get(connection: sqlite3.Connection, tenant: str, payment_id: str) -> payment_service_pb2.GetPaymentResponse:
    """One payment; raises NotFound."""
    return payment_service_pb2.GetPaymentResponse(payment=_load(connection, tenant, payment_id).message())


def holding(connection: sqlite3.Connection, tenant: str, payment_id: str, cart_id: str) -> money_pb2.Money:
    """What a payment holds or took for a cart; nothing if there is no such payment, or it is for another cart."""
    try:
        payment = _load(connection, tenant, payment_id).message()
    except NotFound:
        return money_pb2.Money()
    if payment.cart_id != cart_id:
        return money_pb2.Money()
    if payment.state == payment_pb2.PAYMENT_STATE_CAPTURED:
        return payment.captured
    return payment.capturable


def answer_challenge(path: str, payment_id: str, *, approves: bool) -> None:
    """The holder of a card answers the bank's question, past adapter and hub.

    `path` is the adapter's file. LookupError if the payment does not wait for an answer.
    """
    connection = sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        found = connection.execute("SELECT id, tenant, body FROM payments WHERE id = ?", (payment_id,)).fetchone()
        payment = payment_pb2.Payment() if found is None else _Row(*found).message()
        if payment.state != payment_pb2.PAYMENT_STATE_REQUIRES_ACTION:
            raise LookupError(f"payment {payment_id} does not wait for its card's holder")
        payment.ClearField("next_action")
        if approves:
            payment.transactions[0].state = _State.PAYMENT_TRANSACTION_STATE_SUCCEEDED
            _hold(payment)
        else:
            _fail(payment, payment.transactions[0], "authentication_failed")
        _save(connection, _Row(*found), payment, "payment.challenge_answered")
        connection.execute("COMMIT")
    finally:
        connection.close()


def _load(connection: sqlite3.Connection, tenant: str, payment_id: str) -> _Row:
    row = connection.execute(
        "SELECT id, tenant, body FROM payments WHERE id = ? AND tenant = ?", (row_id(payment_id), tenant)
    ).fetchone()
    if row is None:
        raise NotFound("no such payment")
    return _Row(*row)


def _save(connection: sqlite3.Connection, row: _Row, payment: payment_pb2.Payment, native_type: str) -> None:
    payment.ClearField("provenance")
    payment.native_status = payment_pb2.PaymentState.Name(payment.state).removeprefix("PAYMENT_STATE_").lower()
    payment.refs[0].version = str(int(payment.refs[0].version) + 1)
    connection.execute("UPDATE payments SET body = ? WHERE id = ?", (payment.SerializeToString(), row.id))
    events.record(connection, row.tenant, event_service_pb2.CHANGED_ENTITY_PAYMENT, payment.id, native_type)


def _answer(
    connection: sqlite3.Connection, tenant: str, outcome: Outcome
) -> payment_service_pb2.ApplyPaymentCommandResponse:
    response = payment_service_pb2.ApplyPaymentCommandResponse()
    if outcome.entity_id:
        response.payment.CopyFrom(_load(connection, tenant, outcome.entity_id).message())
    if outcome.rejection is not None:
        response.rejection.MergeFromString(outcome.rejection)
    return response


def _tell_order(connection: sqlite3.Connection, tenant: str, payment: payment_pb2.Payment, *, refunded: int) -> None:
    """The order that is paid with it shows what became of it."""
    try:
        row = load_of_cart(connection, tenant, payment.cart_id)
    except NotFound:
        return
    order = row.message()
    for known in order.payments:
        if (known.system, known.payment_id) == (SYSTEM, payment.id):
            for field in ("authorized", "captured", "refunded"):
                if payment.HasField(field):
                    getattr(known, field).CopyFrom(getattr(payment, field))
            if refunded:
                adjustment = append_adjustment(order, order_pb2.ORDER_ADJUSTMENT_TYPE_REFUND)
                adjustment.payment_id = payment.id
                adjustment.amount.CopyFrom(payment.refunded)
                adjustment.amount.units = -refunded
            save(connection, row, order, "order.paid")


def _hold(payment: payment_pb2.Payment) -> None:
    payment.state = payment_pb2.PAYMENT_STATE_AUTHORIZED
    payment.authorized.CopyFrom(payment.amount)
    payment.capturable.CopyFrom(payment.amount)


def _fail(payment: payment_pb2.Payment, transaction: payment_pb2.PaymentTransaction, native_code: str) -> None:
    payment.state = payment_pb2.PAYMENT_STATE_FAILED
    payment.failure.native_code = native_code
    payment.failure.message = "the bank declines"
    transaction.state = _State.PAYMENT_TRANSACTION_STATE_FAILED


def _note(
    payment: payment_pb2.Payment, kind: "_Type.ValueType", units: int, command_id: str
) -> payment_pb2.PaymentTransaction:
    amount = money_pb2.Money(currency_code=payment.amount.currency_code, units=units, scale=payment.amount.scale)
    return payment.transactions.add(
        id=f"{payment.id}-{len(payment.transactions) + 1}",
        type=kind,
        state=_State.PAYMENT_TRANSACTION_STATE_SUCCEEDED,
        amount=amount,
        command_id=command_id,
        created_at=now(),
    )


def _add(payment: payment_pb2.Payment, amount: money_pb2.Money, units: int) -> None:
    amount.currency_code, amount.scale = payment.amount.currency_code, payment.amount.scale
    amount.units += units


def _refuse(reason: "_Reason.ValueType", message: str, native_code: str = "", entity_id: str = "") -> Refused:
    rejection = payment_service_pb2.PaymentRejection(reason=reason, message=message, native_code=native_code)
    return Refused(rejection, entity_id)


def _wrong_state(payment: payment_pb2.Payment) -> Refused:
    reason = _Reason.PAYMENT_REJECTION_REASON_STATE_INVALID
    return _refuse(reason, f"the payment is {payment.native_status}", entity_id=payment.id)
