"""Stripe's webhooks: whether Stripe sent them, and what changed. Pure, but for the time that it is given."""

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from legato.adapter.v1 import event_service_pb2
from legato_adapters.http import Failure

__all__ = ["TOLERANCE_S", "changes_of", "check_signature"]

TOLERANCE_S = 300
_HEADER = "stripe-signature"
_ABOUT_PAYMENTS = frozenset({"charge", "dispute", "refund"})


def check_signature(
    headers: Iterable[event_service_pb2.HttpHeader], body: bytes, secrets: Sequence[str], now: float
) -> None:
    """Raises Failure unless one of the secrets has signed this body within the last TOLERANCE_S seconds.

    `now` in seconds since 1970. While a secret is exchanged, Stripe signs with both.
    """
    if not secrets:
        raise Failure(grpc.StatusCode.FAILED_PRECONDITION, "there is no secret to check webhooks with")
    values = [header.value for header in headers if header.name == _HEADER]
    if len(values) != 1:
        raise _unauthenticated("the signature is missing")
    pairs = [part.strip().partition("=") for part in values[0].split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    # Other schemes are ignored: a caller who can choose the scheme would choose the weakest.
    signatures = [value.encode() for name, _, value in pairs if name == "v1"]
    if len(times) != 1 or not times[0].isascii() or not times[0].isdigit() or len(times[0]) > 12:
        raise _unauthenticated("the signature has no time")
    signed = times[0].encode() + b"." + body
    matches = False
    for secret in secrets:
        expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode()
        for signature in signatures:
            matches |= hmac.compare_digest(expected, signature)
    if not matches:
        raise _unauthenticated("the signature is wrong")
    if int(times[0]) < now - TOLERANCE_S:
        raise _unauthenticated("the signature is too old")


def changes_of(body: bytes) -> list[event_service_pb2.Change]:
    """What a signed event says has changed; empty for one of no interest. Raises Failure for what is no event."""
    try:
        event = json.loads(body)
        payment_id = _payment_id(event["data"]["object"])
        if not payment_id:
            return []
        change = event_service_pb2.Change(
            id=event["id"],
            entity=event_service_pb2.CHANGED_ENTITY_PAYMENT,
            entity_id=payment_id,
            occurred_at=Timestamp(seconds=event["created"]),
            native_type=event["type"],
        )
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
        raise Failure(grpc.StatusCode.INVALID_ARGUMENT, "the event is not understood") from None
    return [change]


def _payment_id(subject: Mapping[str, Any]) -> str:
    kind = subject["object"]
    if kind == "payment_intent":
        return str(subject["id"])
    if kind not in _ABOUT_PAYMENTS:
        return ""
    intent = subject.get("payment_intent") or ""
    return str(intent["id"]) if isinstance(intent, Mapping) else str(intent)


def _unauthenticated(why: str) -> Failure:
    return Failure(grpc.StatusCode.UNAUTHENTICATED, why)
