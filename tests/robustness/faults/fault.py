"""What a fault is, and the beginning that all share."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.robustness import workload
from tests.robustness.client import Client
from tests.robustness.setting import Setting
from tests.robustness.world import World

BOTH = ("sqlite", "valkey")
EVERY_CLASS = ("KEYED", "MARKED", "ABSOLUTE", "NONE")


@dataclass(frozen=True, slots=True)
class Fault:
    """`play` leaves the history of one run in a folder. The suite plays it for each engine × class × variant."""

    play: Callable[[Setting, Path], Awaitable[None]]
    engines: tuple[str, ...] = BOTH
    classes: tuple[str, ...] = ("MARKED",)
    variants: tuple[str, ...] = ("",)


async def members(world: World, count: int = 3, *, role: str = "member") -> list[Client]:
    """Terminals that follow both carts, which the first has made; and an intruder who tries to see them, too."""
    first = world.client("till-1", role=role)
    for cart in world.carts:
        await workload.create(first, cart, world.rng)
    others = [world.client(f"till-{n}", role=role) for n in range(2, count + 1)]
    intruder = world.client("intruder", store="us", role="intruder")
    for client in (*others, intruder):
        for cart in world.carts:
            client.follow(cart)
    await intruder.until(lambda: all(intruder.was_answered(cart) for cart in world.carts))
    intruder.submit(workload.command(world.rng, world.carts[0], workload.add("STOLEN", 1)))
    return [first, *others]


def shopping(
    world: World, clients: list[Client], count: int, *, wayward: float = 0.0, pause_s: float = 0.03
) -> "asyncio.Task[None]":
    """All of them wish for things at once."""

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            for client in clients:
                rng = random.Random(world.rng.random())
                group.create_task(workload.shop(client, world.carts, rng, count, wayward=wayward, pause_s=pause_s))

    return asyncio.create_task(all_of_them())


async def purchase(world: World, clients: Sequence[Client]) -> None:
    """One command of the first client, until everybody has seen what it did."""
    cart = world.carts[0]

    def seen() -> list[int]:
        known = [client.replicas[cart].cursor for client in clients]
        return [cursor.revision for cursor in known if cursor is not None]

    latest = max(seen())
    clients[0].submit(workload.command(world.rng, cart, workload.add("ROPE", world.rng.randint(1, 9))))
    await world.until(lambda: sum(revision > latest for revision in seen()) == len(clients))
