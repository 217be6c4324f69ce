"""Where gauges get their values: from the objects that know them, when somebody asks."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from legato_hub.core.outbox import Outbox
from legato_hub.telemetry import metrics
from legato_hub.telemetry.instruments import Reading

LAG_SAMPLE_S = 0.1

_STATM = Path("/proc/self/statm")
_STARTED = time.monotonic()


class HubState(Protocol):
    """What a hub knows of itself. Asked in another thread than its own, so everything is copied before it is walked."""

    def outboxes(self) -> list[Outbox]:
        """Of every open stream."""

    @property
    def draining(self) -> bool: ...

    @property
    def ready(self) -> bool: ...

    @property
    def storage_reachable(self) -> bool: ...

    def counts(self) -> tuple[int, int, int]:
        """Commands without a result, slots being resolved, resources in memory."""

    def backends(self) -> list[tuple[str, bool]]:
        """Each backend's name, and whether it has said what it can do."""

    @property
    def build(self) -> tuple[str, str]:
        """Version of the adapter contract, and the kind of storage."""


def hub_readings(hub: HubState) -> Callable[[], Iterator[Reading]]:
    """A source for the registry."""

    def read() -> Iterator[Reading]:
        outboxes = hub.outboxes()
        running, resolving, resources = hub.counts()
        yield metrics.STREAMS, (), len(outboxes)
        yield metrics.SUBSCRIPTIONS, (), sum(len(outbox.subscriptions) for outbox in outboxes)
        yield metrics.RESOURCES, (), resources
        yield metrics.OUTBOX_DUE, (), sum(outbox.waiting for outbox in outboxes)
        backlogs = [outbox.backlog for outbox in outboxes]
        yield metrics.OUTBOX_BACKLOG, (), sum(backlogs)
        yield metrics.OUTBOX_BACKLOG_MAX, (), max(backlogs, default=0)
        yield metrics.UNACKNOWLEDGED, (), sum(outbox.unacknowledged for outbox in outboxes)
        yield metrics.UNACKNOWLEDGED_MAX, (), max((outbox.lag for outbox in outboxes), default=0)
        yield metrics.COMMANDS_RUNNING, (), running
        yield metrics.SLOTS_RESOLVING, (), resolving
        for name, answers in hub.backends():
            yield metrics.ADAPTER_READY, (name,), answers
        yield metrics.STORAGE_REACHABLE, (), hub.storage_reachable
        yield metrics.DRAINING, (), hub.draining
        yield metrics.READY, (), hub.ready
        yield metrics.BUILD, (version("legato"), *hub.build), 1

    return read


def process_readings() -> Iterator[Reading]:
    """What the system says of this process."""
    times = os.times()
    yield metrics.CPU, ("user",), times.user
    yield metrics.CPU, ("system",), times.system
    yield metrics.UPTIME, (), time.monotonic() - _STARTED
    if _STATM.exists():
        pages = int(_STATM.read_text().split()[1])
        yield metrics.MEMORY, (), pages * os.sysconf("SC_PAGE_SIZE")


async def measure_lag() -> None:
    """Record how late timers are, until cancelled."""
    while True:
        # Not the loop's own clock: uvloop's stands still while the loop is busy.
        due = time.monotonic() + LAG_SAMPLE_S
        await asyncio.sleep(LAG_SAMPLE_S)
        metrics.EVENT_LOOP_LAG.record(max(time.monotonic() - due, 0.0))
