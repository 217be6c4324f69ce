"""What every servicer does with a request: check what can be checked, run the logic, turn errors into status codes."""

import sqlite3
import time
from collections.abc import Callable
from typing import Any, Never, TypeVar

import grpc

from legato.adapter.v1 import request_context_pb2
from legato.protocol.ids import is_uuid7
from legato_adapters.reference import shared
from legato_adapters.reference.catalog import Catalog, Market
from legato_adapters.reference.database import Database, DatabaseUnavailable
from legato_adapters.reference.search import page_offset

_Result = TypeVar("_Result")

MAX_PAGE = 100

_CODES: dict[type[Exception], grpc.StatusCode] = {
    shared.Malformed: grpc.StatusCode.INVALID_ARGUMENT,
    shared.NotFound: grpc.StatusCode.NOT_FOUND,
    shared.CommandIdReused: grpc.StatusCode.ABORTED,
    shared.VersionMismatch: grpc.StatusCode.FAILED_PRECONDITION,
    shared.DeadlinePassed: grpc.StatusCode.DEADLINE_EXCEEDED,
    shared.CursorTooOld: grpc.StatusCode.OUT_OF_RANGE,
}


async def run(
    context: Any, database: Database, work: Callable[[sqlite3.Connection], _Result], *, writes: bool
) -> _Result:
    """The result of a unit of work; its errors end the call."""
    try:
        return await database.run(work, writes=writes)
    except DatabaseUnavailable as error:
        await context.abort(grpc.StatusCode.UNAVAILABLE, str(error), (("legato-effect", "none"),))
    except tuple(_CODES) as error:
        await refuse(context, _CODES[type(error)], str(error))
    raise AssertionError("abort does not return")


async def refuse(context: Any, code: grpc.StatusCode, details: str) -> Never:
    """End the call."""
    await context.abort(code, details)
    raise AssertionError("abort does not return")


async def invalid(context: Any, details: str) -> Never:
    """End the call, whose request breaks the contract."""
    await refuse(context, grpc.StatusCode.INVALID_ARGUMENT, details)


async def check_id(context: Any, name: str, value: str) -> None:
    if not is_uuid7(value):
        await invalid(context, f"{name} must be a UUIDv7 in lower case")


async def market_of(catalog: Catalog, wanted: request_context_pb2.RequestContext, context: Any) -> Market:
    market = catalog.market(wanted.country, wanted.currency_code)
    if market is None:
        await refuse(context, grpc.StatusCode.FAILED_PRECONDITION, "the market is not served")
    return market


async def offset_of(request: Any, listing: tuple[str, ...], context: Any) -> int:
    """Where the page that is asked for begins in the list that `listing` describes."""
    if not 1 <= request.page_size <= MAX_PAGE:
        await invalid(context, f"page_size must be 1 to {MAX_PAGE}")
    try:
        return page_offset(request.page_token, listing)
    except ValueError as error:
        await invalid(context, str(error))


def deadline_of(context: Any) -> float | None:
    """The caller's deadline on the monotonic clock."""
    remaining = context.time_remaining()
    return None if remaining is None else time.monotonic() + remaining
