"""However many streams of a hub follow a resource, the hub follows it once, and as long as somebody needs it."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from legato.commerce.v1 import cart_intent_pb2, quantity_pb2
from legato.protocol.ids import new_id
from legato_hub import live_resources as module
from legato_hub.config import StorageConfig
from tests.storage.valkey_deeds import subscribed
from tests.storage.valkey_servers import own_server
from tests.support.hub import RunningHub, hub_config, running_hub
from tests.support.shop import SKU
from tests.support.stream import TIMEOUT_S, Stream
from tests.support.two_hubs import storage_url


def add(steps: int) -> cart_intent_pb2.AddLine:
    return cart_intent_pb2.AddLine(sku=SKU, quantity=quantity_pb2.Quantity(steps=steps))


async def test_many_streams_of_a_hub_are_one_subscription_at_the_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_KEPT", 1)
    with own_server() as valkey:
        config = msgspec.structs.replace(hub_config(tmp_path), storage=StorageConfig(url=storage_url(valkey.port)))
        async with running_hub(config) as hub:
            await _one_subscription(hub, valkey.port)


async def _one_subscription(hub: RunningHub, port: int) -> None:
    shopper = await hub.shopper()
    session = f"sessions/{shopper.session_id}"
    async with Stream(hub, shopper.token) as first:
        cart = await first.create_cart()
        streams = [await Stream(hub, shopper.token).__aenter__() for _ in range(12)]
        for stream in streams:
            await stream.subscribe(cart)
            await stream.subscribe(cart, "again")
            await stream.subscribe(session, "session")
            await stream.subscribe(f"{session}/active_cart", "active")
        await subscribed(port, cart, hubs=1)
        await subscribed(port, session, hubs=1)
        for stream in streams[1:]:
            await stream.__aexit__()
        await streams[0].send(unsubscribe={"subscription_id": "s"})
        # Whoever is left is told still.
        result = await first.command(cart, add_line=add(1))
        await streams[0].until_revision(result.cursor.revision, "again")
        await _need_the_room(hub)
        await subscribed(port, cart, hubs=1)
        await streams[0].__aexit__()
        await hub_lets_go(hub, cart)
        await _need_the_room(hub)
        await subscribed(port, cart, hubs=0)
        await subscribed(port, session, hubs=1)  # as the session of the first stream
    await hub_lets_go(hub, session)
    await _need_the_room(hub)
    await subscribed(port, session, hubs=0)


async def _need_the_room(hub: RunningHub) -> None:
    """Use another resource, so that what nobody needs is not kept for later."""
    await hub.hub._resources.get(f"carts/{new_id()}")


async def hub_lets_go(hub: RunningHub, name: str) -> None:
    """Wait until the streams that have gone hold a resource no more."""
    live = await hub.hub._resources.get(name)
    async with asyncio.timeout(TIMEOUT_S):
        # The hub has no event for this: it is nothing but memory.
        while live.pins:  # noqa: ASYNC110
            await asyncio.sleep(0)
