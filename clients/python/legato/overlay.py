"""The optimistic overlay: what a cart will probably look like when the hub has done what is pending. Pure.

It predicts lines and quantities and nothing else. Prices and totals stay those that the backend said last, and a line
that does not exist yet has none. The prediction is made anew on each base the hub sends, so it cannot drift.
"""

from collections.abc import Iterable

from legato.commerce.v1 import cart_intent_pb2, cart_pb2, line_item_pb2, quantity_pb2
from legato.orchestrator.v1 import command_pb2

PROVISIONAL = "pending:"
"""Ids of predicted lines begin with it; the id of the command that adds them follows."""


def predict(confirmed: cart_pb2.Cart, commands: Iterable[command_pb2.Command]) -> cart_pb2.Cart:
    """The cart after `commands`, in order; `confirmed` stays as it was.

    An intent that the hub will refuse (a line that is not there, say) changes nothing.
    """
    cart = cart_pb2.Cart()
    cart.CopyFrom(confirmed)
    for command in commands:
        intent = command.cart
        match intent.WhichOneof("intent"):
            case "create_cart":
                _create(cart, command.resource.removeprefix("carts/"), intent.create_cart)
            case "add_line":
                _add(cart, command.command_id, intent.add_line)
            case "set_line_quantity":
                _set(cart, intent.set_line_quantity.line, intent.set_line_quantity.quantity.steps)
            case "remove_line":
                _set(cart, intent.remove_line.line, 0)
    return cart


def selector(line: "str | line_item_pb2.LineItem | cart_intent_pb2.LineSelector") -> cart_intent_pb2.LineSelector:
    """How a command names a line that a view shows, predicted ones included.

    Raises ValueError for a predicted line that cannot be named before the hub has made it.
    """
    if isinstance(line, cart_intent_pb2.LineSelector):
        return line
    line_id = line if isinstance(line, str) else line.id
    if not line_id.startswith(PROVISIONAL):
        return cart_intent_pb2.LineSelector(line_id=line_id)
    if isinstance(line, line_item_pb2.LineItem) and line.client_line_keys:
        return cart_intent_pb2.LineSelector(client_line_key=line.client_line_keys[0].key)
    raise ValueError(
        "the hub has not made this line yet, so it has no id: give `add` a client_line_key and pass the line itself, "
        "or await the result of `add` first"
    )


def _create(cart: cart_pb2.Cart, cart_id: str, intent: cart_intent_pb2.CreateCart) -> None:
    if not cart.id:
        cart.id, cart.state = cart_id, cart_pb2.CART_STATE_ACTIVE
        cart.store, cart.country = intent.store, intent.country
        cart.currency_code, cart.locale = intent.currency_code, intent.locale


def _add(cart: cart_pb2.Cart, command_id: str, intent: cart_intent_pb2.AddLine) -> None:
    line = next((line for line in cart.lines if _folds(line, intent)), None)
    if line is None:
        line = cart.lines.add(id=PROVISIONAL + command_id, sku=intent.sku, quantity=intent.quantity)
        line.position = max(line.position for line in cart.lines) + 1
    else:
        line.quantity.steps += intent.quantity.steps
    if intent.client_line_key:
        line.client_line_keys.add(key=intent.client_line_key, steps=intent.quantity.steps)


def _folds(line: line_item_pb2.LineItem, intent: cart_intent_pb2.AddLine) -> bool:
    return line.sku == intent.sku and _measure(line.quantity) == _measure(intent.quantity)


def _measure(quantity: quantity_pb2.Quantity) -> tuple[str, int]:
    return quantity.unit, quantity.scale


def _set(cart: cart_pb2.Cart, which: cart_intent_pb2.LineSelector, steps: int) -> None:
    for index, line in enumerate(cart.lines):
        if which.WhichOneof("line") == "line_id":
            if line.id != which.line_id:
                continue
            line.quantity.steps = steps
        else:
            part = next((part for part in line.client_line_keys if part.key == which.client_line_key), None)
            if part is None:
                continue
            line.quantity.steps += steps - part.steps
            part.steps = steps
            if not steps:
                line.client_line_keys.remove(part)
        if line.quantity.steps <= 0:
            del cart.lines[index]
        return
