"""Spans, off by default and then nearly free.

    with tracer.span("pipeline.commit", parent=command.traceparent) as span:
        ...
        update = Update(..., traceparent=span.traceparent)

While tracing is off a span does nothing, and its `traceparent` is the parent's, so that a trace goes through a hub
that does not take part in it. Hot paths ask `tracer.enabled` before they build attributes.

The standard variables turn tracing on: OTEL_TRACES_EXPORTER (otlp, console, none), or OTEL_EXPORTER_OTLP_ENDPOINT.
The SDK reads the others itself: OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER, OTEL_BSP_*,
OTEL_EXPORTER_OTLP_*. Nothing of OpenTelemetry is imported before.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from legato_hub.core.traceparent import format_traceparent, parse_traceparent, sampled
from legato_hub.telemetry.decided_ids import DecidedIds
from legato_hub.telemetry.environment import TelemetryError, exporters, resource
from legato_hub.telemetry.spans import NO_SPAN, Kind, NoSpan, RealSpan, Span, Unsampled

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.trace import SpanContext

__all__ = ["Kind", "Span", "TracingError", "configure", "install", "recording", "shutdown", "tracer"]

Attributes = Mapping[str, str | int | float | bool]


class TracingError(TelemetryError):
    """The environment asks for tracing that is not possible here."""


class _Api:
    """What is needed of OpenTelemetry, looked up once."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry import context, trace
        from opentelemetry.sdk.trace import Tracer as SdkTracer
        from opentelemetry.sdk.trace.sampling import Decision, ParentBased, TraceIdRatioBased

        self.attach, self.detach = context.attach, context.detach
        self.set_span_in_context, self.current = trace.set_span_in_context, trace.get_current_span
        self.error = trace.StatusCode.ERROR
        self.kinds: dict[str, trace.SpanKind] = {kind.name.lower(): kind for kind in trace.SpanKind}
        self.provider = provider
        self._trace, self._empty = trace, context.Context()
        self._sampler, self._drop = provider.sampler, Decision.DROP
        # Then what is not sampled at its root needs no span of the SDK at all, and most is not.
        self._parent_decides = isinstance(provider.sampler, ParentBased)
        # The commonest sampler's rule, which costs a comparison here and 2 µs when it is asked itself.
        root = getattr(provider.sampler, "_root", None)
        self._bound = root.bound if isinstance(root, TraceIdRatioBased) else 1 << 64
        self._limit = TraceIdRatioBased.TRACE_ID_LIMIT
        made = provider.get_tracer("legato_hub")
        self._ids = DecidedIds(provider.id_generator)
        if isinstance(made, SdkTracer):
            made.id_generator = cast("IdGenerator", self._ids)
        self.start = made.start_span

        class Passing(trace.NonRecordingSpan):
            """A position in a trace that is not recorded. Its SpanContext is dear, and made for those who ask."""

            def __init__(self, trace_id: int, span_id: int, traceparent: str) -> None:
                self.traceparent = traceparent
                self._ids = trace_id, span_id

            def get_span_context(self) -> "SpanContext":
                return trace.SpanContext(*self._ids, is_remote=False)

            def __repr__(self) -> str:
                return f"Passing({self.traceparent})"

        self._passing = Passing

    def unsampled(self, name: str, kind: Kind, parent: str, attributes: Attributes | None) -> "Span | None":
        """A span that nobody will see, under what is not sampled or as a root that is not; None if it must be real.

        A root is sampled or not by the id that its trace is to have, before anything is made of it.
        """
        if not self._parent_decides:
            return None
        if parent:
            found = parse_traceparent(parent)
            if found is not None:
                return None if found.flags & 1 else Unsampled(self, found.trace_id, found.span_id)
        else:
            current = self.current()
            if type(current) is self._passing:
                return NoSpan(current.traceparent)
            where = current.get_span_context()
            if where.is_valid:
                if where.trace_flags.sampled:
                    return None
                return NoSpan(format_traceparent(where.trace_id, where.span_id, where.trace_flags))
        trace_id = self._ids.decide()
        if trace_id & self._limit < self._bound:
            result = self._sampler.should_sample(self._empty, trace_id, name, self.kinds[kind], attributes)
            if result.decision is not self._drop:
                return None
        self._ids.forget()
        return Unsampled(self, trace_id, self._ids.generate_span_id())

    def takes(self, parent: str) -> bool:
        """See `Tracer`."""
        return not self._parent_decides or sampled(parent)

    def passing(self, trace_id: int, span_id: int, traceparent: str) -> "Context":
        """A context in which a position is current that is not recorded."""
        return self.set_span_in_context(self._passing(trace_id, span_id, traceparent))

    def recording(self) -> bool:
        """Whether the current span is recorded."""
        current = self.current()
        return type(current) is not self._passing and current.get_span_context().trace_flags.sampled

    def remote(self, traceparent: str) -> Any:
        """The span context that a text describes; None if it describes none."""
        parsed = parse_traceparent(traceparent)
        if parsed is None:
            return None
        return self._trace.SpanContext(
            parsed.trace_id, parsed.span_id, is_remote=True, trace_flags=self._trace.TraceFlags(parsed.flags)
        )

    def below(self, traceparent: str) -> "Context":
        """A context in which the text's position is current; for an invalid text none is, and a new trace begins."""
        where = self.remote(traceparent)
        if where is None:
            return self._empty
        return self.set_span_in_context(self._trace.NonRecordingSpan(where), self._empty)

    def link(self, traceparent: str) -> Any:
        return (where := self.remote(traceparent)) and self._trace.Link(where)


