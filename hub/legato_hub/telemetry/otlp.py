"""Metrics by OTLP, if the standard variables ask for it: OTEL_METRICS_EXPORTER, or an endpoint.

The SDK's instruments are not used: they cost twenty times what ours do (see `instruments`), and it has none for
histograms that are counted elsewhere. Its data model and its exporters are.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from legato_hub.telemetry.environment import TelemetryError, exporters, resource
from legato_hub.telemetry.instruments import Distribution, Instrument, Labels, Points, Registry

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter, MetricsData

_log = logging.getLogger(__name__)

INTERVAL_MS = 60_000
"""As the specification says for OTEL_METRIC_EXPORT_INTERVAL."""


@contextmanager
def exported(registry: Registry) -> Iterator[None]:
    """Export again and again as long as this lasts, and a last time at its end. Raise TelemetryError."""
    wanted = exporters("METRICS")
    if not wanted:
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics.export import ConsoleMetricExporter

        made: list[MetricExporter] = [
            OTLPMetricExporter() if name == "otlp" else ConsoleMetricExporter() for name in wanted
        ]
        data = _Data(registry)
    except ImportError as error:
        message = f"exporting metrics needs the extra `otlp`: pip install 'legato[otlp]' ({error})"
        raise TelemetryError(message) from error
    interval_s = _interval_ms() / 1000
    ending = threading.Event()

    def again_and_again() -> None:
        while not ending.wait(interval_s):
            _export(made, data.now())

    # A thread, not a task: an exporter blocks, and a stuck event loop is to be seen.
    thread = threading.Thread(target=again_and_again, name="export metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
        _export(made, data.now())
        for exporter in made:
            exporter.shutdown()


def _interval_ms() -> float:
    text = os.environ.get("OTEL_METRIC_EXPORT_INTERVAL") or str(INTERVAL_MS)
    try:
        interval = float(text)
    except ValueError:
        interval = 0
    if not interval > 0:
        raise TelemetryError("OTEL_METRIC_EXPORT_INTERVAL: must be milliseconds, above 0")
    return interval


def _export(made: "list[MetricExporter]", data: "MetricsData") -> None:
    for exporter in made:
        try:
            exporter.export(data)
        except Exception as error:  # noqa: BLE001 -- an exporter's fault is not the hub's; the next round tries again
            _log.warning("cannot export metrics", extra={"error": type(error).__name__})


class _Data:
    """The registry in the SDK's data model, cumulative from when this was made."""

    def __init__(self, registry: Registry) -> None:
        from opentelemetry.sdk.metrics import export
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        self._registry = registry
        self._sdk = export
        self._resource = resource()
        self._scope = InstrumentationScope("legato_hub")
        self._start_ns = time.time_ns()

    def now(self) -> "MetricsData":
        """Everything as it is."""
        sdk, now = self._sdk, time.time_ns()
        metrics = [self._metric(instrument, points, now) for instrument, points in self._registry.collect() if points]
        scope = sdk.ScopeMetrics(self._scope, metrics, "")
        data: MetricsData = sdk.MetricsData([sdk.ResourceMetrics(self._resource, [scope], "")])
        return data

    def _metric(self, instrument: Instrument, points: Points, now: int) -> Any:
        sdk, cumulative = self._sdk, self._sdk.AggregationTemporality.CUMULATIVE
        data: Any
        made: list[Any] = [self._point(instrument, labels, value, now) for labels, value in points.items()]
        match instrument.kind:
            case "counter":
                data = sdk.Sum(made, cumulative, is_monotonic=True)
            case "gauge":
                data = sdk.Gauge(made)
            case _:
                data = sdk.Histogram(made, cumulative)
        return sdk.Metric(instrument.name, instrument.meaning, instrument.unit, data)

    def _point(self, instrument: Instrument, labels: Labels, value: float | Distribution, now: int) -> Any:
        attributes = dict(zip(instrument.labels, labels, strict=True))
        if not isinstance(value, Distribution):
            return self._sdk.NumberDataPoint(attributes, self._start_ns, now, value)
        smallest = largest = None  # not known, and optional in the protocol
        return self._sdk.HistogramDataPoint(
            attributes,
            self._start_ns,
            now,
            sum(value.counts),
            value.sum,
            value.counts,
            value.bounds,
            smallest,  # type: ignore[arg-type]  # the data model does not say so
            largest,  # type: ignore[arg-type]
        )
