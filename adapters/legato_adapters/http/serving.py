"""From a backend's errors to the statuses of the contract, for the methods of servicers."""

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any, Never, TypeVar

import grpc
import grpc.aio
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from legato.protocol.ids import is_uuid7
from legato_adapters.http.call import Call
from legato_adapters.http.errors import ApiError, Busy, Denied, Failure, NoAnswer, NotSent, Refused

__all__ = ["answer_command", "answer_read", "check_uuid7"]

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")
Code = grpc.StatusCode

# What mapping raises for an answer of a form that was not asked for.
_MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)


async def answer_read(context: Any, work: Callable[[Call], Awaitable[_Result]]) -> _Result:
    """The result of `work`, which only reads; else the call ends with the status that its error means."""
    call = Call.of(context)
    try:
        return await work(call)
    except Failure as error:
        failure = error
    except ApiError as error:
        failure = _unread(error)
    except _MALFORMED as error:
        failure = Failure(Code.UNAVAILABLE, _strange(error))
    return await _abort(context, _in_time(context, failure))


async def answer_command(context: Any, work: Callable[[Call], Awaitable[_Result]]) -> _Result:
    """The same for `work` that may change the backend: its errors tell apart what had no effect for certain.

    A Failure that `work` raises itself is taken as it is.
    """
    call = Call.of(context)
    try:
        return await work(call)
    except Failure as error:
        failure = error
    except ApiError as error:
        failure = undone(error, touched=call.touched)
    except _MALFORMED as error:
        details = _strange(error)
        failure = Failure(Code.UNKNOWN, details) if call.touched else _nothing_done(details)
    return await _abort(context, _in_time(context, failure))


def undone(error: ApiError, *, touched: bool) -> Failure:
    """What an error means for a command; `touched`: something that may have changed the backend was sent before."""
    text = str(error)
    # A read without an answer has done nothing: only writes touch.
    if touched:
        timed_out = isinstance(error, NoAnswer) and error.timed_out
        return Failure(Code.DEADLINE_EXCEEDED if timed_out else Code.UNKNOWN, text)
    if isinstance(error, Refused):
        return Failure(Code.INVALID_ARGUMENT, text)
    if isinstance(error, Busy):
        return Failure(Code.RESOURCE_EXHAUSTED, text, retry_after=error.retry_after)
    return _nothing_done(text)


def _nothing_done(details: str) -> Failure:
    return Failure(Code.UNAVAILABLE, details, without_effect=True)


def _unread(error: ApiError) -> Failure:
    match error:
        case Busy():
            return Failure(Code.RESOURCE_EXHAUSTED, str(error), retry_after=error.retry_after)
        case Denied():
            return Failure(Code.FAILED_PRECONDITION, str(error))
        case Refused(status=404):
            return Failure(Code.NOT_FOUND, "the backend has no such thing")
        case Refused():
            return Failure(Code.FAILED_PRECONDITION, str(error))
        case NotSent() | NoAnswer() | _:
            return Failure(Code.UNAVAILABLE, str(error))


def _in_time(context: Any, failure: Failure) -> Failure:
    if failure.code is Code.UNAVAILABLE and context.time_remaining() == 0:
        # The caller's own deadline is what ended it, whatever it ended.
        return Failure(Code.DEADLINE_EXCEEDED, failure.details)
    return failure


def _strange(error: Exception) -> str:
    """Log where it was, and not its text: that quotes what the backend said."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = f"{frame.tb_frame.f_code.co_qualname}:{frame.tb_lineno}" if frame is not None else "?"
    _log.error("the backend's answer has not the form that was asked for: %s in %s", type(error).__name__, where)
    return "the backend's answer has not the form that was asked for"


async def _abort(context: Any, failure: Failure) -> Never:
    trailing = failure.trailing
    if failure.retry_after is not None:
        trailing = (*trailing, ("grpc-status-details-bin", _status(failure, failure.retry_after)))
    await context.abort(failure.code, failure.details, trailing)
    raise AssertionError("abort does not return")


def _status(failure: Failure, seconds: float) -> bytes:
    nanos, whole = math.modf(seconds)
    delay = duration_pb2.Duration(seconds=int(whole), nanos=int(nanos * 1e9))
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    code: int = failure.code.value[0]
    return status_pb2.Status(code=code, message=failure.details, details=[detail]).SerializeToString()


def check_uuid7(**ids: str) -> None:
    """Raises Failure for an id that is none; named as in the request."""
    for name, value in ids.items():
        if not is_uuid7(value):
            raise Failure(Code.INVALID_ARGUMENT, f"{name} must be a UUIDv7 in lower case")
