"""PAYMENT: money is held, taken, let go and given back."""

from typing import Any

from legato.adapter.v1 import payment_service_pb2
from legato.commerce.v1 import order_pb2, payment_pb2
from legato.protocol.ids import new_id
from legato_adapters.conformance.cases import (
    authorize,
    grand_total,
    held,
    money,
    pay,
    payment_command,
    place,
    ready_cart,
)
from legato_adapters.conformance.check import HIDDEN, Code, check, ends_with, expect, same
from legato_adapters.conformance.checks.orders import read as read_order
from legato_adapters.conformance.commands import Case, Port, command_checks
from legato_adapters.conformance.shop import told
from legato_adapters.conformance.subject import Subject

State = payment_pb2.PaymentState
Reason = payment_service_pb2.PaymentRejectionReason
HOLD = ("authorize",)
TAKE = ("authorize", "capture")
ALL = ("authorize", "capture", "void", "refund")


async def read(subject: Subject, payment_id: str) -> payment_pb2.Payment:
    request = payment_service_pb2.GetPaymentRequest(context=subject.context, payment_id=payment_id)
    return (await subject.stubs.payment.GetPayment(request)).payment


async def refused(subject: Subject, request: payment_service_pb2.ApplyPaymentCommandRequest) -> str:
    """The reason why a command is refused, without its prefix."""
    answer = await subject.stubs.payment.ApplyPaymentCommand(request)
    what = request.command.WhichOneof("command")
    expect(answer.HasField("rejection"), f"{what} was executed and not refused")
    return Reason.Name(answer.rejection.reason).removeprefix("PAYMENT_REJECTION_REASON_")


async def _case(subject: Subject) -> Case:
    """Two parts are taken or given back where only one was asked for, if a repeat has a second effect."""
    payment = await held(subject, 2000)
    name = "capture"
    if subject.claims_command("PAYMENT", "refund"):
        name = "refund"
        await pay(subject, payment_command(subject, capture={"payment_id": payment.id}))
    part = {"payment_id": payment.id, "amount": money(subject, 500)}
    request = payment_command(subject, **{name: part})
    other = payment_command(subject, **{name: {**part, "amount": money(subject, 400)}})
    other.command_id = request.command_id

    async def effects() -> int:
        now = await read(subject, payment.id)
        moved = now.refunded if name == "refund" else now.captured
        expect(moved.units % 500 == 0, f"{moved.units} of 2000 moved, where 500 were asked for")
        return moved.units // 500

    return Case(request, other, effects)


async def _refused(subject: Subject) -> Any:
    payment = await held(subject)
    return payment_command(subject, capture={"payment_id": payment.id, "amount": money(subject, 2001)})


async def _empty(subject: Subject, command: str) -> Any:
    request = payment_service_pb2.ApplyPaymentCommandRequest(context=subject.context, command_id=new_id())
    if command:
        getattr(request.command, command).SetInParent()
    return request


COMMAND_CHECKS = command_checks(
    Port(
        capability="PAYMENT",
        apply_method=lambda stubs: stubs.payment.ApplyPaymentCommand,
        resolve_method=lambda stubs: stubs.payment.ResolvePaymentCommand,
        resolve_request=payment_service_pb2.ResolvePaymentCommandRequest,
        case=_case,
        refused=_refused,
        empty=_empty,
        needs=TAKE,
    )
)


@check("payment.authorize", "PAYMENT", "held money can be captured, and is told with what it is paid", commands=HOLD)
async def authorize_payment(subject: Subject) -> None:
    request = authorize(subject, units=1999)
    payment = await read(subject, (await pay(subject, request)).id)
    same("the state", payment.state, State.PAYMENT_STATE_AUTHORIZED)
    wanted = money(subject, 1999)
    for name in ("amount", "authorized", "capturable"):
        same(name, getattr(payment, name), wanted)
    expect(not payment.HasField("captured"), "something is captured already")
    expect(payment.method.kind, "the kind of payment method is not told")
    expect(payment.provenance.HasField("observed_at"), "the payment does not say when it was read")
    if payment.cart_id != request.command.authorize.cart_id:
        subject.losses.note("PAYMENT", "Payment.cart_id", "is written and lost")
    expect(payment.transactions, "the payment has no transactions")
    same("the last transaction", payment.transactions[-1].type, payment_pb2.PAYMENT_TRANSACTION_TYPE_AUTHORIZATION)
    if payment.transactions[-1].command_id != request.command_id:
        subject.losses.note("PAYMENT", "PaymentTransaction.command_id", "is written and lost")


