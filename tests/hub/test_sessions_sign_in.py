"""Sessions through the storage: how they begin, how shoppers sign in, and that every way to it ends in one session."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest

from legato.commerce.v1 import cart_pb2, session_pb2
from legato.orchestrator.v1 import error_pb2, reads_pb2, session_intent_pb2
from legato.protocol import resources as names
from legato.protocol.ids import new_id
from legato_hub import directory
from legato_hub.clock import now_ms
from legato_hub.core.identity import Identity
from legato_hub.core.problem import Problem
from legato_hub.storage.base import Storage
from tests.hub.session_world import CHANNEL, OPERATOR, SERVICE, TERMINAL, World, shopper, world

JOINED = session_pb2.SESSION_STATE_JOINED
SIGNED_IN = session_pb2.LOGIN_STATUS_SIGNED_IN
ANONYMOUS = session_pb2.LOGIN_STATUS_ANONYMOUS


@pytest.fixture
async def hub() -> AsyncIterator[World]:
    async with world() as made:
        yield made


def view(product_id: str) -> session_intent_pb2.SessionIntent:
    return session_intent_pb2.SessionIntent(view_product=session_intent_pb2.ViewProduct(product_id=product_id))


def listed(session: session_pb2.Session) -> dict[str, bool]:
    """The carts, with whether each is a guest's."""
    return {cart.cart_id: cart.guest for cart in session.carts}


async def sees(hub: World, who: Identity, *carts: str) -> list[bool]:
    return [await hub.access.sees(who, await hub.resources.get(names.cart(cart_id))) for cart_id in carts]


@pytest.mark.parametrize("who", [CHANNEL, SERVICE])
async def test_a_session_starts_in_the_market_asked_for(hub: World, who: Identity) -> None:
    request = reads_pb2.StartSessionRequest(store="main", currency_code="CHF")
    answer = await hub.sessions.start(who, request)
    assert (answer.session.tenant, answer.session.store, answer.session.currency_code) == ("demo", "main", "CHF")
    assert answer.access_token == f"token of demo/main/{answer.session.id}"
    assert answer.expires_at.ToMilliseconds() == 1_900_000_000_000
    assert (answer.cursor.epoch, answer.cursor.revision) == (hub.storage.epoch, 1)
    assert await hub.session(shopper(answer.session.id)) == answer.session


async def test_a_shopper_gets_a_new_token_for_the_session_there_is(hub: World) -> None:
    anna = await hub.visit()
    answer = await hub.sessions.start(anna, reads_pb2.StartSessionRequest(store="us"))
    assert (answer.session.id, answer.session.store, answer.cursor.revision) == (anna.subject, "main", 1)
    with pytest.raises(Problem) as caught:
        await hub.sessions.start(shopper(new_id()), reads_pb2.StartSessionRequest())
    assert caught.value.reason == error_pb2.ERROR_REASON_NOT_FOUND


@pytest.mark.parametrize("who", [TERMINAL, OPERATOR])
async def test_terminals_and_operators_have_no_session(hub: World, who: Identity) -> None:
    with pytest.raises(Problem) as caught:
        await hub.sessions.start(who, reads_pb2.StartSessionRequest())
    assert caught.value.reason == error_pb2.ERROR_REASON_NOT_ALLOWED


async def test_signing_in_tells_every_channel_and_makes_the_guests_cart_the_customers(hub: World) -> None:
    anna = await hub.visit()
    first, active = await hub.new_cart(anna, lines=1), await hub.new_cart(anna)
    activate = session_intent_pb2.ActivateCart(cart_id=active)
    await hub.send(anna, session_intent_pb2.SessionIntent(activate_cart=activate))
    await hub.send(anna, view("p1"))
    assert await hub.sign_in(anna, "anna", "app") == anna
    session = await hub.session(anna)
    login = session.login
    assert (login.status, login.customer_id, login.display_name) == (SIGNED_IN, "customer-anna", "Anna")
    assert login.channel == "app"
    assert session.state == session_pb2.SESSION_STATE_ACTIVE
    assert (listed(session), session.active_cart_id) == ({first: True, active: False}, active)
    assert [seen.product_id for seen in session.views] == ["p1"]
    assert (await hub.cart(active)).customer_id == "customer-anna"
    assert (await hub.cart(first)).anonymous_id == anna.subject
    assert await hub.storage.members(directory.carts_of_customer("demo", "customer-anna")) == [active]


