"""Log records as JSON, one object a line, or as text; with the ids of the trace they belong to.

Records carry facts as `extra`, never personal data or secrets; names that would hold them are masked all the same.
A worker of several (`legato serve --workers`) puts its number into each, as `worker`.

An exception is told by its type and where it was raised. Its text is told only if Legato wrote it (`_OURS`): those of
libraries and adapters may quote what they choked on, an e-mail address or a whole row. `str(error)` of such an
exception does not belong into a message or an `extra` either. Libraries are heard from `info` on, whatever the level:
what they have to say when debugging, they say about data.
"""

import asyncio
import json
import logging
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO

from legato.hosting import AdapterLoadError
from legato_hub.config import LoggingConfig
from legato_hub.secret import MASK
from legato_hub.storage.base import StorageError
from legato_hub.telemetry.tracing import tracer
from legato_hub.worker import worker_number

__all__ = ["JsonFormatter", "TextFormatter", "configure", "unhandled"]

_log = logging.getLogger(__name__)

_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
"""What a record has before anybody adds extra fields."""

_PERSONAL = frozenset(
    {
        *("email", "phone", "note", "display_name", "shipping_address", "billing_address"),
        *("authorization", "token", "access_token", "credential", "secret", "password"),
    }
)


_OURS = (StorageError, AdapterLoadError)
"""Exceptions whose texts are our own. Not Problem: it answers a caller, and may say what the caller said."""

_OWN_LOGGERS = ("legato", "legato_hub", "legato_adapters", "legato_demo")


def _facts(record: logging.LogRecord) -> dict[str, object]:
    """Extra fields and trace ids."""
    facts: dict[str, object] = {}
    if current := tracer.current():
        facts["trace_id"], facts["span_id"] = current
    for key, value in record.__dict__.items():
        if key not in _OWN:
            facts[key] = MASK if key in _PERSONAL else value
    return facts


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Discreet(logging.Formatter):
    def formatException(self, ei: Any) -> str:
        """Types and places of an exception and of those behind it, the first of them first."""
        error: BaseException | None = ei[1]
        told: list[str] = []
        seen: set[int] = set()
        while error is not None and id(error) not in seen:
            seen.add(id(error))
            text = _told(error)
            told.insert(0, "".join([*traceback.format_tb(error.__traceback__), _name(error), text and f": {text}"]))
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\nwhich led to\n".join(told)


def _name(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return f"{name} of {', '.join(map(_name, inner))}" if inner else name


def _told(error: BaseException) -> str:
    if isinstance(error, _OURS):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or ""
    return ""


class JsonFormatter(_Discreet):
    """{"time", "level", "logger", "message", "trace_id", "span_id", extra fields, "exception"}."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key, value in _facts(record).items():
            line.setdefault(key, value)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class TextFormatter(_Discreet):
    """Time, level, logger and message, then the facts as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        facts = "".join(f" {key}={value}" for key, value in _facts(record).items())
        text = f"{_time(record)} {record.levelname:<7} {record.name}: {record.getMessage()}{facts}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def _of_worker(number: int) -> Callable[[logging.LogRecord], bool]:
    def mark(record: logging.LogRecord) -> bool:
        record.worker = number
        return True

    return mark


def configure(config: LoggingConfig, stream: TextIO | None = None) -> None:
    """Log to `stream` (standard error) and nowhere else."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if config.format == "json" else TextFormatter())
    number = worker_number()
    if number is not None:
        handler.addFilter(_of_worker(number))
    level = logging.getLevelNamesMapping()[config.level.upper()]
    logging.basicConfig(level=max(level, logging.INFO), handlers=[handler], force=True)
    for name in _OWN_LOGGERS:
        logging.getLogger(name).setLevel(level)


def unhandled(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """For `loop.set_exception_handler`: the loop's own would print the exception's text, which may be anybody's."""
    task = context.get("task") or context.get("future")
    name = task.get_name().split(" ")[0] if isinstance(task, asyncio.Task) else ""
    error = context.get("exception")
    _log.error("nobody handled a failure", exc_info=error, extra={"task": name, "said": _first_words(context)})


def _first_words(context: dict[str, Any]) -> str:
    # What asyncio says begins with a fixed sentence and goes on with representations of what it is about.
    return str(context.get("message", "")).partition("\n")[0].partition("<")[0]