class Tracer:
    """Makes spans. `enabled` is false until `configure` or `install`."""

    def __init__(self) -> None:
        self.enabled = False
        self._api: _Api | None = None

    def span(
        self,
        name: str,
        kind: Kind = "internal",
        *,
        parent: str = "",
        links: Iterable[str] = (),
        attributes: Attributes | None = None,
    ) -> Span:
        """A span under `parent` (a traceparent), or under the current span if there is none, linked to others."""
        api = self._api
        if api is None:
            return NoSpan(parent) if parent else NO_SPAN
        if (passing := api.unsampled(name, kind, parent, attributes)) is not None:
            return passing
        return RealSpan(
            api,
            api.start(
                name,
                api.below(parent) if parent else None,
                api.kinds[kind],
                attributes,
                [link for text in links if (link := api.link(text))],
            ),
        )

    def takes(self, parent: str) -> bool:
        """Whether a span under `parent`, a valid traceparent, could be recorded."""
        return self._api is not None and self._api.takes(parent)

    def recording(self) -> bool:
        """Whether there is a current span, and it is recorded."""
        return self._api is not None and self._api.recording()

    def current(self) -> tuple[str, str] | None:
        """Trace id and span id of the current span, as hexadecimal text."""
        if self._api is None:
            return None
        where = self._api.current().get_span_context()
        return (f"{where.trace_id:032x}", f"{where.span_id:016x}") if where.is_valid else None

    def current_traceparent(self) -> str:
        """Trace context of the current span; empty if there is none."""
        if self._api is None:
            return ""
        where = self._api.current().get_span_context()
        return format_traceparent(where.trace_id, where.span_id, where.trace_flags) if where.is_valid else ""

    def _use(self, api: _Api | None) -> _Api | None:
        former, self._api = self._api, api
        self.enabled = api is not None
        return former


tracer = Tracer()
"""The hub's one tracer."""


def configure() -> bool:
    """Turn tracing on if the environment asks for it; whether it did. Raise TracingError if it cannot be."""
    try:
        wanted = exporters("TRACES")
    except TelemetryError as error:
        raise TracingError(str(error)) from None
    if not wanted:
        return False
    try:
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

        made: list[SpanExporter] = []
        for name in wanted:
            if name == "console":
                made.append(ConsoleSpanExporter())
            else:
                from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

                made.append(OTLPSpanExporter())
    except ImportError as error:
        raise TracingError(f"tracing needs the extra `otlp`: pip install 'legato[otlp]' ({error})") from error
    provider = TracerProvider(resource=resource())
    for exporter in made:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    # Adapters in this process that make spans of their own use the global provider.
    trace.set_tracer_provider(provider)
    install(provider)
    return True


def install(provider: "TracerProvider") -> None:
    """Turn tracing on with a provider made elsewhere."""
    tracer._use(_Api(provider))


@contextmanager
def recording(provider: "TracerProvider") -> Iterator[None]:
    """Tracing is on inside, and as it was outside."""
    former = tracer._use(_Api(provider))
    try:
        yield
    finally:
        tracer._use(former)


def shutdown() -> None:
    """Turn tracing off and export what is pending; may take seconds, so call it in a thread."""
    former = tracer._use(None)
    if former is not None:
        former.provider.shutdown()
