"""From errors to the statuses of the contract, through a real servicer in a LocalChannel and on a port."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from legato.adapter.v1 import identity_service_pb2, identity_service_pb2_grpc
from legato.local_channel import LocalChannel
from legato_adapters.http import (
    Busy,
    Call,
    Denied,
    Failure,
    HttpClient,
    Malformed,
    NoAnswer,
    NotSent,
    Refused,
    answer_command,
    answer_read,
)
from tests.support.bad_answers import SECRET
from tests.support.http_backend import HttpBackend, answer
from tests.support.http_proxy import Reply

Code = grpc.StatusCode
NONE = ("legato-effect", "none")
Work = Callable[[Call], Awaitable[identity_service_pb2.ProbeResponse]]


class Servicer(identity_service_pb2_grpc.IdentityServiceServicer):
    """GetInfo is a read, Probe a command; both do what the test says."""

    def __init__(self) -> None:
        self.work: Work

    async def GetInfo(self, request: Any, context: Any) -> Any:
        return await answer_read(context, self.work)

    async def Probe(self, request: Any, context: Any) -> Any:
        return await answer_command(context, self.work)


@pytest.fixture
def servicer() -> Servicer:
    return Servicer()


@pytest.fixture(params=["local", "port"])
async def stub(
    servicer: Servicer, request: pytest.FixtureRequest
) -> AsyncIterator["identity_service_pb2_grpc.IdentityServiceAsyncStub"]:
    if request.param == "local":
        async with LocalChannel() as local:
            identity_service_pb2_grpc.add_IdentityServiceServicer_to_server(servicer, local)
            yield identity_service_pb2_grpc.IdentityServiceStub(local)
        return
    server = grpc.aio.server()
    identity_service_pb2_grpc.add_IdentityServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield identity_service_pb2_grpc.IdentityServiceStub(channel)
    await server.stop(0)


def raising(error: Exception, *, touched: bool = False) -> Work:
    async def work(call: Call) -> identity_service_pb2.ProbeResponse:
        call.touched = touched
        raise error

    return work


async def failed(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


READS = [
    (NotSent("x"), Code.UNAVAILABLE),
    (NoAnswer("x"), Code.UNAVAILABLE),
    (Malformed("x"), Code.UNAVAILABLE),
    (KeyError(SECRET), Code.UNAVAILABLE),
    (ValueError(SECRET), Code.UNAVAILABLE),
    (Busy("x"), Code.RESOURCE_EXHAUSTED),
    (Denied("x"), Code.FAILED_PRECONDITION),
    (Refused("shop", 404), Code.NOT_FOUND),
    (Refused("shop", 400, {"message": SECRET}), Code.FAILED_PRECONDITION),
    (Failure(Code.ABORTED, "x"), Code.ABORTED),
]

COMMANDS = [
    # error, touched before, code, says that nothing was done
    (NotSent("x"), False, Code.UNAVAILABLE, True),
    (NotSent("x"), True, Code.UNKNOWN, False),
    (NoAnswer("x"), True, Code.UNKNOWN, False),
    (NoAnswer("x"), False, Code.UNAVAILABLE, True),
    (NoAnswer("x", timed_out=True), True, Code.DEADLINE_EXCEEDED, False),
    (Malformed("x"), True, Code.UNKNOWN, False),
    (KeyError(SECRET), True, Code.UNKNOWN, False),
    (KeyError(SECRET), False, Code.UNAVAILABLE, True),
    (Busy("x"), False, Code.RESOURCE_EXHAUSTED, False),
    (Busy("x"), True, Code.UNKNOWN, False),
    (Denied("x"), False, Code.UNAVAILABLE, True),
    (Refused("shop", 400, {"message": SECRET}), False, Code.INVALID_ARGUMENT, False),
    (Refused("shop", 400, {"message": SECRET}), True, Code.UNKNOWN, False),
    (Failure(Code.ABORTED, "x"), True, Code.ABORTED, False),
]


@pytest.mark.parametrize(("error", "code"), READS, ids=repr)
async def test_reads(
    stub: Any, servicer: Servicer, caplog: pytest.LogCaptureFixture, error: Exception, code: Code
) -> None:
    servicer.work = raising(error)
    got = await failed(stub.GetInfo(identity_service_pb2.GetInfoRequest()))
    assert got.code() is code
    assert got.details()
    assert SECRET not in f"{got.details()} {caplog.text}"


@pytest.mark.parametrize(("error", "touched", "code", "none"), COMMANDS, ids=repr)
async def test_commands(
    stub: Any,
    servicer: Servicer,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    touched: bool,
    code: Code,
    none: bool,
) -> None:
    caplog.set_level(logging.DEBUG, logger="legato_adapters")
    servicer.work = raising(error, touched=touched)
    got = await failed(stub.Probe(identity_service_pb2.ProbeRequest()))
    assert got.code() is code
    assert (NONE in [tuple(pair) for pair in got.trailing_metadata()]) == none
    assert SECRET not in f"{got.details()} {caplog.text}"


async def test_when_to_come_back(stub: Any, servicer: Servicer) -> None:
    servicer.work = raising(Busy("x", 2.5))
    for call in (
        stub.GetInfo(identity_service_pb2.GetInfoRequest()),
        stub.Probe(identity_service_pb2.ProbeRequest()),
    ):
        error: Any = await failed(call)
        status = rpc_status.from_call(cast(Any, _Sync(error)))
        assert status is not None
        info = error_details_pb2.RetryInfo()
        assert status.details[0].Unpack(info)
        assert info.retry_delay.ToMilliseconds() == 2_500


class _Sync:
    """What `rpc_status` wants of a call."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.trailing_metadata = error.trailing_metadata
        self.code = error.code
        self.details = error.details


