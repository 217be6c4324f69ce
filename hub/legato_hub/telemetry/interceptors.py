"""Spans around calls: an interceptor for the hub's server and a channel for its calls to adapters.

Names and attributes follow OpenTelemetry's conventions for RPC. What ends a call on grpc.aio 1.85 was learnt by
running it: `abort` and `abort_with_status` leave their code in the context, `set_code` may leave an int, an exception
is sent as the code that was set or UNKNOWN, and a call past its deadline is cancelled with no time remaining.

While tracing is off both are left out: `server_interceptors` is empty and `traced` gives the channel back.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import grpc.aio

from legato_hub.core.traceparent import HEADER
from legato_hub.telemetry.spans import SERVER_ERRORS, Span
from legato_hub.telemetry.tracing import tracer

__all__ = ["server_interceptors", "stream_opened", "traced"]

_T = TypeVar("_T")

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_opened: ContextVar[str] = ContextVar("legato_stream_opened", default="")


def server_interceptors() -> list[grpc.aio.ServerInterceptor]:
    """For `grpc.aio.server`; call it after tracing was configured."""
    return [_ServerInterceptor()] if tracer.enabled else []


def stream_opened() -> str:
    """Inside the handler of a stream: the traceparent of the span that marks its opening, to link to; may be empty."""
    return _opened.get()


def traced(channel: grpc.aio.Channel) -> grpc.aio.Channel:
    """A channel whose unary calls make client spans and carry `traceparent`; call it after tracing was configured."""
    return _TracedChannel(channel) if tracer.enabled else channel


def _traceparent(metadata: Iterable[tuple[str, str | bytes]] | None) -> str:
    return next((value for key, value in metadata or () if key == HEADER and isinstance(value, str)), "")


def _attributes(method: str) -> dict[str, str]:
    return {"rpc.system.name": "grpc", "rpc.method": method}


class _ServerInterceptor(grpc.aio.ServerInterceptor):
    """Unary calls get a span. A stream may last for days: only its opening gets one, short, for others to link to."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method.removeprefix("/")
        # Health checks and reflection are noise, and a method without a handler has none to wrap.
        if handler is None or method.startswith("grpc."):
            return handler
        parent = _traceparent(handler_call_details.invocation_metadata)
        if handler.response_streaming or handler.request_streaming:
            with tracer.span(f"{method} opened", "server", parent=parent, attributes=_attributes(method)) as span:
                _opened.set(span.traceparent)
            return handler
        if not inspect.iscoroutinefunction(handler.unary_unary):
            # What generated code leaves for a method that nobody implemented; grpc runs it in a thread.
            return handler
        return grpc.unary_unary_rpc_method_handler(
            _spanned(handler.unary_unary, method, parent), handler.request_deserializer, handler.response_serializer
        )


def _spanned(inner: Callable[[Any, Any], Awaitable[Any]], method: str, parent: str) -> Any:
    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        with tracer.span(method, "server", parent=parent, attributes=_attributes(method)) as span:
            try:
                response = await inner(request, context)
            except BaseException as error:
                _server_status(span, _raised_code(error, context))
                raise
            _server_status(span, _set_code(context) or grpc.StatusCode.OK)
            return response

    return call


def _set_code(context: grpc.aio.ServicerContext[Any, Any]) -> grpc.StatusCode | None:
    code: Any = context.code()
    return _CODES.get(code, grpc.StatusCode.UNKNOWN) if isinstance(code, int) else code


def _raised_code(error: BaseException, context: grpc.aio.ServicerContext[Any, Any]) -> grpc.StatusCode:
    if isinstance(error, asyncio.CancelledError):
        late = context.time_remaining() == 0
        return grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
    code = _set_code(context)
    return code if code and code is not grpc.StatusCode.OK else grpc.StatusCode.UNKNOWN


def _server_status(span: Span, code: grpc.StatusCode) -> None:
    span.set("rpc.response.status_code", code.name)
    if code.value[0] in SERVER_ERRORS:
        span.fail(code.name)


class _TracedChannel(grpc.aio.Channel):
    """Wraps whatever stands for a channel: one to a server or a LocalChannel, which no interceptor could reach.

    The caller gets the inner call itself, so that cancelling and awaiting it are what they were.
    """

    def __init__(self, inner: grpc.aio.Channel) -> None:
        self._inner = inner

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        start = self._inner.unary_unary(method, *args, **kwargs)
        name = method.removeprefix("/")
        attributes = _attributes(name)

        def call(request: Any, *, metadata: Iterable[tuple[str, str | bytes]] | None = None, **options: Any) -> Any:
            given = tuple(metadata or ())
            span = tracer.span(name, "client", parent=_traceparent(given) if given else "", attributes=attributes)
            sent = (*((key, value) for key, value in given if key != HEADER), (HEADER, span.traceparent))
            if not span.recording:
                return span.run(lambda: start(request, metadata=sent, **options))
            # Current only while the call begins: a LocalChannel's handler inherits it then.
            begun = span.run(lambda: start(request, metadata=sent, **options))
            begun.add_done_callback(lambda ended: _client_status(span, _now(ended.code())))
            return begun

        return call

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._inner.unary_stream(method, *args, **kwargs)

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._inner.stream_unary(method, *args, **kwargs)

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._inner.stream_stream(method, *args, **kwargs)

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._inner.__aexit__(kind, error, traceback)

    async def close(self, grace: float | None = None) -> None:
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._inner.channel_ready()


def _client_status(span: Span, code: grpc.StatusCode) -> None:
    span.set("rpc.response.status_code", code.name)
    if code is not grpc.StatusCode.OK:
        span.fail(code.name)
    span.end()


def _now(finished: Coroutine[Any, Any, _T]) -> _T:
    """The result of a coroutine that has nothing to wait for, in a callback that cannot wait."""
    try:
        finished.send(None)
    except StopIteration as done:
        result: _T = done.value
        return result
    finally:
        finished.close()
    raise RuntimeError("the call is not done")
