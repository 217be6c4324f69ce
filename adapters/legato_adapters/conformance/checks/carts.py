"""CART: carts and their lines."""

from legato.adapter.v1 import cart_service_pb2
from legato.adapter.v1.catalog_service_pb2 import GetPricesRequest
from legato.commerce.v1 import cart_pb2, total_pb2
from legato_adapters.conformance.cart_user import CartUser, comparable, total
from legato_adapters.conformance.check import HIDDEN, Code, check, ends_with, expect, one_of, same
from legato_adapters.conformance.checks.pricing import check_money
from legato_adapters.conformance.shop import told
from legato_adapters.conformance.subject import Subject

LINES = ("create_cart", "add_line")
ALL_LINES = (*LINES, "set_line_quantity", "remove_line")


async def same_read(user: CartUser) -> None:
    """What was answered is what is read."""
    cart, version = await user.read()
    same("the cart that is read", comparable(cart), comparable(user.cart))
    same("the version that is read", version, user.version)


@check("cart.create", "CART", "a new cart is empty and costs nothing", commands=("create_cart",))
async def create(subject: Subject) -> None:
    user = await subject.shopper()
    one_of("the state", user.cart.state, (cart_pb2.CART_STATE_UNSPECIFIED, cart_pb2.CART_STATE_ACTIVE))
    one_of("the cart id", user.cart.id, ("", user.cart_id))
    one_of("the currency", user.cart.currency_code, ("", subject.shop.market.currency))
    same("the number of lines", len(user.cart.lines), 0)
    same("the grand total", total(user.cart, total_pb2.TOTAL_TYPE_GRAND_TOTAL), 0)
    await same_read(user)


@check(
    "cart.market",
    "CART",
    "a cart in a market that is not served is refused: UNKNOWN_CURRENCY",
    commands=("create_cart",),
)
async def market(subject: Subject) -> None:
    user = subject.visitor()
    user.context.country, user.context.currency_code = told(subject.shop.market.unserved, "market.unserved")
    response = await user.send(user.call(create_cart={}))
    same("the reason", response.rejection.reason, cart_service_pb2.REJECTION_REASON_UNKNOWN_CURRENCY)
    expect(not response.HasField("cart"), "there is a cart all the same")


@check(
    "cart.create_again",
    "CART",
    "a second command that creates the same cart is refused: CART_EXISTS",
    commands=("create_cart",),
    effects=("KEYED", "MARKED"),
)
async def create_again(subject: Subject) -> None:
    user = await subject.shopper()
    rejection = await user.refused(create_cart={})
    same("the reason", rejection.reason, cart_service_pb2.REJECTION_REASON_CART_EXISTS)


@check(
    "cart.repeat_create",
    "CART",
    "a repeated creation makes one cart",
    commands=("create_cart",),
    effects=("KEYED", "MARKED", "ABSOLUTE"),
)
async def repeat_create(subject: Subject) -> None:
    user = subject.visitor()
    request = user.call(create_cart={})
    first = await user.send(request)
    again = await user.send(request)
    expect(not again.HasField("rejection"), f"the repeat was refused: {again.rejection}".strip())
    same("the version after a repeat", again.version, first.version)
    same("the number of lines", len(again.cart.lines), 0)


@check("cart.add", "CART", "what is added is one line, answered with its id, and read again the same", commands=LINES)
async def add(subject: Subject) -> None:
    user, sku = await subject.shopper(), subject.shop.goods.sku
    response = await user.add(sku, 3)
    same("the number of lines", len(user.cart.lines), 1)
    line = user.cart.lines[0]
    same("line_id", response.line_id, line.id)
    same("sku and steps of the line", (line.sku, line.quantity.steps), (sku, 3))
    expect(line.item.name, "the line has no name")
    expect(line.item.product_id, "the line has no product id")
    same("tax_included of the line", line.tax_included, subject.shop.market.tax_included)
    await same_read(user)


@check("cart.price", "CART", "a line costs what the price says", commands=LINES, also=("PRICING",))
async def price(subject: Subject) -> None:
    user, sku = await subject.shopper(), subject.shop.goods.sku
    prices = (await subject.stubs.catalog.GetPrices(GetPricesRequest(context=subject.context, skus=[sku]))).prices
    same("the number of prices", len(prices), 1)
    await user.add(sku, 3)
    same("the unit price", user.cart.lines[0].unit_price, prices[0].amount)
    same("the total of 3", user.cart.lines[0].total.units, 3 * prices[0].amount.units)


@check("cart.add_more", "CART", "what is added again adds up, and other goods stay apart", commands=LINES)
async def add_more(subject: Subject) -> None:
    user, goods = await subject.shopper(), subject.shop.goods
    await user.add(goods.sku, 1)
    await user.add(goods.sku, 2)
    await user.add(goods.other_sku, 4)
    await user.add(goods.abundant_sku, goods.abundance)
    wanted = {goods.sku: 3, goods.other_sku: 4, goods.abundant_sku: goods.abundance}
    same("what is in the cart", await user.steps(), wanted)


