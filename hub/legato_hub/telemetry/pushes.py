"""Spans of what goes out on streams."""

from collections.abc import Iterable

from legato_hub.core.outbox import Pushed
from legato_hub.telemetry.tracing import tracer


def trace_pushes(pushed: Iterable[Pushed], opened: str) -> None:
    """A short span for each change that goes out, in the trace of the command that caused it.

    `opened` is the traceparent of the span that marks the stream's opening; may be empty.
    """
    for subscription_id, revision, traces in pushed:
        if not tracer.takes(traces[-1]):
            continue
        links = (*traces[:-1], *filter(None, (opened,)))
        with tracer.span("stream.push", "producer", parent=traces[-1], links=links) as span:
            span.set("legato.subscription", subscription_id)
            span.set("legato.revision", revision)
