"""Subscriptions that begin, move and end while other things happen at the same moment."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from legato.commerce.v1 import cart_intent_pb2, quantity_pb2
from legato.orchestrator.v1 import command_pb2, cursor_pb2, error_pb2, stream_pb2
from legato.protocol.ids import new_id
from legato_hub.core.identity import IdentityKind
from legato_hub.live import Live
from legato_hub.storage.base import StorageError
from tests.support.hub import RunningHub, hub_config, running_hub
from tests.support.shop import SKU
from tests.support.stream import TIMEOUT_S, Stream, request

APPLIED = command_pb2.OUTCOME_APPLIED
TARGET_CHANGED = stream_pb2.SNAPSHOT_REASON_TARGET_CHANGED


def add(steps: int) -> cart_intent_pb2.AddLine:
    return cart_intent_pb2.AddLine(sku=SKU, quantity=quantity_pb2.Quantity(steps=steps))


def activation(session: str, seq: int, cart: str) -> command_pb2.Command:
    command = command_pb2.Command(command_id=new_id(), resource=session, seq=seq)
    command.session.activate_cart.cart_id = cart.removeprefix("carts/")
    return command


class Gate:
    """Holds calls of one method of the storage that name one resource."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def pass_through(self) -> None:
        self.reached.set()
        await self.open.wait()


@asynccontextmanager
async def gated(hub: RunningHub, method: str, name: str) -> AsyncIterator[Gate]:
    """The next call for `name` waits until the gate is opened."""
    gate, storage = Gate(), hub.hub._storage
    original: Callable[..., Awaitable[Any]] = getattr(storage, method)

    async def held(resource: str, *args: Any) -> Any:
        if resource == name and not gate.reached.is_set():
            await gate.pass_through()
        return await original(resource, *args)

    setattr(storage, method, held)
    try:
        yield gate
    finally:
        gate.open.set()
        setattr(storage, method, original)


@asynccontextmanager
async def failing(hub: RunningHub, method: str, name: str) -> AsyncIterator[None]:
    storage = hub.hub._storage
    original: Callable[..., Awaitable[Any]] = getattr(storage, method)

    async def broken(resource: str, *args: Any) -> Any:
        if resource == name:
            raise StorageError("the disk is on fire")
        return await original(resource, *args)

    setattr(storage, method, broken)
    try:
        yield
    finally:
        setattr(storage, method, original)


def held_by_anybody(hub: RunningHub) -> dict[str, tuple[int, int]]:
    """Pins and subscribers of every resource in memory that has any."""
    lives = [live for live in hub.hub._resources._live.values() if isinstance(live, Live)]
    return {live.name: (live.pins, len(live.subscribers)) for live in lives if live.pins or live.subscribers}


async def all_let_go(hub: RunningHub) -> None:
    """Wait until no stream is open any more and nothing is held."""
    async with asyncio.timeout(TIMEOUT_S):
        # The hub has no event for this: it is nothing but memory.
        while len(hub.hub.connections) or hub.hub._commands._running or held_by_anybody(hub):  # noqa: ASYNC110
            await asyncio.sleep(0)


async def hub_has_no_streams(hub: RunningHub) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while len(hub.hub.connections):  # noqa: ASYNC110 -- as above
            await asyncio.sleep(0)


async def two_carts(stream: Stream) -> tuple[str, str]:
    """Two carts of the session, the first one active; each with a line of its own size."""
    first, second = await stream.create_cart(), await stream.create_cart()
    await stream.command(first, add_line=add(1))
    await stream.command(second, add_line=add(2))
    return first, second


async def test_an_expired_identity_cannot_subscribe_again(hub: RunningHub) -> None:
    token = hub.token(IdentityKind.SERVICE, "short", "main", lives_ms=700)
    async with Stream(hub, token, channel="service") as stream:
        cart = await stream.create_cart()
        await stream.subscribe(cart)
        await stream.where(lambda m: m.subscription_status.HasField("error"))
        refused = await stream.subscribe(cart, "again")
        assert refused.subscription_status.error.reason == error_pb2.ERROR_REASON_TOKEN_EXPIRED


