"""What each intent does to a cart, apart from prices: the rules of this backend."""

import re
from typing import assert_never

from legato.adapter.v1 import cart_service_pb2
from legato.commerce.v1 import address_pb2, cart_intent_pb2, cart_pb2, line_item_pb2, quantity_pb2
from legato_adapters.reference.catalog import Catalog, Market, Variant
from legato_adapters.reference.shared import Malformed
from legato_adapters.reference.stock import Stock

MAX_LINES = 500
MAX_STEPS = 1_000_000

EMAIL = re.compile(r"[^\s@]{1,64}@[^\s@.]+(\.[^\s@.]+)+")
COUNTRY = re.compile(r"[A-Z]{2}")

CLAIMED = (
    *("create_cart", "add_line", "set_line_quantity", "remove_line", "add_discount_code", "remove_discount_code"),
    *("set_email", "set_address", "set_delivery_option", "set_note", "cancel_cart"),
)
"""What can be executed here. Written out: an intent that the contract gains later is not claimed before it is built."""


class Refusal(Exception):
    """The backend says no, for a reason of business. Raised before anything of the cart has changed."""

    def __init__(
        self, reason: "cart_service_pb2.RejectionReason.ValueType", message: str, available_steps: int | None = None
    ) -> None:
        super().__init__(message)
        self.rejection = cart_service_pb2.Rejection(reason=reason, message=message, available_steps=available_steps)


