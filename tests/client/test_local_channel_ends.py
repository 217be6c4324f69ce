"""How calls on a `LocalChannel` end, held against a real server over TCP: deadlines, cancellation, closing."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import catalog_service_pb2_grpc as rpc
from tests.support.mirrored_channel import (
    ANSWER,
    Code,
    Servicer,
    Stub,
    call,
    failure,
)


async def test_deadline_ends_the_call_and_the_handler(servicer: Servicer, stub: Stub) -> None:
    cancelled, finished = asyncio.Event(), asyncio.Event()

    async def handler(request: Any, context: Any) -> Any:
        context.add_done_callback(lambda _: finished.set())
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    error = await failure(servicer, stub, handler, timeout=0.05)
    assert (error.code(), error.details()) == (Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
    await asyncio.wait_for(cancelled.wait(), 10)
    await asyncio.wait_for(finished.wait(), 10)


async def test_deadline_does_not_wait_for_a_slow_clean_up(servicer: Servicer, stub: Stub) -> None:
    release, ended = asyncio.Event(), asyncio.Event()

    async def handler(request: Any, context: Any) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            await release.wait()
            ended.set()

    error = await failure(servicer, stub, handler, timeout=0.05)
    assert error.code() is Code.DEADLINE_EXCEEDED
    assert not ended.is_set()
    release.set()
    await asyncio.wait_for(ended.wait(), 10)


async def test_deadline_in_the_past(servicer: Servicer, stub: Stub) -> None:
    async def handler(request: Any, context: Any) -> Any:
        return ANSWER

    error = await failure(servicer, stub, handler, timeout=-1)
    assert (error.code(), error.details()) == (Code.DEADLINE_EXCEEDED, "Deadline Exceeded")


@pytest.mark.parametrize("how", ["call", "awaiting task"])
async def test_cancellation_reaches_the_handler(servicer: Servicer, stub: Stub, how: str) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(request: Any, context: Any) -> Any:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    servicer.handler = handler
    running = call(stub)
    waiting = asyncio.ensure_future(running)
    await asyncio.wait_for(started.wait(), 10)
    assert running.cancel() if how == "call" else waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait_for(cancelled.wait(), 10)
    assert running.cancelled()
    assert running.done()
    assert not running.cancel(), "it is cancelled already"
    assert await running.code() is Code.CANCELLED
    assert await running.details() == "Locally cancelled by application!"


async def test_cancelled_before_it_began(servicer: Servicer, stub: Stub) -> None:
    running = call(stub)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert running.cancelled()


async def test_close(servicer: Servicer, channel: grpc.aio.Channel) -> None:
    stub = rpc.CatalogServiceStub(channel)
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(request: Any, context: Any) -> Any:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    await asyncio.wait_for(channel.channel_ready(), 10)
    servicer.handler = handler
    running = call(stub)
    await asyncio.wait_for(started.wait(), 10)
    await channel.close()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.wait_for(cancelled.wait(), 10)
    assert channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN
    with pytest.raises(grpc.aio.UsageError):
        await call(stub)


async def test_close_with_grace_lets_a_call_end(servicer: Servicer, channel: grpc.aio.Channel) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def handler(request: Any, context: Any) -> Any:
        started.set()
        await release.wait()
        return ANSWER

    servicer.handler = handler
    running = call(rpc.CatalogServiceStub(channel))
    await asyncio.wait_for(started.wait(), 10)
    closing = asyncio.create_task(channel.close(grace=30))
    release.set()
    assert await running == ANSWER
    await closing
