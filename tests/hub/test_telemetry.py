"""Spans, trace contexts and logs."""

import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import SpanKind, StatusCode

from legato.orchestrator.v1 import error_pb2
from legato_hub.config import LoggingConfig
from legato_hub.core.problem import Problem, not_found
from legato_hub.core.traceparent import format_traceparent, parse_traceparent
from legato_hub.secret import Secret
from legato_hub.telemetry import logs, tracing
from legato_hub.telemetry.tracing import TracingError, tracer

PARENT = f"00-{'a' * 32}-{'b' * 16}-01"
UNSAMPLED = f"00-{'a' * 32}-{'b' * 16}-00"
OTHER = f"00-{'c' * 32}-{'d' * 16}-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ParentBased(ALWAYS_ON), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with tracing.recording(provider):
        yield exporter


def only(exporter: InMemorySpanExporter) -> ReadableSpan:
    (span,) = exporter.get_finished_spans()
    return span


def position(span: ReadableSpan) -> str:
    where = span.get_span_context()
    assert where is not None
    return format_traceparent(where.trace_id, where.span_id, where.trace_flags)


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 255))
def test_a_trace_context_survives_its_text(trace_id: int, span_id: int, flags: int) -> None:
    assert parse_traceparent(format_traceparent(trace_id, span_id, flags)) == (trace_id, span_id, flags)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        PARENT.upper(),
        PARENT + "-x",
        PARENT + "\n",
        "ff" + PARENT[2:],
        f"00-{'0' * 32}-{'b' * 16}-01",
        f"00-{'a' * 32}-{'0' * 16}-01",
        f"00-{'a' * 31}-{'b' * 16}-01",
    ],
)
def test_what_is_no_trace_context_is_none(text: str) -> None:
    assert parse_traceparent(text) is None


def test_a_newer_version_may_say_more() -> None:
    assert parse_traceparent("01" + PARENT[2:] + "-more") == parse_traceparent(PARENT)


def test_off_is_free_of_spans_and_hands_the_parent_through() -> None:
    assert not tracer.enabled
    with tracer.span("x", parent=PARENT, links=[OTHER]) as span:
        span.set("a", 1)
        span.fail("b")
        assert span.traceparent == PARENT
        assert span.run(lambda: 5) == 5
        assert tracer.current() is None
        assert tracer.current_traceparent() == ""
    with tracer.span("x") as span:
        assert span.traceparent == ""
    span.end()


