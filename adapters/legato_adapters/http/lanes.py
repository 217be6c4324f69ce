"""One conversation with Vendure at a time for each cart, and none that is left in the middle.

A caller's deadline ends its waiting, not the work: a change that was sent is followed to its end, be it an undo, and
whoever asks about the same cart waits for that. So what a caller finds afterwards is what will stay.
"""

import asyncio
import time
import weakref
from collections.abc import Awaitable, Callable
from typing import TypeVar

__all__ = ["Lanes"]

_Result = TypeVar("_Result")


class Lanes:
    """The lanes of all carts. `settle_s`: how long Vendure may go on with a request whose connection broke."""

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._running: set[asyncio.Task[object]] = set()
        self._unsettled: dict[str, float] = {}

    async def read(self, cart_id: str, work: Callable[[], Awaitable[_Result]]) -> _Result:
        """Do `work` when nothing else is under way; it ends with its caller."""
        async with self._lock(cart_id):
            return await work()

    async def change(self, cart_id: str, work: Callable[[], Awaitable[_Result]]) -> _Result:
        """Do `work` when nothing else is under way; it goes on when its caller does not."""

        async def locked() -> _Result:
            async with self._lock(cart_id):
                return await work()

        task = asyncio.create_task(locked(), name=f"change {cart_id}")
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def unsettle(self, cart_id: str) -> None:
        """Note that a change was sent and its outcome is not known."""
        now = time.monotonic()
        self._unsettled = {known: until for known, until in self._unsettled.items() if until > now}
        self._unsettled[cart_id] = now + self._settle_s

    def unsettled(self, cart_id: str) -> bool:
        """Whether Vendure may still be executing a change that nobody waits for."""
        return self._unsettled.get(cart_id, 0.0) > time.monotonic()

    async def close(self) -> None:
        """Wait for what is under way; its requests have time limits."""
        while self._running:
            await asyncio.wait(self._running)

    def _lock(self, cart_id: str) -> asyncio.Lock:
        lock = self._locks.get(cart_id)
        if lock is None:
            lock = self._locks[cart_id] = asyncio.Lock()
        return lock

    def _ended(self, task: "asyncio.Task[object]") -> None:
        self._running.discard(task)
        if not task.cancelled():
            # Its caller may be gone; an exception that nobody took is no news then.
            task.exception()
