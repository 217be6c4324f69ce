"""A hub that stands still for longer than its slot lives, and goes on as if nothing had been."""

import signal
from pathlib import Path

from tests.robustness import backend, workload
from tests.robustness.client import Client
from tests.robustness.faults.crashes import MADE
from tests.robustness.faults.fault import Fault, members
from tests.robustness.setting import Setting
from tests.robustness.world import World, running

STEPS_S = 2.0
"""How long the first hub takes from one step of the command to the next: time to stop it in between."""


async def overtaken_hub(setting: Setting, folder: Path) -> None:
    """The first hub is stopped before its call, until the other has resolved its slot and gone on; and again behind
    the call, until the other has gone on further. What it then has is an old answer, and no slot."""
    steps = [f"{point}=sleep:{STEPS_S}@{MADE + 1}" for point in ("write.after_begin", "write.after_adapter")]
    async with running(setting, folder, failpoints=lambda _: ",".join(steps)) as world:
        (overtaken,) = await members(world, 1)
        cart, hub, other = world.carts[0], world.hubs[0], world.hubs[1]
        quick = world.client("quick", hubs=[other])
        quick.follow(cart)
        await quick.until(lambda: quick.replicas[cart].cursor is not None)
        world.fault(f"{hub.name} stands still", hub.name, overtaken.name)
        slow = workload.command(world.rng, cart, workload.add("TENT", 5))
        overtaken.submit(slow)
        await world.until(lambda: bool(world.ending.slots()))
        hub.signal(signal.SIGSTOP)
        await _goes_on(world, quick, cart)
        hub.signal(signal.SIGCONT)
        await world.until(lambda: any(effect.command == slow.command_id for effect in backend.effects(world.ledger)))
        hub.signal(signal.SIGSTOP)
        await _goes_on(world, quick, cart)
        hub.signal(signal.SIGCONT)
        # Until the stopped hub has tried to store what it has, and looked again.
        await world.settled([overtaken])
        await _goes_on(world, quick, cart)
        await world.settle()


async def _goes_on(world: World, client: Client, cart: str) -> None:
    """More of a variant each time, so that no state comes twice."""
    for _ in range(3):
        client.submit(workload.command(world.rng, cart, workload.add("ROPE", world.rng.randint(1, 9))))
    await world.settled([client])


FAULTS = {"overtaken-hub": Fault(overtaken_hub, engines=("valkey",))}
