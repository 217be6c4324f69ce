"""What `tracer.span` gives: a span that is recorded, one that is not, or nothing at all behind the same face."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypeVar

from grpc.aio import AbortError

from legato.orchestrator.v1 import error_pb2
from legato_hub.core.problem import Problem
from legato_hub.core.traceparent import format_traceparent

if TYPE_CHECKING:
    from legato_hub.telemetry.tracing import _Api

_T = TypeVar("_T")

Kind = Literal["internal", "server", "client", "producer", "consumer"]

SERVER_ERRORS = frozenset({2, 4, 12, 13, 14, 15})
"""Codes that are the callee's fault: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS."""


class Span(Protocol):
    """Something that takes time. Enter and leave it in one task; in between it is the current span."""

    @property
    def traceparent(self) -> str:
        """W3C trace context of this span, for what it causes; may be empty."""

    @property
    def recording(self) -> bool:
        """Whether anything that is told to it is kept: ask before building what is only for it."""

    def set(self, key: str, value: str | int | float | bool) -> None:
        """Add an attribute; never personal data or a secret."""

    def fail(self, description: str) -> None:
        """Mark it as failed; the description never holds personal data or a secret."""

    def run(self, function: Callable[[], _T]) -> _T:
        """Call a function while this is the current span."""

    def end(self) -> None:
        """End a span that is not used in a `with`."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it. An exception that passes makes it failed, unless it is a refusal that is the caller's fault."""


class NoSpan:
    __slots__ = ("traceparent",)
    recording = False

    def __init__(self, traceparent: str) -> None:
        self.traceparent = traceparent

    def set(self, key: str, value: str | int | float | bool) -> None:
        pass

    def fail(self, description: str) -> None:
        pass

    def run(self, function: Callable[[], _T]) -> _T:
        return function()

    def end(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


NO_SPAN = NoSpan("")


class Unsampled(NoSpan):
    """Nobody will see it. While it is current, what happens below knows that too, here and in adapters: they get a
    context that says "not sampled", so that they do not begin traces of their own."""

    __slots__ = ("_api", "_context", "_token")

    def __init__(self, api: "_Api", trace_id: int, span_id: int) -> None:
        super().__init__(format_traceparent(trace_id, span_id, 0))
        self._api = api
        self._context = api.passing(trace_id, span_id, self.traceparent)
        self._token: Any = None

    def run(self, function: Callable[[], _T]) -> _T:
        with self:
            return function()

    def __enter__(self) -> Self:
        self._token = self._api.attach(self._context)
        return self

    def __exit__(self, *_: object) -> None:
        self._api.detach(self._token)


class RealSpan:
    __slots__ = ("_api", "_span", "_token", "traceparent")
    recording = True

    def __init__(self, api: "_Api", span: Any) -> None:
        self._api = api
        self._span = span
        self._token: Any = None
        where = span.get_span_context()
        self.traceparent = format_traceparent(where.trace_id, where.span_id, where.trace_flags)

    def set(self, key: str, value: str | int | float | bool) -> None:
        self._span.set_attribute(key, value)

    def fail(self, description: str) -> None:
        self._span.set_status(self._api.error, description)

    def run(self, function: Callable[[], _T]) -> _T:
        token = self._api.attach(self._api.set_span_in_context(self._span))
        try:
            return function()
        finally:
            self._api.detach(token)

    def end(self) -> None:
        self._span.end()

    def __enter__(self) -> Self:
        self._token = self._api.attach(self._api.set_span_in_context(self._span))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._api.detach(self._token)
        match error:
            case None | asyncio.CancelledError() | GeneratorExit() | AbortError():
                pass
            case Problem():
                reason = error_pb2.ErrorReason.Name(error.reason).removeprefix("ERROR_REASON_")
                self.set("legato.reason", reason)
                if error.error.code in SERVER_ERRORS:
                    self.fail(reason)
            case _:
                # The type alone: texts of foreign exceptions may quote personal data.
                name = type(error).__name__
                self.set("error.type", name)
                self.fail(name)
        self._span.end()
