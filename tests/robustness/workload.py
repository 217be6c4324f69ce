"""What clients wish, from a seed."""

import asyncio
import random
from collections.abc import Sequence

from legato.commerce.v1 import cart_intent_pb2, quantity_pb2
from legato.orchestrator.v1 import command_pb2
from tests.robustness import model
from tests.robustness.client import Client
from tests.robustness.ids import uuid7

SKUS = ("TENT", "ROPE", "STOVE", "LAMP")
ODD = ("REFUSED-MAP", "SLOW-KAYAK")
WAYWARD = ("LOST-COMPASS", "BROKEN-FLASK")
"""The backend's answers to these get lost: see `backend`."""
PIPELINED = 6
EXPECTING = 0.15
"""How often a wish names the state that it was made on."""

CONFLICTS = (command_pb2.CONFLICT_POLICY_FAIL, command_pb2.CONFLICT_POLICY_REBASE)


def command(
    rng: random.Random, resource: str, intent: cart_intent_pb2.CartIntent, *, ahead_ms: int = 0
) -> command_pb2.Command:
    """A command that waits long enough for a hub to be replaced."""
    made = command_pb2.Command(command_id=uuid7(rng, ahead_ms=ahead_ms), resource=resource, cart=intent)
    made.timeout.FromSeconds(8)
    return made


def add(sku: str, steps: int) -> cart_intent_pb2.CartIntent:
    """More of a variant."""
    line = cart_intent_pb2.AddLine(sku=sku, quantity=quantity_pb2.Quantity(steps=steps))
    return cart_intent_pb2.CartIntent(add_line=line)


def wish(rng: random.Random, *, wayward: float = 0.0) -> cart_intent_pb2.CartIntent:
    """Mostly more of something; sometimes another quantity, nothing of it, or what the backend does not take well."""
    chance = rng.random()
    if chance < wayward:
        return add(rng.choice(WAYWARD), rng.randint(1, 9))
    if chance < 0.65 + wayward:
        return add(rng.choice(SKUS), rng.randint(1, 9))
    if chance < 0.8:
        return add(rng.choice(ODD), rng.randint(1, 9))
    line = cart_intent_pb2.LineSelector(line_id=model.line_id(rng.choice(SKUS)))
    if chance < 0.9:
        wanted = cart_intent_pb2.SetLineQuantity(line=line, quantity=quantity_pb2.Quantity(steps=rng.randint(1, 20)))
        return cart_intent_pb2.CartIntent(set_line_quantity=wanted)
    return cart_intent_pb2.CartIntent(remove_line=cart_intent_pb2.RemoveLine(line=line))


async def create(client: Client, cart: str, rng: random.Random) -> None:
    """Make a cart, and follow it."""
    made = command(rng, cart, cart_intent_pb2.CartIntent(create_cart=cart_intent_pb2.CreateCart()))
    client.submit(made)
    await client.until(lambda: made.command_id in client.results)
    client.follow(cart)


async def shop(
    client: Client, carts: Sequence[str], rng: random.Random, count: int, *, wayward: float = 0.0, pause_s: float = 0.03
) -> None:
    """Wish for `count` things, a few at a time, until all were submitted."""
    for _ in range(count):
        wished = wish(rng, wayward=wayward)
        made = command(rng, rng.choice(carts), wished, ahead_ms=client.ahead_ms)
        here, chance = client.replicas[made.resource].cursor, rng.random()
        if here is not None and chance < EXPECTING:
            made.expected.CopyFrom(here)
            made.on_conflict = CONFLICTS[chance < EXPECTING / 2]
        client.submit(made)
        await asyncio.sleep(rng.uniform(0, pause_s))
        await client.until(lambda: client.unsettled < PIPELINED)
