"""What one channel does, the others show: in order, without a gap, and again after their network comes back."""

import asyncio
from pathlib import Path

import grpc.aio
import pytest

from legato.commerce.v1 import cart_intent_pb2, quantity_pb2, session_pb2
from legato.orchestrator.v1 import command_pb2, reads_pb2, session_intent_pb2, stream_pb2
from legato.orchestrator.v1 import orchestrator_service_pb2 as pb
from legato.protocol.entities import assemble_session
from legato.protocol.ids import new_id
from legato_hub.core.identity import IdentityKind
from tests.support.hub import RunningHub, bearer, hub_config, running_hub
from tests.support.shop import SKU
from tests.support.stream import Stream

APPLIED = command_pb2.OUTCOME_APPLIED


def add(steps: int) -> cart_intent_pb2.AddLine:
    return cart_intent_pb2.AddLine(sku=SKU, quantity=quantity_pb2.Quantity(steps=steps))


async def test_a_result_follows_the_delta_that_contains_it(hub: RunningHub) -> None:
    shopper = await hub.shopper()
    async with Stream(hub, shopper.token) as web, Stream(hub, shopper.token, channel="app") as app:
        cart = await web.create_cart()
        await web.subscribe(cart)
        await app.subscribe(cart)
        result = command_pb2.CommandResult()
        for power in range(6):
            start = len(web.received)
            result = await web.command(cart, add_line=add(1 << power))
            kinds = [kind for kind in web.kinds(start) if kind in ("delta", "command_result")]
            assert kinds == ["delta", "command_result"]
            assert web.cursors["s"].revision >= result.cursor.revision
        await app.until_revision(result.cursor.revision)
        assert web.lines() == app.lines() == {SKU: 63}
        assert web.entries["s"] == app.entries["s"]


async def test_many_commands_from_two_channels_are_all_in_the_cart_once(hub: RunningHub) -> None:
    shopper = await hub.shopper()
    async with Stream(hub, shopper.token) as web, Stream(hub, shopper.token, channel="app") as app:
        cart = await web.create_cart()
        await web.subscribe(cart)
        await app.subscribe(cart)
        results = await asyncio.gather(
            *(stream.command(cart, add_line=add(1)) for stream in (web, app) for _ in range(40))
        )
        assert {result.outcome for result in results} == {APPLIED}
        last = max(result.cursor.revision for result in results)
        await asyncio.gather(web.until_revision(last), app.until_revision(last))
        assert web.lines() == app.lines() == {SKU: 80}


async def test_a_channel_that_was_away_resumes_by_deltas(hub: RunningHub) -> None:
    shopper = await hub.shopper()
    async with Stream(hub, shopper.token) as web:
        cart = await web.create_cart()
        async with Stream(hub, shopper.token, channel="app") as app:
            await app.subscribe(cart)
        result = command_pb2.CommandResult()
        for power in range(5):
            result = await web.command(cart, add_line=add(1 << power))
        async with Stream(hub, shopper.token, client_id=app.client_id, channel="app") as again:
            again.adopt(app)
            await again.subscribe(cart, since=app.cursors["s"])
            await again.until_revision(result.cursor.revision)
            assert again.lines() == {SKU: 31}
            assert "snapshot" not in again.kinds()
            assert again.kinds().count("delta") == 1


