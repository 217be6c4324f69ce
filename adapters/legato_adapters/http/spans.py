"""A client span around each request, if the process has set up OpenTelemetry; otherwise next to nothing.

In process the hub's span is the current one; a remote adapter finds it in the metadata of its call. Nothing of
OpenTelemetry is imported before somebody has set a tracer provider.
"""

import sys
from types import TracebackType
from typing import Any, Self

from legato.tracing import HEADER, traceparent

__all__ = ["RequestSpan"]


class RequestSpan:
    """The span of one request: its template, never its address, and no more than the type of what went wrong."""

    __slots__ = ("_span", "traceparent")

    def __init__(self, method: str, template: str, system: str, host: str, parent: str) -> None:
        self._span: Any = None
        self.traceparent = parent or traceparent()
        api: Any = sys.modules.get("opentelemetry.trace")
        if api is None:
            return
        provider = api.get_tracer_provider()
        if isinstance(provider, api.ProxyTracerProvider | api.NoOpTracerProvider):
            return
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        propagator = TraceContextTextMapPropagator()
        self._span = provider.get_tracer("legato_adapters").start_span(
            f"{method} {template}",
            context=propagator.extract({HEADER: parent}) if parent else None,
            kind=api.SpanKind.CLIENT,
            attributes={
                "http.request.method": method,
                "url.template": template,
                "server.address": host,
                "legato.backend": system,
            },
        )
        carrier: dict[str, str] = {}
        propagator.inject(carrier, api.set_span_in_context(self._span))
        self.traceparent = carrier.get(HEADER, "")

    def answered(self, status: int) -> None:
        if self._span is not None:
            self._span.set_attribute("http.response.status_code", status)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._span is None:
            return
        if error is not None:
            from opentelemetry.trace import StatusCode

            self._span.set_attribute("error.type", type(error).__name__)
            self._span.set_status(StatusCode.ERROR, type(error).__name__)
        self._span.end()
