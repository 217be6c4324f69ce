"""Log records as JSON, one object a line, or as text; with the ids of the trace they belong to.

Records carry facts as `extra`, never personal data or secrets; names that would hold them are masked all the same.
A worker of several (`legato serve --workers`) puts its number into each, as `worker`.
"""

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

from legato_hub.config import LoggingConfig
from legato_hub.secret import MASK
from legato_hub.telemetry.tracing import tracer
from legato_hub.worker import worker_number

__all__ = ["JsonFormatter", "TextFormatter", "configure"]

_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
"""What a record has before anybody adds extra fields."""

_PERSONAL = frozenset(
    {
        *("email", "phone", "note", "display_name", "shipping_address", "billing_address"),
        *("authorization", "token", "access_token", "credential", "secret", "password"),
    }
)


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


class JsonFormatter(logging.Formatter):
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


class TextFormatter(logging.Formatter):
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
    logging.basicConfig(level=config.level.upper(), handlers=[handler], force=True)
