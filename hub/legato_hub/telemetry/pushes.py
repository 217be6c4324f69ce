"""Spans of what goes out on streams."""

from legato.orchestrator.v1 import stream_pb2
from legato_hub.telemetry.interceptors import stream_opened
from legato_hub.telemetry.tracing import tracer


def trace_pushes(messages: list[stream_pb2.ServerMessage]) -> None:
    """A short span for each change that goes out, in the trace of the command that caused it."""
    for message in messages:
        traces = message.delta.traceparents if message.HasField("delta") else ()
        if traces:
            links = (*traces[:-1], *filter(None, (stream_opened(),)))
            with tracer.span("stream.push", "producer", parent=traces[-1], links=links) as span:
                span.set("legato.subscription", message.delta.subscription_id)
                span.set("legato.revision", message.delta.cursor.revision)
