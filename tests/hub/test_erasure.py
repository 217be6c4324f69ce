"""What of a customer is found and erased, and what stays because it is somebody else's."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from legato.commerce.v1 import session_pb2
from legato.orchestrator.v1 import error_pb2, session_intent_pb2
from legato.protocol import resources as names
from legato.protocol.ids import new_id
from legato_hub import directory, erasure
from legato_hub.clock import now_ms
from legato_hub.core.identity import Identity
from legato_hub.core.problem import Problem
from legato_hub.erasure import Erased, Erasure
from legato_hub.storage.base import Storage
from tests.hub.session_world import TENANT, World, world

ANNA = "customer-anna"


@pytest.fixture
async def hub() -> AsyncIterator[World]:
    async with world() as made:
        yield made


async def erased(hub: World, *cart_ids: str) -> list[bool]:
    """Which carts are gone."""
    loaded = [await hub.storage.load(names.cart(cart_id)) for cart_id in cart_ids]
    return [one is None or one.tombstone for one in loaded]


async def is_gone(hub: World, who: Identity) -> bool:
    loaded = await hub.storage.load(names.session(who.subject))
    assert loaded is not None
    return loaded.tombstone


def view(product: str) -> session_intent_pb2.SessionIntent:
    return session_intent_pb2.SessionIntent(view_product=session_intent_pb2.ViewProduct(product_id=product))


async def test_sessions_and_carts_of_a_customer_go_and_those_of_others_stay(hub: World) -> None:
    guest = await hub.visit()
    guests_cart = await hub.new_cart(guest, lines=1)
    anna = await hub.sign_in(guest, "anna")
    annas_cart = await hub.new_cart(customer="anna")
    ben = await hub.sign_in(await hub.visit(), "ben")
    bens_cart, tills_cart = await hub.new_cart(customer="ben"), await hub.new_cart()
    assert await Erasure(hub.storage).erase(TENANT, ANNA) == Erased(sessions=1, carts=2)
    assert await erased(hub, guests_cart, annas_cart, bens_cart, tills_cart) == [True, True, False, False]
    assert (await is_gone(hub, anna), await is_gone(hub, ben)) == (True, False)


async def test_a_session_that_was_left_long_ago_is_found(hub: World) -> None:
    """Its log still tells of the login, and of what was looked at."""
    first = await hub.sign_in(await hub.visit(), "anna")
    await hub.send(first, view("p1"))
    await hub.sign_out(first)
    second = await hub.sign_in(await hub.visit(), "anna")
    assert first != second
    assert await Erasure(hub.storage).erase(TENANT, ANNA) == Erased(sessions=2, carts=0)
    assert (await is_gone(hub, first), await is_gone(hub, second)) == (True, True)


async def test_a_session_that_joined_another_is_found(hub: World) -> None:
    phone = await hub.sign_in(await hub.visit(), "anna", "app")
    web = await hub.visit()
    await hub.send(web, view("p1"))
    left_behind = [await hub.new_cart(web), await hub.new_cart(web)]
    assert await hub.sign_in(web, "anna") == phone
    assert (await hub.session(web)).state == session_pb2.SESSION_STATE_JOINED
    assert await Erasure(hub.storage).erase(TENANT, ANNA) == Erased(sessions=2, carts=2)
    assert await erased(hub, *left_behind) == [True, True]
    assert (await is_gone(hub, phone), await is_gone(hub, web)) == (True, True)


async def test_what_was_shared_with_the_customer_stays_and_the_access_goes(hub: World) -> None:
    anna = await hub.sign_in(await hub.visit(), "anna")
    bens_cart = await hub.new_cart(customer="ben")
    await hub.access.grant(anna, bens_cart, now_ms() + 1_000_000)
    assert await Erasure(hub.storage).erase(TENANT, ANNA) == Erased(sessions=1, carts=0)
    assert await erased(hub, bens_cart) == [False]
    assert await hub.storage.get(directory.grant_record(anna, bens_cart), now_ms()) is None


async def test_nothing_leads_to_the_customer_any_more(hub: World) -> None:
    anna = await hub.sign_in(await hub.visit(), "anna")
    await hub.new_cart(anna)
    await hub.new_cart(customer="anna")
    await Erasure(hub.storage).erase(TENANT, ANNA)
    for key in (
        directory.sessions_of(TENANT, ANNA),
        directory.carts_of_customer(TENANT, ANNA),
        directory.carts_of(anna),
        directory.carts_of_tenant(TENANT),
        directory.carts_of_store(TENANT, "main"),
    ):
        assert await hub.storage.members(key) == []
    assert await hub.storage.get(directory.live_session_record(TENANT, ANNA), now_ms()) is None
    assert await hub.storage.get(directory.session_customer_record(anna.subject), now_ms()) is None


async def test_the_same_customer_of_another_tenant_stays(hub: World) -> None:
    other = await hub.new_cart(customer="anna", tenant="other")
    assert await Erasure(hub.storage).erase(TENANT, ANNA) == Erased()
    assert await erased(hub, other) == [False]


async def test_an_unknown_customer_and_a_repetition_are_no_errors(hub: World) -> None:
    assert await Erasure(hub.storage).erase(TENANT, "nobody") == Erased()
    await hub.new_cart(customer="anna")
    assert await Erasure(hub.storage).erase(TENANT, ANNA) == Erased(carts=1)
    assert await Erasure(hub.storage).erase(TENANT, ANNA) == Erased()


async def test_more_carts_than_a_page_are_found(hub: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "PAGE", 2)
    carts = [await hub.new_cart(customer="anna") for _ in range(5)]
    assert await Erasure(hub.storage).erase(TENANT, ANNA) == Erased(carts=5)
    assert await erased(hub, *carts) == [True] * 5


async def test_a_cart_that_is_being_made_is_not_made(hub: World) -> None:
    cart_id = new_id()
    await hub.storage.add(directory.carts_of_customer(TENANT, ANNA), cart_id)
    await Erasure(hub.storage).erase(TENANT, ANNA)
    with pytest.raises(Problem):
        await hub.amender.amend(names.cart(cart_id), lambda _: {"cart": b"too late"})


async def test_whoever_goes_on_making_carts_is_told_of(hub: World) -> None:
    class Busy:
        def __init__(self, storage: Storage) -> None:
            self._storage = storage

        def __getattr__(self, name: str) -> object:
            return getattr(self._storage, name)

        async def remove(self, key: str, member: str) -> None:
            await self._storage.remove(key, member)
            await self._storage.add(key, new_id())

    await hub.new_cart(customer="anna")
    with pytest.raises(Problem) as caught:
        await Erasure(Busy(hub.storage)).erase(TENANT, ANNA)  # type: ignore[arg-type]
    assert caught.value.reason == error_pb2.ERROR_REASON_RESOURCE_BUSY


async def test_a_hub_that_holds_them_forgets_them(hub: World) -> None:
    anna = await hub.sign_in(await hub.visit(), "anna")
    cart_id = await hub.new_cart(anna)
    live = [await hub.resources.pin(name) for name in (names.cart(cart_id), names.session(anna.subject))]
    gone = [asyncio.Event(), asyncio.Event()]

    class Watching:
        def __init__(self, at: int) -> None:
            self.at = at

        def revised(self) -> None:
            assert live[self.at].tombstone
            gone[self.at].set()

        def restarted(self) -> None: ...

        def presence_changed(self) -> None: ...

    for at in (0, 1):
        live[at].attach(Watching(at))
    idle = await hub.resources.get(names.cart(await hub.new_cart(customer="anna")))
    await Erasure(hub.storage).erase(TENANT, ANNA)
    for event in gone:
        await asyncio.wait_for(event.wait(), 30)
    assert [one.entries for one in live] == [{}, {}]
    assert (await hub.resources.get(idle.name)).entries == {}


async def test_they_can_come_again_as_somebody_new(hub: World) -> None:
    before = await hub.sign_in(await hub.visit(), "anna")
    await Erasure(hub.storage).erase(TENANT, ANNA)
    with pytest.raises(Problem) as caught:
        await hub.sign_in(before, "anna")
    assert caught.value.reason == error_pb2.ERROR_REASON_NOT_FOUND
    again = await hub.sign_in(await hub.visit(), "anna")
    assert again != before
    assert (await hub.session(again)).login.customer_id == ANNA
