"""Metrics: what moves them, how they are shown, and that the documents name those that there are."""

import inspect
import json
import re
import socket
import threading
import urllib.request
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from legato.commerce.v1 import cart_intent_pb2, quantity_pb2
from legato.orchestrator.v1 import command_pb2
from legato.protocol.ids import new_id
from legato_hub.storage.base import Storage
from legato_hub.telemetry import metrics
from legato_hub.telemetry.environment import TelemetryError
from legato_hub.telemetry.exposition import exposed, prometheus_name
from legato_hub.telemetry.instruments import Counter, Distribution, Doubling, Gauge, Histogram, Registry
from legato_hub.telemetry.measured import OPERATIONS
from legato_hub.telemetry.metrics import registry
from legato_hub.telemetry.otlp import exported
from legato_hub.telemetry.readings import process_readings
from tests.support import wayward
from tests.support.hub import hub_config, running_hub
from tests.support.shop import SKU
from tests.support.stream import Stream

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
SERIES = {prometheus_name(i) + suffix for i in metrics.ALL for suffix in SUFFIXES[i.kind]}

Scraped = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(port: int) -> Scraped:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def port() -> Iterator[int]:
    with exposed(registry, "127.0.0.1:0") as port, registry.source(process_readings):
        yield port


def moved(before: Scraped, after: Scraped, name: str, **labels: str) -> float:
    key = name, tuple(sorted(labels.items()))
    return after.get(key, 0) - before.get(key, 0)


def one_more() -> cart_intent_pb2.AddLine:
    return cart_intent_pb2.AddLine(sku=SKU, quantity=quantity_pb2.Quantity(steps=1))


async def test_what_a_hub_does_moves_its_metrics(tmp_path: Path, port: int) -> None:
    before = scrape(port)
    async with running_hub(hub_config(tmp_path)) as hub:
        shopper = await hub.shopper()
        async with Stream(hub, shopper.token) as phone, Stream(hub, shopper.token, channel="pos") as till:
            cart = await phone.create_cart()
            await till.subscribe(cart)
            result = await phone.command(cart, add_line=one_more())
            await till.until_revision(result.cursor.revision)
            line = cart_intent_pb2.AddLine(sku="no such thing", quantity=quantity_pb2.Quantity(steps=1))
            assert (await phone.command(cart, add_line=line)).outcome == command_pb2.OUTCOME_REJECTED
            after = scrape(port)
    gone = scrape(port)
    applied = {"resource": "carts", "outcome": "applied", "reason": ""}
    assert moved(before, after, "legato_commands_total", **applied) == 2
    rejected = {"resource": "carts", "outcome": "rejected", "reason": "unknown_sku"}
    assert moved(before, after, "legato_commands_total", **rejected) == 1
    assert moved(before, after, "legato_command_duration_seconds_count", outcome="applied") == 2
    assert moved(before, after, "legato_streams") == 2
    assert moved(before, after, "legato_subscriptions") == 1
    assert moved(before, after, "legato_resources") >= 2
    assert moved(before, after, "legato_snapshots_total", reason="initial") == 1
    assert moved(before, after, "legato_fanout_duration_seconds_count") >= 1
    assert moved(before, after, "legato_message_revisions_sum") >= 1
    assert moved(before, after, "legato_sent_bytes_total") > 100
    call = {"backend": "reference", "method": "ApplyCommand", "code": "OK"}
    assert moved(before, after, "legato_adapter_call_duration_seconds_count", **call) == 3
    for operation in ("begin", "commit"):
        done = {"operation": operation, "outcome": "ok"}
        assert moved(before, after, "legato_storage_operation_duration_seconds_count", **done) >= 3
    assert after[("legato_ready", ())] == 1
    assert after[("legato_draining", ())] == 0
    assert after[("legato_adapter_ready", (("backend", "reference"),))] == 1
    assert after[("legato_build_info", (("contract", "1.1"), ("storage", "sqlite"), ("version", "0.1.0")))] == 1
    assert after[("process_memory_usage_bytes", ())] > 10_000_000
    assert after[("process_cpu_time_seconds_total", (("mode", "user"),))] > 0
    assert ("legato_streams", ()) not in gone
    assert {name for name, _ in after} <= SERIES


