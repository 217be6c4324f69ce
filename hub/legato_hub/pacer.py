"""When streams are sent to: all that are ready in one turn of the loop, all whose tick ends in one timer.

The loop is told once, however many streams there are: a callback or a timer for each of them was most of what a
revision cost beside the sending itself.
"""

import asyncio
from contextvars import Context
from typing import Protocol

SLOT_S = 0.001
"""Ends of ticks are rounded up to this, so that one timer serves many streams; loops count in milliseconds anyway."""


class Paced(Protocol):
    """A stream."""

    def turn(self, now: float) -> None:
        """Its turn has come, at this time of the loop. Must not raise: others wait behind it."""


class Pacer:
    """One for all streams of a loop."""

    def __init__(self, tick_s: float) -> None:
        self.tick_s = tick_s
        """A stream that was sent to waits so long before it is sent to again, unless somebody waits for an answer."""
        self._loop = asyncio.get_running_loop()
        self._ready: dict[Paced, None] = {}
        self._slots: dict[int, dict[Paced, None]] = {}
        # Else a turn would run in the context, and so in the trace, of whoever happened to ask for it first.
        self._context = Context()

    def soon(self, stream: Paced) -> None:
        """Give it a turn in the next turn of the loop: a result that is under way joins its delta until then."""
        if not self._ready:
            self._loop.call_soon(self._turn, context=self._context)
        self._ready[stream] = None

    def later(self, stream: Paced, when: float) -> None:
        """Give it a turn at this time of the loop."""
        number = int(when / SLOT_S) + 1
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = {}
            self._loop.call_at(number * SLOT_S, self._end_slot, number, context=self._context)
        slot[stream] = None

    def _turn(self) -> None:
        ready, self._ready = self._ready, {}
        now = self._loop.time()
        for stream in ready:
            stream.turn(now)

    def _end_slot(self, number: int) -> None:
        # Loops may be early by their clock's resolution; at the end of its slot a stream is due all the same.
        now = max(self._loop.time(), number * SLOT_S)
        for stream in self._slots.pop(number):
            stream.turn(now)
