"""Backends whose answers get lost behind their effects, and links to them that break."""

import asyncio
from pathlib import Path

from tests.robustness.faults.fault import EVERY_CLASS, Fault, members, shopping
from tests.robustness.setting import Setting
from tests.robustness.world import running


async def lost_answers(setting: Setting, folder: Path) -> None:
    """Answers do not come in time, or the connection breaks instead; the commands were executed all the same."""
    async with running(setting, folder) as world:
        clients = await members(world)
        world.fault("the backend's answers get lost", "shop")
        await shopping(world, clients, 10, wayward=0.12)
        await world.settle()


async def broken_link(setting: Setting, folder: Path) -> None:
    """The link between hubs and backend is cut, refuses, and stands still, in the middle of calls."""
    async with running(setting, folder) as world:
        clients = await members(world)
        link = world.backend_proxy
        world.fault("the link to the backend breaks", "shop")
        work = shopping(world, clients, 25)
        for _ in range(3):
            await asyncio.sleep(world.rng.uniform(0.1, 0.4))
            link.cut()
            link.refuses = world.rng.random() < 0.5
            await asyncio.sleep(world.rng.uniform(0.1, 0.4))
            link.refuses = False
            link.down.stall()
            await asyncio.sleep(world.rng.uniform(0.5, 2.5))
            link.mend()
        await world.settle(work)


FAULTS = {
    "lost-answers": Fault(lost_answers, classes=EVERY_CLASS),
    "broken-link": Fault(broken_link, classes=EVERY_CLASS),
}
