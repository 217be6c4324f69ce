"""A storage whose operations are measured, and are spans where a trace is recorded."""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from legato_hub.storage.base import Storage
from legato_hub.telemetry.metrics import STORAGE
from legato_hub.telemetry.tracing import tracer

_Storage = TypeVar("_Storage", bound=Storage)

OPERATIONS = (
    *("begin", "commit", "release", "load", "since", "last_seq", "adopt_seq", "abandoned"),
    *("put", "get", "delete", "add", "remove", "members", "sweep", "notify", "erase", "scrub"),
)


def measured(storage: _Storage) -> _Storage:
    """The same storage, whose operations are measured from now on, whoever calls them."""
    for name in OPERATIONS:
        setattr(storage, name, partial(_call, name, getattr(storage, name)))
    return storage


async def _call(name: str, operation: Callable[..., Awaitable[Any]], *arguments: Any, **named: Any) -> Any:
    start = time.monotonic()
    try:
        if tracer.recording():
            with tracer.span(f"storage.{name}"):
                answer = await operation(*arguments, **named)
        else:
            answer = await operation(*arguments, **named)
    except Exception:
        STORAGE.record(time.monotonic() - start, name, "error")
        raise
    STORAGE.record(time.monotonic() - start, name, "ok")
    return answer
