"""From a wish to an adapter call: what depends on the cart is resolved here, against the hub's projection.

A backend of effect class ABSOLUTE gets its repeatable "set the line to N" from `LineTarget`; others may use it too.
"""

import hashlib

from legato.adapter.v1 import cart_service_pb2, request_context_pb2
from legato.commerce.v1 import cart_intent_pb2, cart_pb2, line_item_pb2
from legato.orchestrator.v1 import command_pb2, error_pb2
from legato_hub.core.problem import Problem, invalid
from legato_hub.core.validation import MAX_STEPS

MAX_LINES = 500


def body_hash(command: command_pb2.Command) -> bytes:
    """SHA-256 of what a command means: its resource and intent. Seq, trace and timeout may differ in a repeat."""
    meaning = command_pb2.Command(resource=command.resource)
    if command.HasField("cart"):
        meaning.cart.CopyFrom(command.cart)
    elif command.HasField("session"):
        meaning.session.CopyFrom(command.session)
    return hashlib.sha256(meaning.SerializeToString(deterministic=True)).digest()


def compile_call(
    command: command_pb2.Command,
    cart: cart_pb2.Cart | None,
    context: request_context_pb2.RequestContext,
    owner: cart_service_pb2.Owner,
    channel: str,
) -> cart_service_pb2.ApplyCommandRequest:
    """The call for a command on a cart as it is; None before it exists.

    Raise Problem for what the projection already tells to be impossible. `owner` counts for create_cart only.
    """
    intent = command.cart
    kind = intent.WhichOneof("intent")
    request = cart_service_pb2.ApplyCommandRequest(
        context=context,
        cart_id=command.resource.removeprefix("carts/"),
        command_id=command.command_id,
        intent=intent,
        channel=channel,
    )
    if kind == "create_cart":
        if cart is not None:
            raise Problem(error_pb2.ERROR_REASON_CART_EXISTS, "the cart id is taken")
        request.owner.CopyFrom(owner)
        return request
    if cart is None:
        raise Problem(error_pb2.ERROR_REASON_NOT_FOUND, "the cart does not exist")
    if cart.state != cart_pb2.CART_STATE_ACTIVE:
        state = cart_pb2.CartState.Name(cart.state).removeprefix("CART_STATE_")
        raise Problem(error_pb2.ERROR_REASON_CART_NOT_ACTIVE, f"the cart is {state}", metadata={"state": state})
    if kind == "add_line":
        request.line_target.CopyFrom(_added(cart, intent.add_line))
    elif kind == "set_line_quantity":
        wanted = intent.set_line_quantity
        request.line_target.CopyFrom(_changed(cart, wanted.line, wanted.quantity.steps))
        _check_unit(cart, request.line_target.line_id, wanted.quantity.unit, wanted.quantity.scale)
    elif kind == "remove_line":
        request.line_target.CopyFrom(_changed(cart, intent.remove_line.line, 0))
    return request


def _added(cart: cart_pb2.Cart, add: cart_intent_pb2.AddLine) -> cart_service_pb2.LineTarget:
    key = add.client_line_key
    if key and any(known.key == key for line in cart.lines for known in line.client_line_keys):
        raise Problem(error_pb2.ERROR_REASON_CLIENT_LINE_KEY_TAKEN, "the client line key stands for a line already")
    target = cart_service_pb2.LineTarget(sku=add.sku, client_line_key=key)
    if key:
        target.client_line_steps = add.quantity.steps
    line = next((line for line in cart.lines if line.sku == add.sku), None)
    if line is not None:
        target.line_id = line.id
        _check_unit(cart, line.id, add.quantity.unit, add.quantity.scale)
    elif len(cart.lines) >= MAX_LINES:
        raise Problem(error_pb2.ERROR_REASON_LINE_LIMIT, f"the cart has {MAX_LINES} lines, more it cannot have")
    target.steps = _within_limit((line.quantity.steps if line else 0) + add.quantity.steps)
    return target


def _changed(cart: cart_pb2.Cart, selector: cart_intent_pb2.LineSelector, steps: int) -> cart_service_pb2.LineTarget:
    if selector.WhichOneof("line") == "line_id":
        line = next((line for line in cart.lines if line.id == selector.line_id), None)
        if line is None:
            raise Problem(error_pb2.ERROR_REASON_LINE_NOT_FOUND, "the cart has no line with this id")
        return cart_service_pb2.LineTarget(line_id=line.id, sku=line.sku, steps=steps)
    for line in cart.lines:
        for share in line.client_line_keys:
            if share.key == selector.client_line_key:
                return cart_service_pb2.LineTarget(
                    line_id=line.id,
                    sku=line.sku,
                    steps=_within_limit(line.quantity.steps - share.steps + steps),
                    client_line_key=share.key,
                    client_line_steps=steps,
                )
    raise Problem(error_pb2.ERROR_REASON_LINE_NOT_FOUND, "the cart has no line with this client line key")


def _within_limit(steps: int) -> int:
    if steps > MAX_STEPS:
        message = f"a line may have {MAX_STEPS:,} steps, this one would have {steps:,}"
        raise Problem(error_pb2.ERROR_REASON_QUANTITY_LIMIT, message, metadata={"available": str(MAX_STEPS)})
    return steps


def _check_unit(cart: cart_pb2.Cart, line_id: str, unit: str, scale: int) -> None:
    line: line_item_pb2.LineItem = next(line for line in cart.lines if line.id == line_id)
    if (unit, scale) != (line.quantity.unit, line.quantity.scale):
        raise invalid("command.cart.quantity", "must be in the unit and scale of the line it changes")
