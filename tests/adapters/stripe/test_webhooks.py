"""Signatures of webhooks, and what the events mean."""

import hashlib
import hmac
import json
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.adapter.v1 import event_service_pb2
from legato.commerce.v1 import money_pb2
from legato_adapters.http import Failure
from legato_adapters.stripe.money import from_minor, to_minor
from legato_adapters.stripe.webhooks import TOLERANCE_S, changes_of, check_signature

NOW = 1_800_000_000
EVENT = {
    "id": "evt_1",
    "type": "payment_intent.succeeded",
    "created": NOW,
    "data": {"object": {"object": "payment_intent", "id": "pi_1"}},
}
BODY = json.dumps(EVENT).encode()


def sign(secret: str, when: int = NOW, body: bytes = BODY) -> str:
    return hmac.new(secret.encode(), b"%d.%s" % (when, body), hashlib.sha256).hexdigest()


def check(*values: str, body: bytes = BODY, secrets: Any = ("new", "old")) -> None:
    headers = [event_service_pb2.HttpHeader(name="stripe-signature", value=value) for value in values]
    check_signature(headers, body, secrets, NOW)


def test_any_of_the_secrets_will_do() -> None:
    check(f"t={NOW},v1={sign('new')}")
    check(f"t={NOW},v1={sign('other')},v1={sign('old')},v0=x")
    check(f"t={NOW - TOLERANCE_S},v1={sign('new', NOW - TOLERANCE_S)}")


@pytest.mark.parametrize(
    "values",
    [
        (),
        ("",),
        (f"t={NOW}",),
        (f"v1={sign('new')}",),
        (f"t={NOW},v1={sign('other')}",),
        (f"t={NOW},v0={sign('new')}",),
        (f"t={NOW + 1},v1={sign('new')}",),
        (f"t={NOW},v1=ümlaut",),
        (f"t={NOW},t={NOW},v1={sign('new')}",),
        (f"t={NOW - TOLERANCE_S - 1},v1={sign('new', NOW - TOLERANCE_S - 1)}",),
        (f"t={NOW},v1={sign('new')}", f"t={NOW},v1={sign('new')}"),
    ],
)
def test_other_signatures(values: tuple[str, ...]) -> None:
    with pytest.raises(Failure) as caught:
        check(*values)
    assert caught.value.code is grpc.StatusCode.UNAUTHENTICATED


def test_a_changed_body_and_no_secrets() -> None:
    with pytest.raises(Failure):
        check(f"t={NOW},v1={sign('new')}", body=BODY + b" ")
    with pytest.raises(Failure) as caught:
        check(f"t={NOW},v1={sign('new')}", secrets=())
    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
    "subject",
    [
        {"object": "payment_intent", "id": "pi_1"},
        {"object": "charge", "id": "ch_1", "payment_intent": "pi_1"},
        {"object": "refund", "id": "re_1", "payment_intent": {"id": "pi_1"}},
    ],
)
def test_what_changed(subject: Any) -> None:
    (change,) = changes_of(json.dumps({**EVENT, "data": {"object": subject}}).encode())
    assert (change.id, change.entity_id, change.occurred_at.seconds) == ("evt_1", "pi_1", NOW)
    assert change.native_type == "payment_intent.succeeded"


def test_what_is_of_no_interest_or_not_understood() -> None:
    assert changes_of(json.dumps({**EVENT, "data": {"object": {"object": "customer"}}}).encode()) == []
    for body in (b"", b"[]", b"{}", b"\xff", b'{"data": {"object": null}}'):
        with pytest.raises(Failure) as caught:
            changes_of(body)
        assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


@given(st.sampled_from(["EUR", "JPY", "KWD", "UGX"]), st.integers(0, 10**12))
def test_money_survives(currency: str, amount: int) -> None:
    assert to_minor(from_minor(currency.lower(), amount)) == amount


def test_money_that_stripe_cannot_count() -> None:
    assert to_minor(money_pb2.Money(currency_code="JPY", units=55, scale=1)) is None
    assert to_minor(money_pb2.Money(currency_code="JPY", units=50, scale=1)) == 5
    assert to_minor(money_pb2.Money(currency_code="UGX", units=5)) == 500