async def test_everything_survives_a_restart_and_resumes_by_deltas(tmp_path: Path) -> None:
    config = hub_config(tmp_path)
    async with running_hub(config) as hub:
        shopper = await hub.shopper()
        async with Stream(hub, shopper.token) as web:
            cart = await web.create_cart()
            await web.subscribe(cart)
            await web.command(cart, add_line=add(1))
            before, entries = web.cursors["s"], web.entries["s"]
            repeated = command_pb2.Command(command_id=new_id(), resource=cart, seq=3)
            repeated.cart.add_line.CopyFrom(add(2))
            original = await web.execute(repeated)
    async with running_hub(config) as hub, Stream(hub, shopper.token, client_id=web.client_id) as again:
        again.adopt(web)
        again.cursors["s"], again.entries["s"] = before, entries
        start = len(again.received)
        await again.subscribe(cart, since=before)
        assert "snapshot" not in again.kinds(start)
        result = await again.execute(repeated)
        assert result.replayed
        assert result.cursor == original.cursor
        # The client's numbering goes on where it was.
        again._seqs[cart] = 3
        assert (await again.command(cart, add_line=add(4))).outcome == APPLIED
        answer = await hub.stub.GetCart(reads_pb2.GetCartRequest(resource=cart), metadata=shopper.metadata)
        assert [line.quantity.steps for line in answer.cart.lines] == [7]


async def test_a_newer_connection_of_a_client_replaces_the_older(hub: RunningHub) -> None:
    shopper = await hub.shopper()
    async with Stream(hub, shopper.token) as old, Stream(hub, shopper.token, client_id=old.client_id) as new:
        error = await old.end()
        assert error is not None
        assert error.code() is grpc.StatusCode.ABORTED
        assert (await new.create_cart()).startswith("carts/")


async def test_reads_are_as_new_as_what_the_caller_has_seen(hub: RunningHub) -> None:
    shopper = await hub.shopper()
    async with Stream(hub, shopper.token) as web:
        cart = await web.create_cart()
        cursor = (await web.command(cart, add_line=add(8))).cursor
        request = reads_pb2.GetCartRequest(resource=cart, min_cursor=cursor)
        answer = await hub.stub.GetCart(request, metadata=shopper.metadata)
        assert answer.cursor.revision >= cursor.revision
        assert [line.quantity.steps for line in answer.cart.lines] == [8]


async def test_execute_is_an_ordered_batch_that_stops_where_it_must(hub: RunningHub) -> None:
    service = bearer(hub.token(IdentityKind.SERVICE, "crm", "main"))
    cart = f"carts/{new_id()}"

    def command(**intent: object) -> command_pb2.Command:
        made = command_pb2.Command(command_id=new_id(), resource=cart)
        made.cart.CopyFrom(cart_intent_pb2.CartIntent(**intent))  # type: ignore[arg-type]
        return made

    batch = [command(create_cart={}), command(add_line=add(1)), command(add_line=add(2))]
    answer = await hub.stub.Execute(pb.ExecuteRequest(commands=batch), metadata=service)
    assert [result.outcome for result in answer.results] == [APPLIED] * 3
    repeat = await hub.stub.Execute(pb.ExecuteRequest(commands=batch), metadata=service)
    assert all(result.replayed for result in repeat.results)
    foreign = command_pb2.Command(command_id=new_id(), resource=f"carts/{new_id()}")
    foreign.cart.add_line.CopyFrom(add(1))
    stopped = await hub.stub.Execute(pb.ExecuteRequest(commands=[foreign, command(add_line=add(4))]), metadata=service)
    assert [result.outcome for result in stopped.results] == [command_pb2.OUTCOME_NOT_ACCEPTED] * 2
    read = await hub.stub.GetCart(reads_pb2.GetCartRequest(resource=cart), metadata=service)
    assert [line.quantity.steps for line in read.cart.lines] == [3]


async def test_watch_shows_what_execute_does(hub: RunningHub) -> None:
    service = bearer(hub.token(IdentityKind.SERVICE, "crm", "main"))
    cart = f"carts/{new_id()}"
    create = command_pb2.Command(command_id=new_id(), resource=cart)
    create.cart.create_cart.SetInParent()
    await hub.stub.Execute(pb.ExecuteRequest(commands=[create]), metadata=service)
    wish = stream_pb2.Subscribe(subscription_id="w", resource=cart)
    watch = hub.stub.Watch(pb.WatchRequest(subscriptions=[wish]), metadata=service)
    updates = watch.__aiter__()
    kinds: list[str] = []

    async def until(kind: str) -> None:
        while kind not in kinds:
            kinds.extend(str(m.WhichOneof("message")) for m in (await anext(updates)).messages)

    async with asyncio.timeout(10):
        await until("snapshot")
        put_in = command_pb2.Command(command_id=new_id(), resource=cart)
        put_in.cart.add_line.CopyFrom(add(1))
        await hub.stub.Execute(pb.ExecuteRequest(commands=[put_in]), metadata=service)
        await until("delta")
    watch.cancel()


