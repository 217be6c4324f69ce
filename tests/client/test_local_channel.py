"""A `LocalChannel` and a real server over TCP, held against the same expectations."""

import asyncio
import contextlib
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from legato.adapter.v1 import catalog_service_pb2 as pb
from legato.adapter.v1 import catalog_service_pb2_grpc as rpc
from legato.local_channel import LocalChannel
from tests.support.mirrored_channel import (
    ANSWER,
    Code,
    Servicer,
    Stub,
    call,
    failure,
    locally,
)


async def test_answer(servicer: Servicer, stub: Stub) -> None:
    async def handler(request: Any, context: Any) -> Any:
        await context.send_initial_metadata((("first", "1"),))
        context.set_trailing_metadata((("last", "2"), ("raw-bin", b"\x00\xff")))
        context.set_details("not sent with OK")
        return ANSWER

    servicer.handler = handler
    running = call(stub)
    seen: list[Any] = []
    running.add_done_callback(seen.append)
    assert await running == ANSWER
    assert await running == ANSWER, "an answer can be awaited twice"
    assert (await running.code(), await running.details()) == (Code.OK, "")
    assert list(await running.initial_metadata()) == [("first", "1")]
    assert list(await running.trailing_metadata()) == [("last", "2"), ("raw-bin", b"\x00\xff")]
    assert running.done()
    assert not running.cancelled()
    assert not running.cancel(), "it is too late to cancel"
    assert len(seen) == 1
    running.add_done_callback(seen.append)
    assert len(seen) == 2


async def test_neither_side_sees_what_the_other_changes(servicer: Servicer, stub: Stub) -> None:
    kept = pb.SearchProductsResponse(next_page_token="kept")

    async def handler(request: pb.SearchProductsRequest, context: Any) -> Any:
        assert request.query == "sent"
        request.query = "changed by the handler"
        return kept

    servicer.handler = handler
    request = pb.SearchProductsRequest(query="sent")
    answer = await stub.SearchProducts(request)
    answer.next_page_token = "changed by the caller"
    assert (request.query, kept.next_page_token) == ("sent", "kept")


async def test_metadata_and_deadline_reach_the_handler(servicer: Servicer, stub: Stub) -> None:
    seen: list[Any] = []

    async def handler(request: Any, context: Any) -> Any:
        given = [(m.key, m.value) for m in context.invocation_metadata() if m.key != "user-agent"]
        seen.append((given, context.time_remaining()))
        return ANSWER

    servicer.handler = handler
    metadata = (("k", "1"), ("k", "2"), ("raw-bin", b"\x00"))
    running = call(stub, metadata=metadata, timeout=60)
    assert 0 < running.time_remaining() <= 60
    await running
    await call(stub, metadata=grpc.aio.Metadata(("k", "1")))
    (given, remaining), (given_object, endless) = seen
    assert given == list(metadata)
    # Over a network the handler's clock starts a little later than the caller's, and gRPC rounds up.
    assert 0 < remaining < 61
    assert given_object == [("k", "1")]
    assert endless is None


async def test_uncaught_exception(servicer: Servicer, stub: Stub) -> None:
    async def handler(request: Any, context: Any) -> Any:
        context.set_trailing_metadata((("k", "v"),))
        raise ValueError("boom")

    error = await failure(servicer, stub, handler)
    assert error.code() is Code.UNKNOWN
    assert error.details() == "Unexpected <class 'ValueError'>: boom"
    assert list(error.trailing_metadata()) == [("k", "v")]


async def test_code_set_before_an_exception(servicer: Servicer, stub: Stub) -> None:
    async def handler(request: Any, context: Any) -> Any:
        context.set_code(Code.NOT_FOUND)
        raise ValueError("boom")

    error = await failure(servicer, stub, handler)
    assert error.code() is Code.NOT_FOUND
    assert error.details() == "Unexpected <class 'ValueError'>: boom"


async def test_code_set_with_an_answer(servicer: Servicer, stub: Stub) -> None:
    async def handler(request: Any, context: Any) -> Any:
        context.set_code(Code.NOT_FOUND)
        context.set_details("no such thing")
        context.set_trailing_metadata((("k", "v"),))
        return ANSWER

    error = await failure(servicer, stub, handler)
    assert (error.code(), error.details()) == (Code.NOT_FOUND, "no such thing")
    assert list(error.trailing_metadata()) == [("k", "v")]


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (5, Code.NOT_FOUND),
        (14, Code.UNAVAILABLE),
        (17, Code.UNKNOWN),
        (-1, Code.UNKNOWN),
        ("nonsense", Code.UNKNOWN),
    ],
)
async def test_code_set_by_its_number(servicer: Servicer, stub: Stub, number: Any, code: Code) -> None:
    async def handler(request: Any, context: Any) -> Any:
        context.set_code(number)
        context.set_details("by number")
        return ANSWER

    error = await failure(servicer, stub, handler)
    assert (error.code(), error.details()) == (code, "by number")