async def test_failures_of_backends_and_resolutions_are_told_apart(tmp_path: Path, port: int) -> None:
    async def crash(request: Any, context: Any) -> Any:
        raise RuntimeError("no")

    backends = {"wayward": wayward.backend(str(tmp_path / "ledger"), "MARKED")}
    before = scrape(port)
    async with running_hub(hub_config(tmp_path, backends=backends, cart="wayward")) as hub:
        shopper = await hub.shopper()
        async with Stream(hub, shopper.token) as phone:
            cart = await phone.create_cart()
            wayward.of(hub).instead["ApplyCommand"] = crash
            command = command_pb2.Command(command_id=new_id(), resource=cart, seq=2)
            command.timeout.FromMilliseconds(300)
            command.cart.add_line.CopyFrom(one_more())
            assert (await phone.execute(command)).outcome == command_pb2.OUTCOME_UNKNOWN
            after = scrape(port)
    call = {"backend": "wayward", "method": "ApplyCommand", "code": "UNKNOWN"}
    assert moved(before, after, "legato_adapter_call_duration_seconds_count", **call) >= 1
    assert moved(before, after, "legato_slots_resolutions_total", result="not_applied") >= 1


def test_every_operation_of_a_storage_is_measured() -> None:
    asynchronous = {name for name, member in vars(Storage).items() if inspect.iscoroutinefunction(member)}
    assert set(OPERATIONS) == asynchronous - {"open", "close"}


def test_no_label_can_grow_without_bound() -> None:
    """Every label is one of these, whose values configuration and code know."""
    known = {"backend", "method", "code", "operation", "outcome", "reason", "resource", "result", "role", "mode"}
    known |= {"version", "contract", "storage"}
    assert {label for instrument in metrics.ALL for label in instrument.labels} <= known
    result = command_pb2.CommandResult(resource="made up by a caller/1", outcome=command_pb2.OUTCOME_REJECTED)
    metrics.command_answered(result, 0.1)
    points = dict(registry.collect())[metrics.COMMANDS]
    assert {labels[0] for labels in points} <= {"carts", "sessions", "other"}


def test_names_are_distinct_and_follow_conventions() -> None:
    names = [instrument.name for instrument in metrics.ALL]
    assert len(set(names)) == len(names)
    for instrument in metrics.ALL:
        assert re.fullmatch(r"(legato|process)(\.[a-z_]+)+", instrument.name)
        assert re.fullmatch(r"s|By|1||\{[a-z_]+\}", instrument.unit), instrument.name
        assert instrument.meaning.endswith(".")


def test_a_doubling_histogram_counts_by_powers_of_two() -> None:
    made = Doubling("a.b", "1", "x.", bits=(1, 3), scale=10)
    for number in (0, 1, 2, 3, 4, 7, 8, 100):
        made.counts[number.bit_length()] += 1
        made.sum += number
    assert made.points() == {(): Distribution((10, 30, 70), (2, 2, 2, 2), 1250)}


def test_a_histogram_counts_a_bound_with_what_is_below_it() -> None:
    made = Histogram("a.b", "s", "x.", "k", bounds=(1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.5):
        made.record(value, "v")
    assert made.points() == {("v",): Distribution((1.0, 2.0), (2, 1, 1), 5.5)}


def test_sources_add_up_and_the_worst_of_them_is_told() -> None:
    total, worst = Gauge("a.b", "1", "x."), Gauge("a.c", "1", "x.", worst=True)
    both = Registry(total, worst)
    with both.source(lambda: [(total, (), 2), (worst, (), 2)]), both.source(lambda: [(total, (), 3), (worst, (), 3)]):
        assert dict(both.collect()) == {total: {(): 5}, worst: {(): 3}}
    assert dict(both.collect()) == {total: {}, worst: {}}


def test_workers_listen_side_by_side_and_say_who_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counter("a.b", "{x}", "x.")
    counted.add()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        base = probe.getsockname()[1]
    monkeypatch.setenv("LEGATO_WORKER", "2")
    with exposed(Registry(counted), f"127.0.0.1:{base}") as port:
        assert port == base + 2
        assert scrape(port) == {("a_b_total", (("worker", "2"),)): 1}


def test_a_taken_address_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(OSError, match=f"cannot show metrics on 127.0.0.1:{port}"),
            exposed(registry, f"127.0.0.1:{port}"),
        ):
            pass


