"""When a stream is sent to. The loop's clock is real, and nothing here waits for it to pass."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from legato_hub.pacer import Pacer

HOUR_S = 3_600.0


async def runs_dry(turns: int = 20) -> None:
    """Let everything run that can."""
    for _ in range(turns):
        await asyncio.sleep(0)


@pytest.fixture
async def waiting() -> AsyncIterator[tuple[Pacer, asyncio.Task[None]]]:
    """A pacer that has just sent, with a tick that does not pass, and its writer in the next turn."""
    pacer = Pacer(HOUR_S)
    pacer.wake()
    await pacer.turn()
    pacer.sent()
    turn = asyncio.create_task(pacer.turn())
    await runs_dry()
    yield pacer, turn
    turn.cancel()


async def test_an_idle_stream_is_sent_to_at_once() -> None:
    pacer = Pacer(HOUR_S)
    turn = asyncio.create_task(pacer.turn())
    await runs_dry()
    assert not turn.done()
    pacer.wake()
    await runs_dry()
    assert turn.done()


async def test_within_the_tick_news_waits(waiting: tuple[Pacer, asyncio.Task[None]]) -> None:
    pacer, turn = waiting
    pacer.wake()
    pacer.wake()
    await runs_dry()
    assert not turn.done()


async def test_what_somebody_waits_for_ends_the_tick(waiting: tuple[Pacer, asyncio.Task[None]]) -> None:
    pacer, turn = waiting
    pacer.wake()
    pacer.wake(urgent=True)
    pacer.wake()
    await runs_dry()
    assert turn.done()


async def test_the_tick_ends_by_itself() -> None:
    pacer = Pacer(0.001)
    pacer.wake()
    await pacer.turn()
    pacer.sent()
    pacer.wake()
    await asyncio.wait_for(pacer.turn(), 10)


async def test_a_wake_before_the_turn_is_not_lost() -> None:
    pacer = Pacer(HOUR_S)
    pacer.wake()
    await pacer.turn()
    pacer.sent()
    pacer.wake(urgent=True)
    await asyncio.wait_for(pacer.turn(), 10)
    # And it counts once.
    turn = asyncio.create_task(pacer.turn())
    await runs_dry()
    assert not turn.done()
    turn.cancel()


async def test_a_turn_that_is_given_up_leaves_the_next_one_working(waiting: tuple[Pacer, asyncio.Task[None]]) -> None:
    pacer, turn = waiting
    pacer.wake()
    turn.cancel()
    await asyncio.gather(turn, return_exceptions=True)
    pacer.wake(urgent=True)
    await asyncio.wait_for(pacer.turn(), 10)
