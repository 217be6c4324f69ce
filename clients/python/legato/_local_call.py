"""One call through a `LocalChannel`: what its caller holds, and the context that its handler gets.

How a call ends was learnt from `grpc.aio` 1.85 by running the same handlers on a real server, as the tests do.
"""

import asyncio
import inspect
import logging
import re
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, NamedTuple, Never, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

_log = logging.getLogger(__name__)

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
# A plain function is what generated code leaves for a method that nobody implemented: it raises at once.
Behaviour = Callable[[Any, Any], Any]

_KEY = re.compile(r"[0-9a-z_.-]+")
_TEXT = re.compile(r"[\x20-\x7e]*")


class Metadatum(NamedTuple):
    key: str
    value: str | bytes


RawMetadata = tuple[Metadatum, ...]


def checked_metadata(metadata: Iterable[tuple[str, str | bytes]]) -> RawMetadata:
    """The metadata as a network would carry it; ValueError where it would refuse."""
    checked = tuple(Metadatum(key, value) for key, value in metadata)
    for key, value in checked:
        if not _KEY.fullmatch(key):
            raise ValueError(f"metadata key {key!r} has other than lower-case letters, digits, '_', '-', '.'")
        if key.endswith("-bin"):
            if not isinstance(value, bytes):
                raise ValueError(f"the value of metadata key {key!r} must be bytes")
        elif not isinstance(value, str) or not _TEXT.fullmatch(value):
            raise ValueError(f"the value of metadata key {key!r} must be printable ASCII text")
    return checked