def test_without_an_address_nothing_listens() -> None:
    before = threading.active_count()
    with exposed(registry, "") as port:
        assert port == 0
        assert threading.active_count() == before


class Collector(metrics_service_pb2_grpc.MetricsServiceServicer):
    def __init__(self) -> None:
        self.got: list[metrics_service_pb2.ExportMetricsServiceRequest] = []

    def Export(self, request: Any, context: Any) -> metrics_service_pb2.ExportMetricsServiceResponse:
        self.got.append(request)
        return metrics_service_pb2.ExportMetricsServiceResponse()


def test_metrics_reach_a_collector_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    collector = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("LEGATO_WORKER", "3")
    counted, timed = Counter("legato.x", "{x}", "X.", "kind"), Histogram("legato.y", "s", "Y.", bounds=(1.0,))
    gauged = Gauge("legato.z", "1", "Z.")
    own = Registry(counted, timed, gauged)
    with exported(own), own.source(lambda: [(gauged, (), 4)]):
        counted.add("a", by=2)
        timed.record(0.5)
        timed.record(3.0)
    server.stop(None).wait()
    (resource_metrics,) = collector.got[-1].resource_metrics
    attributes = {a.key: a.value.string_value for a in resource_metrics.resource.attributes}
    assert attributes["service.name"] == "legato-hub"
    assert attributes["legato.worker"] == "3"
    assert len(attributes["service.instance.id"]) == 36
    found = {metric.name: metric for scope in resource_metrics.scope_metrics for metric in scope.metrics}
    (point,) = found["legato.x"].sum.data_points
    assert found["legato.x"].sum.is_monotonic
    assert (point.as_int, point.attributes[0].value.string_value) == (2, "a")
    (histogram,) = found["legato.y"].histogram.data_points
    assert (list(histogram.bucket_counts), list(histogram.explicit_bounds)) == ([1, 1], [1.0])
    assert (histogram.count, histogram.sum, histogram.HasField("max")) == (2, 3.5, False)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"OTEL_METRICS_EXPORTER": "prometheus"}, r"\[metrics\] listen"),
        ({"OTEL_METRICS_EXPORTER": "otlp", "OTEL_METRIC_EXPORT_INTERVAL": "soon"}, "must be milliseconds"),
        ({"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "only grpc"),
    ],
)
def test_impossible_wishes_are_refused(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TelemetryError, match=said), exported(Registry()):
        pass


# The documents


def named(expression: str) -> set[str]:
    """The metrics in a PromQL expression."""
    return set(re.findall(r"\b(?:legato|process)_[a-z_]+\b", expression))


def test_the_table_in_the_documents_is_the_list_in_the_code() -> None:
    text = (ROOT / "docs/observability.md").read_text("utf-8")
    rows = re.findall(r"^\| `((?:legato|process)_[a-z_]+)` \| (\w+) \| ([^|]*) \| (.*) \|$", text, re.MULTILINE)
    wanted = [
        (prometheus_name(i), i.kind, ", ".join(f"`{label}`" for label in i.labels), i.meaning) for i in metrics.ALL
    ]
    assert rows == wanted


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    dashboard = json.loads((ROOT / "deploy/grafana/legato.json").read_text("utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert len(queries) > 15
    for query in queries:
        assert named(query), query
        assert named(query) <= SERIES, query
    boxes = [panel["gridPos"] for panel in dashboard["panels"]]
    assert len({(box["x"], box["y"]) for box in boxes}) == len(boxes)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(boxes)


def heading_anchors(text: str) -> set[str]:
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_every_alert_asks_for_metrics_that_there_are_and_leads_to_the_runbook() -> None:
    groups = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text("utf-8"))["groups"]
    anchors = heading_anchors((ROOT / "docs/runbook.md").read_text("utf-8"))
    alerts = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in alerts}) == len(alerts) > 8
    for rule in alerts:
        assert named(rule["expr"]), rule["alert"]
        assert named(rule["expr"]) <= SERIES, rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket")
        path, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert path == "docs/runbook.md"
        assert anchor in anchors, rule["alert"]
        assert rule["annotations"]["summary"]


def test_the_runbook_names_metrics_that_there_are() -> None:
    text = (ROOT / "docs/runbook.md").read_text("utf-8")
    assert named(text)
    assert named(text) <= SERIES | {prometheus_name(i) for i in metrics.ALL}
