"""CART: what is written about a cart besides its lines, and whether it comes back."""

from legato.adapter.v1 import cart_service_pb2
from legato.commerce.v1 import address_pb2, discount_pb2, line_item_pb2, total_pb2
from legato_adapters.conformance.cart_user import CartUser, comparable, total
from legato_adapters.conformance.check import check, expect, same
from legato_adapters.conformance.shop import told
from legato_adapters.conformance.subject import Subject

SHIPPING = address_pb2.ADDRESS_PURPOSE_SHIPPING
BILLING = address_pb2.ADDRESS_PURPOSE_BILLING
LINES = ("create_cart", "add_line")
NOTE = "Please ring twice. ÄÖÜ 🎒"

DISTINCT = {
    "first_name": "Grace",
    "last_name": "Hopper",
    "company": "Hopper GmbH",
    "street_extra": "2nd floor",
    "phone": "+49 30 5550 1234",
}
"""Fields of an address that any backend could keep, beside those that the shop file tells."""

_ESSENTIAL = ("street", "postal_code", "city", "country")


def full_address(subject: Subject) -> address_pb2.Address:
    """The shop's address with a distinctive value in every field."""
    return address_pb2.Address(**{**subject.shop.cart.address, **DISTINCT, "region": "BE"})


async def filled(subject: Subject) -> CartUser:
    """Somebody with one thing in the cart."""
    user = await subject.shopper()
    await user.add(subject.shop.goods.sku, 1)
    return user


@check("cart.email", "CART", "the e-mail address that was set last is read again", commands=(*LINES, "set_email"))
async def email(subject: Subject) -> None:
    user = await filled(subject)
    for text in ("ada@example.org", "grace@example.org"):
        await user.apply(set_email={"email": text})
        same("the e-mail address", (await user.read())[0].email, text)


@check(
    "cart.refused_email",
    "CART",
    "an e-mail address that is none is refused: INVALID_FIELD",
    commands=(*LINES, "set_email"),
)
async def refused_email(subject: Subject) -> None:
    user = await filled(subject)
    rejection = await user.refused(set_email={"email": told(subject.shop.cart.refused_email, "cart.refused_email")})
    same("the reason", rejection.reason, cart_service_pb2.REJECTION_REASON_INVALID_FIELD)


@check(
    "cart.addresses",
    "CART",
    "both addresses are read again as they were set, apart from each other",
    commands=(*LINES, "set_address"),
)
async def addresses(subject: Subject) -> None:
    user = await filled(subject)
    shipping = address_pb2.Address(**subject.shop.cart.address)
    billing = address_pb2.Address(**{**subject.shop.cart.address, "first_name": "Grace", "street": "Hauptstr. 9"})
    await user.apply(set_address={"purpose": SHIPPING, "address": shipping})
    await user.apply(set_address={"purpose": BILLING, "address": billing})
    cart, _ = await user.read()
    same("the shipping address", cart.shipping_address, shipping)
    same("the billing address", cart.billing_address, billing)


@check(
    "cart.address_fields",
    "CART",
    "every field of an address is kept, or reported as lost",
    commands=(*LINES, "set_address"),
)
async def address_fields(subject: Subject) -> None:
    user = await filled(subject)
    address = full_address(subject)
    await user.apply(set_address={"purpose": SHIPPING, "address": address})
    await user.apply(set_address={"purpose": BILLING, "address": address})
    cart, _ = await user.read()
    for name in ("shipping_address", "billing_address"):
        kept = getattr(cart, name)
        for field in _ESSENTIAL:
            same(f"{name}.{field}", getattr(kept, field), getattr(address, field))
        subject.losses.compare("CART", f"Cart.{name}", address, kept)


@check(
    "cart.note",
    "CART",
    "a note is read again to the letter, and gone when it is taken back",
    commands=(*LINES, "set_note"),
)
async def note(subject: Subject) -> None:
    user = await filled(subject)
    await user.apply(set_note={"note": NOTE})
    same("the note", (await user.read())[0].note, NOTE)
    await user.apply(set_note={"note": ""})
    same("the note", (await user.read())[0].note, "")