@check("payment.capture", "PAYMENT", "all that is held is taken, once", commands=TAKE)
async def capture(subject: Subject) -> None:
    payment = await held(subject)
    await pay(subject, payment_command(subject, capture={"payment_id": payment.id}))
    after = await read(subject, payment.id)
    same("the state", after.state, State.PAYMENT_STATE_CAPTURED)
    same("what is captured", after.captured, money(subject, 2000))
    expect(not after.HasField("capturable"), "more can be captured")
    again = payment_command(subject, capture={"payment_id": payment.id})
    expect(
        await refused(subject, again) in ("STATE_INVALID", "AMOUNT_INVALID"), "the reason for a second time is wrong"
    )


@check(
    "payment.parts",
    "PAYMENT",
    "a part is taken, and given back in parts, never more than was taken",
    commands=("authorize", "capture", "refund"),
)
async def parts(subject: Subject) -> None:
    payment = await held(subject)
    part = {"payment_id": payment.id, "amount": {**_fields(subject, 12000), "scale": 3}}
    captured = await pay(subject, payment_command(subject, capture=part))
    same("what is captured of 12.000, in units of 0.01", captured.captured, money(subject, 1200))
    for units, in_all in ((200, 200), (300, 500)):
        refund = payment_command(subject, refund={"payment_id": payment.id, "amount": money(subject, units)})
        same("what is refunded in all", (await pay(subject, refund)).refunded, money(subject, in_all))
    rest = await pay(subject, payment_command(subject, refund={"payment_id": payment.id}))
    same("what is refunded in all", rest.refunded, money(subject, 1200))
    reason = await refused(subject, payment_command(subject, refund={"payment_id": payment.id}))
    expect(reason in ("AMOUNT_INVALID", "STATE_INVALID"), f"the reason for a refund of nothing is {reason}")
    same("the state", (await read(subject, payment.id)).state, State.PAYMENT_STATE_CAPTURED)


def _fields(subject: Subject, units: int) -> dict[str, Any]:
    return {"currency_code": subject.shop.market.currency, "units": units}


@check("payment.void", "PAYMENT", "held money is let go, and nothing can be done then: STATE_INVALID", commands=ALL)
async def void(subject: Subject) -> None:
    payment = await held(subject)
    await pay(subject, payment_command(subject, void={"payment_id": payment.id}))
    after = await read(subject, payment.id)
    same("the state", after.state, State.PAYMENT_STATE_VOIDED)
    expect(not after.HasField("capturable"), "something can be captured")
    for name in ("capture", "void", "refund"):
        request = payment_command(subject, **{name: {"payment_id": payment.id}})
        same(f"the reason for {name}", await refused(subject, request), "STATE_INVALID")


@check(
    "payment.too_much",
    "PAYMENT",
    "more than is left, or another currency, is refused: AMOUNT_INVALID",
    commands=("authorize", "capture", "refund"),
)
async def too_much(subject: Subject) -> None:
    payment = await held(subject)
    foreign = "CHF" if subject.shop.market.currency != "CHF" else "EUR"
    wishes = [
        {"payment_id": payment.id, "amount": amount} for amount in (money(subject, 2001), money(subject, 1, foreign))
    ]
    for wish in wishes:
        same("the reason for capture", await refused(subject, payment_command(subject, capture=wish)), "AMOUNT_INVALID")
    same("what can be captured", (await read(subject, payment.id)).capturable, money(subject, 2000))
    await pay(subject, payment_command(subject, capture={"payment_id": payment.id}))
    for wish in wishes:
        same("the reason for refund", await refused(subject, payment_command(subject, refund=wish)), "AMOUNT_INVALID")
    expect(not (await read(subject, payment.id)).HasField("refunded"), "something is refunded")


@check("payment.no_amount", "PAYMENT", "an amount of 0 or less is INVALID_ARGUMENT", commands=TAKE)
async def no_amount(subject: Subject) -> None:
    payment = await held(subject)
    for units in (0, -5):
        part = {"payment_id": payment.id, "amount": money(subject, units)}
        for request in (authorize(subject, units=units), payment_command(subject, capture=part)):
            what = f"{request.command.WhichOneof('command')} of {units}"
            await ends_with(subject.stubs.payment.ApplyPaymentCommand(request), what, Code.INVALID_ARGUMENT)


@check(
    "payment.declined",
    "PAYMENT",
    "what the bank declines is refused: DECLINED, with the bank's own code",
    commands=HOLD,
)
async def declined(subject: Subject) -> None:
    request = authorize(subject, token=told(subject.shop.payment.declined_token, "payment.declined_token"))
    answer = await subject.stubs.payment.ApplyPaymentCommand(request)
    same("the reason", answer.rejection.reason, Reason.PAYMENT_REJECTION_REASON_DECLINED)
    expect(answer.rejection.native_code, "the bank's own code is not told")
    if answer.HasField("payment"):
        same("the state", answer.payment.state, State.PAYMENT_STATE_FAILED)