class CartChange:
    """One intent on its way into a cart. `line_id` tells afterwards which line it made or changed, if any."""

    def __init__(
        self, catalog: Catalog, stock: Stock, market: Market, cart: cart_pb2.Cart, next_line: int, channel: str
    ) -> None:
        self._catalog = catalog
        self._stock = stock
        self._market = market
        self._cart = cart
        self._channel = channel
        self.next_line = next_line
        self.line_id = ""

    def apply(self, intent: cart_intent_pb2.CartIntent) -> None:
        """Change the cart; raises Refusal or Malformed and leaves it as it was."""
        kind = intent.WhichOneof("intent")
        match kind:
            case "add_line":
                self._add_line(intent.add_line)
            case "set_line_quantity":
                self._set_quantity(intent.set_line_quantity.line, intent.set_line_quantity.quantity)
            case "remove_line":
                self._set_quantity(intent.remove_line.line, quantity_pb2.Quantity())
            case "add_discount_code":
                self._add_code(intent.add_discount_code.code)
            case "remove_discount_code":
                self._remove_code(intent.remove_discount_code.code)
            case "set_email":
                self._set_email(intent.set_email.email)
            case "set_address":
                self._set_address(intent.set_address)
            case "set_delivery_option":
                self._set_delivery_option(intent.set_delivery_option.option_id)
            case "set_note":
                _limit("note", intent.set_note.note, 1_000)
                self._cart.note = intent.set_note.note
            case "cancel_cart":
                self._cart.state = cart_pb2.CART_STATE_CANCELED
            case "create_cart" | None:
                raise Malformed("the intent changes no cart")
            case _:
                assert_never(kind)

    def _add_line(self, add: cart_intent_pb2.AddLine) -> None:
        variant = self._catalog.by_sku.get(add.sku)
        if variant is None or self._market.currency not in variant.prices:
            raise Refusal(cart_service_pb2.REJECTION_REASON_UNKNOWN_SKU, "the catalog has no such sku")
        if add.quantity.steps < 1:
            raise Malformed("add_line.quantity.steps must be 1 or more")
        _limit("client_line_key", add.client_line_key, 64)
        if add.client_line_key and self._share_of(add.client_line_key) is not None:
            raise Refusal(
                cart_service_pb2.REJECTION_REASON_CLIENT_LINE_KEY_TAKEN, "the client line key is in this cart already"
            )
        line = next((line for line in self._cart.lines if line.sku == add.sku), None)
        steps = add.quantity.steps + (line.quantity.steps if line is not None else 0)
        _check_unit(add.quantity)
        self._check_quantity(variant, steps)
        if line is None:
            line = self._new_line(variant)
        line.quantity.steps = steps
        if add.client_line_key:
            line.client_line_keys.add(key=add.client_line_key, steps=add.quantity.steps)
        self.line_id = line.id

    def _new_line(self, variant: Variant) -> line_item_pb2.LineItem:
        if len(self._cart.lines) >= MAX_LINES:
            raise Refusal(cart_service_pb2.REJECTION_REASON_LINE_LIMIT, f"a cart has at most {MAX_LINES} lines")
        line = self._cart.lines.add(
            id=str(self.next_line), position=self.next_line, sku=variant.sku, added_by_channel=self._channel
        )
        line.item.product_id = variant.product.id
        line.item.name = variant.name(self._cart.locale)
        line.item.image_url = variant.product.image_url
        line.item.options.extend(variant.option_messages())
        self.next_line += 1
        return line

    def _set_quantity(self, selector: cart_intent_pb2.LineSelector, quantity: quantity_pb2.Quantity) -> None:
        """A whole line, or a client's part of it, gets a quantity; nothing left means no line."""
        if quantity.steps < 0:
            raise Malformed("set_line_quantity.quantity.steps must be 0 or more")
        _check_unit(quantity)
        line, share = self._select(selector)
        steps = quantity.steps if share is None else line.quantity.steps - share.steps + quantity.steps
        if steps > line.quantity.steps:
            self._check_quantity(self._catalog.by_sku[line.sku], steps)
        self.line_id = line.id
        if steps == 0:
            self._cart.lines.remove(line)
            return
        line.quantity.steps = steps
        if share is not None:
            share.steps = quantity.steps
        _trim_shares(line)

    def _select(
        self, selector: cart_intent_pb2.LineSelector
    ) -> tuple[line_item_pb2.LineItem, line_item_pb2.ClientLineKey | None]:
        match selector.WhichOneof("line"):
            case "line_id":
                for line in self._cart.lines:
                    if line.id == selector.line_id:
                        return line, None
            case "client_line_key":
                found = self._share_of(selector.client_line_key)
                if found is not None:
                    return found
            case None:
                raise Malformed("no line is selected")
        raise Refusal(cart_service_pb2.REJECTION_REASON_LINE_NOT_FOUND, "the cart has no such line")

    def _share_of(self, key: str) -> tuple[line_item_pb2.LineItem, line_item_pb2.ClientLineKey] | None:
        for line in self._cart.lines:
            for share in line.client_line_keys:
                if share.key == key:
                    return line, share
        return None

    def _add_code(self, text: str) -> None:
        code = self._catalog.codes.get(text.strip().upper())
        if code is None or code.expired:
            state = "is unknown" if code is None else "has expired"
            reason = cart_service_pb2.REJECTION_REASON_DISCOUNT_CODE_INVALID
            raise Refusal(reason, f"the discount code {state}")
        if all(known.code != code.code for known in self._cart.discount_codes):
            self._cart.discount_codes.add(code=code.code)

    def _remove_code(self, text: str) -> None:
        for known in self._cart.discount_codes:
            if known.code == text.strip().upper():
                self._cart.discount_codes.remove(known)
                return

    def _set_email(self, email: str) -> None:
        _limit("email", email, 254)
        if not EMAIL.fullmatch(email):
            raise Refusal(cart_service_pb2.REJECTION_REASON_INVALID_FIELD, "email: is no address")
        self._cart.email = email

    def _set_address(self, wanted: cart_intent_pb2.SetAddress) -> None:
        address = wanted.address
        for field, value in address.ListFields():
            _limit(f"address.{field.name}", value, 200)
        if not address.street or not address.city or not COUNTRY.fullmatch(address.country):
            raise Refusal(
                cart_service_pb2.REJECTION_REASON_INVALID_FIELD, "address: street, city and country are required"
            )
        if wanted.purpose == address_pb2.ADDRESS_PURPOSE_SHIPPING:
            if address.country != self._cart.country:
                message = f"address.country: this cart is delivered in {self._cart.country} only"
                raise Refusal(cart_service_pb2.REJECTION_REASON_INVALID_FIELD, message)
            if address.postal_code and not re.fullmatch(self._market.postal_code, address.postal_code):
                message = f"address.postal_code: is none of {self._cart.country}"
                raise Refusal(cart_service_pb2.REJECTION_REASON_INVALID_FIELD, message)
            self._cart.shipping_address.CopyFrom(address)
        elif wanted.purpose == address_pb2.ADDRESS_PURPOSE_BILLING:
            self._cart.billing_address.CopyFrom(address)
        else:
            raise Malformed("set_address.purpose must be SHIPPING or BILLING")

    def _set_delivery_option(self, option_id: str) -> None:
        for option in self._cart.fulfilment.available:
            if option.id == option_id:
                self._cart.fulfilment.selected.CopyFrom(option)
                return
        raise Refusal(cart_service_pb2.REJECTION_REASON_DELIVERY_OPTION_INVALID, "this cart has no such option")

    def _check_quantity(self, variant: Variant, steps: int) -> None:
        left = self._stock.left(variant)
        possible = min(left, MAX_STEPS)
        if steps > MAX_STEPS:
            reason = cart_service_pb2.REJECTION_REASON_QUANTITY_LIMIT
            raise Refusal(reason, f"a line has at most {MAX_STEPS} pieces", possible)
        if steps > left:
            reason = cart_service_pb2.REJECTION_REASON_INSUFFICIENT_STOCK
            raise Refusal(reason, f"{left} in stock", possible)


def _check_unit(quantity: quantity_pb2.Quantity) -> None:
    if quantity.unit or quantity.scale:
        raise Refusal(cart_service_pb2.REJECTION_REASON_INVALID_FIELD, "quantity: everything is sold by the piece")


def _trim_shares(line: line_item_pb2.LineItem) -> None:
    """Keep clients' parts within the line: where it became smaller, the newest lose first."""
    left = line.quantity.steps
    kept = []
    for share in line.client_line_keys:
        steps = min(share.steps, left)
        left -= steps
        if steps:
            kept.append(line_item_pb2.ClientLineKey(key=share.key, steps=steps))
    line.ClearField("client_line_keys")
    line.client_line_keys.extend(kept)


def _limit(field: str, text: str, most: int) -> None:
    if len(text) > most:
        raise Refusal(cart_service_pb2.REJECTION_REASON_INVALID_FIELD, f"{field}: has more than {most} characters")