@check(
    "cart.fields",
    "CART",
    "market, owner, channel and the clients' keys are kept by the backend, or reported as lost",
    commands=LINES,
)
async def fields(subject: Subject) -> None:
    user = await subject.shopper()
    await user.add(subject.shop.goods.sku, 2, "web-1")
    cart, _ = await user.read()
    market = subject.shop.market
    wanted = {
        "id": user.cart_id,
        "tenant": market.tenant,
        "store": market.store,
        "country": market.country,
        "currency_code": market.currency,
        "locale": market.locale,
        "anonymous_id": "shopper",
    }
    for name, value in wanted.items():
        got = getattr(cart, name)
        expect(got in ("", value), f"{name} is {got!r}, not {value!r}")
        if not got:
            subject.losses.note("CART", f"Cart.{name}", "is written and lost; the hub keeps it")
    line = cart.lines[0]
    if line.client_line_keys:
        keys = [line_item_pb2.ClientLineKey(key="web-1", steps=2)]
        same("the clients' keys", list(line.client_line_keys), keys)
    else:
        subject.losses.note("CART", "LineItem.client_line_keys", "is written and lost; the hub keeps it")
    expect(line.added_by_channel in ("", "web"), f"added_by_channel is {line.added_by_channel!r}, not 'web'")
    if not line.added_by_channel:
        subject.losses.note("CART", "LineItem.added_by_channel", "is written and lost; the hub keeps it")


@check(
    "cart.discount",
    "CART",
    "a discount code lowers the price until it is withdrawn; a wish fulfilled already changes nothing",
    commands=(*LINES, "add_discount_code", "remove_discount_code"),
)
async def discount(subject: Subject) -> None:
    code = told(subject.shop.cart.discount_code, "cart.discount_code")
    user = await subject.shopper()
    await user.add(subject.shop.goods.sku, 10)
    full = total(user.cart, total_pb2.TOTAL_TYPE_GRAND_TOTAL)
    await user.apply(add_discount_code={"code": code})
    expect(total(user.cart, total_pb2.TOTAL_TYPE_GRAND_TOTAL) < full, "the grand total is not lower")
    expect(total(user.cart, total_pb2.TOTAL_TYPE_DISCOUNT) < 0, "there is no total of discounts below 0")
    applied = [(code, discount_pb2.DISCOUNT_CODE_STATE_APPLIED)]
    same("the codes", [(known.code, known.state) for known in user.cart.discount_codes], applied)
    lower = comparable(user.cart)
    await user.apply(add_discount_code={"code": code})
    same("the cart after the same code again", comparable(user.cart), lower)
    for _ in range(2):
        await user.apply(remove_discount_code={"code": code})
        same("the grand total", total(user.cart, total_pb2.TOTAL_TYPE_GRAND_TOTAL), full)
        same("the number of codes", len(user.cart.discount_codes), 0)


@check(
    "cart.refused_codes",
    "CART",
    "a code that is unknown or has expired is refused: DISCOUNT_CODE_INVALID",
    commands=(*LINES, "add_discount_code"),
)
async def refused_codes(subject: Subject) -> None:
    user = await filled(subject)
    for code in ("NO-SUCH-CODE", *subject.shop.cart.refused_codes):
        rejection = await user.refused(add_discount_code={"code": code})
        same(f"the reason for {code}", rejection.reason, cart_service_pb2.REJECTION_REASON_DISCOUNT_CODE_INVALID)


async def with_options(subject: Subject) -> tuple[CartUser, str]:
    """A cart whose delivery can be chosen, and the first option that costs something."""
    user = await filled(subject)
    await user.apply(set_address={"purpose": SHIPPING, "address": subject.shop.cart.address})
    options = [option.id for option in user.cart.fulfilment.available if option.price.units > 0]
    expect(options, "a cart with an address has no delivery option that costs something")
    return user, options[0]


@check(
    "cart.delivery",
    "CART",
    "the chosen delivery option is told, and paid for",
    commands=(*LINES, "set_address", "set_delivery_option"),
)
async def delivery(subject: Subject) -> None:
    user, option_id = await with_options(subject)
    before = total(user.cart, total_pb2.TOTAL_TYPE_GRAND_TOTAL)
    await user.apply(set_delivery_option={"option_id": option_id})
    cart, _ = await user.read()
    same("the chosen option", cart.fulfilment.selected.id, option_id)
    expect(cart.fulfilment.selected in cart.fulfilment.available, "the chosen option is none of the available ones")
    expect(total(cart, total_pb2.TOTAL_TYPE_DELIVERY) > 0, "delivery has no total")
    expect(total(cart, total_pb2.TOTAL_TYPE_GRAND_TOTAL) > before, "the grand total has not grown by the delivery")


@check(
    "cart.unknown_delivery",
    "CART",
    "a delivery option that the cart has not is refused: DELIVERY_OPTION_INVALID",
    commands=(*LINES, "set_address", "set_delivery_option"),
)
async def unknown_delivery(subject: Subject) -> None:
    user, _ = await with_options(subject)
    rejection = await user.refused(set_delivery_option={"option_id": "999999"})
    same("the reason", rejection.reason, cart_service_pb2.REJECTION_REASON_DELIVERY_OPTION_INVALID)