_CODES: dict[object, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def _status_code(code: object) -> grpc.StatusCode:
    """The code that a handler named, perhaps by its number; UNKNOWN, as in grpc.aio, where there is no such code."""
    return code if isinstance(code, grpc.StatusCode) else _CODES.get(code, grpc.StatusCode.UNKNOWN)


def _is_ok(code: grpc.StatusCode | None) -> bool:
    return code is None or code is grpc.StatusCode.OK


def _copy(message: Any) -> Any:
    if not isinstance(message, Message):
        raise TypeError(f"a protobuf message is needed, not {type(message).__name__}")
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


class LocalContext(grpc.aio.ServicerContext[Any, Any]):
    """What a handler learns about its call and says about its outcome."""

    def __init__(self, metadata: RawMetadata, deadline: float | None, loop: asyncio.AbstractEventLoop) -> None:
        self._metadata = metadata
        self._deadline = deadline
        self._loop = loop
        self._initial: RawMetadata = ()
        self._trailing: RawMetadata = ()
        self._code: grpc.StatusCode | None = None
        self._details = ""
        self._callbacks: list[Callable[[Any], None]] = []
        self._done = False
        self._cancelled = False
        self.abort_error: grpc.aio.AbortError | None = None

    async def read(self) -> Never:
        raise grpc.aio.UsageError("a unary call has its request already")

    async def write(self, message: Any) -> None:
        raise grpc.aio.UsageError("a unary call returns its answer")

    async def send_initial_metadata(self, initial_metadata: Iterable[tuple[str, str | bytes]]) -> None:
        self._initial = checked_metadata(initial_metadata)

    async def abort(
        self,
        code: grpc.StatusCode,
        details: str = "",
        trailing_metadata: Iterable[tuple[str, str | bytes]] = (),
    ) -> Never:
        if self.abort_error is None:
            code = _status_code(code)
            if code is grpc.StatusCode.OK:
                raise ValueError("a call cannot be aborted with OK")
            trailing = checked_metadata(trailing_metadata)
            self.abort_error = grpc.aio.AbortError("Locally aborted.")
            self._code = code
            self._details = details or self._details
            self._trailing = trailing or self._trailing
        raise self.abort_error

    async def abort_with_status(self, status: grpc.Status) -> Never:
        # The published stubs leave these three attributes of grpc.Status out.
        given: Any = status
        await self.abort(given.code, given.details, given.trailing_metadata)

    def set_trailing_metadata(self, trailing_metadata: Iterable[tuple[str, str | bytes]]) -> None:
        self._trailing = checked_metadata(trailing_metadata)

    def invocation_metadata(self) -> Any:
        return self._metadata

    def set_code(self, code: grpc.StatusCode) -> None:
        self._code = _status_code(code)

    def set_details(self, details: str) -> None:
        self._details = details

    def set_compression(self, compression: grpc.Compression) -> None:
        pass

    def disable_next_message_compression(self) -> None:
        pass

    def peer(self) -> str:
        return "local:"

    def peer_identities(self) -> None:
        return None

    def peer_identity_key(self) -> None:
        return None

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return {}

    def time_remaining(self) -> Any:
        return None if self._deadline is None else max(self._deadline - self._loop.time(), 0.0)

    def trailing_metadata(self) -> Any:
        return self._trailing

    def initial_metadata(self) -> RawMetadata:
        return self._initial

    def code(self) -> Any:
        return self._code

    def details(self) -> str:
        return self._details

    def cancelled(self) -> bool:
        return self._cancelled

    def done(self) -> bool:
        return self._done

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._callbacks.append(callback)

    def finish(self, *, cancelled: bool) -> None:
        """Called once, when the handler has ended."""
        self._done, self._cancelled = True, cancelled
        for callback in self._callbacks:
            callback(self)


class LocalCall(grpc.aio.UnaryUnaryCall[_Request, _Response]):
    """One call. Its outcome stands as soon as it is known, even while a cancelled handler still cleans up."""

    def __init__(
        self, behaviour: Behaviour | None, request: _Request, timeout: float | None, metadata: RawMetadata
    ) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._deadline = None if timeout is None else loop.time() + timeout
        self._context = LocalContext(metadata, self._deadline, loop)
        self._ended = asyncio.Event()
        self._callbacks: list[Callable[[Any], None]] = []
        self._code = grpc.StatusCode.UNKNOWN
        self._details = ""
        self._response: _Response | None = None
        self._trailing: RawMetadata = ()
        self._locally_cancelled = False
        self._timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None
        if behaviour is None:
            self._end(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        elif timeout is not None and timeout <= 0:
            self._end(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        else:
            self.task = loop.create_task(self._serve(behaviour, _copy(request)))
            if self._deadline is not None:
                self._timer = loop.call_at(self._deadline, self._expire)

    async def _serve(self, behaviour: Behaviour, request: Message) -> None:
        context = self._context
        response: Any = None
        cancelled = False
        try:
            answer = behaviour(request, context)
            response = await answer if inspect.isawaitable(answer) else answer
            if _is_ok(context.code()):
                response = _copy(response)
        except asyncio.CancelledError:
            cancelled = True
            self._end(grpc.StatusCode.CANCELLED, "Cancelled by the handler")
            raise
        except Exception as error:  # noqa: BLE001  what a handler raises is an answer to its caller, as in grpc.aio
            if context.abort_error is None:
                _log.error("Unexpected %s raised by a servicer method", type(error).__name__, exc_info=error)
                code = context.code()
                if _is_ok(code):
                    code = grpc.StatusCode.UNKNOWN
                context.set_code(code)
                context.set_details(f"Unexpected {type(error)}: {error}")
        finally:
            context.finish(cancelled=cancelled)
        code = context.code() or grpc.StatusCode.OK
        # As over a network, details do not travel with OK and an answer does not travel without it.
        ok = code is grpc.StatusCode.OK
        details = "" if ok else context.details()
        self._end(code, details, response if ok else None, context.trailing_metadata())

    def _end(
        self,
        code: grpc.StatusCode,
        details: str,
        response: _Response | None = None,
        trailing: RawMetadata = (),
    ) -> None:
        if self._ended.is_set():
            return
        self._code, self._details, self._response, self._trailing = code, details, response, trailing
        if self._timer is not None:
            self._timer.cancel()
        self._ended.set()
        for callback in self._callbacks:
            callback(self)

    def _expire(self) -> None:
        self._end(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        if self.task is not None:
            self.task.cancel()

    def cancel(self) -> bool:
        if self._ended.is_set():
            return False
        self._locally_cancelled = True
        self._end(grpc.StatusCode.CANCELLED, "Locally cancelled by application!")
        if self.task is not None:
            self.task.cancel()
        return True

    def cancelled(self) -> bool:
        return self._code is grpc.StatusCode.CANCELLED

    def done(self) -> bool:
        return self._ended.is_set()

    def time_remaining(self) -> float | None:
        return None if self._deadline is None else max(self._deadline - self._loop.time(), 0.0)

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        if self._ended.is_set():
            callback(self)
        else:
            self._callbacks.append(callback)

    async def initial_metadata(self) -> grpc.aio.Metadata:
        await self._ended.wait()
        return grpc.aio.Metadata.from_tuple(self._context.initial_metadata())

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        await self._ended.wait()
        return grpc.aio.Metadata.from_tuple(self._trailing)

    async def code(self) -> grpc.StatusCode:
        await self._ended.wait()
        return self._code

    async def details(self) -> str:
        await self._ended.wait()
        return self._details

    async def wait_for_connection(self) -> None:
        pass

    def __await__(self) -> Generator[Any, None, _Response]:
        return self._outcome().__await__()

    async def _outcome(self) -> _Response:
        try:
            await self._ended.wait()
        except asyncio.CancelledError:
            self.cancel()
            raise
        if self._locally_cancelled:
            raise asyncio.CancelledError
        if self._code is not grpc.StatusCode.OK:
            raise grpc.aio.AioRpcError(
                self._code,
                grpc.aio.Metadata.from_tuple(self._context.initial_metadata()),
                grpc.aio.Metadata.from_tuple(self._trailing),
                self._details,
                f"{self._code.name}:{self._details}",
            )
        assert self._response is not None, "a call that ended with OK has an answer"
        return self._response
