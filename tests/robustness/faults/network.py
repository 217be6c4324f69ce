"""Clients whose network, or who themselves, stand still: nobody else notices, and they catch up."""

import asyncio
from pathlib import Path

from tests.robustness.faults.fault import Fault, members, shopping
from tests.robustness.lone import Lone
from tests.robustness.proxy import Proxy
from tests.robustness.setting import Setting
from tests.robustness.world import running

SLOW = 1_024
"""Bytes a second."""


async def half_open(setting: Setting, folder: Path) -> None:
    """What is sent in one direction is taken and goes nowhere, until the client has noticed and its network is back."""
    async with running(setting, folder) as world:
        neighbours = await members(world, role="neighbour")
        hub = world.hubs[0]
        async with Proxy(hub.port) as network:
            victim = world.client("victim", hubs=[hub], proxy=network, silence_ms=1_000)
            for cart in world.carts:
                victim.follow(cart)
            work = shopping(world, [victim], 30, pause_s=0.2)
            await world.results(victim, world.rng.randint(2, 8))
            world.fault(f"the network loses what goes {setting.variant}", victim.name)
            (network.up if setting.variant == "up" else network.down).lose()
            await shopping(world, neighbours, 15)
            await world.settled(neighbours)
            connections = victim.connections
            await victim.until(lambda: victim.connections > connections or not victim.connected.is_set())
            network.mend()
            await world.settle(work)


async def slow_reader(setting: Setting, folder: Path) -> None:
    """A client takes 1 KB a second, or reads and never acknowledges, while others keep its carts busy."""
    async with running(setting, folder) as world:
        neighbours = await members(world, role="neighbour")
        hub = world.hubs[0]
        async with Proxy(hub.port) as network:
            silent = setting.variant == "no-acks"
            network.down.bytes_per_second = 0 if silent else SLOW
            victim = world.client("victim", hubs=[hub], proxy=network, acknowledges=not silent)
            for cart in world.carts:
                victim.follow(cart)
            await victim.until(victim.connected.is_set)
            world.measure()
            world.fault(f"a slow reader: {setting.variant}", victim.name)
            await shopping(world, neighbours, 150, pause_s=0.01)
            await world.settled(neighbours)
            world.measure()
            network.mend()
            victim.acknowledges = True
            await world.settle()


async def stopped_client(setting: Setting, folder: Path) -> None:
    """A client's process stands still in the middle of its shopping, with its connection open, and then goes on."""
    async with running(setting, folder) as world:
        neighbours = await members(world, role="neighbour")
        world.introduce("stopped")
        targets = [(world.hubs[0].name, world.hubs[0].proxy.port)]
        token = world.token("stopped", "berlin")
        victim = await Lone.start("stopped", token, targets, world.carts, world.rng.random(), folder)
        try:
            await asyncio.sleep(world.rng.uniform(0.1, 0.6))
            world.fault("a client stands still", "stopped")
            victim.stop()
            await shopping(world, neighbours, 80, pause_s=0.02)
            await world.settled(neighbours)
            victim.go_on()
            world.healed()
            async with asyncio.timeout(world.patience_s):
                await victim.settled()
            await world.settle()
            await victim.finish(world.cursors(), world.patience_s)
        finally:
            victim.kill()


FAULTS = {
    "half-open": Fault(half_open, variants=("up", "down")),
    "stopped-client": Fault(stopped_client),
    "slow-reader": Fault(slow_reader, variants=("trickle", "no-acks")),
}
