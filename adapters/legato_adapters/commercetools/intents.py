"""From what somebody wants of a cart to the update actions that bring the cart, as it is now, there. Does no I/O.

Actions are made anew for each version of the cart: "two more" stays two more when somebody else has added one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from legato.adapter.v1 import cart_service_pb2
from legato.commerce.v1 import address_pb2, cart_intent_pb2
from legato_adapters.commercetools import marks
from legato_adapters.commercetools.api import Json, codes, details
from legato_adapters.commercetools.mapping import CANCELED, ct_address
from legato_adapters.http import Refused

__all__ = ["Refusal", "actions", "line_of", "refusal", "wanted_stock"]

_PREFIX = "REJECTION_REASON_"
_SHIPPING = address_pb2.ADDRESS_PURPOSE_SHIPPING


class Refusal(Exception):
    """The backend would not, or did not, do it, for a reason of business; nothing has changed."""

    def __init__(self, reason: str, message: str, native_code: str = "", available: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.rejection = cart_service_pb2.Rejection(
            reason=cart_service_pb2.RejectionReason.Value(_PREFIX + reason),
            message=message,
            native_code=native_code,
            available_steps=available,
        )


@dataclass(frozen=True)
class Change:
    """A command, and the type that its custom fields belong to."""

    request: cart_service_pb2.ApplyCommandRequest
    type_key: str


def actions(change: Change, cart: Json) -> list[dict[str, Any]]:
    """What to do; nothing where the wish is fulfilled already. Raises Refusal."""
    request = change.request
    intent = request.intent
    match intent.WhichOneof("intent"):
        case "add_line":
            quantity = _pieces(intent.add_line.quantity)
            return [{"action": "addLineItem", "sku": intent.add_line.sku, "quantity": quantity}]
        case "set_line_quantity":
            return _quantity(request, cart, _pieces(intent.set_line_quantity.quantity, least=0))
        case "remove_line":
            return _quantity(request, cart, 0)
        case "add_discount_code":
            code = intent.add_discount_code.code
            return [] if _code_id(cart, code) else [{"action": "addDiscountCode", "code": code}]
        case "remove_discount_code":
            found = _code_id(cart, intent.remove_discount_code.code)
            reference = {"typeId": "discount-code", "id": found}
            return [{"action": "removeDiscountCode", "discountCode": reference}] if found else []
        case "set_email":
            email = intent.set_email.email
            return [{"action": "setCustomerEmail", **({"email": email} if email else {})}]
        case "set_address":
            kind = "setShippingAddress" if intent.set_address.purpose == _SHIPPING else "setBillingAddress"
            return [{"action": kind, "address": ct_address(intent.set_address.address)}]
        case "set_delivery_option":
            reference = {"typeId": "shipping-method", "id": intent.set_delivery_option.option_id}
            return [{"action": "setShippingMethod", "shippingMethod": reference}]
        case "set_note":
            return marks.writing(cart, change.type_key, {marks.NOTE: intent.set_note.note})
        case "cancel_cart":
            # commercetools knows no cart that was given up; a frozen one is at least kept from changing its price.
            written = marks.writing(cart, change.type_key, {marks.STATE: CANCELED})
            return [*written, {"action": "freezeCart"}]
    raise AssertionError("create_cart makes no actions")


def wanted_stock(request: cart_service_pb2.ApplyCommandRequest, cart: Json) -> tuple[str, int] | None:
    """The sku and how many of it the cart would have in all, where the command makes them more."""
    intent = request.intent
    if intent.HasField("add_line"):
        sku, more = intent.add_line.sku, intent.add_line.quantity.steps
        return sku, more + sum(line["quantity"] for line in cart["lineItems"] if line["variant"].get("sku") == sku)
    if intent.HasField("set_line_quantity"):
        line = line_of(cart, request.line_target.line_id)
        if line is not None and request.line_target.steps > line["quantity"]:
            return line["variant"]["sku"], request.line_target.steps
    return None


def line_of(cart: Json, line_id: str) -> Json | None:
    return next((line for line in cart["lineItems"] if line["id"] == line_id), None)


def changed_line(request: cart_service_pb2.ApplyCommandRequest, cart: Json) -> str:
    """The id of the line that a command made or changed, as the cart is now; empty where there is none."""
    intent = request.intent
    if intent.HasField("add_line"):
        lines: Sequence[Json] = cart["lineItems"]
        return next((line["id"] for line in lines if line["variant"].get("sku") == intent.add_line.sku), "")
    if intent.HasField("set_line_quantity") or intent.HasField("remove_line"):
        return request.line_target.line_id
    return ""


def _quantity(request: cart_service_pb2.ApplyCommandRequest, cart: Json, wanted: int) -> list[dict[str, Any]]:
    target = request.line_target
    if line_of(cart, target.line_id) is None:
        raise Refusal("LINE_NOT_FOUND", "the cart has no such line")
    # The part of a line that a client's key stands for is the hub's to know: it says what the whole line is to have.
    quantity = target.steps if target.client_line_key else wanted
    if quantity == 0:
        return [{"action": "removeLineItem", "lineItemId": target.line_id}]
    return [{"action": "changeLineItemQuantity", "lineItemId": target.line_id, "quantity": quantity}]


def _pieces(quantity: Any, *, least: int = 1) -> int:
    if quantity.unit or quantity.scale:
        raise Refusal("INVALID_FIELD", "quantity: commercetools sells whole pieces")
    if quantity.steps < least:
        raise Refusal("INVALID_FIELD", f"quantity: at least {least}")
    return int(quantity.steps)


def _code_id(cart: Json, code: str) -> str:
    for known in cart["discountCodes"]:
        if known["discountCode"]["obj"]["code"] == code:
            return str(known["discountCode"]["id"])
    return ""


_BY_CODE = {
    "DiscountCodeNonApplicable": "DISCOUNT_CODE_INVALID",
    "MaxDiscountCodesReached": "DISCOUNT_CODE_INVALID",
    "ShippingMethodDoesNotMatchCart": "DELIVERY_OPTION_INVALID",
    "OutOfStock": "INSUFFICIENT_STOCK",
    "MatchingPriceNotFound": "UNKNOWN_SKU",
    "MissingTaxRateForCountry": "INVALID_FIELD",
    "InvalidField": "INVALID_FIELD",
    "InvalidItemShippingDetails": "INVALID_FIELD",
    "CountryNotConfiguredInStore": "INVALID_FIELD",
}
_FORMS = frozenset({"InvalidInput", "InvalidJsonInput", "InvalidOperation", "RequiredField", "General"})


def refusal(refused: Refused, intent: cart_intent_pb2.CartIntent, *, sku_exists: bool = True) -> Refusal:
    """What it means that commercetools refused the update. Its texts may quote the request, and are not shown."""
    first = next(iter(codes(refused)), "")
    reason = _BY_CODE.get(first, "UNSPECIFIED")
    kind = intent.WhichOneof("intent")
    if kind == "add_line" and not sku_exists:
        reason = "UNKNOWN_SKU"
    elif kind == "set_delivery_option" and first in {*_FORMS, "ReferencedResourceNotFound", "ResourceNotFound"}:
        reason = "DELIVERY_OPTION_INVALID"
    elif kind in {"set_email", "set_address"} and first in _FORMS:
        reason = "INVALID_FIELD"
    field = str(next(iter(details(refused)), {}).get("field", ""))[:64]
    where = f"{kind}: {field}" if field.isidentifier() else str(kind)
    return Refusal(reason, f"{where}: commercetools refuses it", first)
