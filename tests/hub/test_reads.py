"""Reads: what they answer, for whom, how new, and page by page."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from legato.commerce.v1 import cart_pb2
from legato.orchestrator.v1 import cursor_pb2, error_pb2, reads_pb2
from legato.protocol import resources as names
from legato.protocol.ids import new_id
from legato_hub import directory, reads
from legato_hub.clock import now_ms
from legato_hub.core.cursor import Cursor
from legato_hub.core.identity import Identity
from legato_hub.core.problem import Problem
from legato_hub.reads import Reads
from tests.hub.session_world import CHANNEL, OPERATOR, SERVICE, TERMINAL, World, shopper, world

CANCELED = cart_pb2.CART_STATE_CANCELED


class Shop(World):
    """A world with the reads of a hub."""

    def __init__(self, hub: World) -> None:
        super().__init__(hub.storage)
        self.reads = Reads(self.storage, self.resources, self.access)

    async def read(
        self, who: Identity, resource: str, min_cursor: cursor_pb2.Cursor | None = None, timeout: float | None = 5.0
    ) -> reads_pb2.GetCartResponse:
        return await self.reads.cart(who, reads_pb2.GetCartRequest(resource=resource, min_cursor=min_cursor), timeout)

    async def list(self, who: Identity, **wish: Any) -> list[str]:
        """Every id of a list, in order, across its pages; no page but the last may be the last."""
        found: list[str] = []
        while True:
            page = await self.reads.carts(who, reads_pb2.ListCartsRequest(**wish), 5.0)
            found += [summary.cart.id for summary in page.carts]
            if not page.next_page_token:
                return found
            wish["page_token"] = page.next_page_token

    def cursor(self, revision: int, epoch: str = "") -> cursor_pb2.Cursor:
        return cursor_pb2.Cursor(epoch=epoch or self.storage.epoch, revision=revision)


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with world() as hub:
        yield Shop(hub)


async def test_a_cart_is_read_whole_with_its_cursor(shop: Shop) -> None:
    anna = await shop.visit()
    cart_id = await shop.new_cart(anna, lines=2)
    answer = await shop.read(anna, names.cart(cart_id))
    assert answer.cart == await shop.cart(cart_id)
    assert answer.cursor == shop.cursor(1)


async def test_the_active_cart_is_read_by_its_session(shop: Shop) -> None:
    anna = await shop.visit()
    with pytest.raises(Problem) as caught:
        await shop.read(anna, names.active_cart(anna.subject))
    assert caught.value.reason == error_pb2.ERROR_REASON_NOT_FOUND
    cart_id = await shop.new_cart(anna)
    assert (await shop.read(anna, names.active_cart(anna.subject))).cart.id == cart_id
    assert (await shop.read(SERVICE, names.active_cart(anna.subject))).cart.id == cart_id


async def test_a_foreign_cart_is_not_found(shop: Shop) -> None:
    cart_id = await shop.new_cart(await shop.visit())
    for who in (await shop.visit(), CHANNEL, shopper(new_id(), "other")):
        with pytest.raises(Problem) as caught:
            await shop.read(who, names.cart(cart_id))
        assert caught.value.reason == error_pb2.ERROR_REASON_NOT_FOUND


@pytest.mark.parametrize("name", ["", "carts/1", "the own session", "orders/1"])
async def test_what_is_no_cart_is_an_invalid_field(shop: Shop, name: str) -> None:
    anna = await shop.visit()
    name = names.session(anna.subject) if name == "the own session" else name
    with pytest.raises(Problem) as caught:
        await shop.read(anna, name)
    assert [violation.field for violation in caught.value.error.field_violations] == ["resource"]


async def test_repeated_reads_assemble_nothing(shop: Shop) -> None:
    anna = await shop.visit()
    cart_id = await shop.new_cart(anna, lines=1)
    first = await shop.read(anna, names.cart(cart_id))
    assert await shop.read(SERVICE, names.cart(cart_id)) is first
    await shop.set_cart_state(cart_id, CANCELED)
    second = await shop.read(anna, names.cart(cart_id))
    assert (second.cart.state, second.cursor.revision) == (CANCELED, 2)


async def test_a_cart_that_was_read_again_unchanged_is_known_to_be_fresh(shop: Shop) -> None:
    cart_id = await shop.new_cart()
    live = await shop.resources.get(names.cart(cart_id))
    live.observed_at = 1_780_000_000_000
    assert (await shop.read(SERVICE, live.name)).cart.provenance.observed_at.ToMilliseconds() == live.observed_at
    live.observed_at += 5
    answer = await shop.read(SERVICE, live.name)
    assert answer.cart.provenance.observed_at.ToMilliseconds() == live.observed_at
    assert answer.cursor.revision == 1


async def test_a_revision_that_is_there_is_not_waited_for(shop: Shop) -> None:
    cart_id = await shop.new_cart()
    assert await shop.read(SERVICE, names.cart(cart_id), shop.cursor(1), timeout=0)


async def test_cursors_that_cannot_be_reached_are_refused_at_once(shop: Shop) -> None:
    name = names.cart(await shop.new_cart())
    for cursor, reason in (
        (shop.cursor(2), error_pb2.ERROR_REASON_CURSOR_AHEAD),
        (shop.cursor(1 << 63), error_pb2.ERROR_REASON_CURSOR_AHEAD),
        (shop.cursor(1, "another"), error_pb2.ERROR_REASON_EPOCH_MISMATCH),
        (cursor_pb2.Cursor(), error_pb2.ERROR_REASON_EPOCH_MISMATCH),
    ):
        with pytest.raises(Problem) as caught:
            await shop.read(SERVICE, name, cursor, timeout=None)
        assert caught.value.reason == reason


async def test_a_revision_that_the_storage_has_is_fetched(shop: Shop) -> None:
    """Another hub has committed, and this one has not heard of it yet."""
    cart_id = await shop.new_cart()
    live = await shop.resources.get(names.cart(cart_id))
    live.end_of_feed()
    await World(shop.storage).set_cart_state(cart_id, CANCELED)
    assert live.revision == 1
    answer = await shop.read(SERVICE, live.name, shop.cursor(2))
    assert (answer.cart.state, answer.cursor.revision) == (CANCELED, 2)


async def test_a_revision_that_is_on_its_way_is_waited_for(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The storage has it, its news has not come, and reading again did not help: then it is waited for."""
    cart_id = await shop.new_cart()
    live = await shop.resources.get(names.cart(cart_id))
    live.end_of_feed()
    await World(shop.storage).set_cart_state(cart_id, CANCELED)
    asked = asyncio.Event()
    reload = shop.resources.reload

    async def too_early(_: object) -> None:
        asked.set()

    monkeypatch.setattr(shop.resources, "reload", too_early)
    reading = asyncio.create_task(shop.read(SERVICE, live.name, shop.cursor(2), timeout=None))
    await asked.wait()
    assert not reading.done()
    await reload(live)
    assert (await reading).cursor.revision == 2
    live.cursor = Cursor(live.cursor.epoch, 1)
    with pytest.raises(Problem) as caught:
        await shop.read(SERVICE, live.name, shop.cursor(2), timeout=0.01)
    assert caught.value.reason == error_pb2.ERROR_REASON_DEADLINE_EXCEEDED