async def test_the_deadline_travels(stub: Any, servicer: Servicer) -> None:
    seen: list[float] = []

    async def work(call: Call) -> identity_service_pb2.ProbeResponse:
        seen.append(call.left(1_000))
        return identity_service_pb2.ProbeResponse()

    servicer.work = work
    await stub.Probe(identity_service_pb2.ProbeRequest(), timeout=100)
    await stub.Probe(identity_service_pb2.ProbeRequest())
    assert 90 < seen[0] < 110  # gRPC adds up to a second to it
    assert seen[1] == 1_000


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_the_trace_goes_through(
    stub: Any, servicer: Servicer, backend: HttpBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    client = HttpClient("shop", backend.url)
    await client.open()

    async def work(call: Call) -> identity_service_pb2.ProbeResponse:
        await client.read(call, "GET", "/carts/{id}", parts={"id": SECRET}, query={"key": SECRET})
        backend.on("", answer(Reply(b"swordfish", 500)))
        await client.read(call, "GET", "/carts/{id}", parts={"id": SECRET})
        raise AssertionError

    servicer.work = work
    await failed(stub.Probe(identity_service_pb2.ProbeRequest(), metadata=(("traceparent", PARENT),)))
    await client.close()
    good, bad = exporter.get_finished_spans()
    assert good.name == "GET /carts/{id}"
    assert good.context is not None
    assert f"{good.context.trace_id:032x}" == PARENT[3:35]
    assert good.parent is not None
    assert f"{good.parent.span_id:016x}" == PARENT[36:52]
    sent = backend.requests[0]["headers"]["traceparent"]
    assert sent == f"{PARENT[:36]}{good.context.span_id:016x}-01", "the backend sees this request's span"
    assert (good.attributes or {})["http.response.status_code"] == 200
    assert bad.status.status_code is trace.StatusCode.ERROR
    assert (bad.attributes or {})["error.type"] == "NoAnswer"
    assert not any(SECRET in span.to_json() for span in (good, bad))
    assert backend.seen[0] == f"GET /carts/{SECRET}"


async def test_without_tracing_the_trace_goes_through_too(stub: Any, servicer: Servicer, backend: HttpBackend) -> None:
    client = HttpClient("shop", backend.url)
    await client.open()

    async def work(call: Call) -> identity_service_pb2.ProbeResponse:
        await client.read(call, "GET", "/carts")
        return identity_service_pb2.ProbeResponse()

    servicer.work = work
    await stub.Probe(identity_service_pb2.ProbeRequest(), metadata=(("traceparent", PARENT),))
    await client.close()
    assert backend.requests[0]["headers"]["traceparent"] == PARENT
