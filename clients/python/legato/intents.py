"""Wishes about a cart, for `CartHandle.submit`: `cart.submit(intents.add("sku", 2))`."""

from typing import Literal, TypeAlias, TypedDict, Unpack

from legato.commerce.v1 import address_pb2, cart_intent_pb2
from legato.commerce.v1.address_pb2 import Address
from legato.commerce.v1.cart_intent_pb2 import CartIntent, LineSelector
from legato.commerce.v1.line_item_pb2 import LineItem
from legato.commerce.v1.quantity_pb2 import Quantity
from legato.overlay import selector

Line: TypeAlias = "str | LineItem | LineSelector"
"""A line of a cart: its id, the line as a view shows it, or `client_line("key")`."""

_PURPOSES = {"shipping": address_pb2.ADDRESS_PURPOSE_SHIPPING, "billing": address_pb2.ADDRESS_PURPOSE_BILLING}


class MarketOptions(TypedDict, total=False):
    """A market; what is absent the hub fills in from the store."""

    store: str
    """Selling entity."""
    country: str
    """ISO 3166-1 alpha-2."""
    currency_code: str
    """ISO 4217."""
    locale: str
    """BCP 47."""


def client_line(key: str) -> LineSelector:
    """What was added under a client line key."""
    return LineSelector(client_line_key=key)


def create_cart(**market: Unpack[MarketOptions]) -> CartIntent:
    """Make the cart."""
    return CartIntent(create_cart=cart_intent_pb2.CreateCart(**market))


def add(sku: str, quantity: int | Quantity = 1, *, client_line_key: str = "") -> CartIntent:
    """Put so much more of a variant in.

    `client_line_key` is the channel's own name for what it adds, 1 to 64 characters, unique in the cart: with it the
    line can be named before the hub has answered.
    """
    intent = cart_intent_pb2.AddLine(sku=sku, quantity=_quantity(quantity), client_line_key=client_line_key)
    return CartIntent(add_line=intent)


def set_quantity(line: Line, quantity: int | Quantity) -> CartIntent:
    """Change how much of a line, or of the part a client line key stands for, is wanted; 0 removes it."""
    intent = cart_intent_pb2.SetLineQuantity(line=selector(line), quantity=_quantity(quantity))
    return CartIntent(set_line_quantity=intent)


def remove(line: Line) -> CartIntent:
    """Take a line, or the part a client line key stands for, out."""
    return CartIntent(remove_line=cart_intent_pb2.RemoveLine(line=selector(line)))


def add_discount_code(code: str) -> CartIntent:
    """Enter a discount code."""
    return CartIntent(add_discount_code=cart_intent_pb2.AddDiscountCode(code=code))


def remove_discount_code(code: str) -> CartIntent:
    """Withdraw a discount code."""
    return CartIntent(remove_discount_code=cart_intent_pb2.RemoveDiscountCode(code=code))


def set_email(email: str) -> CartIntent:
    """Say where to write to."""
    return CartIntent(set_email=cart_intent_pb2.SetEmail(email=email))


def set_address(purpose: Literal["shipping", "billing"], address: Address) -> CartIntent:
    """Say where to deliver or bill; the whole address replaces the former one."""
    return CartIntent(set_address=cart_intent_pb2.SetAddress(purpose=_PURPOSES[purpose], address=address))


def set_delivery_option(option_id: str) -> CartIntent:
    """Choose one of the cart's `fulfilment.available`."""
    return CartIntent(set_delivery_option=cart_intent_pb2.SetDeliveryOption(option_id=option_id))


def set_note(note: str) -> CartIntent:
    """Leave a note of at most 1,000 characters; an empty one removes it."""
    return CartIntent(set_note=cart_intent_pb2.SetNote(note=note))


def cancel() -> CartIntent:
    """Give the cart up."""
    return CartIntent(cancel_cart=cart_intent_pb2.CancelCart())


def _quantity(quantity: int | Quantity) -> Quantity:
    return Quantity(steps=quantity) if isinstance(quantity, int) else quantity