@check(
    "cart.totals",
    "CART",
    "totals add up, are in the market's currency, and the grand total is the last",
    commands=LINES,
)
async def totals(subject: Subject) -> None:
    user, goods = await subject.shopper(), subject.shop.goods
    await user.add(goods.sku, 3)
    await user.add(goods.other_sku, 7)
    items = user.cart.totals.items
    expect(items, "the cart has no totals")
    same("the last total", items[-1].type, total_pb2.TOTAL_TYPE_GRAND_TOTAL)
    for item in items:
        check_money(subject, f"total {total_pb2.TotalType.Name(item.type)}", item.amount)
    for line in user.cart.lines:
        check_money(subject, f"the price of {line.sku}", line.unit_price)
        check_money(subject, f"the total of {line.sku}", line.total)
    tax = total(user.cart, total_pb2.TOTAL_TYPE_TAX)
    lines = sum(line.total.units for line in user.cart.lines)
    wanted = lines + (0 if subject.shop.market.tax_included else tax)
    same("the grand total", total(user.cart, total_pb2.TOTAL_TYPE_GRAND_TOTAL), wanted)
    same("the sum of the tax lines", sum(line.amount.units for line in user.cart.totals.tax_lines), tax)


@check(
    "cart.set_quantity",
    "CART",
    "a line gets the quantity that is set, more or less",
    commands=(*LINES, "set_line_quantity"),
)
async def set_quantity(subject: Subject) -> None:
    user, sku = await subject.shopper(), subject.shop.goods.sku
    added = await user.add(sku, 5)
    for steps in (7, 2):
        wish = {"line": {"line_id": added.line_id}, "quantity": {"steps": steps}}
        response = await user.apply(set_line_quantity=wish)
        same("line_id", response.line_id, added.line_id)
        same("what is in the cart", await user.steps(), {sku: steps})


@check("cart.take_out", "CART", "a line that is removed, or set to 0, is gone, and no other", commands=ALL_LINES)
async def take_out(subject: Subject) -> None:
    user, goods = await subject.shopper(), subject.shop.goods
    for how in ("remove_line", "set_line_quantity"):
        line = {"line_id": (await user.add(goods.sku, 5)).line_id}
        await user.add(goods.other_sku, 1)
        await user.apply(**{how: {"line": line}})
        expect(goods.sku not in await user.steps(), f"the line is still there after {how}")
    same("what is in the cart", await user.steps(), {goods.other_sku: 2})


@check(
    "cart.client_keys",
    "CART",
    "a client's part of a line can be changed and removed by its own key",
    commands=ALL_LINES,
)
async def client_keys(subject: Subject) -> None:
    user, sku = await subject.shopper(), subject.shop.goods.sku
    await user.add(sku, 1, "web-1")
    await user.add(sku, 2, "app-1")
    await user.apply(set_line_quantity={"line": {"client_line_key": "app-1"}, "quantity": {"steps": 4}})
    same("what is in the cart", await user.steps(), {sku: 5})
    await user.apply(remove_line={"line": {"client_line_key": "web-1"}})
    same("what is in the cart", await user.steps(), {sku: 4})


@check(
    "cart.cancel",
    "CART",
    "a cart that is given up is CANCELED and refuses changes: CART_NOT_ACTIVE",
    commands=(*LINES, "cancel_cart"),
)
async def cancel(subject: Subject) -> None:
    user, sku = await subject.shopper(), subject.shop.goods.sku
    await user.add(sku, 1)
    await user.apply(cancel_cart={})
    same("the state", user.cart.state, cart_pb2.CART_STATE_CANCELED)
    rejection = await user.refused(add_line={"sku": sku, "quantity": {"steps": 1}})
    same("the reason", rejection.reason, cart_service_pb2.REJECTION_REASON_CART_NOT_ACTIVE)
    same("the state that is read", (await user.read())[0].state, cart_pb2.CART_STATE_CANCELED)


@check("cart.unknown", "CART", "a cart that does not exist is NOT_FOUND", commands=LINES)
async def unknown(subject: Subject) -> None:
    user = subject.visitor()
    await ends_with(user.read(), "reading a cart that does not exist", Code.NOT_FOUND)
    await ends_with(user.add(subject.shop.goods.sku, 1), "adding to one", Code.NOT_FOUND)


@check("cart.tenants", "CART", "another tenant's cart does not exist", commands=LINES)
async def tenants(subject: Subject) -> None:
    user, sku = await subject.shopper(), subject.shop.goods.sku
    await user.add(sku, 1)
    for notebook in (b"", user.adapter_state):
        stranger = subject.stranger().visitor()
        stranger.cart_id, stranger.adapter_state = user.cart_id, notebook
        await ends_with(stranger.read(), "reading another tenant's cart", *HIDDEN)
        await ends_with(stranger.add(sku, 1), "adding to another tenant's cart", *HIDDEN)
    same("what is in the cart", await user.steps(), {sku: 1})
