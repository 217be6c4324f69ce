"""`/metrics` in Prometheus' text, by prometheus_client's own little server in a thread of its own.

So it also answers while the event loop is stuck, which is when it is needed most.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from legato_hub.telemetry.environment import worker
from legato_hub.telemetry.instruments import Distribution, Instrument, Points, Registry

_UNITS = {"s": "_seconds", "By": "_bytes"}


def prometheus_name(instrument: Instrument) -> str:
    """The name of a metric as Prometheus shows it; a histogram's series have `_bucket`, `_sum` and `_count` behind."""
    name = instrument.name.replace(".", "_") + _UNITS.get(instrument.unit, "")
    return f"{name}_total" if instrument.monotonic else name


class _Collector(Collector):
    def __init__(self, registry: Registry, constant: dict[str, str]) -> None:
        self._registry = registry
        self._constant = constant

    def collect(self) -> Iterator[Metric]:
        for instrument, points in self._registry.collect():
            yield self._family(instrument, points)

    def _family(self, instrument: Instrument, points: Points) -> Metric:
        names = (*instrument.labels, *self._constant)
        name = prometheus_name(instrument)
        family: CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
        match instrument.kind:
            case "counter":
                family = CounterMetricFamily(name, instrument.meaning, labels=names)
            case "gauge":
                family = GaugeMetricFamily(name, instrument.meaning, labels=names)
            case _:
                family = HistogramMetricFamily(name, instrument.meaning, labels=names)
        for labels, value in points.items():
            given = (*labels, *self._constant.values())
            if isinstance(family, HistogramMetricFamily):
                assert isinstance(value, Distribution)
                family.add_metric(given, _cumulated(value), value.sum)
            else:
                assert not isinstance(value, Distribution)
                family.add_metric(given, value)
        return family


def _cumulated(value: Distribution) -> list[tuple[str, float]]:
    buckets: list[tuple[str, float]] = []
    count = 0
    for bound, within in zip((*value.bounds, float("inf")), value.counts, strict=True):
        count += within
        buckets.append(("+Inf" if bound == float("inf") else f"{bound:.10g}", count))
    return buckets


@contextmanager
def exposed(registry: Registry, listen: str) -> Iterator[int]:
    """Answer at `host:port` as long as this lasts, a worker at port + its number; nothing if `listen` is empty.

    Gives the port, 0 for none. Raise OSError if the address cannot be had.
    """
    if not listen:
        yield 0
        return
    host, _, port = listen.rpartition(":")
    shift = int(worker() or 0) if int(port) else 0
    collectors = CollectorRegistry(auto_describe=False)
    collectors.register(_Collector(registry, {"worker": worker()} if worker() else {}))
    try:
        server, thread = start_http_server(int(port) + shift, host.strip("[]"), collectors)
    except OSError as error:
        raise OSError(f"cannot show metrics on {host}:{int(port) + shift}: {error.strerror or error}") from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
