"""What a backend's failure to answer a read means to the caller."""

import logging

import grpc
import grpc.aio

from legato.orchestrator.v1 import error_pb2
from legato_hub.core.problem import Problem

_log = logging.getLogger(__name__)

_REASONS = {
    grpc.StatusCode.UNAVAILABLE: error_pb2.ERROR_REASON_BACKEND_UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: error_pb2.ERROR_REASON_DEADLINE_EXCEEDED,
    grpc.StatusCode.NOT_FOUND: error_pb2.ERROR_REASON_NOT_FOUND,
    grpc.StatusCode.INVALID_ARGUMENT: error_pb2.ERROR_REASON_INVALID_FIELD,
    grpc.StatusCode.FAILED_PRECONDITION: error_pb2.ERROR_REASON_REJECTED_BY_BACKEND,
    grpc.StatusCode.RESOURCE_EXHAUSTED: error_pb2.ERROR_REASON_THROTTLED,
    grpc.StatusCode.UNIMPLEMENTED: error_pb2.ERROR_REASON_CAPABILITY_MISSING,
}

_SAID = (
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
)
"""Codes whose text the contract means for callers. Others may tell of the backend's inside, or of persons."""


def read_problem(error: grpc.aio.AioRpcError, backend: str, request: str) -> Problem:
    """The problem that a failed read of `backend` is; `request` names its message, for the log.

    A code that the contract does not name is a fault of the adapter, and to the caller a backend that does not answer.
    """
    code = error.code()
    reason = _REASONS.get(code, error_pb2.ERROR_REASON_BACKEND_UNAVAILABLE)
    if code in _SAID:
        return Problem(reason, error.details() or f"backend {backend} says {code.name}")
    level = logging.WARNING if code in _REASONS else logging.ERROR
    # Without the details: a crashed adapter's quote whatever it choked on.
    _log.log(level, "backend %s: %s: %s", backend, request, code.name, extra={"backend": backend})
    retry_ms = 1_000 if reason == error_pb2.ERROR_REASON_THROTTLED else None
    return Problem(reason, f"backend {backend} did not answer ({code.name})", retry_ms=retry_ms)
