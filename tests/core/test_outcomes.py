"""Every reason has its code and its place in the seq outcome table."""

import pytest

from legato.adapter.v1 import cart_service_pb2
from legato.orchestrator.v1 import command_pb2, error_pb2
from legato_hub.core import outcomes
from legato_hub.core.problem import CODES, Problem

REJECTIONS = [r for r in cart_service_pb2.RejectionReason.values() if r]


@pytest.mark.parametrize("reason", error_pb2.ErrorReason.values())
def test_every_reason_has_a_code(reason: "error_pb2.ErrorReason.ValueType") -> None:
    assert Problem(reason, "x").error.code == CODES[reason]


@pytest.mark.parametrize("reason", REJECTIONS)
def test_every_refusal_of_a_backend_keeps_its_name(reason: "cart_service_pb2.RejectionReason.ValueType") -> None:
    problem = outcomes.of_rejection(cart_service_pb2.Rejection(reason=reason), "command.cart.add_line")
    name = cart_service_pb2.RejectionReason.Name(reason).removeprefix("REJECTION_REASON_")
    assert error_pb2.ErrorReason.Name(problem.reason) == f"ERROR_REASON_{name}"
    result = outcomes.refused(command_pb2.Command(seq=3), problem)
    assert result.outcome == command_pb2.OUTCOME_REJECTED, "a refusal for reasons of business consumes its seq"


def test_an_unlisted_refusal_keeps_the_backends_word() -> None:
    rejection = cart_service_pb2.Rejection(native_code="CODE_42", message="no", available_steps=0)
    problem = outcomes.of_rejection(rejection, "command.cart.add_line")
    assert problem.reason == error_pb2.ERROR_REASON_REJECTED_BY_BACKEND
    assert dict(problem.error.metadata) == {"native_code": "CODE_42", "available": "0"}
