"""What the health service says, and why.

Two names, because a load balancer and whoever restarts processes ask different questions:

- `""` (liveness): SERVING while the process answers at all, NOT_SERVING from the drain on. The state of a storage or a
  backend never shows here: to restart a hub mends neither.
- `legato.orchestrator.v1.OrchestratorService` (readiness): whether new clients should come here. NOT_SERVING from the
  drain on, and while the storage has not answered for `LOST_S`: without it no command is taken and no cart is shown.
  A shorter absence is sat out, as clients do. A backend that is away is no reason: carts are still shown and kept in
  sync, and every other hub has the same backend.

Streams that are open stay open: they know what they last saw, and go on when the storage is back.
"""

import asyncio
import logging
import time

from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer

from legato_hub.clock import now_ms
from legato_hub.storage.base import Storage, StorageError

_log = logging.getLogger(__name__)

LOST_S = 15.0
EVERY_S = 3.0

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Readiness:
    """Looks at the storage every `every_s` and tells the health service."""

    def __init__(self, storage: Storage, service: str, *, lost_s: float = LOST_S, every_s: float = EVERY_S) -> None:
        self.servicer = HealthServicer()
        self.ready = False
        self.storage_reachable = True
        """Whether the last look was answered."""
        self._storage = storage
        self._service = service
        self._lost_s = lost_s
        self._every_s = every_s

    async def serve(self) -> None:
        """The hub is up."""
        self.ready = True
        for service in ("", self._service):
            await self.servicer.set(service, SERVING)

    async def drain(self) -> None:
        """The hub goes down: NOT_SERVING for good."""
        self.ready = False
        await self.servicer.enter_graceful_shutdown()

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        answered = time.monotonic()
        while True:
            await asyncio.sleep(self._every_s)
            self.storage_reachable = await self._look()
            if self.storage_reachable:
                answered = time.monotonic()
            wanted = self.storage_reachable or time.monotonic() - answered < self._lost_s
            if wanted != self.ready:
                self.ready = wanted
                _log.warning("the storage answers again" if wanted else "not ready: the storage does not answer")
                await self.servicer.set(self._service, SERVING if wanted else NOT_SERVING)

    async def _look(self) -> bool:
        try:
            async with asyncio.timeout(self._every_s):
                await self._storage.get("readiness", now_ms())
        except (StorageError, TimeoutError):
            return False
        return True