async def test_signing_in_again_is_harmless(hub: World) -> None:
    anna = await hub.visit()
    await hub.new_cart(anna, lines=1)
    await hub.sign_in(anna, "anna")
    before = (await hub.resources.get(names.session(anna.subject))).cursor
    assert await hub.sign_in(anna, "anna") == anna
    assert (await hub.resources.get(names.session(anna.subject))).cursor == before


async def test_a_second_channel_joins_the_live_session(hub: World) -> None:
    app, web = await hub.visit(), await hub.visit()
    customers = await hub.new_cart(app, lines=1)
    await hub.sign_in(app, "anna", "app")
    guests = await hub.new_cart(web, lines=2)
    await hub.send(web, view("seen on the web"))
    assert await hub.sign_in(web, "anna", "web") == app
    session = await hub.session(app)
    assert (listed(session), session.active_cart_id) == ({customers: False, guests: True}, customers)
    assert [seen.product_id for seen in session.views] == ["seen on the web"]
    assert session.login.channel == "app"
    left = await hub.session(web)
    assert (left.state, left.joined_session_id) == (JOINED, app.subject)
    assert (left.login.status, listed(left), len(left.views), left.active_cart_id) == (ANONYMOUS, {}, 0, "")
    assert await sees(hub, app, customers, guests) == [True, True]
    assert await sees(hub, web, customers, guests) == [False, True]
    # The former token gives no way to the live session, not even through a renewal.
    renewed = await hub.sessions.start(web, reads_pb2.StartSessionRequest())
    assert renewed.session.id == web.subject
    with pytest.raises(Problem):
        await hub.access.session(web, app.subject)


async def test_joining_again_with_the_former_token_is_harmless(hub: World) -> None:
    app, web = await hub.visit(), await hub.visit()
    await hub.sign_in(app, "anna")
    await hub.new_cart(web, lines=1)
    assert await hub.sign_in(web, "anna") == app
    before = await hub.session(app)
    assert await hub.sign_in(web, "anna") == app
    assert await hub.session(app) == before


@pytest.mark.parametrize(
    ("customers_lines", "guests_lines", "winner"),
    [(0, 1, "guest"), (0, 0, "guest"), (1, 1, "customer"), (2, 0, "customer")],
)
async def test_the_active_cart_is_the_customers_unless_it_is_empty(
    hub: World, customers_lines: int, guests_lines: int, winner: str
) -> None:
    live, web = await hub.visit(), await hub.visit()
    await hub.sign_in(live, "anna")
    customers = await hub.new_cart(live, customer="anna", lines=customers_lines)
    guests = await hub.new_cart(web, lines=guests_lines)
    await hub.sign_in(web, "anna")
    session = await hub.session(live)
    assert session.active_cart_id == (guests if winner == "guest" else customers)
    assert listed(session) == {customers: False, guests: winner == "customer"}
    assert (await hub.cart(guests)).customer_id == ("customer-anna" if winner == "guest" else "")


async def test_the_newest_open_cart_with_something_in_it_is_found(hub: World) -> None:
    """Signed out everywhere, the customer comes back on a new channel and finds the carts again."""
    anna = await hub.visit()
    old, filled, empty, ordered = [await hub.new_cart(customer="anna", lines=n) for n in (1, 1, 0, 3)]
    await hub.set_cart_state(ordered, cart_pb2.CART_STATE_ORDERED)
    await hub.sign_in(anna, "anna")
    session = await hub.session(anna)
    assert (session.active_cart_id, listed(session)) == (filled, {old: False, filled: False, empty: False})
    await hub.set_cart_state(filled, cart_pb2.CART_STATE_CANCELED)
    await hub.sign_out(anna)
    await hub.sign_in(anna, "anna")
    assert (await hub.session(anna)).active_cart_id == old


async def test_a_customer_with_nothing_gets_no_cart(hub: World) -> None:
    anna = await hub.visit()
    await hub.sign_in(anna, "anna")
    assert (await hub.session(anna)).active_cart_id == ""


async def test_a_closed_guest_cart_stays_the_guests(hub: World) -> None:
    anna = await hub.visit()
    cart_id = await hub.new_cart(anna, lines=1)
    await hub.set_cart_state(cart_id, cart_pb2.CART_STATE_CANCELED)
    await hub.sign_in(anna, "anna")
    assert (await hub.cart(cart_id)).anonymous_id == anna.subject


