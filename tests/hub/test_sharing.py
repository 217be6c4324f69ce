"""Sharing carts by code: the codes themselves, what they give, and what guessing brings."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from legato.orchestrator.v1 import cursor_pb2, error_pb2, reads_pb2
from legato_hub import sharing
from legato_hub.clock import now_ms
from legato_hub.core import share_codes
from legato_hub.core.identity import Identity, IdentityKind
from legato_hub.core.problem import Problem
from legato_hub.reads import Reads
from legato_hub.sharing import Guesses, Sharing
from tests.hub.session_world import CHANNEL, OPERATOR, SERVICE, TERMINAL, World, world

OTHER_STORE = Identity(IdentityKind.TERMINAL, "demo", "till-us", "us")
OTHER_TENANT = Identity(IdentityKind.TERMINAL, "other", "till-4", "main")


class Shop:
    """A world with the sharing of a hub."""

    def __init__(self, hub: World) -> None:
        self.hub = hub
        self.reads = Reads(hub.storage, hub.resources, hub.access)
        self.sharing = Sharing(hub.storage, hub.access, self.reads)

    async def share(self, who: Identity, cart_id: str) -> str:
        return (await self.sharing.share(who, reads_pb2.ShareCartRequest(cart_id=cart_id))).code

    async def look_up(
        self, who: Identity, code: str, min_cursor: cursor_pb2.Cursor | None = None
    ) -> reads_pb2.LookUpCartResponse:
        return await self.sharing.look_up(who, reads_pb2.LookUpCartRequest(code=code, min_cursor=min_cursor), 1.0)

    async def refusal(self, who: Identity, code: str) -> Problem:
        with pytest.raises(Problem) as caught:
            await self.look_up(who, code)
        return caught.value


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with world() as hub:
        yield Shop(hub)


def test_codes_are_of_the_crockford_alphabet() -> None:
    assert share_codes.code_of(0) == "00000000"
    assert share_codes.code_of(2**40 - 1) == "ZZZZZZZZ"
    assert share_codes.code_of(0b00001_00010) == "00000012"
    assert len(set(share_codes.ALPHABET)) == 32


@pytest.mark.parametrize("typed", ["10ABCDEF", "10ab-cdef", " loab cdef ", "IOAB-CDEF", "1-0-A-B-C-D-E-F", "ioabcdef"])
def test_however_a_code_is_typed_it_is_the_same(typed: str) -> None:
    assert share_codes.normalise(typed) == "10ABCDEF"


@pytest.mark.parametrize(
    "typed", ["", "10ABCDE", "10ABCDEFG", "10ABCDEU", "10ABCDE!", "10ABCDEÄ", "ß0ABCDEF", "10ABCDE\n"]
)
def test_what_cannot_be_a_code_is_told_from_a_wrong_one(typed: str) -> None:
    assert share_codes.normalise(typed) is None


def test_a_code_is_shown_in_two_groups() -> None:
    assert share_codes.shown("10ABCDEF") == "10AB-CDEF"


async def test_a_till_of_another_store_gets_at_the_cart_by_its_code(shop: Shop) -> None:
    anna = await shop.hub.visit()
    cart_id = await shop.hub.new_cart(anna, lines=2)
    with pytest.raises(Problem):
        await shop.hub.access.cart(OTHER_STORE, cart_id)
    answer = await shop.sharing.share(anna, reads_pb2.ShareCartRequest(cart_id=cart_id))
    assert abs(answer.expires_at.ToMilliseconds() - now_ms() - sharing.CODE_MS) < 60_000
    found = await shop.look_up(OTHER_STORE, answer.code.lower())
    assert (found.cart.id, len(found.cart.lines), found.cursor.revision) == (cart_id, 2, 1)
    assert abs(found.access_expires_at.ToMilliseconds() - now_ms() - sharing.GRANT_MS) < 60_000
    assert (await shop.hub.access.cart(OTHER_STORE, cart_id)).revision == 1
    listed = await shop.reads.carts(OTHER_STORE, reads_pb2.ListCartsRequest(), None)
    assert [summary.cart.id for summary in listed.carts] == [cart_id]


async def test_a_code_may_be_looked_up_again_and_every_code_is_another(shop: Shop) -> None:
    anna = await shop.hub.visit()
    cart_id = await shop.hub.new_cart(anna)
    codes = [await shop.share(anna, cart_id) for _ in range(3)]
    assert len(set(codes)) == 3
    for code in (*codes, codes[0]):
        assert (await shop.look_up(TERMINAL, code)).cart.id == cart_id


@pytest.mark.parametrize("who", [TERMINAL, SERVICE])
async def test_whoever_sees_a_cart_may_share_it(shop: Shop, who: Identity) -> None:
    cart_id = await shop.hub.new_cart()
    berta = await shop.hub.visit()
    assert (await shop.look_up(berta, await shop.share(who, cart_id))).cart.id == cart_id
    assert (await shop.look_up(SERVICE, await shop.share(berta, cart_id))).cart.id == cart_id


async def test_a_foreign_cart_cannot_be_shared(shop: Shop) -> None:
    cart_id = await shop.hub.new_cart(await shop.hub.visit())
    for who in (await shop.hub.visit(), OTHER_STORE, OTHER_TENANT):
        with pytest.raises(Problem) as caught:
            await shop.share(who, cart_id)
        assert caught.value.reason == error_pb2.ERROR_REASON_NOT_FOUND


@pytest.mark.parametrize("who", [CHANNEL, OPERATOR])
async def test_channels_and_operators_do_not_share(shop: Shop, who: Identity) -> None:
    cart_id = await shop.hub.new_cart()
    with pytest.raises(Problem) as caught:
        await shop.share(who, cart_id)
    assert caught.value.reason == error_pb2.ERROR_REASON_NOT_ALLOWED


async def test_a_malformed_cart_id_is_named(shop: Shop) -> None:
    with pytest.raises(Problem) as caught:
        await shop.share(SERVICE, "7")
    assert caught.value.error.field_violations[0].field == "cart_id"


async def test_a_channel_looks_nothing_up(shop: Shop) -> None:
    code = await shop.share(SERVICE, await shop.hub.new_cart())
    assert (await shop.refusal(CHANNEL, code)).reason == error_pb2.ERROR_REASON_NOT_ALLOWED


async def test_a_code_is_nothing_to_another_tenant(shop: Shop) -> None:
    code = await shop.share(SERVICE, await shop.hub.new_cart())
    assert (await shop.refusal(OTHER_TENANT, code)).reason == error_pb2.ERROR_REASON_SHARE_CODE_INVALID


async def test_a_code_past_its_time_is_wrong(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "CODE_MS", 0)
    code = await shop.share(SERVICE, await shop.hub.new_cart())
    assert (await shop.refusal(TERMINAL, code)).reason == error_pb2.ERROR_REASON_SHARE_CODE_INVALID


async def test_guessing_is_slowed_for_the_guesser_alone(shop: Shop) -> None:
    code = await shop.share(SERVICE, await shop.hub.new_cart())
    wrong = "0000-0000"
    for _ in range(sharing.WRONG_CODES):
        assert (await shop.refusal(OTHER_STORE, wrong)).reason == error_pb2.ERROR_REASON_SHARE_CODE_INVALID
    throttled = await shop.refusal(OTHER_STORE, code)
    assert throttled.reason == error_pb2.ERROR_REASON_THROTTLED
    assert 0 < throttled.error.retry_delay.ToMilliseconds() <= sharing.WRONG_WINDOW_MS
    assert await shop.look_up(TERMINAL, code)


async def test_guessing_at_once_is_no_way_round(shop: Shop) -> None:
    refusals = await asyncio.gather(*(shop.refusal(TERMINAL, f"000{n}-0000") for n in range(9)))
    reasons = [refusal.reason for refusal in refusals]
    assert reasons.count(error_pb2.ERROR_REASON_SHARE_CODE_INVALID) == sharing.WRONG_CODES


async def test_right_codes_and_what_is_no_code_do_not_count(shop: Shop) -> None:
    code = await shop.share(SERVICE, await shop.hub.new_cart())
    for _ in range(3 * sharing.WRONG_CODES):
        assert await shop.look_up(TERMINAL, code)
        assert (await shop.refusal(TERMINAL, "123")).error.field_violations[0].field == "code"


def test_the_wait_ends_a_minute_after_the_first_wrong_code() -> None:
    guesses = Guesses()
    for at in range(sharing.WRONG_CODES):
        guesses.count("till", at * 1_000)
    with pytest.raises(Problem) as caught:
        guesses.count("till", 10_000)
    assert caught.value.error.retry_delay.ToMilliseconds() == sharing.WRONG_WINDOW_MS - 10_000
    guesses.count("till", sharing.WRONG_WINDOW_MS)


def test_the_memory_of_guessers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "GUESSERS_KEPT", 3)
    guesses = Guesses()
    for number in range(10):
        guesses.count(f"till-{number}", 0)
    assert list(guesses._times) == ["till-7", "till-8", "till-9"]


async def test_the_answer_is_at_least_as_new_as_asked_for(shop: Shop) -> None:
    code = await shop.share(SERVICE, await shop.hub.new_cart())
    epoch = shop.hub.storage.epoch
    assert await shop.look_up(TERMINAL, code, cursor_pb2.Cursor(epoch=epoch, revision=1))
    with pytest.raises(Problem) as caught:
        await shop.look_up(TERMINAL, code, cursor_pb2.Cursor(epoch=epoch, revision=2))
    assert caught.value.reason == error_pb2.ERROR_REASON_CURSOR_AHEAD


async def test_a_code_of_a_cart_that_is_gone_finds_nothing(shop: Shop) -> None:
    code = await shop.share(SERVICE, await shop.hub.new_cart())
    await shop.hub.storage.sweep(now_ms() + 1_000, closed_ms=1, idle_ms=1)
    later = Shop(World(shop.hub.storage))
    assert (await later.refusal(TERMINAL, code)).reason == error_pb2.ERROR_REASON_NOT_FOUND
