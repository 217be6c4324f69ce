"""The queue of one resource in this process."""

import asyncio
import time

from legato.orchestrator.v1 import error_pb2
from legato_hub.core.problem import Problem
from legato_hub.live import Live


class Lane:
    """Holds the resource's lane, in order of arrival. Problem RESOURCE_BUSY at the deadline (monotonic clock)."""

    def __init__(self, live: Live, deadline: float) -> None:
        self._live = live
        self._deadline = deadline

    async def __aenter__(self) -> None:
        if not self._live.lane.locked():  # Nor is anybody about to take it: this does not wait.
            await self._live.lane.acquire()
            return
        try:
            async with asyncio.timeout(max(self._deadline - time.monotonic(), 0)):
                await self._live.lane.acquire()
        except TimeoutError:
            message = "earlier commands of this resource are still running"
            raise Problem(error_pb2.ERROR_REASON_RESOURCE_BUSY, message, retry_ms=1_000) from None

    async def __aexit__(self, *_: object) -> None:
        self._live.lane.release()