async def test_two_quick_activations_end_at_the_second(hub: RunningHub) -> None:
    shopper = await hub.shopper()
    session = f"sessions/{shopper.session_id}"
    async with Stream(hub, shopper.token) as web, Stream(hub, shopper.token, channel="app") as app:
        first, second = await two_carts(web)
        third = await web.create_cart()
        await app.subscribe(f"{session}/active_cart")
        async with gated(hub, "last_seq", second) as gate:
            await web.execute(activation(session, 1, second))
            await gate.reached.wait()
            await web.execute(activation(session, 2, third))
            await app.where(lambda m: m.snapshot.target == third)
        result = await web.command(third, add_line=add(4))
        await app.until_revision(result.cursor.revision)
        assert app.lines() == {SKU: 4}
        assert [m.snapshot.target for m in app.received if m.HasField("snapshot")] == [first, third]
        # The cart in between is not followed by anybody.
        assert second not in held_by_anybody(hub)


async def test_there_and_back_is_no_change(hub: RunningHub) -> None:
    shopper = await hub.shopper()
    session = f"sessions/{shopper.session_id}"
    async with Stream(hub, shopper.token) as web, Stream(hub, shopper.token, channel="app") as app:
        first, second = await two_carts(web)
        await app.subscribe(f"{session}/active_cart")
        async with gated(hub, "last_seq", second) as gate:
            await web.execute(activation(session, 1, second))
            await gate.reached.wait()
            await web.execute(activation(session, 2, first))
        result = await web.command(first, add_line=add(4))
        await app.until_revision(result.cursor.revision)
        assert app.lines() == {SKU: 5}
        assert held_by_anybody(hub)[first][1] == 1
        assert second not in held_by_anybody(hub)


async def test_news_while_another_cart_becomes_the_active_one(hub: RunningHub) -> None:
    """Progress is due while the new cart is still being read: no empty state, no delta without a base."""
    shopper = await hub.shopper()
    session = f"sessions/{shopper.session_id}"
    async with Stream(hub, shopper.token) as web, Stream(hub, shopper.token, channel="app") as app:
        _, second = await two_carts(web)
        await app.subscribe(f"{session}/active_cart")
        start = len(app.received)
        async with gated(hub, "last_seq", second) as gate:
            await web.execute(activation(session, 1, second))
            await gate.reached.wait()
            hub.hub.connections.progress()
            await app.send(ping={"nonce": 7})
            await app.where(lambda m: m.pong.nonce == 7)
        changed = await app.where(lambda m: m.HasField("snapshot"), start)
        assert (changed.snapshot.target, changed.snapshot.reason) == (second, TARGET_CHANGED)
        result = await web.command(second, add_line=add(4))
        await app.until_revision(result.cursor.revision)
        assert app.lines() == {SKU: 6}


async def test_another_active_cart_while_the_former_is_resumed(hub: RunningHub) -> None:
    """The cursor belongs to the former cart: no delta of the new one may stand on it."""
    shopper = await hub.shopper()
    session = f"sessions/{shopper.session_id}"
    async with Stream(hub, shopper.token) as web:
        first, second = await two_carts(web)
        await web.subscribe(first)
        cursor = web.cursors["s"]
        async with Stream(hub, shopper.token, channel="app") as app:
            app.adopt(web)
            async with gated(hub, "last_seq", first) as gate:
                wish = stream_pb2.Subscribe(
                    subscription_id="s", resource=f"{session}/active_cart", since=cursor, since_target=first
                )
                await app.send(subscribe=wish)
                await gate.reached.wait()
                await web.execute(activation(session, 1, second))
                # The new cart may be known before the former was read, and after.
                await app.where(lambda m: m.HasField("snapshot"))
            result = await web.command(second, add_line=add(4))
            await app.where(lambda m: m.delta.cursor.revision == result.cursor.revision)
            shown = [m.snapshot for m in app.received if m.HasField("snapshot")]
            assert [(s.target, s.reason) for s in shown] == [(second, TARGET_CHANGED)]
            assert app.lines() == {SKU: 6}


async def test_unsubscribed_while_the_active_cart_changes(hub: RunningHub) -> None:
    shopper = await hub.shopper()
    session = f"sessions/{shopper.session_id}"
    async with Stream(hub, shopper.token) as web, Stream(hub, shopper.token, channel="app") as app:
        _, second = await two_carts(web)
        await app.subscribe(f"{session}/active_cart")
        async with gated(hub, "last_seq", second) as gate:
            await web.execute(activation(session, 1, second))
            await gate.reached.wait()
            await app.send(unsubscribe={"subscription_id": "s"})
            await app.where(lambda m: m.subscription_status.state == stream_pb2.SUBSCRIPTION_STATE_CLOSED)
            # The id may be used again, for something else.
            await app.subscribe(second)
        result = await web.command(second, add_line=add(4))
        await app.until_revision(result.cursor.revision)
        assert app.lines() == {SKU: 6}
    await all_let_go(hub)


