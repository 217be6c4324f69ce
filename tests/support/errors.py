"""What a refusal says, read as different clients read it."""

import grpc.aio
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from legato.orchestrator.v1 import error_pb2


def reason(error: error_pb2.Error) -> str:
    return error_pb2.ErrorReason.Name(error.reason).removeprefix("ERROR_REASON_")


def error_info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # an AioRpcError has what it needs
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    assert info.domain == "legato"
    return info


def bad_request(error: grpc.aio.AioRpcError) -> list[str]:
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # an AioRpcError has what it needs
    assert status is not None
    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in status.details)
    return [violation.field for violation in bad.field_violations]


def trailer_reason(error: grpc.aio.AioRpcError) -> str:
    """The reason as a client without google.rpc reads it."""
    trailers = dict(error.trailing_metadata())
    data = trailers["legato-error-bin"]
    assert isinstance(data, bytes)
    return reason(error_pb2.Error.FromString(data))
