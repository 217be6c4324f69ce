"""Every reason and every code has its exception, and exceptions say what to do."""

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from legato import errors
from legato.error_table import BY_CODE, BY_REASON, from_error, from_rpc_error, translated
from legato.orchestrator.v1 import error_pb2
from legato.orchestrator.v1.error_pb2 import Error, ErrorReason, FieldViolation


def rpc_error(code: grpc.StatusCode, details: str = "", **trailing: bytes) -> grpc.aio.AioRpcError:
    metadata = grpc.aio.Metadata(*((key.replace("_", "-"), value) for key, value in trailing.items()))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), metadata, details)


@pytest.mark.parametrize(("name", "reason"), ErrorReason.items())
def test_every_reason_has_an_exception_that_nothing_else_has(name: str, reason: int) -> None:
    kind = BY_REASON[reason]
    assert [other for other, exception in BY_REASON.items() if exception is kind] == [reason], name


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_code_has_an_exception(code: grpc.StatusCode) -> None:
    error = from_rpc_error(rpc_error(code, "from a proxy"))
    assert type(error) is BY_CODE[code]
    assert (error.code, error.message, error.reason) == (code, "from a proxy", error_pb2.ERROR_REASON_UNSPECIFIED)


def test_all_that_the_hub_says_arrives() -> None:
    said = Error(
        code=9,
        reason=error_pb2.ERROR_REASON_INSUFFICIENT_STOCK,
        message="not enough of COF-1",
        field_violations=[FieldViolation(field="command.cart.add_line.quantity", description="at most 3")],
        retry_delay=Duration(seconds=1, nanos=500_000_000),
        metadata={"available": "3"},
    )
    failed = rpc_error(grpc.StatusCode.FAILED_PRECONDITION, "ignored", legato_error_bin=said.SerializeToString())
    for error in (from_error(said), from_rpc_error(failed)):
        assert isinstance(error, errors.InsufficientStock)
        assert isinstance(error, errors.Rejected)
        assert error.available == 3
        assert error.code is grpc.StatusCode.FAILED_PRECONDITION
        assert error.retry_delay == 1.5
        assert error.metadata == {"available": "3"}
        assert str(error) == (
            "not enough of COF-1 [INSUFFICIENT_STOCK]; command.cart.add_line.quantity: at most 3; retry after 1.5 s. "
            "Ask for less; `available` tells what is left, where the backend says."
        )


@pytest.mark.parametrize("said", ["", "many", "-1"])
def test_stock_that_the_backend_does_not_tell_is_none(said: str) -> None:
    assert errors.InsufficientStock(metadata={"available": said}).available is None


def test_a_reason_of_a_newer_hub_gets_the_exception_of_its_code() -> None:
    newer = Error(code=14, message="later")
    newer.MergeFromString(bytes([0x10, 0xE7, 0x07]))  # reason = 999
    error = from_error(newer)
    assert type(error) is errors.Unavailable
    assert error.retryable
    assert str(error).startswith("later [999]")


def test_no_reason_is_a_fault_of_the_hub_unless_the_code_says_more() -> None:
    assert type(from_error(Error(code=13, message="x"))) is errors.HubFault
    assert type(from_error(Error(code=5, message="x"))) is errors.NotFound
    assert type(from_error(Error(code=77, message="x"))) is errors.HubFault


def test_a_bare_rpc_error_keeps_its_text() -> None:
    assert str(from_rpc_error(grpc.RpcError("odd"))).startswith("odd. Report it")


def test_an_error_without_a_text_names_its_reason() -> None:
    assert str(from_error(Error(code=5, reason=error_pb2.ERROR_REASON_UNKNOWN_SKU))).startswith(
        "unknown sku [UNKNOWN_SKU]. "
    )


def test_retryable_tells_what_may_be_sent_again() -> None:
    again = {kind for kind in BY_REASON.values() if kind.retryable}
    assert again == {
        *(errors.Busy, errors.Throttled, errors.BackendUnavailable, errors.StorageUnavailable, errors.Draining),
        *(errors.DeadlineExceeded, errors.OutcomePending, errors.HubFault),
    }


def test_translated_keeps_the_cause_and_leaves_other_exceptions_alone() -> None:
    cause = rpc_error(grpc.StatusCode.NOT_FOUND)
    with pytest.raises(errors.NotFound) as caught, translated():
        raise cause
    assert caught.value.__cause__ is cause
    with pytest.raises(KeyError), translated():
        raise KeyError("x")
