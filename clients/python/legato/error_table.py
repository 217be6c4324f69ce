"""The only table from `ErrorReason` or gRPC code to an exception.

Callers of generated stubs get the client's exceptions with `with translated(): stub.GetCart(...)`.
"""

import contextlib
from collections.abc import Iterator, Mapping

import grpc

from legato import errors
from legato.orchestrator.v1 import error_pb2
from legato.orchestrator.v1.error_pb2 import Error

ERROR_METADATA_KEY = "legato-error-bin"
"""Trailing metadata of a failed call that holds an `Error`, serialised."""

BY_REASON: Mapping[int, type[errors.LegatoError]] = {
    error_pb2.ERROR_REASON_UNSPECIFIED: errors.HubFault,
    error_pb2.ERROR_REASON_INVALID_FIELD: errors.InvalidRequest,
    error_pb2.ERROR_REASON_UNKNOWN_CURRENCY: errors.UnknownCurrency,
    error_pb2.ERROR_REASON_MESSAGE_TOO_LARGE: errors.MessageTooLarge,
    error_pb2.ERROR_REASON_PROTOCOL_VIOLATION: errors.ProtocolViolation,
    error_pb2.ERROR_REASON_UNAUTHENTICATED: errors.Unauthenticated,
    error_pb2.ERROR_REASON_TOKEN_EXPIRED: errors.TokenExpired,
    error_pb2.ERROR_REASON_NOT_ALLOWED: errors.NotAllowed,
    error_pb2.ERROR_REASON_CLIENT_ID_TAKEN: errors.ClientIdTaken,
    error_pb2.ERROR_REASON_NOT_FOUND: errors.NotFound,
    error_pb2.ERROR_REASON_SHARE_CODE_INVALID: errors.ShareCodeInvalid,
    error_pb2.ERROR_REASON_CONNECTION_REPLACED: errors.ConnectionReplaced,
    error_pb2.ERROR_REASON_REVISION_MISMATCH: errors.RevisionMismatch,
    error_pb2.ERROR_REASON_EPOCH_MISMATCH: errors.EpochMismatch,
    error_pb2.ERROR_REASON_CURSOR_AHEAD: errors.CursorAhead,
    error_pb2.ERROR_REASON_COMMAND_ID_REUSED: errors.CommandIdReused,
    error_pb2.ERROR_REASON_SEQ_GAP: errors.SeqGap,
    error_pb2.ERROR_REASON_ALREADY_PROCESSED: errors.AlreadyProcessed,
    error_pb2.ERROR_REASON_DEDUPE_EXPIRED: errors.DedupeExpired,
    error_pb2.ERROR_REASON_RESOURCE_BUSY: errors.Busy,
    error_pb2.ERROR_REASON_OUTCOME_PENDING: errors.OutcomePending,
    error_pb2.ERROR_REASON_OUTCOME_UNKNOWN: errors.OutcomeUnknown,
    error_pb2.ERROR_REASON_BACKEND_UNAVAILABLE: errors.BackendUnavailable,
    error_pb2.ERROR_REASON_THROTTLED: errors.Throttled,
    error_pb2.ERROR_REASON_DRAINING: errors.Draining,
    error_pb2.ERROR_REASON_DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    error_pb2.ERROR_REASON_CAPABILITY_MISSING: errors.CapabilityMissing,
    error_pb2.ERROR_REASON_STORAGE_UNAVAILABLE: errors.StorageUnavailable,
    error_pb2.ERROR_REASON_CART_EXISTS: errors.CartExists,
    error_pb2.ERROR_REASON_CART_NOT_ACTIVE: errors.CartNotActive,
    error_pb2.ERROR_REASON_UNKNOWN_SKU: errors.UnknownSku,
    error_pb2.ERROR_REASON_INSUFFICIENT_STOCK: errors.InsufficientStock,
    error_pb2.ERROR_REASON_LINE_NOT_FOUND: errors.LineNotFound,
    error_pb2.ERROR_REASON_QUANTITY_LIMIT: errors.QuantityLimit,
    error_pb2.ERROR_REASON_DISCOUNT_CODE_INVALID: errors.DiscountCodeInvalid,
    error_pb2.ERROR_REASON_DELIVERY_OPTION_INVALID: errors.DeliveryOptionInvalid,
    error_pb2.ERROR_REASON_REJECTED_BY_BACKEND: errors.RejectedByBackend,
    error_pb2.ERROR_REASON_CLIENT_LINE_KEY_TAKEN: errors.ClientLineKeyTaken,
    error_pb2.ERROR_REASON_LINE_LIMIT: errors.LineLimit,
}
"""Every reason of the contract."""

BY_CODE: Mapping[grpc.StatusCode, type[errors.LegatoError]] = {
    # Only for failures without an `Error`: they come from the network, a proxy, gRPC itself, or a newer hub.
    grpc.StatusCode.CANCELLED: errors.Unavailable,
    grpc.StatusCode.UNKNOWN: errors.HubFault,
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidRequest,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.TimedOut,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.ALREADY_EXISTS: errors.AlreadyProcessed,
    grpc.StatusCode.PERMISSION_DENIED: errors.NotAllowed,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.Throttled,
    grpc.StatusCode.FAILED_PRECONDITION: errors.Rejected,
    grpc.StatusCode.ABORTED: errors.Conflict,
    grpc.StatusCode.OUT_OF_RANGE: errors.InvalidRequest,
    grpc.StatusCode.UNIMPLEMENTED: errors.CapabilityMissing,
    grpc.StatusCode.INTERNAL: errors.HubFault,
    grpc.StatusCode.UNAVAILABLE: errors.Unavailable,
    grpc.StatusCode.DATA_LOSS: errors.HubFault,
    grpc.StatusCode.UNAUTHENTICATED: errors.Unauthenticated,
}

_CODES: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def from_error(error: Error) -> errors.LegatoError:
    """The exception for an `Error` of the hub; a reason of a newer hub gets the exception of its code."""
    code = _CODES.get(error.code, grpc.StatusCode.UNKNOWN)
    known = BY_REASON.get(error.reason) if error.reason else None
    return (known or BY_CODE.get(code, errors.HubFault))(
        error.message,
        reason=error.reason,
        code=code,
        field_violations=error.field_violations,
        retry_delay=error.retry_delay.ToTimedelta().total_seconds() if error.HasField("retry_delay") else None,
        metadata=error.metadata,
    )


def from_rpc_error(error: grpc.RpcError) -> errors.LegatoError:
    """The exception for a failed call, sync or async: by the `Error` in its trailing metadata, else by its code."""
    # What grpc raises is an AioRpcError or both an RpcError and a Call; only the latter two know what happened.
    if not isinstance(error, grpc.aio.AioRpcError | grpc.Call):
        return errors.HubFault(str(error))
    for key, value in error.trailing_metadata() or ():
        if key == ERROR_METADATA_KEY and isinstance(value, bytes):
            return from_error(Error.FromString(value))
    code = error.code()
    return BY_CODE.get(code, errors.HubFault)(error.details() or "", code=code)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise LegatoError where the calls inside fail with a grpc.RpcError. Serves sync and async code."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error