async def test_concurrent_sign_ins_end_in_one_live_session(hub: World) -> None:
    channels = [await hub.visit() for _ in range(6)]
    carts = [await hub.new_cart(channel, lines=1) for channel in channels]
    ends = await asyncio.gather(*(hub.sign_in(channel, "anna") for channel in channels))
    assert len(set(ends)) == 1
    live = await hub.session(ends[0])
    assert set(listed(live)) == set(carts)
    assert [(await hub.session(channel)).state == JOINED for channel in channels if channel != ends[0]] == [True] * 5
    # One guest's cart became the customer's, and it is the one that all show.
    assert [cart for cart, guest in listed(live).items() if not guest] == [live.active_cart_id]


async def test_signing_out_frees_the_customer_for_another_session(hub: World) -> None:
    anna, again = await hub.visit(), await hub.visit()
    cart_id = await hub.new_cart(anna, lines=1)
    await hub.sign_in(anna, "anna")
    assert await sees(hub, anna, cart_id) == [True]
    await hub.sign_out(anna)
    assert await sees(hub, anna, cart_id) == [False]
    assert await hub.storage.get(directory.live_session_record("demo", "customer-anna"), now_ms()) is None
    assert await hub.sign_in(again, "anna") == again
    assert await sees(hub, again, cart_id) == [True]


async def test_a_record_that_outlived_its_sign_out_is_not_believed(hub: World) -> None:
    anna, again = await hub.visit(), await hub.visit()
    await hub.sign_in(anna, "anna")
    sign_out = session_intent_pb2.SessionIntent(sign_out=session_intent_pb2.SignOut())
    await hub.send(anna, sign_out)  # and here the hub died
    assert await hub.sign_in(again, "anna") == again
    assert (await hub.session(anna)).login.status == ANONYMOUS
    assert await hub.storage.get(directory.live_session_record("demo", "customer-anna"), now_ms()) == (
        again.subject.encode()
    )


async def test_a_late_sign_out_leaves_the_record_of_another_session(hub: World) -> None:
    anna, again = await hub.visit(), await hub.visit()
    await hub.sign_in(anna, "anna")
    before = (await hub.resources.get(names.session(anna.subject))).entries
    await hub.send(anna, session_intent_pb2.SessionIntent(sign_out=session_intent_pb2.SignOut()))
    await hub.sign_in(again, "anna")
    await hub.sessions.signed_out(before)
    assert await hub.sign_in(await hub.visit(), "anna") == again


async def test_a_session_serves_one_customer_in_its_life(hub: World) -> None:
    """Other channels of the first customer may still hold the session's token when a second one signs in."""
    shared = await hub.visit()
    await hub.sign_in(shared, "anna")
    await hub.sign_out(shared)
    cart_id = await hub.new_cart(shared, lines=1)
    berta = await hub.sign_in(shared, "berta")
    assert berta != shared
    assert (await hub.session(berta)).active_cart_id == cart_id
    assert await sees(hub, berta, cart_id) == [True]
    assert await sees(hub, shared, cart_id) == [False]
    left = await hub.session(shared)
    assert (left.state, left.login.status, listed(left)) == (session_pb2.SESSION_STATE_ACTIVE, ANONYMOUS, {})
    await hub.sign_out(berta)
    assert await hub.sign_in(berta, "carla") not in (berta, shared)


async def test_who_signs_in_as_somebody_else_leaves_and_takes_nothing(hub: World) -> None:
    anna = await hub.visit()
    cart_id = await hub.new_cart(anna, lines=1)
    await hub.sign_in(anna, "anna")
    before = await hub.session(anna)
    berta = await hub.sign_in(anna, "berta")
    assert await hub.session(anna) == before
    assert listed(await hub.session(berta)) == {}
    assert await sees(hub, berta, cart_id) == [False]


@pytest.mark.parametrize("who", [TERMINAL, SERVICE, OPERATOR, CHANNEL])
async def test_only_shoppers_sign_in(hub: World, who: Identity) -> None:
    with pytest.raises(Problem) as caught:
        await hub.sessions.sign_in(who, "anna's password", "pos")
    assert caught.value.reason == error_pb2.ERROR_REASON_NOT_ALLOWED


