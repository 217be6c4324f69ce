"""The adapter contract: payments. What all commands have in common is in test_contract_effects.py."""

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
from tests.adapters.shops import Shop
from tests.support.shopper import Shopper, grand_total

pytestmark = [pytest.mark.usefixtures("placement"), pytest.mark.claims("PAYMENT")]

Code = grpc.StatusCode
State = payment_pb2.PaymentState

BACK = "https://shop.example/back"


@pytest.fixture
def shopper(shop: Shop, stubs: Stubs) -> Shopper:
    return Shopper(shop, stubs)


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


async def test_a_part_is_taken_and_given_back_in_parts(shopper: Shopper) -> None:
    payment = await shopper.pay(shopper.to_authorize(1_000))
    captured = await shopper.pay(
        shopper.payment_call(capture={"payment_id": payment.id, "amount": shopper.money(6_000, scale=3)})
    )
    assert captured.captured.units == 600, "six euros, whatever their scale"
    assert captured.authorized.units == 1_000
    for units, sum_of_all in ((100, 100), (150, 250)):
        refund = {"payment_id": payment.id, "amount": shopper.money(units)}
        refunded = await shopper.pay(shopper.payment_call(refund=refund))
        assert refunded.refunded.units == sum_of_all
    rest = await shopper.pay(shopper.payment_call(refund={"payment_id": payment.id}))
    assert rest.refunded.units == 600
    assert rest.state == State.PAYMENT_STATE_CAPTURED
    assert await refused(shopper, refund={"payment_id": payment.id}) == "AMOUNT_INVALID"


async def test_what_is_held_is_let_go(shopper: Shopper) -> None:
    payment = await shopper.pay(shopper.to_authorize())
    voided = await shopper.pay(shopper.payment_call(void={"payment_id": payment.id}))
    assert voided.state == State.PAYMENT_STATE_VOIDED
    assert not voided.HasField("capturable")
    for command in ("capture", "void", "refund"):
        assert await refused(shopper, **{command: {"payment_id": payment.id}}) == "STATE_INVALID"


async def test_the_bank_declines(shopper: Shopper) -> None:
    answer = await shopper.not_paid(shopper.to_authorize(token="declines"))
    assert answer.rejection.reason == payment_service_pb2.PAYMENT_REJECTION_REASON_DECLINED
    assert answer.rejection.native_code
    if answer.HasField("payment"):
        assert answer.payment.state == State.PAYMENT_STATE_FAILED
        assert answer.payment.failure.native_code == answer.rejection.native_code
        assert await refused(shopper, capture={"payment_id": answer.payment.id}) == "STATE_INVALID"


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


async def test_without_a_browser_nobody_is_asked(shopper: Shopper) -> None:
    answer = await shopper.not_paid(shopper.to_authorize(token="challenges"))
    assert answer.rejection.reason == payment_service_pb2.PAYMENT_REJECTION_REASON_DECLINED


async def test_a_holder_who_does_not_act_is_let_go(shopper: Shopper) -> None:
    payment = await shopper.pay(shopper.to_authorize(token="challenges", return_url=BACK))
    voided = await shopper.pay(shopper.payment_call(void={"payment_id": payment.id}))
    assert voided.state == State.PAYMENT_STATE_VOIDED
    assert not voided.HasField("next_action")


async def test_what_cannot_be_authorized(shopper: Shopper) -> None:
    good = {"amount": shopper.money(100), "method_token": shopper.shop.tokens["pays"], "cart_id": new_id()}
    for fields, reason in (
        ({"method_token": "tok_nobody"}, "METHOD_INVALID"),
        ({"amount": {"currency_code": "XAU", "units": 100, "scale": 2}}, "UNKNOWN_CURRENCY"),
        ({"amount": shopper.money(100_001, scale=5)}, "AMOUNT_INVALID"),
    ):
        assert await refused(shopper, authorize={**good, **fields}) == reason


async def test_more_than_is_left(shopper: Shopper) -> None:
    payment = await shopper.pay(shopper.to_authorize(1_000))
    too_much = {"payment_id": payment.id, "amount": shopper.money(1_001)}
    foreign = {"payment_id": payment.id, "amount": {"currency_code": "CHF", "units": 1, "scale": 2}}
    for wish in (too_much, foreign):
        assert await refused(shopper, capture=wish) == "AMOUNT_INVALID"
    assert (await shopper.read_payment(payment.id)).capturable.units == 1_000
    await shopper.pay(shopper.payment_call(capture={"payment_id": payment.id}))
    for wish in (too_much, foreign):
        assert await refused(shopper, refund=wish) == "AMOUNT_INVALID"
    assert await refused(shopper, void={"payment_id": payment.id}) == "STATE_INVALID"


@pytest.mark.parametrize("units", [0, -5])
async def test_an_amount_that_is_none(shopper: Shopper, units: int) -> None:
    payment = await shopper.pay(shopper.to_authorize())
    part = {"payment_id": payment.id, "amount": shopper.money(units)}
    for request in (shopper.to_authorize(units), shopper.payment_call(capture=part)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await shopper.stubs.payment.ApplyPaymentCommand(request, timeout=TIMEOUT_S)
        assert caught.value.code() is Code.INVALID_ARGUMENT


async def test_no_such_payment(shop: Shop, shopper: Shopper) -> None:
    payment = await shopper.pay(shopper.to_authorize())
    stranger = Shopper(shop, shopper.stubs, tenant="other")
    for who, payment_id in ((stranger, payment.id), (shopper, "nonsense"), (shopper, "999999999")):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await who.read_payment(payment_id)
        assert caught.value.code() is Code.NOT_FOUND
        for command in ("capture", "void", "refund"):
            request = who.payment_call(**{command: {"payment_id": payment_id}})
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await shopper.stubs.payment.ApplyPaymentCommand(request, timeout=TIMEOUT_S)
            assert caught.value.code() is Code.NOT_FOUND


@pytest.mark.claims("ORDER")
async def test_an_order_knows_what_became_of_its_payment(shopper: Shopper) -> None:
    user = await shopper.cart()
    payment = await shopper.pay(shopper.to_authorize(grand_total(user), cart_id=user.cart_id))
    system = payment.refs[0].system
    known = order_pb2.OrderPayment(payment_id=payment.id, system=system, authorized=payment.authorized)
    order = await shopper.order(user, known)
    await shopper.pay(shopper.payment_call(capture={"payment_id": payment.id}))
    refund = shopper.payment_call(refund={"payment_id": payment.id, "amount": shopper.money(100)})
    await shopper.pay(refund)
    await shopper.pay(refund)
    after = await shopper.read_order(order_id=order.id)
    (paid,) = after.payments
    assert (paid.captured.units, paid.refunded.units) == (grand_total(user), 100)
    (adjustment,) = after.adjustments
    assert adjustment.type == order_pb2.ORDER_ADJUSTMENT_TYPE_REFUND
    assert (adjustment.amount.units, adjustment.payment_id) == (-100, payment.id)
    assert after.totals == order.totals


@pytest.mark.claims("ORDER")
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
