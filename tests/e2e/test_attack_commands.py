"""Commands that meet a changed identity, a draining hub, a swept resource or a late repeat."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from legato.commerce.v1 import cart_intent_pb2, quantity_pb2
from legato.orchestrator.v1 import command_pb2, error_pb2, reads_pb2
from legato.protocol.ids import new_id
from legato_hub import directory
from legato_hub.clock import now_ms
from legato_hub.connection import Connection
from legato_hub.core.identity import IdentityKind
from legato_hub.live import Live
from tests.support.hub import RunningHub, hub_config, running_hub
from tests.support.shop import SKU
from tests.support.stream import TIMEOUT_S, Stream

APPLIED, NOT_ACCEPTED = command_pb2.OUTCOME_APPLIED, command_pb2.OUTCOME_NOT_ACCEPTED
CENTURY_MS = 100 * 365 * 24 * 3_600_000


def add(steps: int) -> cart_intent_pb2.AddLine:
    return cart_intent_pb2.AddLine(sku=SKU, quantity=quantity_pb2.Quantity(steps=steps))


def put_in(cart: str, seq: int, steps: int) -> command_pb2.Command:
    command = command_pb2.Command(command_id=new_id(), resource=cart, seq=seq)
    command.cart.add_line.CopyFrom(add(steps))
    return command


@asynccontextmanager
async def busy(hub: RunningHub, name: str) -> AsyncIterator[Live]:
    """Somebody else changes the resource, and takes their time."""
    live = await hub.hub._resources.pin(name)
    async with live.lane:
        yield live
    hub.hub._resources.unpin(live)


async def test_a_command_runs_as_whoever_sent_it(hub: RunningHub) -> None:
    """A till moves from one store to another; what it sent before is the first store's business."""
    berlin = hub.token(IdentityKind.TERMINAL, "till-1", "berlin")
    munich = hub.token(IdentityKind.TERMINAL, "till-1", "munich")
    async with Stream(hub, berlin, channel="pos") as till:
        cart = await till.create_cart()
        sent = [put_in(cart, 2, 1), put_in(cart, 3, 2)]
        async with busy(hub, cart):
            for command in sent:
                await till.send(command=command)
            await till.send(authenticate={"access_token": munich})
            await till.first("authenticated")
        results = [await till.result(command.command_id) for command in sent]
        assert [result.outcome for result in results] == [APPLIED, APPLIED]
        assert (await till.execute(put_in(cart, 4, 4))).error.reason == error_pb2.ERROR_REASON_NOT_FOUND


async def test_a_draining_hub_finishes_what_it_was_sent(tmp_path: Path) -> None:
    async with running_hub(hub_config(tmp_path, grace_seconds=20.0)) as hub:
        shopper = await hub.shopper()
        async with Stream(hub, shopper.token) as stream:
            cart = await stream.create_cart()
            sent = [put_in(cart, seq, 1 << seq) for seq in range(2, 12)]
            async with busy(hub, cart):
                for command in sent:
                    await stream.send(command=command)
                await stream.send(ping={"nonce": 1})
                await stream.first("pong")
                stopping = asyncio.create_task(hub.hub.stop())
                await stream.first("drain")
            results = [await stream.result(command.command_id) for command in sent]
            assert {result.outcome for result in results} == {APPLIED}
        await stopping


