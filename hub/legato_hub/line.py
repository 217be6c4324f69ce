"""One stream's messages on their way out, without a task of their own.

A task that is woken for each message costs half as much as the sending itself. So the first step of a write, which
hands the message to the transport, is made in the turn that the pacer gives, and what follows in the callback of what
the write waits for. The handler of the stream only waits for the end, in `run`; a client that vanishes cancels that.

At most one write is under way: a client that does not take its message in has no further turn until it does, and keeps
nobody waiting.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from legato_hub.pacer import Pacer

Write = Callable[[bytes], Coroutine[Any, Any, None]]
"""Sends a serialised message. It may wait for futures of the loop only, and has no task to ask for."""


class Line:
    """Sends what `take` gives: the next message, empty for nothing at the moment, None for the end."""

    def __init__(self, pacer: Pacer, take: Callable[[], bytes | None]) -> None:
        self._pacer = pacer
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._due = False
        self._urgent = False
        self._rests_until = float("-inf")
        self._write: Write | None = None
        self._writing: Coroutine[Any, Any, None] | None = None
        self._awaited: asyncio.Future[Any] | None = None
        self._over: asyncio.Future[None] = self._loop.create_future()

    def wake(self, *, urgent: bool = False) -> None:
        """There is something to send: at once if the stream is idle, else at the end of the tick.

        What a caller waits for (results, answers) is urgent and ends the tick early: commands in flight are bounded,
        so that cannot become a flood. Deltas caused by others wait for the tick and are merged by then.
        """
        if self._due and (self._urgent or not urgent):
            return
        self._due = True
        self._urgent = self._urgent or urgent
        if self._write is not None and self._writing is None:
            self._pacer.soon(self)

    async def run(self, write: Write) -> None:
        """Send until the end. Raise what `take` or a write raises. Cancelling it gives up the write under way."""
        self._write = write
        if self._due:
            self._pacer.soon(self)
        try:
            await self._over
        finally:
            self._write = None
            if self._awaited is not None:
                self._awaited.cancel()

    def turn(self, now: float) -> None:
        """See `Paced`. A turn that was given for an earlier wish may come when there is nothing to do."""
        if not self._due or self._write is None or self._writing is not None:
            return
        if now < self._rests_until and not self._urgent:
            self._pacer.later(self, self._rests_until)
            return
        self._due = self._urgent = False
        try:
            message = self._take()
            if message:
                self._writing = self._write(message)
                self._step()
            elif message is None:
                self._end(None)
        except Exception as error:  # noqa: BLE001 -- `run` raises it
            self._end(error)

    def _step(self, _: object = None) -> None:
        """Go on with the write up to what it waits for next, as a task would."""
        assert self._writing is not None
        self._awaited = None
        try:
            awaited = self._writing.send(None)
            # So a task says that it took the future from the coroutine.
            awaited._asyncio_future_blocking = False
            awaited.add_done_callback(self._step)
            self._awaited = awaited
        except StopIteration:
            self._writing = None
            self._rests_until = self._loop.time() + self._pacer.tick_s
            if self._due and self._write is not None:
                self._pacer.soon(self)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 -- `run` raises it
            self._writing = None
            self._end(error)

    def _end(self, error: BaseException | None) -> None:
        self._write = None
        if self._over.done():
            return
        if error is None:
            self._over.set_result(None)
        else:
            self._over.set_exception(error)
