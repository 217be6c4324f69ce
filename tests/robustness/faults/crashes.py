"""Hubs that die, at each step of the write path, and clients that never come back after it."""

import random
from collections.abc import Callable
from pathlib import Path

from tests.robustness import workload
from tests.robustness.faults.fault import EVERY_CLASS, Fault, members, purchase, shopping
from tests.robustness.setting import Setting
from tests.robustness.world import running

POINTS = ("write.after_begin", "write.after_adapter", "write.after_commit")
COMMANDS = 25
MADE = 2
"""Commands that made the carts, and pass the points of the write path first."""


def _later(point: str) -> Callable[[random.Random], str]:
    """Die at a command of the shopping."""
    return lambda rng: f"{point}=kill@{MADE + rng.randint(1, 20)}"


async def kill_on_the_write_path(setting: Setting, folder: Path) -> None:
    """The first hub dies at a point of the write path, at a command that the seed chooses, and is started again."""
    async with running(setting, folder, failpoints=_later(setting.variant)) as world:
        clients = await members(world)
        hub = world.hubs[0]
        world.fault(f"{hub.name} dies at {setting.variant}", hub.name)
        work = shopping(world, clients, COMMANDS)
        await hub.ended()
        await world.start(hub)
        await world.settle(work)


async def kill_while_resolving(setting: Setting, folder: Path) -> None:
    """A hub dies behind the backend's effect; whoever finds out about it dies before it has said so."""
    resolving = "resolve.before_commit=kill@1"
    async with running(setting, folder, failpoints=_later("write.after_adapter"), others=resolving) as world:
        clients = await members(world)
        first, last = world.hubs[0], world.hubs[-1]
        world.fault(f"{first.name} dies, then {last.name}", first.name, last.name)
        work = shopping(world, clients, COMMANDS)
        await first.ended()
        if first is last:
            await world.start(first, failpoints=resolving)
        await last.ended()
        for hub in world.hubs:
            await world.start(hub)
        await world.settle(work)


async def kill_when_told(setting: Setting, folder: Path) -> None:
    """The first hub dies when clients have been told of a command: what they know by then, it must know again."""
    async with running(setting, folder) as world:
        clients = await members(world)
        hub = world.hubs[0]
        world.fault(f"{hub.name} dies when it has told", hub.name)
        for _ in range(3):
            await world.settled(clients)
            await purchase(world, clients)
            await hub.kill()
            await world.start(hub)
        await world.settle()


async def kill_in_a_purchase(setting: Setting, folder: Path) -> None:
    """The hub dies in the middle of the only command under way, which is one with an effect; its client repeats it."""
    async with running(setting, folder, failpoints=lambda _: f"{setting.variant}=kill@{MADE + 1}") as world:
        (buyer, *_) = await members(world, 2)
        hub = world.hubs[0]
        world.fault(f"{hub.name} dies at {setting.variant}", hub.name)
        buyer.submit(workload.command(world.rng, world.carts[0], workload.add("TENT", 5)))
        await hub.ended()
        await world.start(hub)
        await world.settle()


async def gone_for_good(setting: Setting, folder: Path) -> None:
    """The hub dies in the middle of a command, and its client never comes back: the hubs must
    find out by themselves, with several of them those that live on."""
    async with running(setting, folder, failpoints=lambda _: f"{setting.variant}=kill@{MADE + 1}") as world:
        await members(world, 2)
        hub = world.hubs[0]
        lost = world.client("lost", hubs=[hub])
        await lost.until(lost.connected.is_set)
        world.fault(f"{hub.name} and a client die at {setting.variant}", hub.name)
        lost.submit(workload.command(world.rng, world.carts[0], workload.add("TENT", 5)))
        await hub.ended()
        await world.dismiss(lost, forever=True)
        if len(world.hubs) == 1:
            await world.start(hub)
        await world.settle()


FAULTS = {
    "kill": Fault(kill_on_the_write_path, classes=EVERY_CLASS, variants=POINTS),
    "kill-while-resolving": Fault(kill_while_resolving, classes=("MARKED", "ABSOLUTE", "NONE")),
    "kill-in-a-purchase": Fault(kill_in_a_purchase, engines=("sqlite",), classes=EVERY_CLASS, variants=POINTS[1:]),
    "kill-when-told": Fault(kill_when_told, classes=("KEYED",)),
    "gone-for-good": Fault(gone_for_good, classes=EVERY_CLASS, variants=POINTS),
}
