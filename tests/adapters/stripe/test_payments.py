"""Payments through the Stripe adapter, against a model of the real Stripe and one that answers nonsense."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import (
    cart_service_pb2,
    identity_service_pb2,
    identity_service_pb2_grpc,
    payment_service_pb2,
    payment_service_pb2_grpc,
)
from legato.commerce.v1 import payment_pb2
from legato.hosting import load_adapter
from legato.local_channel import LocalChannel
from legato.protocol.ids import new_id
from tests.adapters.stripe.model_stripe import KEY, ModelStripe
from tests.support.bad_answers import SECRET, SENSELESS
from tests.support.http_backend import HttpBackend, answer
from tests.support.http_proxy import Reply

Reason = payment_service_pb2.PaymentRejectionReason
Response = payment_service_pb2.ApplyPaymentCommandResponse
APPLIED, NOT_APPLIED = cart_service_pb2.RESOLUTION_APPLIED, cart_service_pb2.RESOLUTION_NOT_APPLIED
EUR = {"currency_code": "EUR", "units": 10_000, "scale": 2}


class Payer:
    """Plays the hub towards the adapter."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.stub: payment_service_pb2_grpc.PaymentServiceAsyncStub = payment_service_pb2_grpc.PaymentServiceStub(
            channel
        )
        self.identity: identity_service_pb2_grpc.IdentityServiceAsyncStub = (
            identity_service_pb2_grpc.IdentityServiceStub(channel)
        )

    def call(self, **command: Any) -> payment_service_pb2.ApplyPaymentCommandRequest:
        wish = payment_service_pb2.PaymentCommand(**command)
        return payment_service_pb2.ApplyPaymentCommandRequest(command_id=new_id(), command=wish)

    async def send(self, call: payment_service_pb2.ApplyPaymentCommandRequest) -> Response:
        return await self.stub.ApplyPaymentCommand(call, timeout=20)

    async def do(self, **command: Any) -> Response:
        return await self.send(self.call(**command))

    async def authorize(self, token: str = "pm_card", **more: Any) -> payment_pb2.Payment:
        response = await self.do(authorize={"amount": EUR, "method_token": token, **more})
        assert not response.HasField("rejection"), response.rejection
        return response.payment

    async def read(self, id: str) -> payment_pb2.Payment:
        request = payment_service_pb2.GetPaymentRequest(payment_id=id)
        return (await self.stub.GetPayment(request, timeout=20)).payment

    async def resolve(
        self, call: payment_service_pb2.ApplyPaymentCommandRequest
    ) -> payment_service_pb2.ResolvePaymentCommandResponse:
        return await self.stub.ResolvePaymentCommand(
            payment_service_pb2.ResolvePaymentCommandRequest(call=call), timeout=20
        )


@contextlib.asynccontextmanager
async def payer_of(url: str) -> AsyncIterator[Payer]:
    adapter = load_adapter("legato_adapters.stripe:create", {"secret_key": KEY, "url": url})
    async with LocalChannel() as channel:
        adapter.add_to(channel)
        await adapter.start()
        yield Payer(channel)
    await adapter.close()


@pytest.fixture
async def stripe() -> AsyncIterator[ModelStripe]:
    async with ModelStripe() as stripe:
        yield stripe


@pytest.fixture
async def payer(stripe: ModelStripe) -> AsyncIterator[Payer]:
    async with payer_of(stripe.url) as payer:
        yield payer


def steps(payment: payment_pb2.Payment) -> list[tuple[str, str, int]]:
    return [
        (
            payment_pb2.PaymentTransactionType.Name(step.type).removeprefix("PAYMENT_TRANSACTION_TYPE_"),
            payment_pb2.PaymentTransactionState.Name(step.state).removeprefix("PAYMENT_TRANSACTION_STATE_"),
            step.amount.units,
        )
        for step in payment.transactions
    ]