async def test_ok_set_by_its_number(servicer: Servicer, stub: Stub) -> None:
    async def handler(request: Any, context: Any) -> Any:
        context.set_code(0)
        return ANSWER

    servicer.handler = handler
    assert await call(stub) == ANSWER


@pytest.mark.parametrize("raises", [True, False])
async def test_abort_by_number(servicer: Servicer, stub: Stub, raises: bool) -> None:
    async def handler(request: Any, context: Any) -> Any:
        if raises:
            context.set_code(7)
            raise ValueError("boom")
        await context.abort(7, "no")

    error = await failure(servicer, stub, handler)
    assert error.code() is Code.PERMISSION_DENIED


@pytest.mark.parametrize("answer", [None, 5])
async def test_answer_that_is_no_message(servicer: Servicer, stub: Stub, answer: Any) -> None:
    async def handler(request: Any, context: Any) -> Any:
        return answer

    error = await failure(servicer, stub, handler)
    assert error.code() is Code.UNKNOWN
    assert "TypeError" in str(error.details())


async def test_abort(servicer: Servicer, stub: Stub) -> None:
    async def handler(request: Any, context: Any) -> Any:
        context.set_trailing_metadata((("set", "before"),))
        await context.abort(Code.ABORTED, "enough", (("given", "now"),))

    error = await failure(servicer, stub, handler)
    assert (error.code(), error.details()) == (Code.ABORTED, "enough")
    assert list(error.trailing_metadata()) == [("given", "now")]


async def test_abort_keeps_what_was_set(servicer: Servicer, stub: Stub) -> None:
    async def handler(request: Any, context: Any) -> Any:
        context.set_trailing_metadata((("set", "before"),))
        context.set_details("said before")
        await context.abort(Code.ABORTED)

    error = await failure(servicer, stub, handler)
    assert (error.code(), error.details()) == (Code.ABORTED, "said before")
    assert list(error.trailing_metadata()) == [("set", "before")]


@pytest.mark.parametrize("then", ["answer", "raise", "abort"])
async def test_the_first_abort_stands(servicer: Servicer, stub: Stub, then: str) -> None:
    async def handler(request: Any, context: Any) -> Any:
        with contextlib.suppress(grpc.aio.AbortError):
            await context.abort(Code.ABORTED, "first")
        if then == "raise":
            raise ValueError("second")
        if then == "abort":
            await context.abort(Code.NOT_FOUND, "second")
        return ANSWER

    error = await failure(servicer, stub, handler)
    assert (error.code(), error.details()) == (Code.ABORTED, "first")


async def test_abort_with_status(servicer: Servicer, stub: Stub) -> None:
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason="TAKEN", domain="legato"))
    status = status_pb2.Status(code=code_pb2.ALREADY_EXISTS, message="taken", details=[detail])

    async def handler(request: Any, context: Any) -> Any:
        await context.abort_with_status(rpc_status.to_status(status))

    error = await failure(servicer, stub, handler)
    assert rpc_status.from_call(error) == status  # type: ignore[arg-type]  # it reads what an AioRpcError has


async def test_unknown_method(channel: grpc.aio.Channel) -> None:
    method = channel.unary_unary(
        "/legato.adapter.v1.CatalogService/Missing",
        request_serializer=pb.SearchProductsRequest.SerializeToString,
        response_deserializer=pb.SearchProductsResponse.FromString,
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await method(pb.SearchProductsRequest())
    assert (caught.value.code(), caught.value.details()) == (Code.UNIMPLEMENTED, "Method not found!")


async def test_method_that_nobody_implemented(stub: Stub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetProduct(pb.GetProductRequest())
    assert caught.value.code() is Code.UNIMPLEMENTED


# What only a LocalChannel can promise.


async def test_metadata_that_no_network_carries_is_refused(servicer: Servicer) -> None:
    async with locally(servicer) as channel:
        stub = rpc.CatalogServiceStub(channel)
        for metadata in [(("Upper", "v"),), (("k", "ü"),), (("k", b"v"),), (("k-bin", "text"),)]:
            with pytest.raises(ValueError, match=r"metadata key '[\w-]+'"):
                call(stub, metadata=metadata)


async def test_no_service_is_replaced(servicer: Servicer) -> None:
    channel = LocalChannel()
    rpc.add_CatalogServiceServicer_to_server(servicer, channel)
    with pytest.raises(ValueError, match="has a handler already"):
        rpc.add_CatalogServiceServicer_to_server(servicer, channel)


async def test_handler_that_cancels_itself(servicer: Servicer) -> None:
    async def handler(request: Any, context: Any) -> Any:
        raise asyncio.CancelledError

    async with locally(servicer) as channel:
        error = await failure(servicer, rpc.CatalogServiceStub(channel), handler)
    assert error.code() is Code.CANCELLED