async def test_a_storage_that_fails_while_subscribing_fails_that_subscription(hub: RunningHub) -> None:
    shopper = await hub.shopper()
    async with Stream(hub, shopper.token) as web:
        cart = await web.create_cart()
        async with failing(hub, "last_seq", cart):
            refused = await web.subscribe(cart)
        assert refused.subscription_status.error.reason == error_pb2.ERROR_REASON_STORAGE_UNAVAILABLE
        # Nothing is left of it: the id is free, and the stream lives.
        shown = await web.subscribe(cart)
        assert shown.HasField("snapshot")
    await all_let_go(hub)


async def test_a_storage_that_fails_while_retargeting_ends_that_subscription_only(hub: RunningHub) -> None:
    shopper = await hub.shopper()
    session = f"sessions/{shopper.session_id}"
    async with Stream(hub, shopper.token) as web, Stream(hub, shopper.token, channel="app") as app:
        first, second = await two_carts(web)
        await app.subscribe(f"{session}/active_cart", "active")
        await app.subscribe(first, "first")
        async with failing(hub, "last_seq", second):
            await web.execute(activation(session, 1, second))
            closed = await app.where(lambda m: m.subscription_status.HasField("error"))
        assert closed.subscription_status.subscription_id == "active"
        assert closed.subscription_status.error.reason == error_pb2.ERROR_REASON_STORAGE_UNAVAILABLE
        result = await web.command(first, add_line=add(4))
        await app.until_revision(result.cursor.revision, "first")
    await all_let_go(hub)


@pytest.mark.parametrize("what", ["last_seq", "since", "load"])
async def test_a_client_that_leaves_while_it_subscribes_leaves_nothing_behind(hub: RunningHub, what: str) -> None:
    shopper = await hub.shopper()
    service = hub.token(IdentityKind.SERVICE, "crm", "main")
    async with Stream(hub, shopper.token) as web:
        cart = await web.create_cart()
    await all_let_go(hub)
    hub.hub._resources._live.clear()
    hub.hub._resources._idle.clear()  # as if it had not been used for long
    async with gated(hub, what, cart) as gate:
        call: Any = hub.stub.Connect(metadata=(("authorization", f"Bearer {service}"),))
        await call.write(request(hello={"client_id": new_id(), "channel": {"kind": "web"}}))
        epoch = hub.hub._storage.epoch
        since = cursor_pb2.Cursor(epoch=epoch, revision=0 if what != "since" else 9)
        await call.write(request(subscribe={"subscription_id": "s", "resource": cart, "since": since}))
        await gate.reached.wait()
        call.cancel()
        await hub_has_no_streams(hub)
    await all_let_go(hub)


@pytest.mark.parametrize("seq", [1 << 63, (1 << 64) - 1])
async def test_an_impossible_unacknowledged_seq_is_named(hub: RunningHub, seq: int) -> None:
    shopper = await hub.shopper()
    async with Stream(hub, shopper.token) as web:
        cart = await web.create_cart()
        refused = await web.subscribe(cart, first_unacknowledged_seq=seq)
        error = refused.subscription_status.error
        assert error.reason == error_pb2.ERROR_REASON_INVALID_FIELD
        assert error.field_violations[0].field == "subscribe.first_unacknowledged_seq"


async def test_results_come_to_a_client_that_does_not_acknowledge(tmp_path: Path) -> None:
    """Acknowledging is advisory: what others do is held back and merged, what was asked for is not."""
    async with running_hub(hub_config(tmp_path, max_unacknowledged=2)) as hub:
        shopper = await hub.shopper()
        async with Stream(hub, shopper.token) as web:
            web.acknowledges = False
            cart = await web.create_cart()
            await web.subscribe(cart)
            for power in range(8):
                start = len(web.received)
                assert (await web.command(cart, add_line=add(1 << power))).outcome == APPLIED
                assert [k for k in web.kinds(start) if k != "presence"] == ["delta", "command_result"]
            assert web.lines() == {SKU: 255}


async def test_one_channel_with_two_subscriptions_is_present_once(hub: RunningHub) -> None:
    shopper = await hub.shopper()
    async with Stream(hub, shopper.token) as web:
        cart = await web.create_cart()
        await web.subscribe(cart, "one")
        await web.subscribe(f"sessions/{shopper.session_id}/active_cart", "two")
        seen = await web.where(lambda m: m.presence.subscription_id == "two")
        assert [channel.channel.kind for channel in seen.presence.channels] == ["web"]