@check("payment.method", "PAYMENT", "a token that is none is refused: METHOD_INVALID", commands=HOLD)
async def method(subject: Subject) -> None:
    same("the reason", await refused(subject, authorize(subject, token="no-such-token")), "METHOD_INVALID")


@check("payment.currency", "PAYMENT", "a currency that is not handled is refused: UNKNOWN_CURRENCY", commands=HOLD)
async def currency(subject: Subject) -> None:
    code = told(subject.shop.payment.unserved_currency, "payment.unserved_currency")
    same("the reason", await refused(subject, authorize(subject, currency=code)), "UNKNOWN_CURRENCY")


@check(
    "payment.action",
    "PAYMENT",
    "what the shopper must confirm says where, holds nothing yet, and can be let go",
    commands=("authorize", "capture", "void"),
)
async def action(subject: Subject) -> None:
    token = told(subject.shop.payment.action_token, "payment.action_token")
    payment = await pay(subject, authorize(subject, token=token))
    same("the state", payment.state, State.PAYMENT_STATE_REQUIRES_ACTION)
    url = payment.next_action.redirect_url
    expect(url.startswith(("https://", "http://")), f"the address to go to is {url!r}")
    expect(not payment.HasField("authorized"), "money is authorized already")
    request = payment_command(subject, capture={"payment_id": payment.id})
    same("the reason for capture", await refused(subject, request), "STATE_INVALID")
    voided = await pay(subject, payment_command(subject, void={"payment_id": payment.id}))
    same("the state", voided.state, State.PAYMENT_STATE_VOIDED)
    expect(not voided.HasField("next_action"), "there is still something to do")


@check(
    "payment.no_browser",
    "PAYMENT",
    "without a return_url, what needs an action is refused: DECLINED",
    commands=HOLD,
)
async def no_browser(subject: Subject) -> None:
    request = authorize(subject, token=told(subject.shop.payment.action_token, "payment.action_token"))
    request.command.authorize.return_url = ""
    same("the reason", await refused(subject, request), "DECLINED")


@check("payment.unknown", "PAYMENT", "a payment that does not exist is NOT_FOUND", commands=TAKE)
async def unknown(subject: Subject) -> None:
    for payment_id in ("nonsense", "999999999"):
        await ends_with(read(subject, payment_id), "reading a payment that does not exist", Code.NOT_FOUND)
        request = payment_command(subject, capture={"payment_id": payment_id})
        await ends_with(subject.stubs.payment.ApplyPaymentCommand(request), "capturing one", Code.NOT_FOUND)


@check("payment.tenants", "PAYMENT", "another tenant's payment does not exist", commands=TAKE)
async def tenants(subject: Subject) -> None:
    payment, stranger = await held(subject), subject.stranger()
    await ends_with(read(stranger, payment.id), "reading another tenant's payment", *HIDDEN)
    request = payment_command(stranger, capture={"payment_id": payment.id})
    await ends_with(subject.stubs.payment.ApplyPaymentCommand(request), "capturing another tenant's payment", *HIDDEN)


@check(
    "payment.of_order",
    "PAYMENT",
    "an order in the same backend knows what became of its payment, and is not paid by what holds too little",
    commands=("authorize", "capture", "refund", "ORDER.place"),
    also=("ORDER", "CART"),
)
async def of_order(subject: Subject) -> None:
    user = await ready_cart(subject)
    costs = grand_total(user)
    halves = authorize(subject, units=costs.units // 2), authorize(subject, units=costs.units)
    for request in halves:
        request.command.authorize.cart_id = user.cart_id
    half, whole = [await pay(subject, request) for request in halves]
    system = whole.refs[0].system if whole.refs else subject.claims.name
    answers = [
        await subject.stubs.order.ApplyOrderCommand(
            place(subject, user, order_pb2.OrderPayment(payment_id=payment.id, system=system, authorized=costs))
        )
        for payment in (half, whole)
    ]
    same("whether the orders are refused", [answer.HasField("rejection") for answer in answers], [True, False])
    await pay(subject, payment_command(subject, capture={"payment_id": whole.id}))
    await pay(subject, payment_command(subject, refund={"payment_id": whole.id, "amount": money(subject, 100)}))
    order = await read_order(subject, order_id=answers[1].order.id)
    same(
        "what the order knows of its payment",
        [(p.payment_id, p.captured.units, p.refunded.units) for p in order.payments],
        [(whole.id, costs.units, 100)],
    )
