"""What is measured. Each function runs one operation on one side, checks the work that was done, and tells its cost."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc.aio

from bench import workload
from bench.client import Arrivals, LoadStream, WrongWorkError, close_streams, open_channel, open_streams
from bench.sides import Side
from legato.commerce.v1 import cart_intent_pb2, quantity_pb2
from legato.orchestrator.v1 import reads_pb2
from legato.protocol.entities import assemble_cart

PER_CONNECTION = 50
LATECOMERS = 8
"""Carts of a shop for which it is checked in each run what a new subscriber gets."""


def check(done: bool, what: str) -> None:
    """Raise WrongWorkError unless it was done."""
    if not done:
        raise WrongWorkError(what)


async def unary(side: Side, resource: str, calls: int, at_once: int) -> float:
    """CPU seconds of one GetCart."""
    request = reads_pb2.GetCartRequest(resource=resource).SerializeToString()
    metadata = (("authorization", f"Bearer {side.token}"),)
    async with open_channel(side.process.port) as channel:
        get_cart: Any = channel.unary_unary(workload.GET_CART)
        expected = await get_cart(request, metadata=metadata)
        answer = reads_pb2.GetCartResponse.FromString(expected)
        check(len(answer.cart.lines) == workload.LINES, f"GetCart answers {answer}")
        left = calls
        before = side.process.cpu_s()

        async def caller() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                check(await get_cart(request, metadata=metadata) == expected, "GetCart answers differ")

        await asyncio.gather(*(caller() for _ in range(at_once)))
        return (side.process.cpu_s() - before) / calls


class Audience:
    """Streams that subscribe to one cart."""

    def __init__(self, side: Side, resource: str) -> None:
        self.side = side
        self.resource = resource
        self.arrivals = Arrivals()
        self.streams: list[LoadStream] = []
        self._channels: list[grpc.aio.Channel] = []

    async def open(self, count: int) -> float:
        """Open so many; how many KiB of memory each took of the server."""
        before = self.side.process.rss_kb()
        port, token = self.side.process.port, self.side.token
        self._channels, self.streams = await open_streams(
            port, token, self.resource, count, PER_CONNECTION, self.arrivals
        )
        return (self.side.process.rss_kb() - before) / count

    async def close(self) -> None:
        await close_streams(self._channels, self.streams)

    def check(self, revision: int) -> None:
        """Raise WrongWorkError unless all replicas are at this revision, and the same."""
        first = self.streams[0]
        for stream in self.streams:
            check(stream.cursor.revision == revision, f"a replica is at {stream.cursor.revision}, not {revision}")
            check(stream.digest == first.digest, "replicas differ")
        expected = workload.delta(revision).upserts
        check(all(first.entries.get(key) == value for key, value in expected.items()), "replicas are not what was made")

    async def check_with_latecomer(self) -> None:
        """Raise WrongWorkError unless a new subscriber gets what the others have."""
        await check_with_latecomers(self.side, {self.resource: self.streams[0].digest})
        await self.arrivals.quiet()  # A hub tells of those who come and go.


async def check_with_latecomers(side: Side, digests: Mapping[str, bytes]) -> None:
    """Raise WrongWorkError unless a new subscriber of each resource gets a state of its digest."""
    channel, arrivals = open_channel(side.process.port), Arrivals()
    newcomers = {resource: LoadStream(channel, side.token, arrivals) for resource in digests}
    await asyncio.gather(*(stream.open(resource) for resource, stream in newcomers.items()))
    for resource, stream in newcomers.items():
        # The bare server keeps no state: its snapshots are what it would have been told to send.
        check(stream.digest == digests[resource], "a snapshot differs from the replicas")
    await close_streams([channel], list(newcomers.values()))


async def fan_out(audience: Audience, revisions: int) -> float:
    """CPU seconds of the delivery of one revision to one stream. The next comes when all have the one before."""
    process, streams = audience.side.process, audience.streams
    base = (await process.tell(prepare=audience.resource, count=1))["revision"]
    arrivals, spent = audience.arrivals, 0.0
    for number in range(revisions):
        await process.tell(prepare=audience.resource, count=1)
        start, before = arrivals.count, process.cpu_s()
        await process.tell(rate=1.0, committed=True)
        await arrivals.reach(start + len(streams))
        spent += process.cpu_s() - before
        check(arrivals.count == start + len(streams), f"more messages than streams at revision {base + number}")
    for stream in streams:
        check(len(stream.replay(chained=audience.side.is_hub)) == revisions, "a delivery is missing")
    audience.check(base + revisions)
    await audience.check_with_latecomer()
    return spent / (revisions * len(streams))


@dataclass(frozen=True)
class Overload:
    """A burst. `cpu_s` for one revision and stream, delivered by whatever message; latencies in seconds."""

    cpu_s: float
    p50_s: float
    p99_s: float
    messages: int


async def overload(audience: Audience, revisions: int, rate: float, *, committed: bool = False) -> Overload:
    """A burst of revisions, so many a second: `committed` by a hub to its storage, or told to its streams alone."""
    process, streams = audience.side.process, audience.streams
    base = (await process.tell(prepare=audience.resource, count=revisions))["revision"]
    before = process.cpu_s()
    times = (await process.tell(rate=rate, committed=committed))["times"]
    for stream in streams:
        await stream.until_revision(base + revisions)
    spent = process.cpu_s() - before
    check(len(times) == revisions, "not every revision was made")
    latencies: list[int] = []
    messages = 0
    for stream in streams:
        reached = stream.replay(chained=audience.side.is_hub)
        messages += len(reached)
        latencies += _latencies(times, base, reached)
    audience.check(base + revisions)
    await audience.check_with_latecomer()
    latencies.sort()
    p50, p99 = (latencies[int(len(latencies) * share)] / 1e9 for share in (0.5, 0.99))
    return Overload(spent / (revisions * len(streams)), p50, p99, messages)


def _latencies(times: Sequence[int], base: int, reached: Sequence[tuple[int, int]]) -> list[int]:
    """For each revision after `base`: from when it was made to when the message that covers it had arrived."""
    found = []
    covered = 0
    for arrived, revision in reached:
        found += [arrived - made for made in times[covered : revision - base]]
        covered = revision - base
    check(len(found) == len(times), "not every revision was covered")
    return found


class Shop:
    """Carts with three streams each: one that sends commands, and two others that watch."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self._channels: list[grpc.aio.Channel] = []
        self._trios: list[tuple[str, Arrivals, list[LoadStream]]] = []

    async def open(self, carts: Sequence[str]) -> None:
        for number, name in enumerate(carts):
            if number % (PER_CONNECTION // 3) == 0:
                self._channels.append(open_channel(self.side.process.port))
            arrivals = Arrivals()
            trio = [LoadStream(self._channels[-1], self.side.token, arrivals) for _ in range(3)]
            for stream, resource in zip(trio, ("", name, name), strict=True):
                await stream.open(resource)
            self._trios.append((name, arrivals, trio))
        await self.quiet()

    async def quiet(self) -> None:
        """Wait until no stream is told anything any more."""
        await asyncio.gather(*(arrivals.quiet() for _, arrivals, _ in self._trios))

    async def close(self) -> None:
        await close_streams(self._channels, [stream for _, _, trio in self._trios for stream in trio])

    async def commands(self, each: int) -> tuple[float, float]:
        """CPU seconds of one command with its result and its two deliveries; and the median time it took."""
        process = self.side.process
        took: list[int] = []
        before = process.cpu_s()
        await asyncio.gather(*(self._converse(trio, each, took) for trio in self._trios))
        spent = process.cpu_s() - before
        digests: dict[str, bytes] = {}
        for resource, _, (sender, *watchers) in self._trios:
            sender.replay(chained=True)
            base = watchers[0].cursor.revision
            for watcher in watchers:
                check(len(watcher.replay(chained=True)) == each, "a delivery is missing")
                check(watcher.cursor.revision == base + each, "a revision is missing")
                check(watcher.digest == watchers[0].digest, "replicas differ")
            check(watchers[0].quantity == workload.quantity_at(base + each), "replicas are at a wrong quantity")
            if len(digests) < LATECOMERS:
                digests[resource] = watchers[0].digest
        await check_with_latecomers(self.side, digests)
        await self.quiet()
        took.sort()
        return spent / (each * len(self._trios)), took[len(took) // 2] / 1e9

    async def _converse(self, trio: tuple[str, Arrivals, list[LoadStream]], each: int, took: list[int]) -> None:
        resource, arrivals, (sender, watcher, _) = trio
        line_id = assemble_cart(watcher.entries).lines[0].id
        base = watcher.cursor.revision
        for number in range(1, each + 1):
            intent = cart_intent_pb2.CartIntent()
            intent.set_line_quantity.line.line_id = line_id
            steps = workload.quantity_at(base + number)
            intent.set_line_quantity.quantity.CopyFrom(quantity_pb2.Quantity(steps=steps))
            start, sent = arrivals.count, time.monotonic_ns()
            await sender.send_command(resource, intent)
            await arrivals.reach(start + 3)
            took.append(time.monotonic_ns() - sent)
