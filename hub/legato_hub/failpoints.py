"""Places where a test makes the hub die or stand still, to prove what a crash there does.

`LEGATO_FAILPOINTS="write.after_adapter=kill@3"` kills the process with SIGKILL at the third passage;
`write.after_begin=sleep:2.5@1` stands still once; without `@N` every passage acts. Off, and free, without the variable.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

POINTS = ("write.after_begin", "write.after_adapter", "write.after_commit", "resolve.before_commit")
"""In the order of the write path: the slot is claimed; the backend has done it; it is stored, nobody was told."""


@dataclass(slots=True)
class _Action:
    act: Callable[[], Awaitable[None]]
    at: int
    passages: int = 0


async def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Failpoints:
    """What `LEGATO_FAILPOINTS` asks for. Raise ValueError for what it cannot mean."""

    def __init__(self, specification: str = "") -> None:
        self._actions: dict[str, _Action] = {}
        for part in filter(None, specification.split(",")):
            point, _, wish = part.strip().partition("=")
            if point not in POINTS:
                raise ValueError(f"unknown failpoint {point!r}: one of {', '.join(POINTS)}")
            action, _, at = wish.partition("@")
            self._actions[point] = _Action(_parse(action), int(at or 0))

    async def passed(self, point: str) -> None:
        """The write path passes a point."""
        action = self._actions.get(point)
        if action is not None:
            action.passages += 1
            if action.at in (0, action.passages):
                await action.act()


def _parse(action: str) -> Callable[[], Awaitable[None]]:
    if action == "kill":
        return _kill
    verb, _, seconds = action.partition(":")
    if verb != "sleep":
        raise ValueError(f"unknown action {action!r}: kill or sleep:SECONDS")
    pause = float(seconds)
    return lambda: asyncio.sleep(pause)
