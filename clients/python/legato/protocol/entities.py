"""Carts and sessions as entities and back. The tables stand in cart.proto and session.proto.

A key or value of a newer hub is left out of the assembled message and does no harm: replicas keep the raw bytes.
"""

from google.protobuf.message import Message

from legato.commerce.v1 import (
    address_pb2,
    cart_pb2,
    discount_pb2,
    fulfilment_pb2,
    line_item_pb2,
    provenance_pb2,
    session_pb2,
    total_pb2,
)
from legato.protocol.state import Entries

_CART_PARTS = (
    ("totals", "totals", total_pb2.Totals),
    ("fulfilment", "fulfilment", fulfilment_pb2.Fulfilment),
    ("address/shipping", "shipping_address", address_pb2.Address),
    ("address/billing", "billing_address", address_pb2.Address),
    ("messages", "messages", cart_pb2.CartMessages),
    ("provenance", "provenance", provenance_pb2.Provenance),
)
_CART_REPEATED = ("lines", "discount_codes")


def _bytes(message: Message) -> bytes:
    # Deterministic, so that an entity that did not change keeps its bytes and makes no delta.
    return message.SerializeToString(deterministic=True)


def split_cart(cart: cart_pb2.Cart) -> dict[str, bytes]:
    """The entities of a cart."""
    head = cart_pb2.Cart()
    head.CopyFrom(cart)
    entries: dict[str, bytes] = {}
    for key, field, _ in _CART_PARTS:
        if cart.HasField(field):  # type: ignore[arg-type]  # mypy-protobuf types the names as literals
            entries[key] = _bytes(getattr(cart, field))
            head.ClearField(field)  # type: ignore[arg-type]  # as above
    for field in _CART_REPEATED:
        head.ClearField(field)  # type: ignore[arg-type]  # as above
    for line in cart.lines:
        entries[f"line/{line.id}"] = _bytes(line)
    for code in cart.discount_codes:
        entries[f"discount/{code.code}"] = _bytes(code)
    entries["cart"] = _bytes(head)
    return entries


def assemble_cart(entries: Entries) -> cart_pb2.Cart:
    """The cart that the entities describe; an empty one for no entities."""
    cart = cart_pb2.Cart.FromString(entries.get("cart", b""))
    for key, field, kind in _CART_PARTS:
        if key in entries:
            getattr(cart, field).CopyFrom(kind.FromString(entries[key]))
    lines = [line_item_pb2.LineItem.FromString(v) for k, v in entries.items() if k.startswith("line/")]
    cart.lines.extend(sorted(lines, key=lambda line: (line.position, line.id)))
    codes = (discount_pb2.DiscountCode.FromString(v) for k, v in entries.items() if k.startswith("discount/"))
    cart.discount_codes.extend(sorted(codes, key=lambda code: code.code))
    return cart


def split_session(session: session_pb2.Session) -> dict[str, bytes]:
    """The entities of a session."""
    head = session_pb2.Session()
    head.CopyFrom(session)
    for field in ("login", "carts", "views", "consents"):
        head.ClearField(field)
    entries = {"session": _bytes(head), "login": _bytes(session.login)}
    entries.update((f"cart/{cart.cart_id}", _bytes(cart)) for cart in session.carts)
    entries.update((f"view/{view.product_id}", _bytes(view)) for view in session.views)
    entries.update((f"consent/{consent.purpose}", _bytes(consent)) for consent in session.consents)
    return entries


def assemble_session(entries: Entries) -> session_pb2.Session:
    """The session that the entities describe; an empty one for no entities."""
    session = session_pb2.Session.FromString(entries.get("session", b""))
    if "login" in entries:
        session.login.CopyFrom(session_pb2.Login.FromString(entries["login"]))
    carts = (session_pb2.SessionCart.FromString(v) for k, v in entries.items() if k.startswith("cart/"))
    session.carts.extend(sorted(carts, key=lambda cart: cart.cart_id, reverse=True))
    views = (session_pb2.ProductView.FromString(v) for k, v in entries.items() if k.startswith("view/"))
    session.views.extend(sorted(views, key=lambda view: (-view.viewed_at.ToNanoseconds(), view.product_id)))
    consents = (session_pb2.Consent.FromString(v) for k, v in entries.items() if k.startswith("consent/"))
    session.consents.extend(sorted(consents, key=lambda consent: consent.purpose))
    return session