async def test_sessions_are_read_by_id_or_as_the_own(shop: Shop) -> None:
    anna = await shop.visit()
    for who, session_id in ((anna, ""), (anna, anna.subject), (SERVICE, anna.subject), (OPERATOR, anna.subject)):
        answer = await shop.reads.session(who, reads_pb2.GetSessionRequest(session_id=session_id), None)
        assert answer.session == await shop.session(anna)
        assert answer.cursor == shop.cursor(1)


async def test_sessions_are_read_by_nobody_else(shop: Shop) -> None:
    anna = await shop.visit()
    cases = [
        (await shop.visit(), anna.subject, error_pb2.ERROR_REASON_NOT_FOUND),
        (TERMINAL, anna.subject, error_pb2.ERROR_REASON_NOT_FOUND),
        (SERVICE, new_id(), error_pb2.ERROR_REASON_NOT_FOUND),
        (SERVICE, "", error_pb2.ERROR_REASON_INVALID_FIELD),
        (SERVICE, "7", error_pb2.ERROR_REASON_INVALID_FIELD),
    ]
    for who, session_id, reason in cases:
        with pytest.raises(Problem) as caught:
            await shop.reads.session(who, reads_pb2.GetSessionRequest(session_id=session_id), None)
        assert caught.value.reason == reason
    request = reads_pb2.GetSessionRequest(min_cursor=shop.cursor(9))
    with pytest.raises(Problem) as caught:
        await shop.reads.session(anna, request, None)
    assert caught.value.reason == error_pb2.ERROR_REASON_CURSOR_AHEAD


