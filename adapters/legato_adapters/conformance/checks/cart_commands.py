"""CART: command ids, repeats, lost answers, versions."""

import asyncio
from typing import Any

from legato.adapter.v1 import cart_service_pb2
from legato_adapters.conformance.cart_user import CartUser, comparable
from legato_adapters.conformance.check import Code, check, ends_with, expect, same
from legato_adapters.conformance.checks.carts import LINES
from legato_adapters.conformance.claims import REMEMBERING
from legato_adapters.conformance.commands import APPLIED, MALFORMED_IDS, Case, Port, command_checks
from legato_adapters.conformance.subject import Subject


def add_two(user: CartUser, sku: str) -> cart_service_pb2.ApplyCommandRequest:
    return user.call(add_line={"sku": sku, "quantity": {"steps": 2}})


async def _case(subject: Subject) -> Case:
    user, goods = await subject.shopper(), subject.shop.goods
    request = add_two(user, goods.sku)
    other = user.call(add_line={"sku": goods.other_sku, "quantity": {"steps": 1}})
    other.command_id = request.command_id

    async def effects() -> int:
        steps = await user.steps()
        expect(set(steps) <= {goods.sku} and steps.get(goods.sku, 0) % 2 == 0, f"in the cart is {steps}")
        return steps.get(goods.sku, 0) // 2

    return Case(request, other, effects)


async def _refused(subject: Subject) -> Any:
    return (await subject.shopper()).call(add_line={"sku": "NO-SUCH-SKU", "quantity": {"steps": 1}})


async def _empty(subject: Subject, command: str) -> Any:
    user = await subject.shopper()
    request = user.call()
    if command:
        getattr(request.intent, command).SetInParent()
    return request


COMMAND_CHECKS = command_checks(
    Port(
        capability="CART",
        apply_method=lambda stubs: stubs.cart.ApplyCommand,
        resolve_method=lambda stubs: stubs.cart.ResolveCommand,
        resolve_request=cart_service_pb2.ResolveCommandRequest,
        case=_case,
        refused=_refused,
        empty=_empty,
        needs=LINES,
    )
)


@check("cart.malformed_cart_id", "CART", "a malformed cart id is INVALID_ARGUMENT", commands=LINES)
async def malformed_cart_id(subject: Subject) -> None:
    user = await subject.shopper()
    for text in MALFORMED_IDS:
        request = add_two(user, subject.shop.goods.sku)
        request.cart_id = text
        read = cart_service_pb2.GetCartRequest(context=user.context, cart_id=text, adapter_state=user.adapter_state)
        what = f"cart id {text!r}"
        await ends_with(subject.stubs.cart.GetCart(read), f"reading {what}", Code.INVALID_ARGUMENT)
        await ends_with(subject.stubs.cart.ApplyCommand(request), f"a command on {what}", Code.INVALID_ARGUMENT)
        resolve = cart_service_pb2.ResolveCommandRequest(call=request)
        await ends_with(subject.stubs.cart.ResolveCommand(resolve), f"resolving one on {what}", Code.INVALID_ARGUMENT)


@check(
    "cart.late_repeat",
    "CART",
    "a repeat that comes late has no effect, and shows the cart as it is now",
    commands=LINES,
    effects=REMEMBERING,
)
async def late_repeat(subject: Subject) -> None:
    user, goods = await subject.shopper(), subject.shop.goods
    request = add_two(user, goods.sku)
    first = await user.send(request)
    await user.add(goods.other_sku, 4)
    again = await user.send(request)
    same("line_id of a late repeat", again.line_id, first.line_id)
    same("the cart in a late repeat", comparable(again.cart), comparable((await user.read())[0]))
    same("what is in the cart", await user.steps(), {goods.sku: 2, goods.other_sku: 4})


@check(
    "cart.reordered",
    "CART",
    "two commands that come in the other order, with repeats between, have one effect each",
    commands=LINES,
    effects=REMEMBERING,
)
async def reordered(subject: Subject) -> None:
    user, goods = await subject.shopper(), subject.shop.goods
    first, second = add_two(user, goods.sku), add_two(user, goods.other_sku)
    for request in (second, first, second, first):
        await user.send(request)
    same("what is in the cart", await user.steps(), {goods.sku: 2, goods.other_sku: 2})


@check(
    "cart.expected_version",
    "CART",
    "versions grow; an old expected version is FAILED_PRECONDITION, save for a repeat",
    commands=LINES,
    effects=("KEYED",),
)
async def expected_version(subject: Subject) -> None:
    user, sku = await subject.shopper(), subject.shop.goods.sku
    request = add_two(user, sku)
    request.expected_version = user.version
    await user.send(request)
    expect(user.version.isdecimal(), f"the version {user.version!r} is no decimal number")
    expect(int(user.version) > int(request.expected_version), "the version has not grown")
    late = add_two(user, sku)
    late.expected_version = request.expected_version
    await ends_with(user.send(late), "an old expected version", Code.FAILED_PRECONDITION)
    again = await user.send(request)
    expect(not again.HasField("rejection"), "a repeat of the command that made the version old is refused")
    same("what is in the cart", await user.steps(), {sku: 2})


@check(
    "cart.resolve_shows_cart",
    "CART",
    "Resolve shows the cart as it is now, whatever it says of the command",
    commands=LINES,
)
async def resolve_shows_cart(subject: Subject) -> None:
    user, goods = await subject.shopper(), subject.shop.goods
    await user.add(goods.other_sku, 1)
    request = add_two(user, goods.sku)
    never = await user.resolve(request)
    same("the cart in a resolution", comparable(never.response.cart), comparable(user.cart))
    response = await user.send(request)
    done = await user.resolve(request)
    same("the cart in a resolution", comparable(done.response.cart), comparable(response.cart))


@check(
    "cart.resolve_creation",
    "CART",
    "a creation that never came is not APPLIED, and there is no cart",
    commands=("create_cart",),
)
async def resolve_creation(subject: Subject) -> None:
    user = subject.visitor()
    resolved = await user.resolve(user.call(create_cart={}))
    expect(resolved.resolution != APPLIED, "a creation that never came is APPLIED")
    expect(not resolved.response.HasField("cart"), "there is a cart that nobody made")


@check(
    "cart.lost_creation",
    "CART",
    "a creation whose answer was lost leaves a cart that can be used after the repeat",
    commands=LINES,
)
async def lost_creation(subject: Subject) -> None:
    user, sku = subject.visitor(), subject.shop.goods.sku
    request = user.call(create_cart={})
    async with subject.losing_answers() as unanswered:
        await ends_with(unanswered.cart.ApplyCommand(request), "a call whose answer is lost", Code.UNAVAILABLE)
    resolved = await user.resolve(request)
    if subject.effect("CART") in REMEMBERING:
        same("the resolution of a creation that was executed", resolved.resolution, APPLIED)
    if subject.effect("CART") == "NONE" and resolved.resolution != APPLIED:
        return
    again = await user.send(request)
    expect(not again.HasField("rejection"), f"the repeat was refused: {again.rejection}".strip())
    await user.add(sku, 1)
    same("what is in the cart", await user.steps(), {sku: 1})


@check("cart.many", "CART", "commands on many carts at once do not meet", commands=LINES)
async def many(subject: Subject) -> None:
    users = [subject.visitor() for _ in range(8)]
    sku = subject.shop.goods.abundant_sku
    await asyncio.gather(*(user.apply(create_cart={}) for user in users))
    for turn in range(3):
        await asyncio.gather(*(user.add(sku, 1 << turn) for user in users))
    for user in users:
        same("what is in a cart", await user.steps(), {sku: 7})