def test_off_imports_nothing_of_opentelemetry() -> None:
    program = (
        "import sys\n"
        "from legato_hub.telemetry import interceptors, logs, tracing\n"
        "assert tracing.configure() is False\n"
        "assert interceptors.server_interceptors() == []\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={}, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_span_belongs_to_its_parent_and_knows_its_links(spans: InMemorySpanExporter) -> None:
    with tracer.span("push", "producer", parent=PARENT, links=[OTHER, "nonsense"], attributes={"a": 1}) as span:
        span.set("b", "two")
    done = only(spans)
    assert done.name == "push"
    assert done.kind is SpanKind.PRODUCER
    assert dict(done.attributes or {}) == {"a": 1, "b": "two"}
    assert position(done) == span.traceparent
    assert done.parent is not None
    assert format_traceparent(done.parent.trace_id, done.parent.span_id, done.parent.trace_flags) == PARENT
    assert [link.context.trace_id for link in done.links] == [int("c" * 32, 16)]
    assert done.status.status_code is StatusCode.UNSET


def test_spans_nest_in_one_task_and_not_across_tasks(spans: InMemorySpanExporter) -> None:
    async def play() -> None:
        begun = asyncio.Event()

        async def stranger() -> None:
            await begun.wait()
            with tracer.span("stranger"):
                pass

        other = asyncio.create_task(stranger())
        with tracer.span("outer") as outer:
            begun.set()
            await other
            assert tracer.current_traceparent() == outer.traceparent
            with tracer.span("inner") as inner:
                assert tracer.current_traceparent() == inner.traceparent
            assert tracer.current() == (outer.traceparent[3:35], outer.traceparent[36:52])

    asyncio.run(play())
    named = {span.name: span for span in spans.get_finished_spans()}
    assert named["inner"].parent == named["outer"].get_span_context()
    assert named["stranger"].parent is None
    assert named["outer"].parent is None


def test_an_invalid_parent_begins_a_new_trace(spans: InMemorySpanExporter) -> None:
    with tracer.span("outer"), tracer.span("x", parent="nonsense"):
        pass
    assert spans.get_finished_spans()[0].parent is None


def test_a_parent_that_is_not_sampled_records_nothing_but_hands_its_trace_on(spans: InMemorySpanExporter) -> None:
    with tracer.span("x", parent=UNSAMPLED) as span:
        assert span.traceparent.startswith(UNSAMPLED[:35])
        assert span.traceparent.endswith("-00")
        with tracer.span("child"):
            pass
    assert spans.get_finished_spans() == ()


def test_below_what_was_not_sampled_nothing_is_made_and_the_trace_goes_on() -> None:
    asked: list[str] = []

    class Never(Sampler):
        def should_sample(self, parent_context: object, trace_id: int, name: str, *_: object, **__: object) -> Any:
            asked.append(name)
            return SamplingResult(Decision.DROP)

        def get_description(self) -> str:
            return "never"

    with (
        tracing.recording(TracerProvider(sampler=ParentBased(Never()))),
        tracer.span("root") as root,
        tracer.span("child") as child,
        tracer.span("below", parent=child.traceparent),
    ):
        assert tracer.current_traceparent() == root.traceparent == child.traceparent
    assert asked == ["root"]


def test_a_sampler_that_does_not_ask_the_parent_is_asked(spans: InMemorySpanExporter) -> None:
    provider = TracerProvider(sampler=ALWAYS_ON)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    with tracing.recording(provider), tracer.span("seen", parent=f"00-{1:032x}-{2:016x}-00"):
        pass
    assert [span.name for span in spans.get_finished_spans()] == ["seen"]


def test_run_makes_it_current_and_end_ends_it(spans: InMemorySpanExporter) -> None:
    span = tracer.span("x")
    assert span.run(tracer.current_traceparent) == span.traceparent
    assert tracer.current_traceparent() == ""
    assert spans.get_finished_spans() == ()
    span.end()
    assert only(spans).name == "x"


@pytest.mark.parametrize(
    ("error", "status", "attributes"),
    [
        (not_found("carts/1"), StatusCode.UNSET, {"legato.reason": "NOT_FOUND"}),
        (
            Problem(error_pb2.ERROR_REASON_BACKEND_UNAVAILABLE, "down"),
            StatusCode.ERROR,
            {"legato.reason": "BACKEND_UNAVAILABLE"},
        ),
        (asyncio.CancelledError(), StatusCode.UNSET, {}),
        (grpc.aio.AbortError(), StatusCode.UNSET, {}),
        (ValueError("anna@shop.example"), StatusCode.ERROR, {"error.type": "ValueError"}),
    ],
)
def test_an_exception_marks_the_span_and_passes(
    spans: InMemorySpanExporter, error: BaseException, status: StatusCode, attributes: dict[str, str]
) -> None:
    with pytest.raises(type(error)), tracer.span("x"):
        raise error
    done = only(spans)
    assert done.status.status_code is status
    assert dict(done.attributes or {}) == attributes
    assert "anna@" not in done.to_json()


def test_recording_ends_with_its_block(spans: InMemorySpanExporter) -> None:
    with tracing.recording(TracerProvider(shutdown_on_exit=False)), tracer.span("elsewhere"):
        pass
    assert tracer.enabled
    assert spans.get_finished_spans() == ()


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER: there is no exporter 'zipkin'"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "only grpc is supported"),
    ],
)
def test_impossible_wishes_are_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], problem: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TracingError, match=problem):
        tracing.configure()
    assert not tracer.enabled


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"},
        {"OTEL_SERVICE_NAME": "hub"},
    ],
)
def test_it_stays_off_unless_asked_for(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert tracing.configure() is False
    assert not tracer.enabled


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.grpc.trace_exporter", None)
    with pytest.raises(TracingError, match=r"pip install 'legato\[otlp\]'"):
        tracing.configure()


async def test_spans_reach_a_collector_named_by_the_environment() -> None:
    received: list[trace_service_pb2.ExportTraceServiceRequest] = []

    class Collector(trace_service_pb2_grpc.TraceServiceServicer):
        async def Export(self, request, context):  # type: ignore[no-untyped-def]  # its stubs are untyped
            received.append(request)
            return trace_service_pb2.ExportTraceServiceResponse()

    server = grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Collector(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    program = (
        "from legato_hub.telemetry import tracing\n"
        "assert tracing.configure()\n"
        "with tracing.tracer.span('exported'): pass\n"
        "tracing.shutdown()\n"
        "assert not tracing.tracer.enabled\n"
    )
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_RESOURCE_ATTRIBUTES": "zone=b"}
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, env=environ)
    assert await process.wait() == 0
    await server.stop(None)
    (exported,) = received[0].resource_spans
    resource = {attribute.key: attribute.value.string_value for attribute in exported.resource.attributes}
    assert resource["service.name"] == "legato-hub"
    assert resource["zone"] == "b"
    assert [span.name for scope in exported.scope_spans for span in scope.spans] == ["exported"]


@pytest.fixture
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    yield
    root.handlers[:], root.level = handlers, level


@pytest.mark.usefixtures("root_logger")
def test_json_logs_are_one_object_a_line_with_the_trace(spans: InMemorySpanExporter) -> None:
    stream = io.StringIO()
    logs.configure(LoggingConfig(format="json"), stream)
    log = logging.getLogger("legato_hub.test")
    log.debug("below the level")
    with tracer.span("x") as span:
        log.info("two\nlines of %s", "text", extra={"resource": "carts/1", "secret_thing": Secret("s3cret")})
    log.warning("no trace", extra={"time": "ours stays"})
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "info",
        "logger": "legato_hub.test",
        "message": "two\nlines of text",
        "trace_id": span.traceparent[3:35],
        "span_id": span.traceparent[36:52],
        "resource": "carts/1",
        "secret_thing": "********",
    }
    assert "trace_id" not in second
    assert second["time"] != "ours stays"


@pytest.mark.usefixtures("root_logger")
@pytest.mark.parametrize("config", [LoggingConfig(format="json"), LoggingConfig(format="text")])
def test_personal_data_and_tokens_are_masked_and_exceptions_told_without_their_texts(config: LoggingConfig) -> None:
    stream = io.StringIO()
    logs.configure(config, stream)
    who = "bob@shop.example"
    try:
        raise ValueError(f"no such customer: {who}")
    except ValueError:
        logging.getLogger("a").exception(
            "failed", extra={"email": "anna@shop.example", "token": "a.b.c", "revision": 7}
        )
    text = stream.getvalue()
    assert "shop.example" not in text
    assert "a.b.c" not in text
    assert "********" in text
    assert "ValueError" in text
    assert "test_telemetry.py" in text
    assert "failed" in text
    assert "revision" in text


@pytest.mark.usefixtures("root_logger")
def test_text_logs_read_well() -> None:
    stream = io.StringIO()
    logs.configure(LoggingConfig(level="debug", format="text"), stream)
    logging.getLogger("legato_hub").debug("listening", extra={"port": 5})
    assert stream.getvalue().endswith("Z DEBUG   legato_hub: listening port=5\n")
