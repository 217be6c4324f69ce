"""What the reference adapter promises of payments beyond the contract: its transactions, its challenges."""

from typing import Any

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import order_service_pb2, payment_service_pb2
from legato.commerce.v1 import order_pb2, payment_pb2
from legato.protocol.ids import new_id
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.conformance.wire import TIMEOUT_S
from legato_adapters.reference import answer_challenge
from tests.adapters.tried import REFERENCE
from tests.support.shopper import Shopper, grand_total

Code = grpc.StatusCode
State = payment_pb2.PaymentState

BACK = "https://shop.example/back"


@pytest.fixture
def shopper(stubs: Stubs) -> Shopper:
    return Shopper(REFERENCE, stubs)


async def refused(shopper: Shopper, **command: Any) -> str:
    answer = await shopper.not_paid(shopper.payment_call(**command))
    reason = payment_service_pb2.PaymentRejectionReason.Name(answer.rejection.reason)
    return reason.removeprefix("PAYMENT_REJECTION_REASON_")


async def test_money_is_held_and_then_taken(shopper: Shopper) -> None:
    request = shopper.to_authorize(1_999)
    payment = await shopper.pay(request)
    assert payment.state == State.PAYMENT_STATE_AUTHORIZED
    assert payment.cart_id == request.command.authorize.cart_id
    assert (payment.amount.units, payment.authorized.units, payment.capturable.units) == (1_999, 1_999, 1_999)
    assert not payment.HasField("captured")
    assert payment.method.kind == "card"
    assert payment.native_status
    capture = shopper.payment_call(capture={"payment_id": payment.id})
    captured = await shopper.pay(capture)
    assert captured.state == State.PAYMENT_STATE_CAPTURED
    assert captured.captured.units == 1_999
    assert not captured.HasField("capturable")
    read = await shopper.read_payment(payment.id)
    assert read.transactions == captured.transactions
    assert [(t.command_id, t.amount.units) for t in read.transactions] == [
        (request.command_id, 1_999),
        (capture.command_id, 1_999),
    ]


@pytest.mark.parametrize("approves", [True, False])
async def test_the_holder_is_asked(shopper: Shopper, reference_options: dict[str, Any], approves: bool) -> None:
    payment = await shopper.pay(shopper.to_authorize(token="challenges", return_url=BACK))
    assert payment.state == State.PAYMENT_STATE_REQUIRES_ACTION
    assert payment.next_action.redirect_url.startswith("https://")
    assert await refused(shopper, capture={"payment_id": payment.id}) == "STATE_INVALID"
    answer_challenge(reference_options["path"], payment.id, approves=approves)
    after = await shopper.read_payment(payment.id)
    assert not after.HasField("next_action")
    if approves:
        assert after.state == State.PAYMENT_STATE_AUTHORIZED
        assert (await shopper.pay(shopper.payment_call(capture={"payment_id": payment.id}))).captured.units == 1_000
    else:
        assert after.state == State.PAYMENT_STATE_FAILED
        assert after.failure.native_code


async def test_what_cannot_be_authorized(shopper: Shopper) -> None:
    good = {"amount": shopper.money(100), "method_token": shopper.shop.payment.method_token, "cart_id": new_id()}
    for fields, reason in (
        ({"method_token": "tok_nobody"}, "METHOD_INVALID"),
        ({"amount": {"currency_code": "XAU", "units": 100, "scale": 2}}, "UNKNOWN_CURRENCY"),
        ({"amount": shopper.money(100_001, scale=5)}, "AMOUNT_INVALID"),
    ):
        assert await refused(shopper, authorize={**good, **fields}) == reason


async def test_an_order_is_not_paid_by_what_holds_nothing(shopper: Shopper) -> None:
    user = await shopper.cart()
    payment = await shopper.pay(shopper.to_authorize(grand_total(user), cart_id=user.cart_id))
    half = await shopper.pay(shopper.to_authorize(grand_total(user) // 2, cart_id=user.cart_id))
    elsewhere = await shopper.pay(shopper.to_authorize(grand_total(user)))
    await shopper.pay(shopper.payment_call(void={"payment_id": payment.id}))
    for ids in ([payment.id], ["nonsense"], [half.id], [half.id, half.id], [elsewhere.id]):
        claimed = [
            order_pb2.OrderPayment(payment_id=payment_id, system=payment.refs[0].system, authorized=payment.authorized)
            for payment_id in ids
        ]
        answer = await shopper.stubs.order.ApplyOrderCommand(shopper.to_order(user, *claimed), timeout=TIMEOUT_S)
        assert answer.rejection.reason == order_service_pb2.ORDER_REJECTION_REASON_PAYMENT_MISMATCH
