"""The queue of a resource: in order, and nobody waits longer than they said."""

import asyncio
import time

import pytest

from legato.orchestrator.v1 import error_pb2
from legato_hub.core.problem import Problem
from legato_hub.lane import Lane
from legato_hub.live import Live


async def test_a_latecomer_at_the_moment_of_release_waits_no_longer_than_it_said() -> None:
    """The lane is not free while it passes from one to the next."""
    live = Live("carts/x", "e")
    holds, enough = asyncio.Event(), asyncio.Event()

    async def next_one() -> None:
        async with Lane(live, time.monotonic() + 60):
            holds.set()
            await enough.wait()

    await live.lane.acquire()
    waiting = asyncio.create_task(next_one())
    await asyncio.sleep(0)
    live.lane.release()
    assert live.lane.locked()
    with pytest.raises(Problem) as caught:
        async with Lane(live, time.monotonic() + 0.01):
            pytest.fail("it got in")
    assert caught.value.reason == error_pb2.ERROR_REASON_RESOURCE_BUSY
    assert holds.is_set()
    enough.set()
    await waiting
    # It left no trace in the queue.
    async with Lane(live, time.monotonic()):
        assert live.lane.locked()


async def test_a_free_lane_is_had_even_when_there_is_no_time() -> None:
    live = Live("carts/x", "e")
    async with Lane(live, time.monotonic() - 1):
        assert live.lane.locked()
    assert not live.lane.locked()


async def test_the_lane_is_served_in_order_of_arrival() -> None:
    live, order = Live("carts/x", "e"), []

    async def take(number: int) -> None:
        async with Lane(live, time.monotonic() + 60):
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(take(number) for number in range(20)))
    assert order == list(range(20))
