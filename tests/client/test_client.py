"""The client against a real server on which the test plays the hub."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, assert_type

import grpc
import grpc.aio
import pytest

import legato
from legato import intents
from legato.orchestrator.v1 import command_pb2, error_pb2, reads_pb2, stream_pb2
from legato.orchestrator.v1 import orchestrator_service_pb2_grpc as rpc
from legato.orchestrator.v1.stream_pb2 import ServerMessage
from tests.client.scripted_hub import CART, ScriptedHub, Stream, connected, line, scripted_hub
from tests.support.network import cut_off

if TYPE_CHECKING:
    # Known to type checkers only: at run time there is one stub class.
    from legato.orchestrator.v1.orchestrator_service_pb2_grpc import OrchestratorServiceAsyncStub


@pytest.fixture
async def hub() -> AsyncIterator[ScriptedHub]:
    before = asyncio.all_tasks()
    async with scripted_hub() as running:
        yield running
    # What is left belongs to gRPC's server, which ends its handlers a moment later.
    left = {task for task in asyncio.all_tasks() - before if "legato" in task.get_name()}
    assert not left


async def test_a_command_that_a_dying_stream_left_open_is_sent_again(hub: ScriptedHub) -> None:
    async with connected(hub) as (client, stream):
        cart = client.cart(CART)
        asked = await stream.follow()
        pending = cart.submit(intents.add("tea", 2))
        first = await stream.expect("command")
        stream.end(error_pb2.ERROR_REASON_STORAGE_UNAVAILABLE, grpc.StatusCode.UNAVAILABLE)

        again = await hub.accept()
        await again.welcome()
        assert not cart.connected
        resumed = await again.expect("subscribe")
        assert (resumed.since.revision, resumed.first_unacknowledged_seq) == (1, 1)
        assert resumed.subscription_id != asked.subscription_id
        again.revision = 1
        again.change(resumed, {"line/l": line(2)})
        repeated = await again.expect("command")
        assert repeated.resent
        repeated.ClearField("resent")
        assert repeated == first
        again.answer(repeated)
        assert (await pending.result(10)).command_id == first.command_id
        assert [line.quantity.steps for line in cart.view.confirmed.lines] == [2]
        assert (cart.replica.snapshots, cart.replica.deltas) == (1, 1)


async def test_who_stops_waiting_does_not_stop_the_command(hub: ScriptedHub) -> None:
    async with connected(hub) as (client, stream):
        cart = client.cart(CART)
        await stream.follow()
        waiting = asyncio.create_task(cart.add("tea", timeout=0.3))
        command = await stream.expect("command")
        assert command.timeout.ToMilliseconds() == 300
        busy = error_pb2.ERROR_REASON_RESOURCE_BUSY
        stream.answer(command, command_pb2.OUTCOME_NOT_ACCEPTED, busy)
        with pytest.raises(legato.OutcomePending, match="stays in the outbox") as caught:
            await waiting
        assert isinstance(caught.value.__cause__, legato.Busy), "why it takes so long"
        (pending,) = client.pending
        assert caught.value.metadata == {"command_id": pending.command.command_id}
        stream.answer(await stream.expect("command"))
        assert (await pending.result(10)).outcome == command_pb2.OUTCOME_APPLIED
        assert client.pending == ()


async def test_what_the_shop_refuses_is_raised_and_its_prediction_withdrawn(hub: ScriptedHub) -> None:
    async with connected(hub) as (client, stream):
        cart = client.cart(CART)
        await stream.follow()
        await cart.live()
        waiting = asyncio.create_task(cart.add("tea", 9))
        command = await stream.expect("command")
        assert [line.quantity.steps for line in cart.view.cart.lines] == [9]
        assert (cart.view.pending, len(cart.view.confirmed.lines)) == (1, 0)
        reason = error_pb2.ERROR_REASON_INSUFFICIENT_STOCK
        stream.answer(command, command_pb2.OUTCOME_REJECTED, reason)
        with pytest.raises(legato.InsufficientStock):
            await waiting
        assert (cart.view.pending, len(cart.view.cart.lines)) == (0, 0)


async def test_a_slow_watcher_sees_the_newest_and_nothing_piles_up(hub: ScriptedHub) -> None:
    async with connected(hub) as (client, stream):
        cart = client.cart(CART)
        asked = await stream.follow()
        seen = []
        async for view in cart.watch():
            seen.append([line.quantity.steps for line in view.cart.lines])
            if seen[-1] == [200]:
                break
            if len(seen) == 1:
                for steps in range(1, 201):
                    stream.change(asked, {"line/l": line(steps)})
                # Two hundred messages are applied while this watcher is busy.
                await client._link.wait_until(lambda: cart.replica.deltas == 200, 10, "not all came")
        assert seen == [[], [200]]


async def test_leaving_sends_what_is_pending(hub: ScriptedHub) -> None:
    async def play(stream: Stream) -> list[int]:
        got = []
        for _ in range(3):
            command = await stream.expect("command")
            got.append(command.seq)
            stream.answer(command)
        return got

    async with connected(hub, close_timeout=10) as (client, stream):
        cart = client.cart(CART)
        await stream.follow()
        pending = [cart.submit(intents.add("tea")) for _ in range(3)]
        playing = asyncio.create_task(play(stream))
    assert await playing == [1, 2, 3]
    assert [command.done() for command in pending] == [True] * 3
    await asyncio.wait_for(stream.half_closed.wait(), 10)
    with pytest.raises(legato.Closed):
        cart.submit(intents.add("tea"))
    assert [view async for view in cart.watch()] == []


async def test_what_could_not_be_sent_is_told(hub: ScriptedHub, caplog: pytest.LogCaptureFixture) -> None:
    async with connected(hub) as (client, stream):
        cart = client.cart(CART)
        await stream.follow()
        pending = cart.submit(intents.add("tea"))
    with pytest.raises(legato.Closed):
        await pending.result(1)
    assert "closed with 1 commands that the hub did not answer" in caplog.text


async def test_a_draining_hub_is_left_and_found_again(hub: ScriptedHub) -> None:
    async with connected(hub) as (client, stream):
        cart = client.cart(CART)
        await stream.follow()
        under_way = cart.submit(intents.add("tea"))
        command = await stream.expect("command")
        drain = stream_pb2.Drain()
        drain.reconnect_after.FromMilliseconds(50)
        drain.grace.FromSeconds(30)
        stream.send(ServerMessage(drain=drain))
        assert not stream.half_closed.is_set()
        stream.answer(command)
        await under_way.result(10)
        await asyncio.wait_for(stream.half_closed.wait(), 10)
        again = await hub.accept()
        await again.welcome()
        assert (await again.expect("subscribe")).since.revision == 1


async def test_a_replaced_connection_stays_down(hub: ScriptedHub) -> None:
    async with connected(hub) as (client, stream):
        cart = client.cart(CART)
        await stream.follow()
        pending = cart.submit(intents.add("tea"))
        await stream.expect("command")
        stream.end(error_pb2.ERROR_REASON_CONNECTION_REPLACED, grpc.StatusCode.ABORTED)
        with pytest.raises(legato.ConnectionReplaced, match="its own client id"):
            async for _ in cart.watch():
                pass
        with pytest.raises(legato.ConnectionReplaced):
            await pending.result(10)
        assert isinstance(client.error, legato.ConnectionReplaced)
        assert hub.streams.empty()


async def test_a_silent_link_is_noticed(hub: ScriptedHub) -> None:
    low = {"grpc.keepalive_time_ms": 300, "grpc.keepalive_timeout_ms": 300, "grpc.http2.ping_timeout_ms": 300}
    options = [(key, low.get(key, value)) for key, value in legato.CHANNEL_OPTIONS]
    async with cut_off(hub.port) as (port, cut), AsyncExitStack() as stack:
        rpc_channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}", options))
        opening = asyncio.create_task(
            stack.enter_async_context(legato.connect(rpc_channel=rpc_channel, access_token="token", close_timeout=0.1))
        )
        stream = await hub.accept()
        await stream.welcome()
        client = await opening
        cart = client.cart(CART)
        await stream.follow()
        await cart.live()
        cut()
        await client._link.wait_until(lambda: not cart.connected, 20, "the silence was not noticed")
        assert isinstance(client.error, legato.Unavailable)


async def test_nobody_answers(hub: ScriptedHub) -> None:
    with pytest.raises(legato.Unavailable, match=r"no connection to 127\.0\.0\.1:9 within 0\.5 s") as caught:
        async with legato.connect("127.0.0.1:9", access_token="token", connect_timeout=0.5):
            raise AssertionError("it must not begin")
    assert isinstance(caught.value.__cause__, legato.Unavailable), "why"
    with pytest.raises(legato.Unavailable):
        async with legato.connect("127.0.0.1:9", channel_key="key", connect_timeout=0.5):
            raise AssertionError("it must not begin")


async def test_the_first_of_several_hubs_that_answers_is_used(hub: ScriptedHub) -> None:
    targets = f"127.0.0.1:9, {hub.target}"
    for identity in ({"channel_key": "key"}, {"access_token": "token"}):
        async with AsyncExitStack() as stack:
            connecting = legato.connect(targets, close_timeout=0, **identity)  # type: ignore[arg-type]
            opening = asyncio.create_task(stack.enter_async_context(connecting))
            await (await hub.accept()).welcome()
            client = await opening
            with pytest.raises(legato.NotFound):  # asked of the same one
                await client.call(client.stub.GetCart, reads_pb2.GetCartRequest(resource="carts/unknown"))


async def test_what_is_too_large_is_refused_before_it_is_kept(hub: ScriptedHub) -> None:
    async with connected(hub) as (client, stream):
        cart = client.cart(CART)
        await stream.follow()
        with pytest.raises(legato.MessageTooLarge, match="the hub at most 4096"):
            cart.submit(intents.set_note("x" * 5_000))
        assert client.pending == ()


class BrokenOutbox(legato.MemoryOutbox):
    def finish(self, command_ids: Iterable[str]) -> None:
        raise legato.OutboxError("the disk is full")


async def test_a_broken_outbox_ends_the_client_and_says_so(hub: ScriptedHub) -> None:
    async with connected(hub, BrokenOutbox()) as (client, stream):
        cart = client.cart(CART)
        await stream.follow()
        pending = cart.submit(intents.add("tea"))
        stream.answer(await stream.expect("command"))
        with pytest.raises(legato.OutboxError, match="the disk is full"):
            await pending.result(10)
        with pytest.raises(legato.OutboxError):
            async for _ in cart.watch():
                pass
        await asyncio.wait_for(stream.half_closed.wait(), 10)


async def test_a_handle_is_one_until_it_is_closed(hub: ScriptedHub) -> None:
    async with connected(hub) as (client, stream):
        cart = client.cart(CART)
        assert client.cart(CART) is cart
        asked = await stream.follow()
        await cart.live()
        cart.close()
        cart.close()
        assert (await stream.expect("unsubscribe")).subscription_id == asked.subscription_id
        assert [view async for view in cart.watch()] == []
        assert client.cart(CART) is not cart
        with pytest.raises(ValueError, match="must be carts/"):
            client.cart("no uuid")


async def test_a_refused_cart_is_asked_for_again_when_it_is_wanted_again(hub: ScriptedHub) -> None:
    async with connected(hub) as (client, stream):
        cart = client.cart(CART)
        asked = await stream.expect("subscribe")
        error = error_pb2.Error(reason=error_pb2.ERROR_REASON_NOT_FOUND, code=5)
        status = stream_pb2.SubscriptionStatus(
            subscription_id=asked.subscription_id, state=stream_pb2.SUBSCRIPTION_STATE_CLOSED, error=error
        )
        stream.send(ServerMessage(subscription_status=status))
        with pytest.raises(legato.NotFound):
            await cart.live()
        assert client.cart(CART) is cart
        await stream.follow()
        assert (await cart.live()).connected


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "either access_token or channel_key"),
        ({"access_token": "t", "channel_key": "k"}, "either access_token or channel_key"),
        ({"channel_key": "k", "connect_timeout": None}, "give connect_timeout"),
        ({"access_token": "t", "outbox": legato.MemoryOutbox(), "client_id": "x"}, "client id of its own"),
        ({"access_token": "t", "target": "127.0.0.1:1,,127.0.0.1:2"}, "with commas between them"),
    ],
)
async def test_arguments_that_make_no_sense_are_told(arguments: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        async with legato.connect(**arguments):  # type: ignore[arg-type]
            raise AssertionError("it must not begin")


async def test_nothing_is_left_behind(hub: ScriptedHub) -> None:
    before = asyncio.all_tasks()
    async with connected(hub, close_timeout=0) as (client, stream):
        cart = client.cart(CART)
        await stream.follow()
        await anext(aiter(cart.watch()))
    await asyncio.wait_for(stream.half_closed.wait(), 10)
    gc.collect()
    left = {task for task in asyncio.all_tasks() - before if "legato" in task.get_name()}
    assert not left


async def test_callers_of_generated_stubs_get_the_same_exceptions_async_and_sync(hub: ScriptedHub) -> None:
    async with grpc.aio.insecure_channel(hub.target) as rpc_channel:
        stub: OrchestratorServiceAsyncStub = rpc.OrchestratorServiceStub(rpc_channel)
        answer = await stub.GetCart(reads_pb2.GetCartRequest(resource="carts/known"), timeout=5)
        assert_type(answer, reads_pb2.GetCartResponse)
        assert answer.cart.id == "known"
        with pytest.raises(legato.NotFound, match="no such cart"), legato.translated():
            await stub.GetCart(reads_pb2.GetCartRequest(), timeout=5)

    def call() -> str:
        with grpc.insecure_channel(hub.target) as rpc_channel:
            sync_stub = rpc.OrchestratorServiceStub(rpc_channel)
            with pytest.raises(legato.NotFound, match="no such cart"), legato.translated():
                sync_stub.GetCart(reads_pb2.GetCartRequest(), timeout=5)
            response = sync_stub.GetCart(reads_pb2.GetCartRequest(resource="carts/known"), timeout=5)
            assert_type(response, reads_pb2.GetCartResponse)
            return response.cart.id

    # The server lives in this loop, so the blocking caller must not.
    assert await asyncio.to_thread(call) == "known"
