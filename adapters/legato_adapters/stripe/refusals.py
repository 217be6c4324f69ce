"""What Stripe refuses, told as the contract tells it. Pure. No text of Stripe's is passed on: it may quote anything."""

from collections.abc import Mapping
from typing import Any

import grpc

from legato.adapter.v1 import payment_service_pb2
from legato_adapters.http import Failure, Refused
from legato_adapters.stripe.mapping import code_of, own_code

__all__ = ["AMOUNT", "CURRENCY", "DECLINED", "METHOD", "STATE", "Rejected", "error_of", "in_use", "rejection_of"]

_Reason = payment_service_pb2.PaymentRejectionReason
DECLINED = _Reason.PAYMENT_REJECTION_REASON_DECLINED
METHOD = _Reason.PAYMENT_REJECTION_REASON_METHOD_INVALID
AMOUNT = _Reason.PAYMENT_REJECTION_REASON_AMOUNT_INVALID
STATE = _Reason.PAYMENT_REJECTION_REASON_STATE_INVALID
CURRENCY = _Reason.PAYMENT_REJECTION_REASON_UNKNOWN_CURRENCY

_BY_CODE = {
    "amount_too_large": AMOUNT,
    "amount_too_small": AMOUNT,
    "charge_already_captured": STATE,
    "charge_already_refunded": AMOUNT,
    "charge_disputed": STATE,
    "charge_expired_for_capture": STATE,
    "charge_not_refundable": STATE,
    "payment_intent_authentication_failure": DECLINED,
    "payment_intent_payment_attempt_failed": DECLINED,
    "payment_intent_unexpected_state": STATE,
    "payment_method_not_available": METHOD,
    "payment_method_provider_decline": DECLINED,
    "payment_method_unactivated": METHOD,
    "payment_method_unexpected_state": METHOD,
}
_BY_PARAMETER = {
    "amount": AMOUNT,
    "amount_to_capture": AMOUNT,
    "currency": CURRENCY,
    "payment_method": METHOD,
    "payment_method_types": METHOD,
}
_TEXTS = {
    DECLINED: "the bank declines",
    METHOD: "the means of payment cannot be used",
    AMOUNT: "the amount is not possible",
    STATE: "the payment does not stand where this can be done",
    CURRENCY: "the currency is not handled",
}


class Rejected(Exception):
    """Ends a command with a rejection that needs no answer of Stripe's."""

    def __init__(self, reason: "payment_service_pb2.PaymentRejectionReason.ValueType") -> None:
        super().__init__(_TEXTS[reason])
        self.rejection = payment_service_pb2.PaymentRejection(reason=reason, message=_TEXTS[reason])


def error_of(refused: Refused) -> Mapping[str, Any]:
    """The error object of an answer; empty where it is something else."""
    error = refused.said.get("error")
    return error if isinstance(error, dict) else {}


def in_use(refused: Refused) -> bool:
    """Whether the same command is being executed just now."""
    return error_of(refused).get("code") == "idempotency_key_in_use"


def rejection_of(refused: Refused) -> payment_service_pb2.PaymentRejection:
    """Why Stripe refuses. Raises Failure for what is no refusal of business."""
    error = error_of(refused)
    code = own_code(error.get("code"))
    if error.get("type") == "idempotency_error":
        raise Failure(grpc.StatusCode.ABORTED, "the command id was used for something else")
    if refused.status == 403:
        raise Failure(grpc.StatusCode.UNAVAILABLE, "the key may not do this", without_effect=True)
    parameter = error.get("param")
    if code == "resource_missing" and parameter != "payment_method":
        raise Failure(grpc.StatusCode.NOT_FOUND, "there is no such payment")
    reason = _BY_CODE.get(code) or _BY_PARAMETER.get(parameter if isinstance(parameter, str) else "")
    if refused.status == 402 or error.get("type") == "card_error":
        reason = reason or DECLINED
    if reason is None and not code:
        raise refused
    return payment_service_pb2.PaymentRejection(
        reason=reason or _Reason.PAYMENT_REJECTION_REASON_UNSPECIFIED,
        message=_TEXTS.get(reason, "Stripe refuses") if reason else "Stripe refuses",
        native_code=code_of(error),
    )
