"""`legato serve`."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from legato.hosting import AdapterLoadError
from legato_hub.cli import refuse
from legato_hub.config import Config
from legato_hub.server import run
from legato_hub.storage.base import StorageError
from legato_hub.telemetry import logs, tracing
from legato_hub.telemetry.environment import TelemetryError
from legato_hub.telemetry.exposition import exposed
from legato_hub.telemetry.metrics import registry
from legato_hub.telemetry.otlp import exported
from legato_hub.telemetry.readings import process_readings
from legato_hub.worker import NotAWorkerError, end_with_parent, worker_number


def serve(config: Config) -> None:
    """Serve until told to stop; logs, traces and metrics go where configuration and environment say."""
    try:
        if worker_number() is not None:
            end_with_parent()
    except NotAWorkerError as error:
        refuse(str(error))
    logs.configure(config.logging)
    try:
        tracing.configure()
    except tracing.TracingError as error:
        refuse(str(error))
    try:
        with exported(registry), exposed(registry, config.metrics.listen), registry.source(process_readings):
            event_loop_runner()(run(config))
    except TelemetryError as error:
        refuse(str(error))
    except (AdapterLoadError, StorageError, OSError) as error:
        refuse(str(error), 1)
    finally:
        tracing.shutdown()


def event_loop_runner() -> Callable[[Coroutine[Any, Any, None]], None]:
    """What runs the hub: uvloop wherever there is one."""
    try:
        import uvloop
    except ImportError:  # not made for Windows
        return asyncio.run
    return uvloop.run
