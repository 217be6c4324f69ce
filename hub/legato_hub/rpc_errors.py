"""How a Problem leaves the hub on a gRPC call.

The status has the reason's code; its details are google.rpc's ErrorInfo, BadRequest and RetryInfo for every tool that
knows them, and the trailing metadata `legato-error-bin` is the whole Error for clients that have only our own protos.
"""

import logging
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as PackedAny
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from legato.orchestrator.v1 import error_pb2
from legato_hub.core.problem import Problem
from legato_hub.storage.base import StorageError

_log = logging.getLogger(__name__)

DOMAIN = "legato"
ERROR_TRAILER = "legato-error-bin"


def to_status(error: error_pb2.Error) -> status_pb2.Status:
    """The error in google.rpc's terms."""
    reason = error_pb2.ErrorReason.Name(error.reason).removeprefix("ERROR_REASON_")
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=error.metadata)]
    if error.field_violations:
        violations = (
            error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.description, reason=reason)
            for v in error.field_violations
        )
        details.append(error_details_pb2.BadRequest(field_violations=violations))
    if error.HasField("retry_delay"):
        details.append(error_details_pb2.RetryInfo(retry_delay=error.retry_delay))
    packed = []
    for detail in details:
        any_ = PackedAny()
        any_.Pack(detail)
        packed.append(any_)
    return status_pb2.Status(code=error.code, message=error.message, details=packed)


def problem_of(error: BaseException) -> Problem:
    """What the caller is told of an exception; what is no refusal is logged here, and only here."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, StorageError):
        _log.error("the storage failed", exc_info=error)
        message = "the hub cannot use its storage"
        return Problem(error_pb2.ERROR_REASON_STORAGE_UNAVAILABLE, message, retry_ms=1_000)
    _log.error("a call failed", exc_info=error)
    return Problem(error_pb2.ERROR_REASON_UNSPECIFIED, "the hub has a fault")


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: BaseException) -> NoReturn:
    """End a call with what went wrong."""
    problem = problem_of(error)
    status = rpc_status.to_status(to_status(problem.error))
    trailers = (*status.trailing_metadata, (ERROR_TRAILER, problem.error.SerializeToString()))
    await context.abort(status.code, status.details, trailers)
