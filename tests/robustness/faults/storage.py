"""Valkey that restarts, fails over to a replica that lags, or falls silent; the backend keeps what it has."""

import asyncio
from pathlib import Path

from tests.robustness import workload
from tests.robustness.faults.fault import EVERY_CLASS, Fault, members, purchase, shopping
from tests.robustness.setting import Setting
from tests.robustness.world import running


async def restart(setting: Setting, folder: Path) -> None:
    """The server is stopped in order, or killed, and started again with what its file has."""
    async with running(setting, folder) as world:
        clients = await members(world)
        assert world.valkey is not None
        world.fault(f"Valkey restarts: {setting.variant}", "valkey")
        work = shopping(world, clients, 25)
        await world.results(clients[0], world.rng.randint(5, 15))
        await world.valkey.restart(kill=setting.variant == "killed")
        await world.settle(work)


async def failover(setting: Setting, folder: Path) -> None:
    """The replica stops hearing the primary, the primary dies, the replica is promoted: what came between is lost."""
    async with running(setting, folder, replicated=True) as world:
        assert world.valkey is not None
        clients = await members(world)
        world.fault("Valkey fails over to a replica that lags", "valkey")
        work = shopping(world, clients, 30)
        await world.results(clients[0], world.rng.randint(3, 10))
        world.valkey.lag()
        lost = len(clients[0].results) + world.rng.randint(3, 10)
        await world.results(clients[0], lost)
        await world.valkey.fail_over()
        await world.settle(work)


async def lost_revisions(setting: Setting, folder: Path) -> None:
    """As a failover, at rest: what is lost is what everybody has seen, and no more."""
    async with running(setting, folder, replicated=True) as world:
        assert world.valkey is not None
        clients = await members(world)
        await purchase(world, clients)
        await world.settled(clients)
        world.fault("Valkey forgets what everybody has seen", "valkey")
        world.valkey.lag()
        for _ in range(2):
            await purchase(world, clients)
        await world.settled(clients)
        await world.valkey.fail_over()
        clients[0].submit(workload.command(world.rng, world.carts[0], workload.add("TENT", 1)))
        await world.settled(clients)
        late = world.client("late")
        late.follow(world.carts[0])
        await world.settle()


async def silent_feed(setting: Setting, folder: Path) -> None:
    """Subscriptions deliver nothing: the connection is dead and open, or alive and the server has forgotten them."""
    async with running(setting, folder) as world:
        assert world.valkey is not None
        clients = await members(world)
        world.fault(f"silent pub/sub: {setting.variant}", "valkey")
        await shopping(world, clients, 5)
        world.valkey.silence(setting.variant)
        await shopping(world, clients, 20)
        await asyncio.sleep(world.rng.uniform(0.0, 1.0))
        await world.settle()


FAULTS = {
    "valkey-restart": Fault(restart, engines=("valkey",), classes=EVERY_CLASS, variants=("in-order", "killed")),
    "failover": Fault(failover, engines=("valkey",), classes=EVERY_CLASS),
    "lost-revisions": Fault(lost_revisions, engines=("valkey",), classes=("KEYED",)),
    "silent-feed": Fault(silent_feed, engines=("valkey",), variants=("dead", "forgetful")),
}
