"""When a stream may be sent to: at once while it is idle; else once in a flush tick, with everything that is pending.

What a caller waits for (results, answers) is urgent and ends the tick early: commands in flight are bounded, so that
cannot become a flood. Deltas caused by others wait for the tick and are merged by then.
"""

import asyncio


class Pacer:
    """Wakes one writer. Not for several waiters."""

    def __init__(self, tick_s: float) -> None:
        self._tick_s = tick_s
        self._loop = asyncio.get_running_loop()
        self._due = False
        self._urgent = False
        self._sent_at = float("-inf")
        self._waiter: asyncio.Future[None] | None = None
        self._soon: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None

    def wake(self, *, urgent: bool = False) -> None:
        """There is something to send."""
        self._due = True
        self._urgent = self._urgent or urgent
        if self._waiter is None or self._soon is not None:
            return
        left = self._sent_at + self._tick_s - self._loop.time()
        if self._urgent or left <= 0:
            # One turn of the loop: a result that is under way joins the delta that it belongs to.
            self._soon = self._loop.call_soon(self._release)
        elif self._timer is None:
            self._timer = self._loop.call_later(left, self._release)

    async def turn(self) -> None:
        """Wait until there is something to send and it may be sent."""
        self._waiter = self._loop.create_future()
        if self._due:
            self.wake()
        try:
            await self._waiter
        finally:
            self._waiter = None
            for handle in (self._soon, self._timer):
                if handle is not None:
                    handle.cancel()
            self._soon = self._timer = None
        self._due = self._urgent = False

    def sent(self) -> None:
        """A message went out."""
        self._sent_at = self._loop.time()

    def _release(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
