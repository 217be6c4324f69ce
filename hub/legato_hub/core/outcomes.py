"""From what happened to the result of a command. The seq outcome table stands in command.proto."""

from legato.adapter.v1 import cart_service_pb2
from legato.orchestrator.v1 import command_pb2, error_pb2
from legato_hub.core.problem import Problem

NOT_ACCEPTED = frozenset(
    {
        error_pb2.ERROR_REASON_UNSPECIFIED,
        error_pb2.ERROR_REASON_UNAUTHENTICATED,
        error_pb2.ERROR_REASON_TOKEN_EXPIRED,
        error_pb2.ERROR_REASON_NOT_ALLOWED,
        error_pb2.ERROR_REASON_NOT_FOUND,
        error_pb2.ERROR_REASON_SEQ_GAP,
        error_pb2.ERROR_REASON_RESOURCE_BUSY,
        error_pb2.ERROR_REASON_BACKEND_UNAVAILABLE,
        error_pb2.ERROR_REASON_THROTTLED,
        error_pb2.ERROR_REASON_DRAINING,
        error_pb2.ERROR_REASON_STORAGE_UNAVAILABLE,
    }
)
"""Reasons that consume no seq: the same command may be sent again."""

UNKNOWN = frozenset({error_pb2.ERROR_REASON_OUTCOME_PENDING, error_pb2.ERROR_REASON_OUTCOME_UNKNOWN})
"""Reasons of the outcome UNKNOWN."""

_REJECTIONS = {
    cart_service_pb2.REJECTION_REASON_UNKNOWN_SKU: error_pb2.ERROR_REASON_UNKNOWN_SKU,
    cart_service_pb2.REJECTION_REASON_INSUFFICIENT_STOCK: error_pb2.ERROR_REASON_INSUFFICIENT_STOCK,
    cart_service_pb2.REJECTION_REASON_LINE_NOT_FOUND: error_pb2.ERROR_REASON_LINE_NOT_FOUND,
    cart_service_pb2.REJECTION_REASON_QUANTITY_LIMIT: error_pb2.ERROR_REASON_QUANTITY_LIMIT,
    cart_service_pb2.REJECTION_REASON_DISCOUNT_CODE_INVALID: error_pb2.ERROR_REASON_DISCOUNT_CODE_INVALID,
    cart_service_pb2.REJECTION_REASON_DELIVERY_OPTION_INVALID: error_pb2.ERROR_REASON_DELIVERY_OPTION_INVALID,
    cart_service_pb2.REJECTION_REASON_CART_NOT_ACTIVE: error_pb2.ERROR_REASON_CART_NOT_ACTIVE,
    cart_service_pb2.REJECTION_REASON_CART_EXISTS: error_pb2.ERROR_REASON_CART_EXISTS,
    cart_service_pb2.REJECTION_REASON_UNKNOWN_CURRENCY: error_pb2.ERROR_REASON_UNKNOWN_CURRENCY,
    cart_service_pb2.REJECTION_REASON_INVALID_FIELD: error_pb2.ERROR_REASON_INVALID_FIELD,
    cart_service_pb2.REJECTION_REASON_CLIENT_LINE_KEY_TAKEN: error_pb2.ERROR_REASON_CLIENT_LINE_KEY_TAKEN,
    cart_service_pb2.REJECTION_REASON_LINE_LIMIT: error_pb2.ERROR_REASON_LINE_LIMIT,
}

NAME_SHOWN = 128
"""Characters of an id or a resource that come back with a refusal; real ones are shorter."""


def of_rejection(rejection: cart_service_pb2.Rejection, path: str) -> Problem:
    """What a backend's refusal means to the caller; `path` is the intent's, for a field that the backend refused."""
    reason = _REJECTIONS.get(rejection.reason, error_pb2.ERROR_REASON_REJECTED_BY_BACKEND)
    metadata = {}
    if rejection.native_code:
        metadata["native_code"] = rejection.native_code
    if rejection.HasField("available_steps"):
        metadata["available"] = str(rejection.available_steps)
    fields = ((path, rejection.message),) if reason == error_pb2.ERROR_REASON_INVALID_FIELD else ()
    return Problem(reason, rejection.message or "the backend refused", fields=fields, metadata=metadata)


def refused(command: command_pb2.Command, problem: Problem, *, expected_seq: int = 0) -> command_pb2.CommandResult:
    """The result of a command that was not applied."""
    outcome = command_pb2.OUTCOME_REJECTED
    if problem.reason in NOT_ACCEPTED:
        outcome = command_pb2.OUTCOME_NOT_ACCEPTED
    elif problem.reason in UNKNOWN:
        outcome = command_pb2.OUTCOME_UNKNOWN
    return command_pb2.CommandResult(
        # What names nothing is not sent back at full length.
        command_id=command.command_id[:NAME_SHOWN],
        resource=command.resource[:NAME_SHOWN],
        seq=command.seq,
        outcome=outcome,
        error=problem.error,
        expected_seq=expected_seq,
    )


def replayed(stored: bytes) -> command_pb2.CommandResult:
    """The stored result of a command that was executed before."""
    result = command_pb2.CommandResult.FromString(stored)
    result.replayed = True
    return result
