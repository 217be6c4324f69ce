"""What the standard OTEL_ variables ask for, and what every exporter says of this process."""

import os
from typing import TYPE_CHECKING, Literal

from legato.protocol.ids import new_id
from legato_hub.worker import worker_number

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

_INSTANCE = "service.instance.id"


class TelemetryError(Exception):
    """The environment asks for telemetry that is not possible here."""


def exporters(signal: Literal["TRACES", "METRICS"]) -> list[str]:
    """The exporters that the environment asks for, of otlp and console. Raise TelemetryError for others."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    endpoint = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    variable = f"OTEL_{signal}_EXPORTER"
    text = os.environ.get(variable) or ("otlp" if endpoint else "none")
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in ("otlp", "console", "none"):
            hint = "; for Prometheus set [metrics] listen in the configuration" if name == "prometheus" else ""
            raise TelemetryError(f"{variable}: there is no exporter {name!r}, only otlp, console and none{hint}")
    for variable in (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if "otlp" in names and os.environ.get(variable, "grpc") != "grpc":
            raise TelemetryError(f"{variable}: only grpc is supported")
    return [name for name in names if name != "none"]


def worker() -> str:
    """Which worker of `serve --workers` this process is, for labels; empty if it is none."""
    number = worker_number()
    return "" if number is None else str(number)


def resource() -> "Resource":
    """This process. Its `service.instance.id` is one of its own unless OTEL_RESOURCE_ATTRIBUTES gives one."""
    from opentelemetry.sdk.resources import Resource

    told = Resource.create()
    own: dict[str, str] = {"legato.worker": worker()} if worker() else {}
    if str(told.attributes["service.name"]).startswith("unknown_service"):
        own["service.name"] = "legato-hub"
    if _INSTANCE not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        own[_INSTANCE] = new_id()
    elif worker():
        own[_INSTANCE] = f"{told.attributes[_INSTANCE]!s}-{worker()}"
    return told.merge(Resource(own))
