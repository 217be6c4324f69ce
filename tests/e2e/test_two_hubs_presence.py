"""Who is there, and as whom, when channels are connected to different hubs."""

import asyncio
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path

import grpc.aio
import pytest

from legato.orchestrator.v1 import stream_pb2
from legato.protocol.ids import new_id
from tests.support.errors import trailer_reason
from tests.support.stream import TIMEOUT_S, Stream
from tests.support.two_hubs import TwoHubs, two_hubs

NEVER_S = 3_600.0
"""No list is renewed, and none ends, while a test runs."""


@pytest.fixture
async def hubs(tmp_path: Path) -> AsyncIterator[TwoHubs]:
    async with two_hubs(tmp_path, server={"presence_seconds": NEVER_S}) as running:
        yield running


async def shows(stream: Stream, *kinds: str) -> stream_pb2.Presence:
    """The last presence message, once it names channels of these kinds, in this order."""

    def last() -> stream_pb2.Presence:
        return next((m.presence for m in reversed(stream.received) if m.HasField("presence")), stream_pb2.Presence())

    def as_wanted(_: object) -> bool:
        return [channel.channel.kind for channel in last().channels] == list(kinds)

    if not as_wanted(None):
        await stream.where(as_wanted, len(stream.received))
    return last()


async def test_presence_is_that_of_both_hubs(hubs: TwoHubs) -> None:
    shopper = await hubs.one.shopper()
    async with Stream(hubs.one, shopper.token) as web:
        cart = await web.create_cart()
        await web.subscribe(cart)
        async with Stream(hubs.two, shopper.token, channel="app") as app:
            await app.subscribe(cart)
            await app.subscribe(cart, "twice")
            seen = await shows(web, "web", "app")
            assert [channel.self for channel in seen.channels] == [True, False]
            seen = await shows(app, "web", "app")
            assert [channel.self for channel in seen.channels] == [False, True]
            async with Stream(hubs.one, shopper.token, channel="social") as social:
                await social.subscribe(cart)
                for stream in (web, app, social):
                    await shows(stream, "web", "app", "social")
                await social.send(unsubscribe={"subscription_id": "s"})
                for stream in (web, app):
                    await shows(stream, "web", "app")
        await shows(web, "web")


async def test_a_hub_that_stops_takes_its_channels_with_it_at_once(hubs: TwoHubs) -> None:
    shopper = await hubs.one.shopper()
    async with Stream(hubs.one, shopper.token) as web, Stream(hubs.two, shopper.token, channel="app") as app:
        cart = await web.create_cart()
        await asyncio.gather(web.subscribe(cart), app.subscribe(cart))
        await shows(web, "web", "app")
        hubs.processes[1].process.terminate()
        await shows(web, "web")
        assert await hubs.processes[1].died() == 0


async def test_a_killed_hub_is_forgotten(tmp_path: Path) -> None:
    async with two_hubs(tmp_path, server={"presence_seconds": 1.0}) as hubs:
        shopper = await hubs.one.shopper()
        async with (
            Stream(hubs.one, shopper.token) as web,
            Stream(hubs.two, shopper.token, channel="app") as app,
        ):
            cart = await web.create_cart()
            await asyncio.gather(web.subscribe(cart), app.subscribe(cart))
            await shows(web, "web", "app")
            start = len(web.received)
            hubs.processes[1].process.kill()
            await shows(web, "web")
            assert web.kinds(start).count("presence") == 1


async def test_a_newer_connection_on_another_hub_replaces_the_older(hubs: TwoHubs) -> None:
    shopper = await hubs.one.shopper()
    client_id = new_id()
    former: Stream | None = None
    # To and fro: each ends the one before, and none ends a newer one.
    for hub in (hubs.one, hubs.two, hubs.one, hubs.one, hubs.two):
        stream = await Stream(hub, shopper.token, client_id=client_id).__aenter__()
        if former is not None:
            error = await former.end()
            assert error is not None
            assert error.code() is grpc.StatusCode.ABORTED
            assert trailer_reason(error) == "CONNECTION_REPLACED"
        former = stream
    assert former is not None
    assert (await former.create_cart()).startswith("carts/")
    await former.__aexit__()


async def test_of_many_connections_at_once_exactly_one_lives(hubs: TwoHubs) -> None:
    shopper = await hubs.one.shopper()
    for _ in range(3):
        client_id = new_id()
        streams = [Stream(hub, shopper.token, client_id=client_id) for hub in (hubs.one, hubs.two) for _ in range(8)]
        # One that was replaced before it was welcomed ends all the same.
        await asyncio.gather(*(stream.__aenter__() for stream in streams), return_exceptions=True)
        async with asyncio.timeout(TIMEOUT_S):
            ends = {asyncio.create_task(stream.end()) for stream in streams}
            for replaced in islice(asyncio.as_completed(ends), len(streams) - 1):
                error = await replaced
                assert error is not None
                assert trailer_reason(error) == "CONNECTION_REPLACED"
        for end in ends:
            end.cancel()
        (alive,) = [stream for stream in streams if not stream.ended.is_set()]
        assert (await alive.create_cart()).startswith("carts/")
        for stream in streams:
            await stream.__aexit__()


async def test_the_connection_of_a_dead_hub_is_replaced_without_delay(hubs: TwoHubs) -> None:
    shopper = await hubs.one.shopper()
    async with Stream(hubs.one, shopper.token) as web:
        cart = await web.create_cart()
        hubs.processes[0].process.kill()
        await web.end()
        async with Stream(hubs.two, shopper.token, client_id=web.client_id) as again:
            await again.subscribe(cart)
            assert (await again.create_cart()).startswith("carts/")
