"""Commands as no client should send them, and clocks that are wrong."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

from legato.orchestrator.v1 import stream_pb2
from tests.robustness import workload
from tests.robustness.client import Client, Mangling
from tests.robustness.faults.fault import EVERY_CLASS, Fault, members, shopping
from tests.robustness.ids import uuid7
from tests.robustness.setting import Setting
from tests.robustness.world import World, running

HOUR_MS = 3_600_000
MINUTE_MS = 60_000


def duplicating(rng: random.Random) -> Mangling:
    """Sends commands twice, sometimes at once and sometimes after others."""
    later: list[stream_pb2.ConnectRequest] = []

    def mangle(request: stream_pb2.ConnectRequest) -> list[stream_pb2.ConnectRequest]:
        if not request.HasField("command"):
            return [request]
        again = [later.pop(rng.randrange(len(later)))] if later and rng.random() < 0.5 else []
        later.append(request)
        return [request, *([request] if rng.random() < 0.3 else []), *again]

    return mangle


def reordering(rng: random.Random) -> Mangling:
    """Holds commands back and lets others pass them."""
    held: list[stream_pb2.ConnectRequest] = []

    def mangle(request: stream_pb2.ConnectRequest) -> list[stream_pb2.ConnectRequest]:
        if request.HasField("command") and len(held) < 4 and rng.random() < 0.4:
            held.append(request)
            return []
        rng.shuffle(held)
        released = held[:2]
        del held[:2]
        return [request, *released]

    return mangle


async def unruly(setting: Setting, folder: Path) -> None:
    """Commands come twice, in another order, on two connections at once, with an id that was used, or too late."""
    async with running(setting, folder) as world:
        clients = await members(world)
        world.fault(f"commands come {setting.variant}", "commands")
        if setting.variant == "old":
            await _old(world, clients[0])
        else:
            make = duplicating if setting.variant == "duplicated" else reordering
            for client in clients:
                client.mangle = make(random.Random(world.rng.random()))
        await shopping(world, clients, 25)
        if setting.variant == "duplicated":
            await _everywhere(world, clients)
        await world.settle()


async def _everywhere(world: World, clients: Sequence[Client]) -> None:
    """The same stateless commands through every client at once; and ids with another body."""
    for _ in range(8):
        made = workload.command(world.rng, world.rng.choice(world.carts), workload.wish(world.rng))
        for client in clients:
            client.submit(made, stateless=True)
        await world.settled(clients)
        other = workload.command(world.rng, made.resource, workload.add("ROPE", 7))
        other.command_id = made.command_id
        stranger = world.rng.choice(clients)
        stranger.submit(other, stateless=True)
        await world.settled(clients)


async def _old(world: World, client: Client) -> None:
    """Stateless commands whose ids tell of another time, near both ends of what is accepted."""
    ages = (-48 * HOUR_MS, -24 * HOUR_MS - MINUTE_MS, -23 * HOUR_MS, 4 * MINUTE_MS, 6 * MINUTE_MS, 48 * HOUR_MS)
    for ahead_ms in ages:
        made = workload.command(world.rng, world.carts[0], workload.add("LAMP", 1))
        made.command_id = uuid7(world.rng, ahead_ms=ahead_ms)
        client.submit(made, stateless=True)
    await world.settled([client])


async def clock_jumps(setting: Setting, folder: Path) -> None:
    """The wall clock of the first hub, or of a client, jumps by hours, back and forth."""
    async with running(setting, folder) as world:
        clients = await members(world)
        hub = world.hubs[0]
        world.fault(f"the clock of a {setting.variant} jumps", "clock")
        work = shopping(world, clients, 30)
        for jump in (3 * HOUR_MS, -2 * HOUR_MS, 30 * MINUTE_MS, 0):
            await asyncio.sleep(world.rng.uniform(0.1, 0.5))
            offset = jump + world.rng.randint(-MINUTE_MS, MINUTE_MS)
            if setting.variant == "hub":
                hub.clock.write_text(str(offset))
            else:
                clients[0].ahead_ms = offset
        await world.settle(work)


FAULTS = {
    "unruly-commands": Fault(unruly, classes=("KEYED", "MARKED", "NONE"), variants=("duplicated", "reordered", "old")),
    "clock-jumps": Fault(clock_jumps, classes=EVERY_CLASS, variants=("hub", "client")),
}
