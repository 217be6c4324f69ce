"""When streams are sent to. The loop's clock is real, and nothing here waits for it to pass."""

import asyncio

from legato_hub.pacer import Pacer

HOUR_S = 3_600.0


class Stream:
    """Notes its turns."""

    def __init__(self) -> None:
        self.turns: list[float] = []
        self.had_one = asyncio.Event()

    def turn(self, now: float) -> None:
        self.turns.append(now)
        self.had_one.set()


async def test_all_that_are_ready_have_their_turn_in_the_next_turn_of_the_loop() -> None:
    pacer, streams = Pacer(HOUR_S), [Stream(), Stream()]
    for stream in (*streams, *streams):
        pacer.soon(stream)
    assert [stream.turns for stream in streams] == [[], []]
    await asyncio.sleep(0)
    assert [len(stream.turns) for stream in streams] == [1, 1]
    pacer.soon(streams[0])
    await asyncio.sleep(0)
    assert [len(stream.turns) for stream in streams] == [2, 1]


async def test_who_asks_in_its_turn_has_the_next_one() -> None:
    pacer = Pacer(HOUR_S)

    class Again(Stream):
        def turn(self, now: float) -> None:
            super().turn(now)
            pacer.soon(self)

    stream = Again()
    pacer.soon(stream)
    await asyncio.sleep(0)
    assert len(stream.turns) == 1
    await asyncio.sleep(0)
    assert len(stream.turns) == 2


async def test_a_later_turn_comes_when_it_is_due_and_not_before() -> None:
    pacer, loop = Pacer(HOUR_S), asyncio.get_running_loop()
    soon, late = Stream(), Stream()
    when = loop.time() + 0.002
    pacer.later(late, loop.time() + HOUR_S)
    pacer.later(soon, when)
    pacer.later(soon, when)
    await soon.had_one.wait()
    assert len(soon.turns) == 1
    assert soon.turns[0] >= when
    assert late.turns == []