async def test_the_active_cart_is_followed_when_another_becomes_it(hub: RunningHub) -> None:
    shopper = await hub.shopper()
    session = f"sessions/{shopper.session_id}"
    async with Stream(hub, shopper.token) as web, Stream(hub, shopper.token, channel="app") as app:
        none = await app.subscribe(f"{session}/active_cart")
        assert none.snapshot.target == ""
        first = await web.create_cart()
        await app.where(lambda m: m.snapshot.target == first)
        second = await web.create_cart()
        command = command_pb2.Command(command_id=new_id(), resource=session, seq=1)
        command.session.activate_cart.cart_id = second.removeprefix("carts/")
        assert (await web.execute(command)).outcome == APPLIED
        changed = await app.where(lambda m: m.snapshot.target == second)
        assert changed.snapshot.reason == stream_pb2.SNAPSHOT_REASON_TARGET_CHANGED
        result = await web.command(second, add_line=add(1))
        await app.until_revision(result.cursor.revision)
        assert app.lines() == {SKU: 1}


async def test_signing_in_on_one_channel_shows_on_the_others(hub: RunningHub) -> None:
    shopper = await hub.shopper()
    session = f"sessions/{shopper.session_id}"
    async with Stream(hub, shopper.token) as web, Stream(hub, shopper.token, channel="app") as app:
        await app.subscribe(session)
        request = reads_pb2.SignInRequest(credential=hub.credential("ada"), channel=stream_pb2.Channel(kind="web"))
        answer = await hub.stub.SignIn(request, metadata=shopper.metadata)
        assert answer.session.login.customer_id == "ada"
        await app.until_revision(answer.cursor.revision)
        seen = assemble_session(app.entries["s"])
        assert seen.login.status == session_pb2.LOGIN_STATUS_SIGNED_IN
        out = command_pb2.Command(command_id=new_id(), resource=session, seq=1)
        out.session.CopyFrom(session_intent_pb2.SessionIntent(sign_out=session_intent_pb2.SignOut()))
        result = await web.execute(out)
        await app.until_revision(result.cursor.revision)
        assert assemble_session(app.entries["s"]).login.status == session_pb2.LOGIN_STATUS_ANONYMOUS


async def test_a_second_channel_that_signs_in_joins_the_live_session(hub: RunningHub) -> None:
    web_shopper, app_shopper = await hub.shopper("dev-web"), await hub.shopper("dev-app")
    credential = hub.credential("grace")
    async with Stream(hub, web_shopper.token) as web, Stream(hub, app_shopper.token, channel="app") as app:
        cart = await app.create_cart()
        await app.command(cart, add_line=add(2))
        await app.subscribe(f"sessions/{app_shopper.session_id}", "old")
        await hub.stub.SignIn(reads_pb2.SignInRequest(credential=credential), metadata=web_shopper.metadata)
        joined = await hub.stub.SignIn(reads_pb2.SignInRequest(credential=credential), metadata=app_shopper.metadata)
        assert joined.session.id == web_shopper.session_id
        # The guest's cart was not empty and the customer had none: it is the active one on both channels.
        assert f"carts/{joined.session.active_cart_id}" == cart
        await web.subscribe(f"sessions/{web_shopper.session_id}/active_cart")
        assert web.lines() == {SKU: 2}
        await app.send(authenticate={"access_token": joined.access_token})
        message = await app.first("authenticated")
        assert message.authenticated.identity.session_id == web_shopper.session_id
        # What only the former identity may see is closed by the new one.
        closed = await app.where(lambda m: m.subscription_status.state == stream_pb2.SUBSCRIPTION_STATE_CLOSED)
        assert closed.subscription_status.subscription_id == "old"
        await app.subscribe(cart, "new")
        assert app.lines("new") == {SKU: 2}


