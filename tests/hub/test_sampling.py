"""Whether a trace is recorded is decided before anything of it is made."""

from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    Decision,
    ParentBased,
    ParentBasedTraceIdRatio,
    Sampler,
    SamplingResult,
)

from legato_hub.telemetry import tracing
from legato_hub.telemetry.tracing import tracer


class OddIds(Sampler):
    """Decides about roots by their trace ids, and knows about which it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def should_sample(self, parent_context: Any, trace_id: int, *_: Any, **__: Any) -> SamplingResult:
        self.asked.append(trace_id)
        return SamplingResult(Decision.RECORD_AND_SAMPLE if trace_id & 1 else Decision.DROP)

    def get_description(self) -> str:
        return "odd ids"


def test_a_root_is_decided_about_with_the_id_that_it_gets() -> None:
    exporter, sampler = InMemorySpanExporter(), OddIds()
    provider = TracerProvider(sampler=ParentBased(sampler), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with tracing.recording(provider):
        made: list[str] = []
        for _ in range(40):
            with tracer.span("root", "server") as span:
                made.append(span.traceparent)
                odd = int(span.traceparent[34], 16) % 2 == 1
                assert span.recording == tracer.recording() == odd
                assert tracer.current() == (span.traceparent[3:35], span.traceparent[36:52])
                with tracer.span("below") as below:
                    assert below.traceparent[3:35] == span.traceparent[3:35]
                    assert below.recording == span.recording
            assert tracer.current() is None
    # The SDK asks once more about what is recorded: about the same id.
    assert [f"{trace_id:032x}" for trace_id in dict.fromkeys(sampler.asked)] == [text[3:35] for text in made]
    recorded = {f"{span.context.trace_id:032x}" for span in exporter.get_finished_spans()}
    assert recorded == {text[3:35] for text in made if text.endswith(("01", "03"))}


def test_a_share_of_all_traces_is_the_samplers_own_choice() -> None:
    sampler = ParentBasedTraceIdRatio(0.3)
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    texts = []
    with tracing.recording(provider):
        for _ in range(300):
            with tracer.span("root") as span:
                texts.append(span.traceparent)
    wanted = {
        text[3:35]
        for text in texts
        if sampler.should_sample(None, int(text[3:35], 16), "root").decision is Decision.RECORD_AND_SAMPLE
    }
    assert {f"{span.context.trace_id:032x}" for span in exporter.get_finished_spans()} == wanted
    assert 30 < len(wanted) < 200


def test_an_unsampled_root_makes_no_span_of_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = TracerProvider(sampler=ParentBased(ALWAYS_OFF), shutdown_on_exit=False)
    with tracing.recording(provider):

        def never(*_: Any, **__: Any) -> Any:
            raise AssertionError("a span was begun")

        monkeypatch.setattr(tracer._api, "start", never)
        with tracer.span("root") as root, tracer.span("below") as below:
            assert root.traceparent.endswith("-00")
            assert below.traceparent == root.traceparent
            # A library in this process that makes spans of its own learns that nobody wants them.
            from opentelemetry import trace

            current = trace.get_current_span().get_span_context()
            assert (f"{current.trace_id:032x}", current.trace_flags.sampled) == (root.traceparent[3:35], False)