async def test_a_client_that_has_said_all_and_vanishes_does_not_take_its_commands_along(
    hub: RunningHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_said_all = asyncio.Event()
    worked_off = Connection._worked_off

    async def noting(self: Connection) -> None:
        has_said_all.set()
        await worked_off(self)

    monkeypatch.setattr(Connection, "_worked_off", noting)
    shopper = await hub.shopper()
    async with Stream(hub, shopper.token) as watching:
        cart = await watching.create_cart()
        await watching.subscribe(cart)
        async with busy(hub, cart):
            async with Stream(hub, shopper.token) as leaving:
                await leaving.subscribe(cart)
                present = len(watching.received)
                for seq in (1, 2):
                    await leaving.send(command=put_in(cart, seq, seq))
                await leaving._call.done_writing()
                await has_said_all.wait()
            await watching.where(
                lambda m: m.HasField("presence") and len(m.presence.channels) == 1 and m.presence.channels[0].self,
                present,
            )
        await watching.where(lambda _: watching.lines() == {SKU: 3})


async def test_a_hub_that_is_going_down_begins_nothing(tmp_path: Path) -> None:
    async with running_hub(hub_config(tmp_path, grace_seconds=0.0)) as hub:
        shopper = await hub.shopper()
        async with Stream(hub, shopper.token) as stream:
            cart = await stream.create_cart()
            assert await hub.hub._commands.finish(0.0) == 0
            refused = await stream.command(cart, add_line=add(1))
            assert refused.outcome == NOT_ACCEPTED
            assert refused.error.reason == error_pb2.ERROR_REASON_DRAINING


async def test_a_repeated_sign_out_leaves_a_later_sign_in_alone(hub: RunningHub) -> None:
    shopper = await hub.shopper()
    session = f"sessions/{shopper.session_id}"
    request = reads_pb2.SignInRequest(credential=hub.credential("ada"))
    record = directory.live_session_record("demo", "ada")
    async with Stream(hub, shopper.token) as web:
        await hub.stub.SignIn(request, metadata=shopper.metadata)
        out = command_pb2.Command(command_id=new_id(), resource=session, seq=1)
        out.session.sign_out.SetInParent()
        assert (await web.execute(out)).outcome == APPLIED
        assert await hub.hub._storage.get(record, now_ms()) is None
        await hub.stub.SignIn(request, metadata=shopper.metadata)
        assert (await web.execute(out)).replayed
        assert await hub.hub._storage.get(record, now_ms()) == shopper.session_id.encode()


async def test_a_cart_that_was_swept_takes_no_more_commands(hub: RunningHub) -> None:
    """It is still in memory, where nobody has heard of the sweep."""
    shopper = await hub.shopper()
    async with Stream(hub, shopper.token) as web:
        cart = await web.create_cart()
        await web.command(cart, add_line=add(1))
        assert await hub.hub._storage.sweep(now_ms() + CENTURY_MS, closed_ms=1, idle_ms=1)
        async with asyncio.timeout(TIMEOUT_S):
            result = await web.command(cart, add_line=add(2))
            assert (result.outcome, result.error.reason) == (NOT_ACCEPTED, error_pb2.ERROR_REASON_NOT_FOUND)
            again = command_pb2.Command(command_id=new_id(), resource=cart, seq=3)
            again.cart.create_cart.SetInParent()
            result = await web.execute(again)
            assert (result.outcome, result.error.reason) == (NOT_ACCEPTED, error_pb2.ERROR_REASON_NOT_FOUND)


async def test_a_session_that_was_swept_takes_no_more_commands(hub: RunningHub) -> None:
    shopper = await hub.shopper()
    session = f"sessions/{shopper.session_id}"
    async with Stream(hub, shopper.token) as web:
        await web.subscribe(session)
        assert await hub.hub._storage.sweep(now_ms() + CENTURY_MS, closed_ms=1, idle_ms=1)
        view = command_pb2.Command(command_id=new_id(), resource=session, seq=1)
        view.session.view_product.product_id = "tent"
        result = await web.execute(view)
        assert (result.outcome, result.error.reason) == (NOT_ACCEPTED, error_pb2.ERROR_REASON_NOT_FOUND)
        # The lane is free again.
        result = await web.execute(view)
        assert result.error.reason == error_pb2.ERROR_REASON_NOT_FOUND
        # Creating a cart lists it in the session, which is gone: refused, and nothing hangs.
        cart = command_pb2.Command(command_id=new_id(), resource=f"carts/{new_id()}", seq=1)
        cart.cart.create_cart.SetInParent()
        assert (await web.execute(cart)).outcome == NOT_ACCEPTED
