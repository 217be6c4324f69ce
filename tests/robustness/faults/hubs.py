"""Hubs that go in order while busy, cursors at the edge of what is kept, and everybody coming back at once."""

import asyncio
import signal
from pathlib import Path

import grpc.aio

from legato.orchestrator.v1 import cursor_pb2
from tests.robustness import workload
from tests.robustness.client import options
from tests.robustness.faults.fault import Fault, members, shopping
from tests.robustness.setting import Setting
from tests.robustness.world import running

STORM = 2_000
PER_CONNECTION = 50


async def drain(setting: Setting, folder: Path) -> None:
    """SIGTERM in the middle of shopping."""
    async with running(setting, folder) as world:
        clients = await members(world)
        hub = world.hubs[0]
        work = shopping(world, clients, 40)
        await world.results(clients[0], world.rng.randint(5, 20))
        world.fault("drain", hub.name)
        hub.signal(signal.SIGTERM)
        await hub.ended()
        await world.start(hub)
        await world.settle(work)


async def trim(setting: Setting, folder: Path) -> None:
    """Cursors exactly at, before and behind the first revision of the kept log, and of what a hub has in memory."""
    async with running(setting, folder) as world:
        (writer, *_) = await members(world, 2)
        cart, log_length = world.carts[0], world.log_length
        for _ in range(log_length + 30):
            writer.submit(workload.command(world.rng, cart, workload.add(world.rng.choice(workload.SKUS), 1)))
            await writer.until(lambda: writer.unsettled < 32)
        await world.settled([writer])
        present = writer.replicas[cart].cursor
        assert present is not None
        hub = world.hubs[-1]
        if setting.variant == "restarted":
            world.fault("a restart", hub.name)
            await hub.kill()
            await world.start(hub)
        for behind in (0, 1, 2, 255, 256, 257, log_length - 1, log_length, log_length + 1, log_length + 2):
            late = world.client(f"late-{behind}", hubs=[hub])
            late.follow(cart, since=cursor_pb2.Cursor(epoch=present.epoch, revision=present.revision - behind))
            await world.until(lambda late=late: late.replicas[cart].cursor == present)  # type: ignore[misc]
        await world.settle()


async def storm(setting: Setting, folder: Path) -> None:
    """2,000 streams, 50 to a connection, are cut at once and come back at once, while others shop."""
    async with running(setting, folder, progress_s=15.0) as world:
        shoppers = await members(world)
        cart = world.carts[0]
        channels = [
            grpc.aio.insecure_channel(f"127.0.0.1:{world.hubs[n % len(world.hubs)].proxy.port}", options=options())
            for n in range(STORM // PER_CONNECTION)
        ]
        crowd = []
        for number in range(STORM):
            channel = number % len(channels)
            hub = world.hubs[channel % len(world.hubs)]
            one = world.client(f"crowd-{number}", hubs=[hub], channel=channels[channel])
            one.follow(cart)
            crowd.append(one)
            if (number + 1) % PER_CONNECTION == 0:
                await world.until(lambda: all(one.replicas[cart].cursor is not None for one in crowd))
        work = shopping(world, shoppers, 8, pause_s=1.0)
        await asyncio.sleep(world.rng.uniform(0.2, 1.0))
        world.fault("a storm")
        before = sum(one.connections for one in crowd)
        for hub in world.hubs:
            hub.proxy.cut()
        await world.until(lambda: sum(one.connections for one in crowd) >= before + STORM)
        await world.settle(work)
        for one in crowd:
            one.leave("end")
        await asyncio.gather(*(channel.close() for channel in channels))


FAULTS = {
    "drain": Fault(drain),
    "trim": Fault(trim, variants=("running", "restarted")),
    "storm": Fault(storm),
}
