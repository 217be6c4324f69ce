"""A refusal with its machine-readable reason: the one exception that reaches callers."""

from collections.abc import Mapping

from google.protobuf.duration_pb2 import Duration

from legato.orchestrator.v1 import error_pb2

# gRPC status codes by number, so that the core needs no grpc. The table in error.proto says the same in words.
OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED = range(8)
RESOURCE_EXHAUSTED, FAILED_PRECONDITION, ABORTED, OUT_OF_RANGE, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = range(8, 15)
UNAUTHENTICATED = 16

CODES: Mapping[int, int] = {
    error_pb2.ERROR_REASON_UNSPECIFIED: INTERNAL,
    error_pb2.ERROR_REASON_INVALID_FIELD: INVALID_ARGUMENT,
    error_pb2.ERROR_REASON_UNKNOWN_CURRENCY: INVALID_ARGUMENT,
    error_pb2.ERROR_REASON_MESSAGE_TOO_LARGE: INVALID_ARGUMENT,
    error_pb2.ERROR_REASON_PROTOCOL_VIOLATION: FAILED_PRECONDITION,
    error_pb2.ERROR_REASON_UNAUTHENTICATED: UNAUTHENTICATED,
    error_pb2.ERROR_REASON_TOKEN_EXPIRED: UNAUTHENTICATED,
    error_pb2.ERROR_REASON_NOT_ALLOWED: PERMISSION_DENIED,
    error_pb2.ERROR_REASON_CLIENT_ID_TAKEN: PERMISSION_DENIED,
    error_pb2.ERROR_REASON_NOT_FOUND: NOT_FOUND,
    error_pb2.ERROR_REASON_SHARE_CODE_INVALID: NOT_FOUND,
    error_pb2.ERROR_REASON_CONNECTION_REPLACED: ABORTED,
    error_pb2.ERROR_REASON_REVISION_MISMATCH: FAILED_PRECONDITION,
    error_pb2.ERROR_REASON_EPOCH_MISMATCH: FAILED_PRECONDITION,
    error_pb2.ERROR_REASON_CURSOR_AHEAD: OUT_OF_RANGE,
    error_pb2.ERROR_REASON_COMMAND_ID_REUSED: INVALID_ARGUMENT,
    error_pb2.ERROR_REASON_SEQ_GAP: FAILED_PRECONDITION,
    error_pb2.ERROR_REASON_ALREADY_PROCESSED: ALREADY_EXISTS,
    error_pb2.ERROR_REASON_DEDUPE_EXPIRED: FAILED_PRECONDITION,
    error_pb2.ERROR_REASON_RESOURCE_BUSY: UNAVAILABLE,
    error_pb2.ERROR_REASON_OUTCOME_PENDING: DEADLINE_EXCEEDED,
    error_pb2.ERROR_REASON_OUTCOME_UNKNOWN: UNKNOWN,
    error_pb2.ERROR_REASON_BACKEND_UNAVAILABLE: UNAVAILABLE,
    error_pb2.ERROR_REASON_THROTTLED: RESOURCE_EXHAUSTED,
    error_pb2.ERROR_REASON_DRAINING: UNAVAILABLE,
    error_pb2.ERROR_REASON_DEADLINE_EXCEEDED: DEADLINE_EXCEEDED,
    error_pb2.ERROR_REASON_CAPABILITY_MISSING: UNIMPLEMENTED,
    error_pb2.ERROR_REASON_STORAGE_UNAVAILABLE: UNAVAILABLE,
    error_pb2.ERROR_REASON_CART_EXISTS: ALREADY_EXISTS,
    error_pb2.ERROR_REASON_CART_NOT_ACTIVE: FAILED_PRECONDITION,
    error_pb2.ERROR_REASON_UNKNOWN_SKU: NOT_FOUND,
    error_pb2.ERROR_REASON_INSUFFICIENT_STOCK: FAILED_PRECONDITION,
    error_pb2.ERROR_REASON_LINE_NOT_FOUND: NOT_FOUND,
    error_pb2.ERROR_REASON_QUANTITY_LIMIT: FAILED_PRECONDITION,
    error_pb2.ERROR_REASON_DISCOUNT_CODE_INVALID: FAILED_PRECONDITION,
    error_pb2.ERROR_REASON_DELIVERY_OPTION_INVALID: FAILED_PRECONDITION,
    error_pb2.ERROR_REASON_REJECTED_BY_BACKEND: FAILED_PRECONDITION,
    error_pb2.ERROR_REASON_CLIENT_LINE_KEY_TAKEN: ALREADY_EXISTS,
    error_pb2.ERROR_REASON_LINE_LIMIT: FAILED_PRECONDITION,
}
"""The gRPC code of each reason."""


class Problem(Exception):
    """Something was refused or failed, and the caller is told why.

    `fields` are (path, what is wrong) pairs; `retry_ms` says when to try again.
    """

    def __init__(
        self,
        reason: "error_pb2.ErrorReason.ValueType",
        message: str,
        *,
        fields: tuple[tuple[str, str], ...] = (),
        retry_ms: int | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.error = error_pb2.Error(code=CODES[reason], reason=reason, message=message, metadata=metadata)
        for path, description in fields:
            self.error.field_violations.add(field=path, description=description)
        if retry_ms is not None:
            self.error.retry_delay.CopyFrom(Duration(seconds=retry_ms // 1000, nanos=retry_ms % 1000 * 1_000_000))

    @property
    def reason(self) -> "error_pb2.ErrorReason.ValueType":
        """The machine-readable reason."""
        return self.error.reason


def invalid(path: str, description: str) -> Problem:
    """A field that breaks its documented range or form."""
    return Problem(error_pb2.ERROR_REASON_INVALID_FIELD, f"{path} {description}", fields=((path, description),))


def not_found(what: str) -> Problem:
    """It does not exist, or not for this identity: the answer is the same, so that nobody can probe."""
    return Problem(error_pb2.ERROR_REASON_NOT_FOUND, f"{what} does not exist")
