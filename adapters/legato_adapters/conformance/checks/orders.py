"""ORDER: what becomes of carts that are bought."""

from typing import Any

from legato.adapter.v1 import order_service_pb2
from legato.commerce.v1 import address_pb2, cart_pb2, order_pb2
from legato.protocol.ids import new_id
from legato_adapters.conformance.cases import bought, grand_total, ordered, paid, place, ready_cart
from legato_adapters.conformance.check import (
    HIDDEN,
    Code,
    Skipped,
    check,
    code_of,
    ends_with,
    expect,
    one_of,
    same,
    shown,
)
from legato_adapters.conformance.checks.cart_fields import full_address
from legato_adapters.conformance.commands import Case, Port, command_checks
from legato_adapters.conformance.shop import told
from legato_adapters.conformance.subject import Subject

CART = ("CART",)
PLACE = ("place",)
Reason = order_service_pb2.OrderRejectionReason


async def read(subject: Subject, **key: str) -> order_pb2.Order:
    request = order_service_pb2.GetOrderRequest(context=subject.context, **key)
    return (await subject.stubs.order.GetOrder(request)).order


def cancel(subject: Subject, order_id: str) -> order_service_pb2.ApplyOrderCommandRequest:
    return order_service_pb2.ApplyOrderCommandRequest(
        context=subject.context,
        command_id=new_id(),
        command=order_service_pb2.OrderCommand(cancel=order_service_pb2.CancelOrder(order_id=order_id)),
    )


async def refused(subject: Subject, request: order_service_pb2.ApplyOrderCommandRequest) -> str:
    """The reason why a command is refused, without its prefix."""
    answer = await subject.stubs.order.ApplyOrderCommand(request)
    what = request.command.WhichOneof("command")
    expect(answer.HasField("rejection"), f"{what} was executed and not refused")
    return Reason.Name(answer.rejection.reason).removeprefix("ORDER_REJECTION_REASON_")


async def _case(subject: Subject) -> Case:
    user = await ready_cart(subject)
    request = place(subject, user)
    other = place(subject, await ready_cart(subject))
    other.command_id = request.command_id

    async def effects() -> int:
        code = await code_of(read(subject, cart_id=user.cart_id))
        one_of("the status of reading the order of a cart", code, (Code.OK, Code.NOT_FOUND))
        return int(code is Code.OK)

    return Case(request, other, effects)


async def _refused(subject: Subject) -> Any:
    return place(subject, await subject.shopper())


async def _empty(subject: Subject, command: str) -> Any:
    request = order_service_pb2.ApplyOrderCommandRequest(context=subject.context, command_id=new_id())
    if command:
        getattr(request.command, command).SetInParent()
    return request


COMMAND_CHECKS = command_checks(
    Port(
        capability="ORDER",
        apply_method=lambda stubs: stubs.order.ApplyOrderCommand,
        resolve_method=lambda stubs: stubs.order.ResolveOrderCommand,
        resolve_request=order_service_pb2.ResolveOrderCommandRequest,
        case=_case,
        refused=_refused,
        empty=_empty,
        needs=PLACE,
        also=CART,
    )
)


@check("order.place", "ORDER", "an order is what the cart was, and the cart is ORDERED", commands=PLACE, also=CART)
async def place_order(subject: Subject) -> None:
    user = await ready_cart(subject)
    cart, _ = await user.read()
    order = await bought(subject, user)
    same("the cart id", order.cart_id, user.cart_id)
    expect(order.id, "the order has no id")
    expect(order.number, "the order has no number")
    expect(order.HasField("placed_at"), "the order does not say when it was placed")
    same(
        "what was ordered",
        [(line.item.sku, line.item.quantity.steps, line.current_steps, line.fulfilled_steps) for line in order.lines],
        [(line.sku, line.quantity.steps, line.quantity.steps, 0) for line in cart.lines],
    )
    same("the currency", order.currency_code, subject.shop.market.currency)
    expect(order.totals.items, "the order has no totals")
    same("the grand total", order.totals.items[-1].amount, grand_total(user))
    same("the state", order.state, order_pb2.ORDER_STATE_OPEN)
    if cart.email:
        same("the e-mail address", order.email, cart.email)
    if cart.HasField("shipping_address"):
        same("the city it goes to", order.shipping_address.city, cart.shipping_address.city)
    if not order.events:
        subject.losses.note("ORDER", "Order.events", "is never told")
    after, _ = await user.read()
    same("the state of the cart", after.state, cart_pb2.CART_STATE_ORDERED)
    rejection = await user.refused(add_line={"sku": subject.shop.goods.sku, "quantity": {"steps": 1}})
    expect(rejection.reason, "a change of the ordered cart is refused without a reason")


