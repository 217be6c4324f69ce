"""Two hubs on one Valkey: whichever a channel is connected to, it sees and may do the same."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from legato.commerce.v1 import cart_intent_pb2, quantity_pb2
from legato.orchestrator.v1 import command_pb2, error_pb2, reads_pb2
from legato.orchestrator.v1 import orchestrator_service_pb2 as pb
from legato.protocol.ids import new_id
from legato_hub.core.identity import IdentityKind
from tests.support import ledger
from tests.support.hub import bearer
from tests.support.shop import SKU
from tests.support.stream import Stream
from tests.support.two_hubs import TwoHubs, two_hubs

APPLIED = command_pb2.OUTCOME_APPLIED


def add(steps: int, sku: str = SKU) -> cart_intent_pb2.AddLine:
    return cart_intent_pb2.AddLine(sku=sku, quantity=quantity_pb2.Quantity(steps=steps))


@pytest.fixture
async def hubs(tmp_path: Path) -> AsyncIterator[TwoHubs]:
    async with two_hubs(tmp_path) as running:
        yield running


async def test_a_command_on_one_hub_reaches_the_streams_of_the_other(hubs: TwoHubs) -> None:
    shopper = await hubs.one.shopper()
    async with Stream(hubs.one, shopper.token) as web, Stream(hubs.two, shopper.token, channel="app") as app:
        cart = await web.create_cart()
        await web.subscribe(cart)
        await app.subscribe(cart)
        start = len(app.received)
        result = command_pb2.CommandResult()
        for power in range(6):
            at = len(web.received)
            result = await web.command(cart, add_line=add(1 << power))
            # On the hub of the command its result follows the delta that contains it.
            assert [kind for kind in web.kinds(at) if kind in ("delta", "command_result")] == [
                "delta",
                "command_result",
            ]
        await app.until_revision(result.cursor.revision)
        # `Stream` has checked that each delta stood on the one before.
        assert {kind for kind in app.kinds(start) if kind != "presence"} == {"delta"}
        assert app.lines() == web.lines() == {SKU: 63}
        assert app.entries["s"] == web.entries["s"]


async def test_reads_on_one_hub_are_as_new_as_results_of_the_other(hubs: TwoHubs) -> None:
    shopper = await hubs.one.shopper()
    async with Stream(hubs.one, shopper.token) as web:
        cart = await web.create_cart()
        await hubs.two.stub.GetCart(reads_pb2.GetCartRequest(resource=cart), metadata=shopper.metadata)
        for number in range(1, 16):
            cursor = (await web.command(cart, add_line=add(1))).cursor
            request = reads_pb2.GetCartRequest(resource=cart, min_cursor=cursor)
            answer = await hubs.two.stub.GetCart(request, metadata=shopper.metadata)
            assert answer.cursor.revision >= cursor.revision
            assert [line.quantity.steps for line in answer.cart.lines] == [number]


async def test_signing_in_on_one_hub_moves_those_who_watch_on_the_other(hubs: TwoHubs) -> None:
    web_shopper, app_shopper = await hubs.one.shopper("dev-web"), await hubs.two.shopper("dev-app")
    credential = hubs.one.credential("grace")
    async with (
        Stream(hubs.one, web_shopper.token) as web,
        Stream(hubs.two, web_shopper.token, channel="social") as watcher,
        Stream(hubs.two, app_shopper.token, channel="app") as app,
    ):
        none = await watcher.subscribe(f"sessions/{web_shopper.session_id}/active_cart")
        assert none.snapshot.target == ""
        await hubs.one.stub.SignIn(reads_pb2.SignInRequest(credential=credential), metadata=web_shopper.metadata)
        cart = await app.create_cart()
        await app.command(cart, add_line=add(2))
        # The guest's cart was not empty and the customer had none: it becomes the active one, on every hub.
        joined = await hubs.two.stub.SignIn(
            reads_pb2.SignInRequest(credential=credential), metadata=app_shopper.metadata
        )
        assert joined.session.id == web_shopper.session_id
        await watcher.where(lambda m: m.snapshot.target == cart)
        assert watcher.lines() == {SKU: 2}
        await web.subscribe(f"sessions/{web_shopper.session_id}/active_cart")
        assert web.lines() == {SKU: 2}


async def test_rights_that_end_on_one_hub_close_subscriptions_on_the_other(hubs: TwoHubs) -> None:
    web_shopper, app_shopper = await hubs.one.shopper("dev-web"), await hubs.two.shopper("dev-app")
    credential = hubs.one.credential("ada")
    async with Stream(hubs.one, web_shopper.token) as web, Stream(hubs.one, app_shopper.token) as app:
        cart = await web.create_cart()
        await web.command(cart, add_line=add(1))
        await hubs.one.stub.SignIn(reads_pb2.SignInRequest(credential=credential), metadata=web_shopper.metadata)
        await hubs.one.stub.SignIn(reads_pb2.SignInRequest(credential=credential), metadata=app_shopper.metadata)
        async with Stream(hubs.two, web_shopper.token, channel="social") as watcher:
            await watcher.subscribe(cart)
            assert watcher.lines() == {SKU: 1}
            out = command_pb2.Command(command_id=new_id(), resource=f"sessions/{web_shopper.session_id}", seq=1)
            out.session.sign_out.SetInParent()
            assert (await web.execute(out)).outcome == APPLIED
            closed = await watcher.where(lambda m: m.subscription_status.HasField("error"))
            assert closed.subscription_status.resource == cart
            assert closed.subscription_status.error.reason == error_pb2.ERROR_REASON_NOT_FOUND
        assert app.error is None


async def test_a_code_of_one_hub_is_good_on_the_other(hubs: TwoHubs) -> None:
    shopper = await hubs.one.shopper()
    till = hubs.two.token(IdentityKind.TERMINAL, "till-1", "berlin")
    async with Stream(hubs.one, shopper.token) as phone, Stream(hubs.two, till, channel="pos") as pos:
        cart = await phone.create_cart()
        await phone.subscribe(cart)
        refused = await pos.subscribe(cart, "too early")
        assert refused.subscription_status.error.reason == error_pb2.ERROR_REASON_NOT_FOUND
        shared = await hubs.one.stub.ShareCart(
            reads_pb2.ShareCartRequest(cart_id=cart.removeprefix("carts/")), metadata=shopper.metadata
        )
        found = await hubs.two.stub.LookUpCart(reads_pb2.LookUpCartRequest(code=shared.code), metadata=bearer(till))
        assert f"carts/{found.cart.id}" == cart
        await pos.subscribe(cart)
        result = await pos.command(cart, add_line=add(2))
        assert result.outcome == APPLIED
        await phone.until_revision(result.cursor.revision)
        assert phone.lines() == {SKU: 2}
        # And the grant counts on the first hub as well.
        answer = await hubs.one.stub.GetCart(reads_pb2.GetCartRequest(resource=cart), metadata=bearer(till))
        assert answer.cursor.revision >= result.cursor.revision


async def test_commands_of_both_hubs_on_one_cart_all_have_their_effect_once(hubs: TwoHubs) -> None:
    shopper = await hubs.one.shopper()
    async with Stream(hubs.one, shopper.token) as web, Stream(hubs.two, shopper.token, channel="app") as app:
        cart = await web.create_cart()
        await asyncio.gather(web.subscribe(cart), app.subscribe(cart))
        results = await asyncio.gather(
            *(stream.command(cart, add_line=add(1)) for _ in range(25) for stream in (web, app))
        )
        assert {result.outcome for result in results} == {APPLIED}
        last = max(result.cursor.revision for result in results)
        await asyncio.gather(web.until_revision(last), app.until_revision(last))
        assert web.lines() == app.lines() == {SKU: 50}
        assert web.entries["s"] == app.entries["s"]


async def test_whoever_loses_a_killed_hub_goes_on_at_the_other_by_deltas(hubs: TwoHubs) -> None:
    shopper = await hubs.one.shopper()
    async with Stream(hubs.one, shopper.token) as web, Stream(hubs.two, shopper.token, channel="app") as app:
        cart = await web.create_cart()
        await web.subscribe(cart)
        await web.command(cart, add_line=add(1))
        last = await web.command(cart, add_line=add(2))
        hubs.processes[0].process.kill()
        await web.end()
        assert web.cursors["s"] == last.cursor
        await app.subscribe(cart)
        for power in range(2, 5):
            await app.command(cart, add_line=add(1 << power))
        async with Stream(hubs.two, shopper.token, client_id=web.client_id) as again:
            again.adopt(web)
            await again.subscribe(cart, since=last.cursor)
            result = await again.command(cart, add_line=add(32))
            assert result.outcome == APPLIED, result
            await again.until_revision(result.cursor.revision)
            assert "snapshot" not in again.kinds()
            assert again.lines() == {SKU: 63}
            delta = [m.delta for m in again.received if m.HasField("delta")][-1]
            assert delta.last_seq == 4


@pytest.mark.parametrize("effect_class", ["KEYED", "MARKED", "ABSOLUTE", "NONE"])
async def test_one_command_sent_to_both_hubs_has_one_effect(tmp_path: Path, effect_class: str) -> None:
    path = str(tmp_path / "ledger.sqlite3")
    backend = {"adapter": "tests.support.ledger:create", "options": {"path": path, "effect_class": effect_class}}
    async with two_hubs(tmp_path, backend=backend) as hubs:
        token = hubs.one.token(IdentityKind.SERVICE, "crm", "main")
        cart = f"carts/{new_id()}"

        def command(**intent: object) -> command_pb2.Command:
            made = command_pb2.Command(command_id=new_id(), resource=cart)
            made.cart.CopyFrom(cart_intent_pb2.CartIntent(**intent))  # type: ignore[arg-type]
            return made

        async def execute(one: command_pb2.Command, hub: int) -> command_pb2.CommandResult:
            stub = (hubs.one, hubs.two)[hub].stub
            answer = await stub.Execute(pb.ExecuteRequest(commands=[one]), metadata=bearer(token))
            return answer.results[0]

        async def at_once(one: command_pb2.Command) -> None:
            results = await asyncio.gather(*(execute(one, number % 2) for number in range(6)))
            assert [result.outcome for result in results] == [APPLIED] * 6, results
            assert len({(result.cursor.epoch, result.cursor.revision) for result in results}) == 1
            assert [result.replayed for result in results].count(False) == 1

        commands = [command(create_cart={}), *(command(add_line=add(1 << power)) for power in range(6))]
        for each in commands:
            await at_once(each)
        assert ledger.effects(path) == {each.command_id: 1 for each in commands}
        assert ledger.steps(path, cart.removeprefix("carts/")) == {SKU: 63}
        answer = await hubs.two.stub.GetCart(reads_pb2.GetCartRequest(resource=cart), metadata=bearer(token))
        assert [line.quantity.steps for line in answer.cart.lines] == [63]
