"""The client against a real hub: what one channel does the others show, through cuts, restarts and sign-ins."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import legato
from legato import intents
from legato.commerce.v1.session_pb2 import LOGIN_STATUS_SIGNED_IN
from legato.orchestrator.v1.reads_pb2 import ListCartsRequest
from legato.replica import Saved
from legato_demo.network import Network
from legato_hub.core.identity import IdentityKind
from tests.support.hub import RunningHub, hub_config, running_hub
from tests.support.shop import LOW_SKU, LOW_STOCK, SKU


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(hub_config(tmp_path)) as running:
        yield running


def quantities(view: legato.CartView) -> dict[str, int]:
    return {line.sku: line.quantity.steps for line in view.confirmed.lines}


async def until(cart: legato.CartHandle, wanted: dict[str, int]) -> legato.CartView:
    """The first view that the hub confirmed with these quantities."""
    async with asyncio.timeout(20):
        async for view in cart.watch():
            if quantities(view) == wanted and view.connected:
                return view
    raise AssertionError("the client was closed")


async def test_two_channels_see_one_cart(hub: RunningHub) -> None:
    async with (
        legato.connect(hub.target, channel_key="dev-web", name="Shop") as web,
        legato.connect(hub.target, access_token=web.access_token, channel="app") as app,
    ):
        cart = await web.create_cart()
        seen = app.cart(cart.id)
        result = await cart.add(SKU, 2)
        assert quantities(cart.view) == {SKU: 2}, "read your writes"
        view = await until(seen, {SKU: 2})
        assert view.confirmed.lines[0].id == result.line_id
        assert [(c.channel.kind, c.channel.name) for c in view.channels] == [("web", "Shop"), ("app", "")]
        await seen.set_quantity(view.confirmed.lines[0], 5)
        await until(cart, {SKU: 5})
        await seen.remove(result.line_id)
        await until(cart, {})
        assert (cart.replica.snapshots, seen.replica.snapshots) == (1, 1), "all else came as deltas"


async def test_every_wish_of_a_cart(hub: RunningHub) -> None:
    async with legato.connect(hub.target, channel_key="dev-web") as web:
        cart = await web.create_cart(currency_code="EUR")
        await cart.add(SKU, 3, client_line_key="mine")
        await cart.set_quantity(intents.client_line("mine"), 2)
        await cart.set_email("anna@example.com")
        await cart.set_note("ring twice")
        address = legato.Address(street="Weg 1", city="Ulm", country="DE", last_name="A", postal_code="89073")
        await cart.set_address("shipping", address)
        await cart.set_delivery_option(cart.view.cart.fulfilment.available[0].id)
        shown = cart.view.confirmed
        assert (shown.email, shown.note, shown.shipping_address) == ("anna@example.com", "ring twice", address)
        assert shown.fulfilment.selected.id == shown.fulfilment.available[0].id
        with pytest.raises(legato.DiscountCodeInvalid):
            await cart.add_discount_code("NO-SUCH-CODE")
        with pytest.raises(legato.InsufficientStock) as refused:
            await cart.add(LOW_SKU, LOW_STOCK + 1)
        assert refused.value.available == LOW_STOCK
        with pytest.raises(legato.UnknownSku):
            await cart.add("no-such-sku")
        with pytest.raises(legato.LineNotFound):
            await cart.remove("no-such-line")
        with pytest.raises(legato.InvalidRequest) as invalid:
            await cart.add(SKU, -1)
        assert [v.field for v in invalid.value.field_violations] == ["command.cart.add_line.quantity.steps"]
        old = cart.view.cursor
        await cart.set_note("")
        with pytest.raises(legato.RevisionMismatch):
            await cart.set_note("too late", expected=old, on_conflict="fail")
        await cart.set_note("in time", expected=old)
        listed = await web.call(web.stub.ListCarts, ListCartsRequest())
        assert [summary.cart.id for summary in listed.carts] == [cart.id]
        await cart.cancel()
        with pytest.raises(legato.CartNotActive):
            await cart.add(SKU)


async def test_a_cut_off_channel_resumes_by_deltas(hub: RunningHub) -> None:
    network = Network([hub.hub.port])
    await network.mend()
    async with (
        legato.connect(hub.target, channel_key="dev-web") as web,
        legato.connect(f"127.0.0.1:{network.port}", access_token=web.access_token, channel="pos") as till,
    ):
        cart = await web.create_cart()
        away = till.cart(cart.id)
        await away.live()
        await network.cut()
        for power in range(6):
            await cart.add(SKU, 1 << power)
        own = away.submit(intents.add(SKU, 64))
        assert (away.view.pending, away.view.connected, quantities(away.view)) == (1, False, {})
        assert [line.quantity.steps for line in away.view.cart.lines] == [64]
        await network.mend()
        await own.result(20)
        await until(away, {SKU: 127})
        await until(cart, {SKU: 127})
        assert away.replica.snapshots == 1, "only the one before the cut"
        assert away.replica.deltas <= 2
        assert away.replica.entries == cart.replica.entries
    await network.cut()


async def test_a_till_is_offline_restarts_and_loses_nothing(hub: RunningHub, tmp_path: Path) -> None:
    token = hub.token(IdentityKind.TERMINAL, "till-1", "main")
    file = tmp_path / "till.sqlite3"
    dead = "127.0.0.1:9"

    async with legato.connect(
        dead, access_token=token, channel="pos", outbox=legato.SQLiteOutbox(file), connect_timeout=None
    ) as till:
        cart = till.start_cart()
        kept = [cart.submit(intents.add(SKU, 1 << n)) for n in range(5)]
        assert {line.sku: line.quantity.steps for line in cart.view.cart.lines} == {SKU: 31}
        assert (cart.view.pending, cart.view.connected, cart.view.confirmed.id) == (6, False, "")
        with pytest.raises(legato.OutcomePending):
            await kept[0].result(timeout=0.01)
        cart_id = cart.id

    async with legato.connect(hub.target, access_token=token, channel="pos", outbox=legato.SQLiteOutbox(file)) as till:
        # Those that a former process left are there to be awaited, as long as they have no result.
        await asyncio.gather(*(pending.result(10) for pending in till.pending))
        cart = till.cart(cart_id)
        await until(cart, {SKU: 31})
        before = (await cart.live()).cursor

    async with legato.connect(hub.target, access_token=token, channel="service", outbox=legato.MemoryOutbox()) as other:
        await other.cart(cart_id).add(SKU, 32)

    async with legato.connect(hub.target, access_token=token, channel="pos", outbox=legato.SQLiteOutbox(file)) as till:
        cart = till.cart(cart_id)
        assert (quantities(cart.view), cart.view.cursor, cart.view.connected) == ({SKU: 31}, before, False)
        await until(cart, {SKU: 63})
        assert (cart.replica.snapshots, cart.replica.deltas) == (0, 1)
        assert till.pending == ()


OFFLINE_TILL = """
import asyncio, sys
import legato