@check(
    "order.fields",
    "ORDER",
    "everything that the cart said is on the order, or reported as lost",
    commands=PLACE,
    also=CART,
)
async def fields(subject: Subject) -> None:
    user = await ready_cart(subject, steps=10)
    await user.add(subject.shop.goods.other_sku, 1, "web-1")
    if subject.claims_command("CART", "set_note"):
        await user.apply(set_note={"note": "Please ring twice."})
    if subject.claims_command("CART", "set_address"):
        for purpose in (address_pb2.ADDRESS_PURPOSE_SHIPPING, address_pb2.ADDRESS_PURPOSE_BILLING):
            await user.apply(set_address={"purpose": purpose, "address": full_address(subject)})
    if subject.claims_command("CART", "add_discount_code") and subject.shop.cart.discount_code:
        await user.apply(add_discount_code={"code": subject.shop.cart.discount_code})
    cart, _ = await user.read()
    order = await read(subject, order_id=(await bought(subject, user)).id)
    written = order_pb2.Order(
        tenant=subject.shop.market.tenant,
        store=subject.shop.market.store,
        country=subject.shop.market.country,
        locale=subject.shop.market.locale,
        email=cart.email,
        note=cart.note,
        delivery=cart.fulfilment.selected,
        discount_codes=cart.discount_codes,
        totals=cart.totals,
        shipping_address=cart.shipping_address,
        billing_address=cart.billing_address,
    )
    subject.losses.compare("ORDER", "Order", written, order)
    for line, kept in zip(cart.lines, order.lines, strict=True):
        line.ClearField("refs")
        subject.losses.compare("ORDER", "OrderLine.item", line, kept.item)


@check("order.names", "ORDER", "an order is the same by id, by number and by its cart", commands=PLACE, also=CART)
async def names(subject: Subject) -> None:
    order = await ordered(subject)
    for key in ({"order_id": order.id}, {"number": order.number}, {"cart_id": order.cart_id}):
        found = await read(subject, **key)
        same(
            f"the order by {next(iter(key))}",
            (found.id, found.number, found.cart_id),
            (order.id, order.number, order.cart_id),
        )
        expect(found.provenance.source, "the order does not say who said so")
        expect(found.provenance.HasField("observed_at"), "the order does not say when it was read")


@check("order.unknown", "ORDER", "an order that does not exist is NOT_FOUND, and no key is INVALID_ARGUMENT")
async def unknown(subject: Subject) -> None:
    for key in ({"order_id": "999999999"}, {"order_id": "nonsense"}, {"number": "nonsense"}, {"cart_id": new_id()}):
        await ends_with(read(subject, **key), f"reading an order by unknown {next(iter(key))}", Code.NOT_FOUND)
    await ends_with(read(subject), "reading an order without a key", Code.INVALID_ARGUMENT)


@check(
    "order.cancel_unknown",
    "ORDER",
    "an order that does not exist cannot be cancelled: NOT_FOUND",
    commands=("cancel",),
)
async def cancel_unknown(subject: Subject) -> None:
    for order_id in ("999999999", "nonsense"):
        call = subject.stubs.order.ApplyOrderCommand(cancel(subject, order_id))
        await ends_with(call, "cancelling an order that does not exist", Code.NOT_FOUND)


@check(
    "order.no_cart",
    "ORDER",
    "a cart that does not exist is NOT_FOUND, a malformed cart id INVALID_ARGUMENT",
    commands=PLACE,
    also=CART,
)
async def no_cart(subject: Subject) -> None:
    user = await ready_cart(subject)
    for cart_id, code in ((new_id(), Code.NOT_FOUND), ("nonsense", Code.INVALID_ARGUMENT)):
        request = place(subject, user)
        request.command.place.cart_id = cart_id
        request.adapter_state = b""
        await ends_with(subject.stubs.order.ApplyOrderCommand(request), f"ordering cart {cart_id!r}", code)


@check("order.tenants", "ORDER", "another tenant's order does not exist", commands=PLACE, also=CART)
async def tenants(subject: Subject) -> None:
    order, stranger = await ordered(subject), subject.stranger()
    for key in ({"order_id": order.id}, {"number": order.number}, {"cart_id": order.cart_id}):
        await ends_with(read(stranger, **key), f"reading another tenant's order by {next(iter(key))}", *HIDDEN)
    if subject.claims_command("ORDER", "cancel"):
        call = subject.stubs.order.ApplyOrderCommand(cancel(stranger, order.id))
        await ends_with(call, "cancelling another tenant's order", *HIDDEN)


@check(
    "order.once",
    "ORDER",
    "a cart that was ordered or given up cannot be ordered: CART_NOT_ACTIVE",
    commands=PLACE,
    also=CART,
    effects=("KEYED", "MARKED"),
)
async def once(subject: Subject) -> None:
    user = await ready_cart(subject)
    await bought(subject, user)
    same("the reason for an ordered cart", await refused(subject, place(subject, user)), "CART_NOT_ACTIVE")
    if subject.claims_command("CART", "cancel_cart"):
        given_up = await ready_cart(subject)
        await given_up.apply(cancel_cart={})
        same("the reason for a cart given up", await refused(subject, place(subject, given_up)), "CART_NOT_ACTIVE")