async def test_a_till_gets_at_a_cart_by_its_code_and_not_without(hub: RunningHub) -> None:
    shopper = await hub.shopper()
    till = bearer(hub.token(IdentityKind.TERMINAL, "till-1", "berlin"))
    async with Stream(hub, shopper.token) as phone:
        cart = await phone.create_cart()
        await phone.subscribe(cart)
        await phone.command(cart, add_line=add(1))
        with pytest.raises(grpc.aio.AioRpcError):
            await hub.stub.GetCart(reads_pb2.GetCartRequest(resource=cart), metadata=till)
        shared = await hub.stub.ShareCart(
            reads_pb2.ShareCartRequest(cart_id=cart.removeprefix("carts/")), metadata=shopper.metadata
        )
        found = await hub.stub.LookUpCart(reads_pb2.LookUpCartRequest(code=shared.code.lower()), metadata=till)
        assert f"carts/{found.cart.id}" == cart
        async with Stream(hub, till[0][1].removeprefix("Bearer "), channel="pos") as pos:
            await pos.subscribe(cart)
            result = await pos.command(cart, add_line=add(2))
            assert result.outcome == APPLIED
            await phone.until_revision(result.cursor.revision)
            assert phone.lines() == pos.lines() == {SKU: 3}
            presence = await phone.where(lambda m: len(m.presence.channels) == 2)
            assert [c.channel.kind for c in presence.presence.channels] == ["web", "pos"]
            assert [c.self for c in presence.presence.channels] == [True, False]


async def test_an_identity_that_expires_loses_its_subscriptions_and_keeps_its_stream(hub: RunningHub) -> None:
    token = hub.token(IdentityKind.SERVICE, "short", "main", lives_ms=1_200)
    async with Stream(hub, token, channel="service") as stream:
        cart = await stream.create_cart()
        await stream.subscribe(cart)
        closed = await stream.where(lambda m: m.subscription_status.HasField("error"))
        assert closed.subscription_status.error.message
        refused = await stream.command(cart, add_line=add(1))
        assert refused.outcome == command_pb2.OUTCOME_NOT_ACCEPTED
        await stream.send(authenticate={"access_token": hub.token(IdentityKind.SERVICE, "short", "main")})
        await stream.first("authenticated")
        stream._seqs[cart] -= 1  # it was not consumed
        assert (await stream.command(cart, add_line=add(1))).outcome == APPLIED


async def test_a_draining_hub_says_so_and_loses_no_acknowledged_command(tmp_path: Path) -> None:
    config = hub_config(tmp_path)
    async with running_hub(config) as hub:
        shopper = await hub.shopper()
        stream = Stream(hub, shopper.token)
        await stream.__aenter__()
        cart = await stream.create_cart()
        pending = [asyncio.create_task(stream.command(cart, add_line=add(1 << n))) for n in range(10)]
        await stream.where(lambda m: m.command_result.seq >= 2)
    message = await stream.first("drain")
    assert message.drain.reconnect_after.ToMilliseconds() > 0
    done = await asyncio.gather(*pending, return_exceptions=True)
    acknowledged = sum(1 << n for n, result in enumerate(done) if getattr(result, "outcome", None) == APPLIED)
    async with running_hub(config) as hub:
        answer = await hub.stub.GetCart(reads_pb2.GetCartRequest(resource=cart), metadata=shopper.metadata)
        steps = answer.cart.lines[0].quantity.steps
        assert steps & acknowledged == acknowledged