async def main():
    outbox = legato.SQLiteOutbox(sys.argv[1])
    async with legato.connect("127.0.0.1:9", access_token=sys.argv[2], outbox=outbox, connect_timeout=None) as till:
        cart = till.start_cart()
        for power in range(10):
            cart.submit(legato.intents.add(sys.argv[3], 1 << power))
            print(cart.id, 1 << power, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("kept", [1, 4, 10])
async def test_a_power_cut_between_wish_and_sending_loses_and_doubles_nothing(
    hub: RunningHub, tmp_path: Path, kept: int
) -> None:
    token = hub.token(IdentityKind.TERMINAL, "till-1", "main")
    file = tmp_path / "till.sqlite3"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OFFLINE_TILL, file, token, SKU, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    said = [(await process.stdout.readline()).split() for _ in range(kept)]
    process.kill()
    said += [line.split() for line in (await process.stdout.read()).splitlines()]
    await process.wait()
    cart_id, told = said[0][0].decode(), sum(int(words[1]) for words in said)

    async with legato.connect(hub.target, access_token=token, outbox=legato.SQLiteOutbox(file)) as till:
        await asyncio.gather(*(pending.result(10) for pending in till.pending))
        (line,) = (await till.cart(cart_id).live()).confirmed.lines
        # The last one may have been kept and not told any more.
        assert line.quantity.steps in (told, 2 * told + 1)


async def test_a_restart_of_the_hub_is_survived(tmp_path: Path) -> None:
    config = hub_config(tmp_path)
    async with contextlib.AsyncExitStack() as stack:
        async with running_hub(config) as hub:
            port = hub.hub.port
            web = await stack.enter_async_context(legato.connect(hub.target, channel_key="dev-web"))
            cart = await web.create_cart()
            await cart.add(SKU, 1)
        assert not web.connected
        pending = cart.submit(intents.add(SKU, 2))
        again = hub_config(tmp_path, listen=f"127.0.0.1:{port}")
        async with running_hub(again):
            await pending.result(20)
            await until(cart, {SKU: 3})
            assert cart.replica.snapshots == 1


async def login_names(session: legato.SessionHandle) -> list[str]:
    """Everybody who is greeted, until somebody is."""
    names = []
    async for view in session.watch():
        names.append(view.session.login.display_name)
        if names[-1]:
            break
    return names


async def test_sign_in_moves_the_own_session_and_the_active_cart(hub: RunningHub) -> None:
    async with (
        legato.connect(hub.target, channel_key="dev-web") as web,
        legato.connect(hub.target, channel_key="dev-app", channel="app") as app,
    ):
        mine = await web.create_cart()
        await mine.add(SKU, 4)
        active = web.active_cart()
        await until(active, {SKU: 4})
        assert active.id == mine.id
        await active.add(SKU, 1)
        await until(mine, {SKU: 5})
        await web.sign_in(hub.credential("anna"))
        assert (await web.session.live()).session.login.status == LOGIN_STATUS_SIGNED_IN

        lonely, guest = app.active_cart(), app.session
        await lonely.live()
        with pytest.raises(legato.NotFound, match="no active cart"):
            await lonely.add(SKU, 1)
        former = guest.id
        logins = asyncio.create_task(login_names(guest))
        await app.sign_in(hub.credential("anna"))
        assert app.session is guest
        assert guest.id == web.session.id != former
        await until(lonely, {SKU: 5})
        assert (await asyncio.wait_for(logins, 10))[-1] == "Anna", "who watches goes along"
        await web.session.view_product("some-product")
        async with asyncio.timeout(10):
            async for view in guest.watch():
                if [v.product_id for v in view.session.views] == ["some-product"]:
                    break


async def test_a_till_gets_at_a_cart_by_its_code(hub: RunningHub) -> None:
    till_token = hub.token(IdentityKind.TERMINAL, "till-1", "berlin")
    async with (
        legato.connect(hub.target, channel_key="dev-web") as web,
        legato.connect(hub.target, access_token=till_token, channel="pos", name="Till 1") as till,
    ):
        cart = await web.create_cart()
        await cart.add(SKU, 2)
        with pytest.raises(legato.NotFound):
            await till.cart(cart.id).live()
        with pytest.raises(legato.ShareCodeInvalid):
            await till.look_up_cart("AAAA-AAAA")
        shared = await till.look_up_cart((await web.share_cart(cart.id)).code)
        await until(shared, {SKU: 2})
        assert shared is till.cart(cart.id)
        with pytest.raises(legato.NotFound, match="terminal has no session"):
            till.session  # noqa: B018  # looking is what raises
        assert till.identity.kind == "terminal"


async def test_a_torn_replica_on_the_disk_is_fetched_anew(hub: RunningHub, tmp_path: Path) -> None:
    token = hub.token(IdentityKind.SERVICE, "crm", "main")
    async with legato.connect(hub.target, access_token=token) as crm:
        cart_id = (await crm.create_cart()).id
    box = legato.SQLiteOutbox(tmp_path / "crm.sqlite3")
    box.save_replica(f"carts/{cart_id}", Saved(f"carts/{cart_id}", "e", 1, 0, b"\xff"))
    async with legato.connect(hub.target, access_token=token, outbox=box) as crm:
        assert (await crm.cart(cart_id).live()).confirmed.id == cart_id


async def test_the_catalog(hub: RunningHub) -> None:
    async with legato.connect(hub.target, channel_key="dev-web") as web:
        found = await web.search("", page_size=3)
        assert len(found.hits) == 3
        product = found.hits[0].product
        for page in (await web.product_page(product.id), await web.product_page(slug=product.slug)):
            assert page.product.id == product.id
            assert not page.gaps
        stock = await web.availability(SKU, LOW_SKU)
        assert {entry.sku for entry in stock.availability} == {SKU, LOW_SKU}
        with pytest.raises(legato.NotFound):
            await web.product_page("no-such-product")
        with pytest.raises(legato.InvalidRequest):
            await web.search("x" * 1_000)


async def test_a_wrong_token_is_told_at_once(hub: RunningHub) -> None:
    with pytest.raises(legato.Unauthenticated, match="Get a token"):
        async with legato.connect(hub.target, access_token="nonsense"):
            raise AssertionError("it must not begin")
    with pytest.raises(legato.Unauthenticated):
        async with legato.connect(hub.target, channel_key="no-such-key"):
            raise AssertionError("it must not begin")


async def test_a_second_process_replaces_the_first(hub: RunningHub) -> None:
    async with legato.connect(hub.target, channel_key="dev-web") as web:
        cart = await web.create_cart()
        client_id = web._link.outbox.client_id
        async with legato.connect(hub.target, access_token=web.access_token, client_id=client_id) as newer:
            with pytest.raises(legato.ConnectionReplaced):
                async for _ in cart.watch():
                    pass
            with pytest.raises(legato.ConnectionReplaced):
                await cart.add(SKU)
            assert newer.connected


async def test_a_token_is_renewed_before_it_ends(hub: RunningHub) -> None:
    asked = 0

    async def source() -> str:
        nonlocal asked
        asked += 1
        return hub.token(IdentityKind.SERVICE, "crm", "main", lives_ms=1_500)

    async with legato.connect(hub.target, access_token=source, channel="service") as crm:
        cart = await crm.create_cart()
        first = crm.identity.expires_at
        await crm._link.wait_until(lambda: crm.identity.expires_at != first, 10, "the token was not renewed")
        await cart.add(SKU, 1)
        assert asked >= 2
        assert cart.connected