@check("order.empty_cart", "ORDER", "an empty cart cannot be ordered: CART_EMPTY", commands=PLACE, also=CART)
async def empty_cart(subject: Subject) -> None:
    user = await subject.shopper()
    same("the reason", await refused(subject, place(subject, user)), "CART_EMPTY")
    cart, _ = await user.read()
    expect(cart.state != cart_pb2.CART_STATE_ORDERED, "the cart is ordered all the same")


@check("order.incomplete", "ORDER", "what a cart lacks is named: CART_INCOMPLETE", commands=PLACE, also=CART)
async def incomplete(subject: Subject) -> None:
    told(subject.shop.order.needs_email, "order.needs_email")
    user = await subject.shopper()
    await user.add(subject.shop.goods.sku, 1)
    answer = await subject.stubs.order.ApplyOrderCommand(place(subject, user))
    same("the reason", answer.rejection.reason, Reason.ORDER_REJECTION_REASON_CART_INCOMPLETE)
    expect("email" in answer.rejection.paths, f"the paths {shown(list(answer.rejection.paths))} do not name email")
    expect(not answer.HasField("order"), "there is an order all the same")


@check(
    "order.expected_version",
    "ORDER",
    "an old expected version of the cart is FAILED_PRECONDITION",
    commands=PLACE,
    also=CART,
)
async def expected_version(subject: Subject) -> None:
    user = await ready_cart(subject)
    request = place(subject, user)
    if not user.version:
        raise Skipped("carts have no version")
    request.expected_version = user.version
    await user.add(subject.shop.goods.other_sku, 1)
    await ends_with(subject.stubs.order.ApplyOrderCommand(request), "an old expected version", Code.FAILED_PRECONDITION)
    request = place(subject, user)
    request.expected_version = user.version
    answer = await subject.stubs.order.ApplyOrderCommand(request)
    expect(answer.HasField("order"), "the present version is refused, too")


@check(
    "order.payments",
    "ORDER",
    "an order keeps the payments of another backend that pay for it",
    commands=PLACE,
    also=CART,
)
async def payments(subject: Subject) -> None:
    told(subject.shop.order.payments, "order.payments")
    user = await ready_cart(subject)
    payment = paid(user)
    answer = await subject.stubs.order.ApplyOrderCommand(place(subject, user, payment))
    expect(not answer.HasField("rejection"), f"it was refused: {shown(answer.rejection)}")
    same("the number of payments", len(answer.order.payments), 1)
    kept = answer.order.payments[0]
    same("what is authorized", kept.authorized.units, payment.authorized.units)
    subject.losses.compare("ORDER", "OrderPayment", payment, kept)


@check(
    "order.payment_mismatch",
    "ORDER",
    "payments that are not what the cart costs are refused: PAYMENT_MISMATCH",
    commands=PLACE,
    also=CART,
)
async def payment_mismatch(subject: Subject) -> None:
    told(subject.shop.order.payments, "order.payments")
    user = await ready_cart(subject)
    costs = grand_total(user).units
    half = paid(user, costs // 2)
    wrong = {
        "too little": [paid(user, costs - 1)],
        "too much": [paid(user, costs + 1)],
        "another currency": [paid(user, currency="CHF" if subject.shop.market.currency != "CHF" else "EUR")],
        "the same payment twice": [half, half] if costs % 2 == 0 else [half, half, paid(user, 1)],
    }
    for what, given in wrong.items():
        same(f"the reason for {what}", await refused(subject, place(subject, user, *given)), "PAYMENT_MISMATCH")
    cart, _ = await user.read()
    expect(cart.state != cart_pb2.CART_STATE_ORDERED, "the cart is ordered all the same")


@check(
    "order.cancel",
    "ORDER",
    "a cancelled order keeps its past, wants nothing more, and cannot be cancelled again: NOT_CANCELABLE",
    commands=("place", "cancel"),
    also=CART,
)
async def cancel_order(subject: Subject) -> None:
    order = await ordered(subject)
    answer = await subject.stubs.order.ApplyOrderCommand(cancel(subject, order.id))
    expect(not answer.HasField("rejection"), f"cancel was refused: {shown(answer.rejection)}")
    after = await read(subject, order_id=order.id)
    same("the state", after.state, order_pb2.ORDER_STATE_CANCELED)
    same("what is wanted now", [line.current_steps for line in after.lines], [0] * len(order.lines))
    same(
        "what was ordered",
        [(line.item.sku, line.item.quantity.steps) for line in after.lines],
        [(line.item.sku, line.item.quantity.steps) for line in order.lines],
    )
    if after.totals != order.totals:
        subject.losses.note("ORDER", "Order.totals", "changes when the order is cancelled")
    past = [event.id for event in order.events]
    same("the first events", [event.id for event in after.events][: len(past)], past)
    if subject.effect("ORDER") in ("KEYED", "MARKED"):
        same("the reason for a second time", await refused(subject, cancel(subject, order.id)), "NOT_CANCELABLE")
