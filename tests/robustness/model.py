"""The sequential model: what a cart is after commands in the order in which the backend had them. Pure."""

from collections.abc import Iterable, Mapping

from legato.commerce.v1 import cart_intent_pb2

Lines = Mapping[str, int]
"""Steps by sku; no zeros."""


def apply(lines: Lines, intent: cart_intent_pb2.CartIntent) -> dict[str, int]:
    """The lines after one more command was executed."""
    after = dict(lines)
    match intent.WhichOneof("intent"):
        case "add_line":
            sku = intent.add_line.sku
            after[sku] = after.get(sku, 0) + intent.add_line.quantity.steps
        case "set_line_quantity":
            after[sku_of(intent.set_line_quantity.line)] = intent.set_line_quantity.quantity.steps
        case "remove_line":
            after[sku_of(intent.remove_line.line)] = 0
    return {sku: steps for sku, steps in after.items() if steps}


def run(intents: Iterable[cart_intent_pb2.CartIntent]) -> list[dict[str, int]]:
    """The lines before the first, after the first, …"""
    states: list[dict[str, int]] = [{}]
    for intent in intents:
        states.append(apply(states[-1], intent))
    return states


def line_id(sku: str) -> str:
    """How the backend of these tests calls the line of a variant."""
    return f"line-{sku}"


def sku_of(line: cart_intent_pb2.LineSelector) -> str:
    """The variant of a line of these tests."""
    return line.line_id.removeprefix("line-")
