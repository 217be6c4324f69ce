"""A reconnect storm: a hub is gone, revisions are made without its streams, and all come back at once to its successor,
which knows nothing but what the storage tells."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc.aio

from bench import workload
from bench.bulk import revise
from bench.client import Arrivals, LoadStream, close_streams, open_channel
from bench.measures import PER_CONNECTION, check
from bench.sides import Side, hub_side

STREAMS_EACH = 4
"""Channels that watch one cart."""
MISSED = 3
PROBED = 20
"""Carts that are changed afterwards, to see that their streams live."""


@dataclass(frozen=True)
class Storm:
    """`took_s` until every stream had what it missed. The server's CPU time is for one stream; the client, which works
    beside the server on the same machine, needed `client_cpu_s` in all."""

    took_s: float
    refused: int
    cpu_s: float
    client_cpu_s: float


async def storm(folder: Path, url: str, token: str, carts: Sequence[str]) -> Storm:
    """With `STREAMS_EACH` streams on each of these carts, which are at revision 1. Raise WrongWorkError."""
    async with hub_side("before", folder, "null", url) as hub:
        hub.token = token
        lost = await _watch(hub, carts)
    await revise(url, carts, 1, MISSED)
    async with hub_side("after", folder, "null", url) as hub:
        hub.token = token
        return await _resume(hub, lost)


def _streams(hub: Side, carts: Sequence[str]) -> tuple[list[grpc.aio.Channel], list[tuple[str, LoadStream]]]:
    """Streams that are not open yet, by the cart that each is for."""
    wanted = [cart for cart in carts for _ in range(STREAMS_EACH)]
    channels = [open_channel(hub.process.port) for _ in range(-(-len(wanted) // PER_CONNECTION))]
    arrivals = Arrivals()
    made = (LoadStream(channels[number // PER_CONNECTION], hub.token, arrivals) for number in range(len(wanted)))
    return channels, list(zip(wanted, made, strict=True))


async def _watch(hub: Side, carts: Sequence[str]) -> list[tuple[str, LoadStream]]:
    channels, streams = _streams(hub, carts)
    for start in range(0, len(streams), PER_CONNECTION):
        await asyncio.gather(*(stream.open(cart) for cart, stream in streams[start : start + PER_CONNECTION]))
    await close_streams(channels, [stream for _, stream in streams])
    return streams


async def _resume(hub: Side, lost: Sequence[tuple[str, LoadStream]]) -> Storm:
    carts = list(dict.fromkeys(cart for cart, _ in lost))
    before, client_before, start = hub.process.cpu_s(), time.process_time(), time.monotonic()
    channels, streams = _streams(hub, carts)
    outcomes = await asyncio.gather(
        *(stream.resume(cart, old) for (cart, stream), (_, old) in zip(streams, lost, strict=True)),
        return_exceptions=True,
    )
    took_s, client_cpu_s = time.monotonic() - start, time.process_time() - client_before
    cpu_s = (hub.process.cpu_s() - before) / len(streams)
    refused = 0
    for outcome in outcomes:
        if isinstance(outcome, grpc.aio.AioRpcError):
            refused += 1
        elif outcome is not None:
            raise outcome
    if not refused:
        await _check(hub, streams, carts[:PROBED])
    await close_streams(channels, [stream for _, stream in streams])
    return Storm(took_s, refused, cpu_s, client_cpu_s)


async def _check(hub: Side, streams: Sequence[tuple[str, LoadStream]], probed: Sequence[str]) -> None:
    """All have what was made meanwhile, and those of some carts what is made now."""
    revision = 1 + MISSED
    for cart in probed:
        await hub.process.tell(prepare=cart, count=1)
        await hub.process.tell(rate=1.0, committed=True)
    for cart, stream in streams:
        here = revision
        if cart in probed:
            here += 1
            await stream.until_revision(here)
        stream.replay(chained=True)
        check(stream.cursor.revision == here, f"a replica is at {stream.cursor.revision}, not {here}")
        made = workload.delta(here).upserts
        check(all(stream.entries.get(key) == value for key, value in made.items()), "a replica is not what was made")
    digests = {(cart, stream.digest) for cart, stream in streams}
    check(len(digests) == len({cart for cart, _ in streams}), "replicas of one cart differ")
