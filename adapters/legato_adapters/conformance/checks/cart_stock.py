"""CART: what a backend refuses because of the goods."""

from legato.adapter.v1 import cart_service_pb2
from legato_adapters.conformance.check import check, expect, same
from legato_adapters.conformance.checks.carts import ALL_LINES, LINES
from legato_adapters.conformance.subject import Subject


def stock_rejection(rejection: cart_service_pb2.Rejection, left: int) -> None:
    """It is about stock, and does not tell a wrong number."""
    same("the reason", rejection.reason, cart_service_pb2.REJECTION_REASON_INSUFFICIENT_STOCK)
    if rejection.HasField("available_steps"):
        same("available_steps", rejection.available_steps, left)


@check("cart.unknown_sku", "CART", "a sku that does not exist is refused: UNKNOWN_SKU", commands=LINES)
async def unknown_sku(subject: Subject) -> None:
    user = await subject.shopper()
    await user.add(subject.shop.goods.sku, 1)
    rejection = await user.refused(add_line={"sku": "NO-SUCH-SKU", "quantity": {"steps": 1}})
    same("the reason", rejection.reason, cart_service_pb2.REJECTION_REASON_UNKNOWN_SKU)


@check(
    "cart.oversell",
    "CART",
    "more than there is is refused as a whole, and all that there is can be had",
    commands=LINES,
)
async def oversell(subject: Subject) -> None:
    goods = subject.shop.goods
    for existing in (0, 1):
        user = await subject.shopper()
        await user.add(goods.sku, 1)
        if existing:
            await user.add(goods.low_sku, existing)
        wish = {"sku": goods.low_sku, "quantity": {"steps": goods.low_stock + 1}}
        stock_rejection(await user.refused(add_line=wish), goods.low_stock)
        await user.add(goods.low_sku, goods.low_stock - existing)
        same("what is in the cart", await user.steps(), {goods.sku: 1, goods.low_sku: goods.low_stock})


@check(
    "cart.oversell_by_setting",
    "CART",
    "a line cannot be set to more than there is",
    commands=(*LINES, "set_line_quantity"),
)
async def oversell_by_setting(subject: Subject) -> None:
    user, goods = await subject.shopper(), subject.shop.goods
    line = {"line_id": (await user.add(goods.low_sku, 1)).line_id}
    wish = {"line": line, "quantity": {"steps": goods.low_stock + 1}}
    stock_rejection(await user.refused(set_line_quantity=wish), goods.low_stock)


@check("cart.sold_out", "CART", "what is sold out cannot be added", commands=LINES)
async def sold_out(subject: Subject) -> None:
    user = await subject.shopper()
    wish = {"sku": subject.shop.goods.empty_sku, "quantity": {"steps": 1}}
    stock_rejection(await user.refused(add_line=wish), 0)


@check("cart.line_not_found", "CART", "a line that is not there is refused: LINE_NOT_FOUND", commands=ALL_LINES)
async def line_not_found(subject: Subject) -> None:
    user, goods = await subject.shopper(), subject.shop.goods
    gone = {"line_id": (await user.add(goods.sku, 1)).line_id}
    await user.apply(remove_line={"line": gone})
    await user.add(goods.other_sku, 1)
    for wish in ({"remove_line": {"line": gone}}, {"set_line_quantity": {"line": gone, "quantity": {"steps": 2}}}):
        rejection = await user.refused(**wish)
        same("the reason", rejection.reason, cart_service_pb2.REJECTION_REASON_LINE_NOT_FOUND)


@check("cart.line_ids", "CART", "a line's id is never used again", commands=ALL_LINES)
async def line_ids(subject: Subject) -> None:
    user, goods = await subject.shopper(), subject.shop.goods
    first = (await user.add(goods.sku, 1)).line_id
    await user.apply(remove_line={"line": {"line_id": first}})
    await user.add(goods.other_sku, 1)
    again = (await user.add(goods.sku, 1)).line_id
    expect(again != first, f"line id {first!r} is used again")
