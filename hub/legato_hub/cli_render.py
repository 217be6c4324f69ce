"""Carts and sessions as plain text for people, a line a fact. Pure."""

from collections.abc import Iterator
from decimal import Decimal

from legato.commerce.v1 import cart_pb2, money_pb2, quantity_pb2, session_pb2, total_pb2
from legato.orchestrator.v1 import stream_pb2
from legato.protocol import entities
from legato.protocol.state import Entries


def render(target: str, entries: Entries) -> list[str]:
    """What a resource holds; `target` is its name, empty for an active cart that is not there."""
    if not target:
        return ["no active cart"]
    if target.startswith("carts/"):
        return list(_cart(entities.assemble_cart(entries)))
    return list(_session(entities.assemble_session(entries)))


def money(amount: money_pb2.Money) -> str:
    """For example "19.99 EUR"."""
    return f"{Decimal(amount.units).scaleb(-amount.scale):f} {amount.currency_code}"


def quantity(amount: quantity_pb2.Quantity) -> str:
    """For example "2" or "1.25 kg"."""
    return f"{Decimal(amount.steps).scaleb(-amount.scale):f} {amount.unit}".rstrip()


def presence(message: stream_pb2.Presence) -> str:
    """Who is connected, for example "present: web, pos (Till 4)"."""
    channels = (c.channel.kind + (f" ({c.channel.name})" if c.channel.name else "") for c in message.channels)
    return "present: " + (", ".join(channels) or "nobody")


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower().replace("_", " ")


def _cart(cart: cart_pb2.Cart) -> Iterator[str]:
    state = _word(cart_pb2.CartState.Name(cart.state), "CART_STATE_")
    owner = cart.WhichOneof("owner")
    belongs = f", {_word(owner, '').removesuffix(' id')} {getattr(cart, owner)}" if owner else ""
    yield f"{state}, {cart.tenant}/{cart.store}, {cart.country} {cart.currency_code}{belongs}"
    for line in cart.lines:
        yield f"{line.sku} x {quantity(line.quantity)}  {money(line.total)}  {line.item.name}"
    if not cart.lines:
        yield "no lines"
    for code in cart.discount_codes:
        yield f"code {code.code}"
    for total in cart.totals.items:
        yield f"{_word(total_pb2.TotalType.Name(total.type), 'TOTAL_TYPE_')} {money(total.amount)}"
    for message in cart.messages.items:
        severity = _word(cart_pb2.MessageSeverity.Name(message.severity), "MESSAGE_SEVERITY_")
        yield f"{severity}: {message.code} {message.text}".rstrip()


def _session(session: session_pb2.Session) -> Iterator[str]:
    state = _word(session_pb2.SessionState.Name(session.state), "SESSION_STATE_")
    joined = f" {session.joined_session_id}" if session.joined_session_id else ""
    yield f"{state}{joined}, {session.tenant}/{session.store}, {session.country} {session.currency_code}"
    login = _word(session_pb2.LoginStatus.Name(session.login.status), "LOGIN_STATUS_")
    customer = f" as customer {session.login.customer_id}" if session.login.customer_id else ""
    channel = f" on {session.login.channel}" if session.login.channel else ""
    yield f"{login}{customer}{channel}"
    for cart in session.carts:
        active = ", active" if cart.cart_id == session.active_cart_id else ""
        guest = ", guest" if cart.guest else ""
        yield f"cart {cart.cart_id}{active}{guest}"
    for view in session.views:
        yield f"viewed {view.product_id} {view.sku}".rstrip() + (f" on {view.channel}" if view.channel else "")
    for consent in session.consents:
        yield f"consent {consent.purpose} {'granted' if consent.granted else 'refused'}"
