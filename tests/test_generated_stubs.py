"""The generated stubs serve async and sync callers alike, and type checkers see what each returns.

`assert_type` is checked by mypy; running it proves that the stubs' types are the truth.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, assert_type

import grpc
import pytest
from grpc import aio

from legato.adapter.v1 import identity_service_pb2 as pb
from legato.adapter.v1 import identity_service_pb2_grpc as rpc

if TYPE_CHECKING:
    # Known to type checkers only: at run time there is one stub class.
    from legato.adapter.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub


class Identity(rpc.IdentityServiceServicer):
    async def GetInfo(
        self, request: pb.GetInfoRequest, context: aio.ServicerContext[pb.GetInfoRequest, pb.GetInfoResponse]
    ) -> pb.GetInfoResponse:
        return pb.GetInfoResponse(name="sample", effect_class=pb.EFFECT_CLASS_KEYED)

    async def Probe(
        self, request: pb.ProbeRequest, context: aio.ServicerContext[pb.ProbeRequest, pb.ProbeResponse]
    ) -> pb.ProbeResponse:
        return pb.ProbeResponse()


@pytest.fixture
async def address() -> AsyncIterator[str]:
    """Where an aio server with the sample servicer listens."""
    server = aio.server()
    rpc.add_IdentityServiceServicer_to_server(Identity(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def test_an_async_caller_awaits_the_answer(address: str) -> None:
    async with aio.insecure_channel(address) as rpc_channel:
        stub: IdentityServiceAsyncStub = rpc.IdentityServiceStub(rpc_channel)
        answer = await stub.GetInfo(pb.GetInfoRequest(), timeout=5)
    assert_type(answer, pb.GetInfoResponse)
    assert (answer.name, answer.effect_class) == ("sample", pb.EFFECT_CLASS_KEYED)


async def test_a_sync_caller_gets_the_answer(address: str) -> None:
    def call() -> pb.GetInfoResponse:
        with grpc.insecure_channel(address) as rpc_channel:
            answer = rpc.IdentityServiceStub(rpc_channel).GetInfo(pb.GetInfoRequest(), timeout=5)
        assert_type(answer, pb.GetInfoResponse)
        return answer

    # The server lives in this loop, so the blocking caller must not.
    assert (await asyncio.to_thread(call)).name == "sample"
