"""From Stripe's PaymentIntents, charges and refunds to the canonical payment. Pure: nothing here asks anybody."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from legato.commerce.v1 import payment_pb2, ref_pb2
from legato_adapters.stripe.money import from_minor

__all__ = ["CAPTURED_BY", "CART", "COMMAND", "SYSTEM", "code_of", "own_code", "payment_of", "unsettled"]

SYSTEM = "stripe"
# Keys of metadata. A capture writes into the same object as the authorization, so it has a key of its own.
COMMAND = "legato_command"
CAPTURED_BY = "legato_capture"
CART = "legato_cart"

_Json = Mapping[str, Any]
_STATES = {
    "requires_action": payment_pb2.PAYMENT_STATE_REQUIRES_ACTION,
    "processing": payment_pb2.PAYMENT_STATE_PENDING,
    "requires_capture": payment_pb2.PAYMENT_STATE_AUTHORIZED,
    "succeeded": payment_pb2.PAYMENT_STATE_CAPTURED,
    "canceled": payment_pb2.PAYMENT_STATE_VOIDED,
}
_DONE = payment_pb2.PAYMENT_TRANSACTION_STATE_SUCCEEDED
_OPEN = payment_pb2.PAYMENT_TRANSACTION_STATE_PENDING
_NOT = payment_pb2.PAYMENT_TRANSACTION_STATE_FAILED
_STEPS = {"succeeded": _DONE, "pending": _OPEN, "requires_action": _OPEN, "failed": _NOT, "canceled": _NOT}
_CODE = re.compile(r"[a-z0-9_]{1,64}")


def own_code(word: Any) -> str:
    """A code of Stripe's; empty for anything that does not look like one, which might quote somebody."""
    return word if isinstance(word, str) and _CODE.fullmatch(word) else ""


def code_of(error: _Json) -> str:
    """The most exact code of an error: what the bank said where it said something."""
    return own_code(error.get("decline_code")) or own_code(error.get("code"))


def payment_of(intent: _Json, refunds: Sequence[_Json]) -> payment_pb2.Payment:
    """The payment of an intent with `latest_charge` and `payment_method` expanded, and its refunds, newest first."""
    currency, charge = intent["currency"], _object(intent.get("latest_charge"))
    status: str = intent["status"]
    error = _object(intent.get("last_payment_error"))
    payment = payment_pb2.Payment(
        id=intent["id"],
        cart_id=intent["metadata"].get(CART, ""),
        state=_state(status, error),
        native_status=status,
        amount=from_minor(currency, intent["amount"]),
        created_at=Timestamp(seconds=intent["created"]),
        refs=[ref_pb2.Ref(system=SYSTEM, type="payment_intent", id=intent["id"])],
    )
    if charge and charge["status"] == "succeeded":
        payment.authorized.CopyFrom(from_minor(currency, charge["amount"]))
    if status == "requires_capture" and intent["amount_capturable"]:
        payment.capturable.CopyFrom(from_minor(currency, intent["amount_capturable"]))
    captured: int = intent["amount_received"]
    if captured:
        payment.captured.CopyFrom(from_minor(currency, captured))
    real = _real_refunds(refunds, charge, captured)
    if back := sum(refund["amount"] for refund in real if _step(refund["status"]) != _NOT):
        payment.refunded.CopyFrom(from_minor(currency, back))
    _describe_method(payment.method, _object(intent.get("payment_method")))
    if payment.state == payment_pb2.PAYMENT_STATE_REQUIRES_ACTION:
        url = _object(_object(intent.get("next_action")).get("redirect_to_url")).get("url")
        if url:
            payment.next_action.redirect_url = url
    if payment.state == payment_pb2.PAYMENT_STATE_FAILED:
        payment.failure.native_code = code_of(error)
        payment.failure.message = "the payment failed"
    _tell_steps(payment, intent, charge, real)
    return payment


def unsettled(intent: _Json) -> bool:
    """Whether nobody has tried yet to pay it, or the try has failed."""
    return intent["status"] in {"requires_payment_method", "requires_confirmation"}


def _state(status: str, error: _Json) -> "payment_pb2.PaymentState.ValueType":
    # Without an error nobody has tried: for that there is no canonical word.
    if status == "requires_payment_method" and error:
        return payment_pb2.PAYMENT_STATE_FAILED
    return _STATES.get(status, payment_pb2.PAYMENT_STATE_UNSPECIFIED)


def _step(status: str) -> "payment_pb2.PaymentTransactionState.ValueType":
    return _STEPS.get(status, payment_pb2.PAYMENT_TRANSACTION_STATE_UNSPECIFIED)


def _real_refunds(refunds: Sequence[_Json], charge: _Json, captured: int) -> list[_Json]:
    """What went back of what was taken, oldest first.

    Stripe may also tell as a refund what a partial capture or a cancellation let go: no command made that one.
    """
    oldest_first = list(refunds)[::-1]
    if not captured:
        return []
    released = charge["amount"] - captured if charge else 0
    for refund in oldest_first:
        if released and refund["amount"] == released and not (refund.get("metadata") or {}).get(COMMAND):
            return [other for other in oldest_first if other is not refund]
    return oldest_first


def _describe_method(method: payment_pb2.PaymentMethod, native: _Json) -> None:
    kind = native.get("type", "")
    details = _object(native.get(kind))
    method.kind = kind
    method.brand = details.get("brand") or ""
    method.last_digits = details.get("last4") or ""


def _tell_steps(payment: payment_pb2.Payment, intent: _Json, charge: _Json, refunds: Sequence[_Json]) -> None:
    currency, marks = intent["currency"], intent["metadata"]

    def add(
        id: str,
        kind: "payment_pb2.PaymentTransactionType.ValueType",
        state: "payment_pb2.PaymentTransactionState.ValueType",
        amount: int,
        command_id: str,
        when: int | None,
    ) -> None:
        payment.transactions.add(
            id=id,
            type=kind,
            state=state,
            amount=from_minor(currency, amount),
            command_id=command_id,
            created_at=Timestamp(seconds=when) if when is not None else None,
        )

    held = charge["amount"] if charge and charge["status"] == "succeeded" else 0
    captured: int = intent["amount_received"]
    voided = payment.state == payment_pb2.PAYMENT_STATE_VOIDED
    if charge or not unsettled(intent) or payment.state == payment_pb2.PAYMENT_STATE_FAILED:
        failed = payment.state == payment_pb2.PAYMENT_STATE_FAILED or voided
        state = _DONE if held else _NOT if failed else _OPEN
        add(
            intent["id"],
            payment_pb2.PAYMENT_TRANSACTION_TYPE_AUTHORIZATION,
            state,
            intent["amount"],
            marks.get(COMMAND, ""),
            intent["created"],
        )
    if captured:
        capture = payment_pb2.PAYMENT_TRANSACTION_TYPE_CAPTURE
        add(charge.get("id", ""), capture, _DONE, captured, marks.get(CAPTURED_BY, ""), None)
    if voided:
        void = payment_pb2.PAYMENT_TRANSACTION_TYPE_VOID
        add(charge.get("id", "") or intent["id"], void, _DONE, held, "", intent.get("canceled_at"))
    for refund in refunds:
        add(
            refund["id"],
            payment_pb2.PAYMENT_TRANSACTION_TYPE_REFUND,
            _step(refund["status"]),
            refund["amount"],
            (refund.get("metadata") or {}).get(COMMAND, ""),
            refund["created"],
        )


def _object(value: Any) -> _Json:
    """A nested object; empty for null, and for what was not expanded."""
    return value if isinstance(value, Mapping) else {}
