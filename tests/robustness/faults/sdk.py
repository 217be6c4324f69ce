"""The real client, instead of the suite's own, over hubs that die and networks that are cut."""

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path

from tests.robustness import workload
from tests.robustness.faults.fault import Fault, members
from tests.robustness.sdk import SdkClient, sdk_client
from tests.robustness.setting import Setting
from tests.robustness.world import World, running

COMMANDS = 25


async def real_client(setting: Setting, folder: Path) -> None:
    """Two real clients shop while their hub dies behind the backend's effect, or their connections are cut."""
    kill = setting.variant == "kill"
    async with (
        running(setting, folder, failpoints=lambda rng: _failpoints(rng) if kill else "") as world,
        AsyncExitStack() as stack,
    ):
        await members(world, 1)
        hub = world.hubs[0]
        clients = []
        for number in range(2):
            name = f"real-{number + 1}"
            world.introduce(name)
            token, rng = world.token(name, "berlin"), random.Random(world.rng.random())
            entered = sdk_client(name, token, (hub.name, hub.proxy.port), world.carts, world.recorder, rng)
            clients.append(await stack.enter_async_context(entered))
        world.also_served(clients)
        world.fault(f"real clients: {setting.variant}", hub.name)
        work = asyncio.create_task(_shop(world, clients))
        if kill:
            await hub.ended()
            await world.start(hub)
        else:
            for _ in range(3):
                await asyncio.sleep(world.rng.uniform(0.1, 0.5))
                hub.proxy.cut()
        await world.settle(work)


def _failpoints(rng: random.Random) -> str:
    return f"write.after_adapter=kill@{rng.randint(5, 20)}"


async def _shop(world: World, clients: list[SdkClient]) -> None:
    rng = random.Random(world.rng.random())
    for _ in range(COMMANDS):
        for client in clients:
            client.submit(rng.choice(world.carts), workload.wish(rng))
        await asyncio.sleep(rng.uniform(0, 0.06))


FAULTS = {"real-client": Fault(real_client, variants=("kill", "cut"))}
