"""A storage whose operations are measured, and are spans where a trace is recorded."""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

from legato_hub.storage.base import Storage
from legato_hub.telemetry.metrics import STORAGE
from legato_hub.telemetry.tracing import tracer

OPERATIONS = (
    *("begin", "commit", "release", "load", "since", "last_seq", "adopt_seq", "abandoned"),
    *("put", "get", "delete", "add", "remove", "members", "sweep"),
)


class _Measured:
    """Everything else is the inner storage's own."""

    def __init__(self, inner: Storage) -> None:
        self._inner = inner
        for name in OPERATIONS:
            setattr(self, name, partial(_call, name, getattr(inner, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


async def _call(name: str, operation: Callable[..., Awaitable[Any]], *arguments: Any, **named: Any) -> Any:
    if tracer.recording():
        with tracer.span(f"storage.{name}"):
            return await _timed(name, operation, *arguments, **named)
    return await _timed(name, operation, *arguments, **named)


async def _timed(name: str, operation: Callable[..., Awaitable[Any]], *arguments: Any, **named: Any) -> Any:
    start = time.monotonic()
    try:
        answer = await operation(*arguments, **named)
    except Exception:
        STORAGE.record(time.monotonic() - start, name, "error")
        raise
    STORAGE.record(time.monotonic() - start, name, "ok")
    return answer


def measured(storage: Storage) -> Storage:
    """The same storage, measured."""
    return cast(Storage, _Measured(storage))
