"""Sweeps the storage, again and again: what is past its time goes, however much it is, and nobody waits for it.

Several hubs take turns: a record in the storage says that one is at it, or was a moment ago.
"""

import asyncio
import logging
import random
import time

from legato_hub.clock import now_ms
from legato_hub.config import StorageConfig
from legato_hub.storage.base import Storage, StorageError

_log = logging.getLogger(__name__)

DAY_MS = 24 * 3_600_000
PERIOD_S = 600.0
"""About how often a hub looks whether it is its turn (±25 %)."""

TURN_MS = 400_000
"""How long the others leave it to the hub whose turn it is; shorter than any period, so that one hub alone never misses
its own."""

REST = 3
"""A pause is so many times as long as the work before it: commands get most of the storage's time."""

TURN = "retention"
"""Name of the record."""


class Retention:
    """What `config` says of days, done to a storage."""

    def __init__(self, storage: Storage, config: StorageConfig) -> None:
        self._storage = storage
        self._closed_ms = config.closed_days * DAY_MS
        self._idle_ms = config.idle_days * DAY_MS

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.sweep()
            except StorageError:
                _log.exception("cannot sweep the storage")
            await asyncio.sleep(PERIOD_S * random.uniform(0.75, 1.25))

    async def sweep(self) -> int:
        """Sweep until nothing is left, unless it is another hub's turn; how many were touched. Raise StorageError."""
        touched, now = 0, now_ms()
        if not await self._storage.put(TURN, b"", until=now + TURN_MS, now=now, if_absent=True):
            return 0
        while True:
            began, now = time.monotonic(), now_ms()
            found = await self._storage.sweep(now, closed_ms=self._closed_ms, idle_ms=self._idle_ms)
            if not found:
                return touched
            touched += found
            await self._storage.put(TURN, b"", until=now + TURN_MS, now=now)
            await asyncio.sleep(REST * (time.monotonic() - began))
