"""Traces, if the application has set up OpenTelemetry; otherwise next to nothing.

Nothing is imported and nothing recorded until the application has set a tracer provider of its own. Then a command
gets a span whose trace context travels with it, what the hub pushes gets a short span in the trace of the command
that caused it, and `interceptors()` / `aio_interceptors()` let callers of generated stubs take part:

    rpc_channel = grpc.intercept_channel(grpc.insecure_channel(target), *legato.tracing.interceptors())
"""

import contextlib
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from legato.errors import Conflict, LegatoError, Rejected, reason_name
from legato.orchestrator.v1.stream_pb2 import ServerMessage

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.context import Context

HEADER = "traceparent"
"""Metadata key of the W3C trace context."""

_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_OFF = contextlib.nullcontext("")


def command(intent: str, resource: str) -> AbstractContextManager[str]:
    """A span around a command; gives the `traceparent` to send with it, empty while tracing is off."""
    tracer = _tracer()
    return _OFF if tracer is None else _command(tracer, intent, resource)


def received(messages: Sequence[ServerMessage]) -> AbstractContextManager[str]:
    """Spans around the application of what the hub pushed, each in the trace of the newest command behind it."""
    tracer = _tracer()
    return _OFF if tracer is None else _received(tracer, messages)


def traceparent() -> str:
    """The trace context of the current span; empty while there is none."""
    if _tracer() is None:
        return ""
    from opentelemetry import trace

    return _format(trace.get_current_span())


def metadata() -> tuple[tuple[str, str], ...]:
    """The current trace context as metadata of a call."""
    current = traceparent()
    return ((HEADER, current),) if current else ()


def interceptors() -> tuple[grpc.UnaryUnaryClientInterceptor]:
    """For `grpc.intercept_channel`: unary calls carry the current trace context."""
    return (_Interceptor(),)


def aio_interceptors() -> tuple[grpc.aio.UnaryUnaryClientInterceptor]:
    """For `grpc.aio.insecure_channel(..., interceptors=...)`: unary calls carry the current trace context."""
    return (_AioInterceptor(),)


_known: "tuple[Any, trace.Tracer] | None" = None


def _tracer() -> "trace.Tracer | None":
    """The application's tracer. One that was set has been imported by whoever set it."""
    global _known  # noqa: PLW0603  # asking the same provider for a tracer costs more than the span
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return None
    provider = api.get_tracer_provider()
    if isinstance(provider, api.ProxyTracerProvider | api.NoOpTracerProvider):
        return None
    if _known is None or _known[0] is not provider:
        _known = (provider, provider.get_tracer("legato"))
    return _known[1]


@contextlib.contextmanager
def _command(tracer: "trace.Tracer", intent: str, resource: str) -> Iterator[str]:
    from opentelemetry import trace

    attributes = {"legato.intent": intent, "legato.resource": resource}
    with tracer.start_as_current_span(
        f"legato {intent}",
        kind=trace.SpanKind.CLIENT,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield _format(span)
        except LegatoError as error:
            reason = reason_name(error.reason)
            span.set_attribute("legato.reason", reason)
            if not isinstance(error, Rejected | Conflict):
                span.set_status(trace.StatusCode.ERROR, reason)
            raise


@contextlib.contextmanager
def _received(tracer: "trace.Tracer", messages: Sequence[ServerMessage]) -> Iterator[str]:
    from opentelemetry import trace

    spans = []
    for message in messages:
        kind = message.WhichOneof("message")
        if kind not in ("delta", "snapshot"):
            continue
        content = getattr(message, kind)
        contexts = [where for where in map(_parse, content.traceparents) if where is not None]
        if contexts:
            attributes = {"legato.subscription": content.subscription_id, "legato.revision": content.cursor.revision}
            span = tracer.start_span(
                f"legato receive {kind}",
                context=_below(contexts[-1]),
                kind=trace.SpanKind.CONSUMER,
                links=[trace.Link(where) for where in contexts[:-1]],
                attributes=attributes,
            )
            spans.append(span)
    try:
        yield ""
    finally:
        for span in spans:
            span.end()


def _format(span: "trace.Span") -> str:
    where = span.get_span_context()
    return f"00-{where.trace_id:032x}-{where.span_id:016x}-{where.trace_flags:02x}" if where.is_valid else ""


def _parse(text: str) -> "trace.SpanContext | None":
    from opentelemetry import trace

    match = _TRACEPARENT.fullmatch(text)
    if match is None:
        return None
    flags = trace.TraceFlags(int(match[3], 16))
    return trace.SpanContext(int(match[1], 16), int(match[2], 16), is_remote=True, trace_flags=flags)


def _below(where: "trace.SpanContext") -> "Context":
    from opentelemetry import trace
    from opentelemetry.context import Context

    return trace.set_span_in_context(trace.NonRecordingSpan(where), Context())


class _Interceptor(grpc.UnaryUnaryClientInterceptor):
    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        present = client_call_details.metadata or ()
        return continuation(client_call_details._replace(metadata=(*present, *metadata())), request)


class _AioInterceptor(grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        present = client_call_details.metadata or ()
        both = grpc.aio.Metadata(*present, *metadata())
        return await continuation(client_call_details._replace(metadata=both), request)