async def test_everybody_lists_what_they_see(shop: Shop) -> None:
    anna, berta = await shop.visit(), await shop.visit()
    guests = await shop.new_cart(anna)
    elsewhere = await shop.new_cart(berta, store="us")
    counter = await shop.new_cart()
    customers = await shop.new_cart(customer="anna", lines=1)
    foreign = await shop.new_cart(tenant="other")
    assert await shop.list(anna) == [guests]
    assert await shop.list(berta) == [elsewhere]
    assert await shop.list(TERMINAL) == [customers, counter, guests]
    assert await shop.list(SERVICE) == await shop.list(OPERATOR) == [customers, counter, elsewhere, guests]
    assert await shop.list(shopper(new_id(), "other")) == []
    assert await shop.list(Identity(SERVICE.kind, "other", "mailer")) == [foreign]
    await shop.sign_in(anna, "anna")
    assert await shop.list(anna) == [customers, guests]
    await shop.sign_out(anna)
    assert await shop.list(anna) == [guests]
    assert await shop.list(SERVICE, customer_id="customer-anna") == [customers]


async def test_pages_join_without_gap_or_double(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    carts = [await shop.new_cart() for _ in range(7)]
    for size in (1, 2, 3, 6, 7, 8):
        assert await shop.list(SERVICE, page_size=size) == carts[::-1]
    exact = await shop.reads.carts(SERVICE, reads_pb2.ListCartsRequest(page_size=7), None)
    assert exact.next_page_token == ""
    for cart_id in carts[1:6]:
        await shop.set_cart_state(cart_id, CANCELED)
    monkeypatch.setattr(reads, "SCANNED_AT_MOST", 1)
    monkeypatch.setattr(reads, "MAX_PAGE_SIZE", 2)
    assert await shop.list(SERVICE, state=cart_pb2.CART_STATE_ACTIVE, page_size=1) == [carts[6], carts[0]]
    assert await shop.list(SERVICE, state=CANCELED, page_size=2) == carts[5:0:-1]


async def test_a_cart_that_is_not_committed_yet_is_passed_over_and_stays(shop: Shop) -> None:
    cart = cart_pb2.Cart(id=new_id(), tenant="demo", store="main")
    await shop.sessions.index_cart(cart)
    assert await shop.list(SERVICE) == []
    assert await shop.storage.members(directory.carts_of_tenant("demo")) == [cart.id]


async def test_what_is_gone_leaves_the_lists(shop: Shop) -> None:
    await shop.new_cart()
    await shop.storage.sweep(now_ms() + 1_000, closed_ms=1, idle_ms=1)
    assert await Shop(shop).list(SERVICE) == []
    assert await shop.storage.members(directory.carts_of_tenant("demo")) == []


async def test_a_grant_past_its_time_leaves_the_list(shop: Shop) -> None:
    cart_id, berta = await shop.new_cart(), await shop.visit()
    await shop.access.grant(berta, cart_id, now_ms() + 60_000)
    assert await shop.list(berta) == [cart_id]
    await shop.access.grant(berta, cart_id, now_ms())
    assert await shop.list(berta) == []
    assert await shop.storage.members(directory.carts_of(berta)) == []
    assert await shop.list(SERVICE) == [cart_id]


async def test_a_list_is_at_least_as_new_as_a_cart_that_was_seen(shop: Shop) -> None:
    cart_id = await shop.new_cart()
    assert await shop.list(SERVICE, min_cursor=shop.cursor(1), min_cursor_resource=names.cart(cart_id)) == [cart_id]
    with pytest.raises(Problem) as caught:
        await shop.list(SERVICE, min_cursor=shop.cursor(2), min_cursor_resource=names.cart(cart_id))
    assert caught.value.reason == error_pb2.ERROR_REASON_CURSOR_AHEAD


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"page_size": -1}, "page_size"),
        ({"page_size": 101}, "page_size"),
        ({"page_token": "x"}, "page_token"),
        ({"state": 99}, "state"),
        ({"customer_id": "x" * 257}, "customer_id"),
        ({"min_cursor": cursor_pb2.Cursor(epoch="e", revision=1)}, "min_cursor_resource"),
        ({"min_cursor_resource": names.cart(new_id())}, "min_cursor_resource"),
    ],
)
async def test_bad_wishes_for_lists_are_named(shop: Shop, wish: dict[str, Any], field: str) -> None:
    with pytest.raises(Problem) as caught:
        await shop.list(SERVICE, **wish)
    assert caught.value.error.field_violations[0].field == field


async def test_some_lists_are_not_for_everybody(shop: Shop) -> None:
    anna = await shop.visit()
    for who, wish in ((CHANNEL, {}), (anna, {"customer_id": "anna"}), (TERMINAL, {"customer_id": "anna"})):
        with pytest.raises(Problem) as caught:
            await shop.list(who, **wish)
        assert caught.value.reason == error_pb2.ERROR_REASON_NOT_ALLOWED
