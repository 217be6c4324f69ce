"""Tokens, against a real server on which the test plays the hub."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import grpc
import pytest

import legato
from legato.orchestrator.v1 import error_pb2, stream_pb2
from legato.orchestrator.v1.stream_pb2 import ServerMessage
from tests.client.scripted_hub import ScriptedHub, connected, scripted_hub


@pytest.fixture
async def hub() -> AsyncIterator[ScriptedHub]:
    async with scripted_hub() as running:
        yield running


async def test_a_channel_key_becomes_a_token(hub: ScriptedHub) -> None:
    async with AsyncExitStack() as stack:
        opening = asyncio.create_task(
            stack.enter_async_context(legato.connect(hub.target, channel_key="key", close_timeout=0))
        )
        stream = await hub.accept()
        assert stream.metadata["authorization"] == "Bearer from the hub"
        await stream.welcome()
        client = await opening
        assert client.access_token == "from the hub"


async def test_a_refused_token_is_replaced_by_another(hub: ScriptedHub) -> None:
    tokens = iter(["old", "new"])

    async def source() -> str:
        return next(tokens)

    async with AsyncExitStack() as stack:
        opening = asyncio.create_task(
            stack.enter_async_context(legato.connect(hub.target, access_token=source, close_timeout=0))
        )
        stream = await hub.accept()
        assert stream.metadata["authorization"] == "Bearer old"
        stream.end(error_pb2.ERROR_REASON_TOKEN_EXPIRED, grpc.StatusCode.UNAUTHENTICATED)
        stream = await hub.accept()
        assert stream.metadata["authorization"] == "Bearer new"
        await stream.welcome()
        client = await opening
        assert client.connected


async def test_another_token_is_taken_on_the_open_stream_or_refused(hub: ScriptedHub) -> None:
    async with connected(hub) as (client, stream):
        changing = asyncio.create_task(client.authenticate("better"))
        assert (await stream.expect("authenticate")).access_token == "better"
        identity = stream_pb2.IdentitySummary(kind="service")
        stream.send(ServerMessage(authenticated=stream_pb2.Authenticated(identity=identity)))
        await changing
        assert (client.access_token, client.identity.kind) == ("better", "service")

        changing = asyncio.create_task(client.authenticate("worse"))
        await stream.expect("authenticate")
        error = error_pb2.Error(reason=error_pb2.ERROR_REASON_UNAUTHENTICATED, code=16, message="no")
        stream.send(ServerMessage(authenticated=stream_pb2.Authenticated(error=error)))
        with pytest.raises(legato.Unauthenticated):
            await changing
        assert (client.access_token, client.identity.kind) == ("better", "service")


async def test_a_refused_token_does_not_take_the_place_of_a_good_one(hub: ScriptedHub) -> None:
    async with connected(hub) as (client, first):
        first.end(error_pb2.ERROR_REASON_DRAINING, grpc.StatusCode.UNAVAILABLE)
        await client._link.wait_until(lambda: not client.connected, 10, "it did not notice")
        changing = asyncio.create_task(client.authenticate("worse"))
        await asyncio.sleep(0)
        stream = await hub.accept()
        assert stream.metadata["authorization"] == "Bearer worse"
        stream.end(error_pb2.ERROR_REASON_UNAUTHENTICATED, grpc.StatusCode.UNAUTHENTICATED)
        with pytest.raises(legato.Unauthenticated):
            await changing
        stream = await hub.accept()
        assert stream.metadata["authorization"] == "Bearer token"
        await stream.welcome()


async def test_no_token_helps_a_client_that_was_replaced(hub: ScriptedHub) -> None:
    async with connected(hub) as (client, stream):
        changing = asyncio.create_task(client.authenticate("better"))
        await stream.expect("authenticate")
        stream.end(error_pb2.ERROR_REASON_CONNECTION_REPLACED, grpc.StatusCode.ABORTED)
        with pytest.raises(legato.ConnectionReplaced):
            await changing
        with pytest.raises(legato.ConnectionReplaced):
            await client.authenticate("better still")