async def failed(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_claims_and_a_sign_of_life(payer: Payer) -> None:
    info = await payer.identity.GetInfo(identity_service_pb2.GetInfoRequest(contract_versions=["1.1"]))
    assert list(info.capabilities) == [identity_service_pb2.CAPABILITY_PAYMENT]
    assert info.command_claims[0].effect_class == identity_service_pb2.EFFECT_CLASS_KEYED
    assert set(info.command_claims[0].commands) == {"authorize", "capture", "void", "refund"}
    await payer.identity.Probe(identity_service_pb2.ProbeRequest())


async def test_authorize_capture_a_part_and_refund(payer: Payer) -> None:
    cart = new_id()
    held = await payer.authorize(cart_id=cart)
    assert held.state == payment_pb2.PAYMENT_STATE_AUTHORIZED
    assert (held.authorized.units, held.capturable.units, held.cart_id) == (10_000, 10_000, cart)
    assert (held.method.kind, held.method.brand, held.method.last_digits) == ("card", "visa", "4242")
    part = {"currency_code": "EUR", "units": 60, "scale": 0}
    taken = (await payer.do(capture={"payment_id": held.id, "amount": part})).payment
    assert taken.state == payment_pb2.PAYMENT_STATE_CAPTURED
    assert (taken.captured.units, taken.HasField("capturable"), taken.HasField("refunded")) == (6_000, False, False)
    back = (await payer.do(refund={"payment_id": held.id, "amount": {**EUR, "units": 1_000}})).payment
    assert back.refunded.units == 1_000
    rest = (await payer.do(refund={"payment_id": held.id})).payment
    assert rest.refunded.units == 6_000
    assert steps(rest) == [
        ("AUTHORIZATION", "SUCCEEDED", 10_000),
        ("CAPTURE", "SUCCEEDED", 6_000),
        ("REFUND", "SUCCEEDED", 1_000),
        ("REFUND", "SUCCEEDED", 5_000),
    ]
    assert all(step.command_id for step in rest.transactions)


async def test_void(payer: Payer) -> None:
    held = await payer.authorize()
    gone = (await payer.do(void={"payment_id": held.id})).payment
    assert gone.state == payment_pb2.PAYMENT_STATE_VOIDED
    assert steps(gone) == [("AUTHORIZATION", "SUCCEEDED", 10_000), ("VOID", "SUCCEEDED", 10_000)]


@pytest.mark.parametrize("succeeds", [True, False])
async def test_3d_secure(payer: Payer, stripe: ModelStripe, succeeds: bool) -> None:
    payment = await payer.authorize("pm_3ds", return_url="https://shop.example/back")
    assert payment.state == payment_pb2.PAYMENT_STATE_REQUIRES_ACTION
    assert payment.next_action.redirect_url == "https://bank.example/3ds"
    assert stripe.forms[-1]["return_url"] == "https://shop.example/back"
    stripe.act(payment.id, succeeds=succeeds)
    after = await payer.read(payment.id)
    assert not after.HasField("next_action")
    if succeeds:
        assert after.state == payment_pb2.PAYMENT_STATE_AUTHORIZED
    else:
        assert after.state == payment_pb2.PAYMENT_STATE_FAILED
        assert after.failure.native_code == "payment_intent_authentication_failure"


async def test_without_a_browser_what_needs_an_action_fails(payer: Payer) -> None:
    response = await payer.do(authorize={"amount": EUR, "method_token": "pm_3ds"})
    assert response.rejection.reason == Reason.PAYMENT_REJECTION_REASON_DECLINED
    assert response.payment.state == payment_pb2.PAYMENT_STATE_FAILED


async def test_a_decline_keeps_its_code_and_no_text(payer: Payer) -> None:
    response = await payer.do(authorize={"amount": EUR, "method_token": "pm_declined"})
    assert response.rejection.reason == Reason.PAYMENT_REJECTION_REASON_DECLINED
    assert response.rejection.native_code == "insufficient_funds"
    assert response.payment.state == payment_pb2.PAYMENT_STATE_FAILED
    assert response.payment.failure.native_code == "insufficient_funds"
    assert SECRET not in str(response)


@pytest.mark.parametrize(
    ("amount", "token", "reason"),
    [
        ({"units": 10}, "pm_card", "AMOUNT_INVALID"),
        ({"units": 100_001, "scale": 3}, "pm_card", "AMOUNT_INVALID"),
        ({"currency_code": "ZZZ"}, "pm_card", "UNKNOWN_CURRENCY"),
        ({}, "pm_unknown", "METHOD_INVALID"),
    ],
)
async def test_refused_authorizations(payer: Payer, amount: Any, token: str, reason: str) -> None:
    response = await payer.do(authorize={"amount": {**EUR, **amount}, "method_token": token})
    assert Reason.Name(response.rejection.reason) == f"PAYMENT_REJECTION_REASON_{reason}"
    assert not response.HasField("payment")


async def test_refused_steps_leave_the_payment_as_it_was(payer: Payer) -> None:
    held = await payer.authorize()
    too_much = {**EUR, "units": 10_001}
    foreign = {**EUR, "currency_code": "USD"}

    async def refused(reason: str, **command: Any) -> None:
        before = await payer.read(held.id)
        response = await payer.do(**command)
        assert Reason.Name(response.rejection.reason) == f"PAYMENT_REJECTION_REASON_{reason}"
        assert (response.payment.state, steps(response.payment)) == (before.state, steps(before))

    await refused("STATE_INVALID", refund={"payment_id": held.id})
    await refused("AMOUNT_INVALID", capture={"payment_id": held.id, "amount": too_much})
    await refused("AMOUNT_INVALID", capture={"payment_id": held.id, "amount": foreign})
    await payer.do(capture={"payment_id": held.id})
    await refused("STATE_INVALID", capture={"payment_id": held.id})
    await refused("STATE_INVALID", void={"payment_id": held.id})
    await refused("AMOUNT_INVALID", refund={"payment_id": held.id, "amount": too_much})
    await refused("AMOUNT_INVALID", refund={"payment_id": held.id, "amount": foreign})
    await payer.do(refund={"payment_id": held.id})
    await refused("AMOUNT_INVALID", refund={"payment_id": held.id})


async def test_a_repeat_has_one_effect_and_tells_the_payment_as_it_is(payer: Payer, stripe: ModelStripe) -> None:
    authorize = payer.call(authorize={"amount": EUR, "method_token": "pm_card"})
    held = (await payer.send(authorize)).payment
    capture = payer.call(capture={"payment_id": held.id})
    await payer.send(capture)
    refund = payer.call(refund={"payment_id": held.id, "amount": {**EUR, "units": 500}})
    await payer.send(refund)
    for call in (authorize, capture, refund):
        again = await payer.send(call)
        assert not again.HasField("rejection")
        assert again.payment.refunded.units == 500
    assert len(stripe.intents) == 1
    assert len(stripe.refunds) == 1


async def test_a_command_id_with_another_body_is_aborted(payer: Payer, stripe: ModelStripe) -> None:
    call = payer.call(authorize={"amount": EUR, "method_token": "pm_card"})
    await payer.send(call)
    call.command.authorize.amount.units += 1
    assert (await failed(payer.send(call))).code() is grpc.StatusCode.ABORTED
    assert len(stripe.intents) == 1


async def test_resolve_finds_what_was_done_and_nothing_else(payer: Payer) -> None:
    authorize = payer.call(authorize={"amount": EUR, "method_token": "pm_card"})
    assert (await payer.resolve(authorize)).resolution == NOT_APPLIED
    id = (await payer.send(authorize)).payment.id
    for _ in range(3):
        await payer.authorize()
    for call in (
        authorize,
        payer.call(capture={"payment_id": id}),
        payer.call(refund={"payment_id": id, "amount": {**EUR, "units": 1}}),
    ):
        if call is not authorize:
            assert (await payer.resolve(call)).resolution == NOT_APPLIED
            await payer.send(call)
        found = await payer.resolve(call)
        assert found.resolution == APPLIED
        assert found.response.payment.id == id
    declined = payer.call(authorize={"amount": EUR, "method_token": "pm_declined"})
    first = await payer.send(declined)
    found = await payer.resolve(declined)
    assert found.response.rejection.native_code == first.rejection.native_code
    other = await payer.authorize()
    void = payer.call(void={"payment_id": other.id})
    assert (await payer.resolve(void)).resolution == NOT_APPLIED
    await payer.send(void)
    assert (await payer.resolve(void)).resolution == APPLIED


async def test_yen_have_no_cents(payer: Payer, stripe: ModelStripe) -> None:
    yen = {"currency_code": "JPY", "units": 500, "scale": 0}
    response = await payer.do(authorize={"amount": yen, "method_token": "pm_card"})
    assert stripe.forms[-1]["amount"] == "500"
    assert (response.payment.amount.units, response.payment.amount.scale) == (500, 0)


async def test_an_unknown_status_is_kept(payer: Payer, stripe: ModelStripe) -> None:
    held = await payer.authorize()
    stripe.intents[held.id]["status"] = "requires_dance"
    read = await payer.read(held.id)
    assert (read.state, read.native_status) == (payment_pb2.PAYMENT_STATE_UNSPECIFIED, "requires_dance")


@pytest.mark.parametrize("id", ["pi_none", "ch_1", "", ".."])
async def test_no_such_payment(payer: Payer, id: str) -> None:
    assert (await failed(payer.read(id))).code() is grpc.StatusCode.NOT_FOUND
    for command in ("capture", "void", "refund"):
        assert (await failed(payer.do(**{command: {"payment_id": id}}))).code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    "command",
    [
        {},
        {"authorize": {"method_token": "pm_card"}},
        {"authorize": {"amount": EUR}},
        {"authorize": {"amount": {**EUR, "units": 0}, "method_token": "pm_card"}},
        {"authorize": {"amount": EUR, "method_token": "pm_card", "return_url": "javascript:x"}},
        {"capture": {"payment_id": "pi_1", "amount": {**EUR, "units": -1}}},
        {"refund": {"payment_id": "pi_1", "amount": {**EUR, "currency_code": "eur"}}},
    ],
)
async def test_malformed_commands(payer: Payer, stripe: ModelStripe, command: Any) -> None:
    assert (await failed(payer.do(**command))).code() is grpc.StatusCode.INVALID_ARGUMENT
    assert not stripe.forms


@pytest.mark.parametrize("bad", SENSELESS, ids=str)
async def test_senseless_answers(bad: str, caplog: pytest.LogCaptureFixture) -> None:
    async with HttpBackend() as backend, payer_of(backend.url) as payer:
        backend.always(".", answer(SENSELESS[bad]))
        call = payer.call(authorize={"amount": EUR, "method_token": "pm_card"})
        error = await failed(payer.send(call))
        assert error.code() is grpc.StatusCode.UNKNOWN
        assert (await failed(payer.read("pi_1"))).code() is grpc.StatusCode.UNAVAILABLE
        assert SECRET not in f"{error.details()} {caplog.text}"


async def test_a_refused_key_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    async with HttpBackend() as backend, payer_of(backend.url) as payer:
        backend.always(".", answer(Reply(b'{"error": {"message": "Invalid API Key: sk_test_swordfish"}}', 401)))
        error = await failed(payer.identity.Probe(identity_service_pb2.ProbeRequest()))
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert SECRET not in f"{error.details()} {caplog.text}"