async def test_a_wrong_credential_changes_nothing(hub: World) -> None:
    anna = await hub.visit()
    with pytest.raises(Problem) as caught:
        await hub.sessions.sign_in(anna, "guess", "web")
    assert caught.value.reason == error_pb2.ERROR_REASON_UNAUTHENTICATED
    assert (await hub.session(anna)).login.status == ANONYMOUS


async def test_a_cart_that_was_made_during_the_sign_in_goes_along(hub: World) -> None:
    live, web = await hub.visit(), await hub.visit()
    await hub.sign_in(live, "anna")
    await hub.sign_in(web, "anna")
    late = await hub.new_cart(web, lines=1)
    assert listed(await hub.session(live)) == {late: True}
    await hub.sessions.attach_cart(web.subject, late)
    assert listed(await hub.session(web)) == {}


async def test_a_cart_of_somebody_else_is_not_listed(hub: World) -> None:
    anna, berta = await hub.visit(), await hub.visit()
    for cart_id in (await hub.new_cart(anna), await hub.new_cart(), await hub.new_cart(customer="anna")):
        await hub.sessions.attach_cart(berta.subject, cart_id)
    assert listed(await hub.session(berta)) == {}


async def test_a_cancelled_active_cart_gives_way_to_a_new_one(hub: World) -> None:
    anna = await hub.visit()
    first = await hub.new_cart(anna)
    await hub.set_cart_state(first, cart_pb2.CART_STATE_CANCELED)
    second = await hub.new_cart(anna)
    assert (await hub.session(anna)).active_cart_id == second


class Died(BaseException):
    """The process is gone."""


class Wrapped:
    """The storage as one hub sees it."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


class Dying(Wrapped):
    """Takes so many writes; then the process is gone."""

    def __init__(self, storage: Storage, writes: int) -> None:
        super().__init__(storage)
        self._left = writes

    def __getattr__(self, name: str) -> Any:
        method = super().__getattr__(name)
        if name not in ("commit", "put", "add", "delete"):
            return method

        async def write(*args: Any, **options: Any) -> Any:
            if not self._left:
                raise Died
            self._left -= 1
            return await method(*args, **options)

        return write


class Latecomer(Wrapped):
    """Before it stores who is live, another hub has."""

    def __init__(self, storage: Storage, other: Callable[[], Awaitable[object]]) -> None:
        super().__init__(storage)
        self._others = [other]

    async def put(self, key: str, value: bytes, **options: Any) -> bool:
        if key.startswith("live-session/") and self._others:
            await self._others.pop()()
        return await self._storage.put(key, value, **options)


async def test_sign_ins_through_two_hubs_end_in_one_live_session(hub: World) -> None:
    """Both find no live session; the one that puts its record first has it."""
    anna, berta = await hub.visit(), await hub.visit()
    cart_id = await hub.new_cart(berta, lines=1)
    second = World(cast(Storage, Latecomer(hub.storage, lambda: hub.sign_in(anna, "anna"))))
    assert await second.sign_in(berta, "anna") == anna
    left = await hub.session(berta)
    assert (left.state, left.joined_session_id, left.login.status) == (JOINED, anna.subject, ANONYMOUS)
    assert listed(await hub.session(anna)) == {cart_id: False}


@pytest.mark.parametrize("writes", range(7))
async def test_a_sign_in_that_was_cut_off_is_completed_by_the_next(hub: World, writes: int) -> None:
    """The hub dies before any of its writes; the shopper signs in again and has everything."""
    live, web = await hub.visit(), await hub.visit()
    await hub.sign_in(live, "anna")
    first, second = await hub.new_cart(web, lines=1), await hub.new_cart(web, lines=2)
    await hub.send(web, view("p1"))
    with pytest.raises(Died):
        await World(cast(Storage, Dying(hub.storage, writes))).sign_in(web, "anna")
    assert await World(hub.storage).sign_in(web, "anna") == live
    session = await hub.session(live)
    assert (listed(session), session.active_cart_id) == ({first: False, second: True}, first)
    assert [seen.product_id for seen in session.views] == ["p1"]
    left = await hub.session(web)
    assert (left.state, listed(left)) == (JOINED, {})
    assert (await hub.cart(first)).customer_id == "customer-anna"
