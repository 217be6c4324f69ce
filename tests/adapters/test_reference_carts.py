"""What the reference adapter promises beyond the contract: its own rules, markets and bookkeeping."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import cart_service_pb2
from legato.commerce.v1 import address_pb2, cart_pb2, discount_pb2, line_item_pb2, total_pb2
from legato.local_channel import LocalChannel
from legato_adapters.conformance.cart_user import CartUser, comparable, steps_by_sku, total
from legato_adapters.conformance.stubs import CartStub, Stubs
from legato_adapters.reference import create
from tests.adapters.tried import REFERENCE

SHIPPING = address_pb2.ADDRESS_PURPOSE_SHIPPING
INVALID_FIELD = cart_service_pb2.REJECTION_REASON_INVALID_FIELD
GRAND_TOTAL = total_pb2.TOTAL_TYPE_GRAND_TOTAL


@pytest.fixture
async def stub() -> AsyncIterator[CartStub]:
    adapter = create(path=":memory:")
    async with LocalChannel() as channel:
        adapter.add_to(channel)
        await adapter.start()
        yield Stubs(channel).cart
    await adapter.close()


async def a_cart(stub: CartStub, **market: str) -> CartUser:
    user = CartUser(stub, REFERENCE.context())
    await user.apply(create_cart=market)
    return user


@pytest.fixture
async def user(stub: CartStub) -> CartUser:
    return await a_cart(stub)


def shares(cart: cart_pb2.Cart) -> list[dict[str, int]]:
    return [{share.key: share.steps for share in line.client_line_keys} for line in cart.lines]


def set_steps(steps: int, **line: str) -> dict[str, Any]:
    return {"set_line_quantity": {"line": line, "quantity": {"steps": steps}}}


def delivery_from(country: str, postal_code: str) -> dict[str, Any]:
    address = {"street": "Main street 1", "city": "Anytown", "country": country, "postal_code": postal_code}
    return {"set_address": {"purpose": SHIPPING, "address": address}}


# The head of a cart


async def test_a_cart_knows_whose_it_is_and_where(stub: CartStub) -> None:
    user = CartUser(stub, REFERENCE.context())
    request = user.call(create_cart={})
    request.owner.customer_id = "customer-7"
    await user.send(request)
    cart = user.cart
    assert (cart.id, cart.tenant, cart.store) == (user.cart_id, "acme", "outdoor")
    assert (cart.country, cart.currency_code, cart.locale) == ("DE", "EUR", "en")
    assert (cart.state, cart.customer_id) == (cart_pb2.CART_STATE_ACTIVE, "customer-7")
    assert cart.HasField("created_at")
    assert cart.provenance.source == "reference"
    assert user.version == "1"


async def test_the_intents_market_comes_before_the_contexts(stub: CartStub) -> None:
    user = await a_cart(stub, country="US", currency_code="USD", locale="de-DE", store="outlet")
    assert (user.cart.country, user.cart.currency_code) == ("US", "USD")
    assert (user.cart.locale, user.cart.store) == ("de-DE", "outlet")


async def test_a_taken_id_is_refused_and_shows_no_stranger_the_cart(stub: CartStub, user: CartUser) -> None:
    rejection = await user.refused(create_cart={})
    assert rejection.reason == cart_service_pb2.REJECTION_REASON_CART_EXISTS
    stranger = CartUser(stub, REFERENCE.context(tenant="other"))
    stranger.cart_id = user.cart_id
    response = await stranger.send(stranger.call(create_cart={}))
    assert response.rejection.reason == cart_service_pb2.REJECTION_REASON_CART_EXISTS
    assert not response.HasField("cart")
    assert not response.version


# Lines and clients' parts of them


async def test_adds_of_one_sku_fold_into_one_line(user: CartUser) -> None:
    first = await user.add("MUG-BLU", 1, "web-1")
    second = await user.add("MUG-BLU", 2, "app-1")
    third = await user.add("MUG-BLU", 4)
    (line,) = user.cart.lines
    assert first.line_id == second.line_id == third.line_id == line.id
    assert line.quantity.steps == 7
    assert line.added_by_channel == "web"
    assert shares(user.cart) == [{"web-1": 1, "app-1": 2}]


async def test_a_clients_part_is_set_and_removed_alone(user: CartUser) -> None:
    await user.add("MUG-BLU", 1, "web-1")
    await user.add("MUG-BLU", 2, "app-1")
    await user.apply(**set_steps(8, client_line_key="app-1"))
    assert (steps_by_sku(user.cart), shares(user.cart)) == ({"MUG-BLU": 9}, [{"web-1": 1, "app-1": 8}])
    await user.apply(remove_line={"line": {"client_line_key": "web-1"}})
    assert (steps_by_sku(user.cart), shares(user.cart)) == ({"MUG-BLU": 8}, [{"app-1": 8}])
    await user.apply(remove_line={"line": {"client_line_key": "app-1"}})
    assert not user.cart.lines


async def test_a_whole_line_grows_beside_its_parts_and_shrinks_the_newest_first(user: CartUser) -> None:
    line_id = (await user.add("MUG-BLU", 4, "old")).line_id
    await user.add("MUG-BLU", 4, "new")
    await user.apply(**set_steps(10, line_id=line_id))
    assert shares(user.cart) == [{"old": 4, "new": 4}]
    await user.apply(**set_steps(5, line_id=line_id))
    assert shares(user.cart) == [{"old": 4, "new": 1}]
    await user.apply(**set_steps(4, line_id=line_id))
    assert shares(user.cart) == [{"old": 4}]


@pytest.mark.parametrize("sku", ["MUG-BLU", "MUG-RED"])
async def test_a_clients_key_stands_for_one_thing(user: CartUser, sku: str) -> None:
    await user.add("MUG-BLU", 1, "web-1")
    rejection = await user.refused(add_line={"sku": sku, "quantity": {"steps": 1}, "client_line_key": "web-1"})
    assert rejection.reason == cart_service_pb2.REJECTION_REASON_CLIENT_LINE_KEY_TAKEN


async def test_a_line_id_is_never_used_again(user: CartUser) -> None:
    seen = set()
    for _ in range(3):
        line_id = (await user.add("MUG-BLU", 1)).line_id
        seen.add(line_id)
        await user.apply(remove_line={"line": {"line_id": line_id}})
    assert len(seen) == 3


async def test_a_line_has_at_most_a_million_pieces(user: CartUser) -> None:
    line_id = (await user.add("PEG-ALU", 600_000)).line_id
    for intent in (
        {"add_line": {"sku": "PEG-ALU", "quantity": {"steps": 400_001}}},
        set_steps(1_000_001, line_id=line_id),
    ):
        rejection = await user.refused(**intent)
        assert rejection.reason == cart_service_pb2.REJECTION_REASON_QUANTITY_LIMIT
        assert rejection.available_steps == 1_000_000
    await user.add("PEG-ALU", 400_000)


async def test_oversell_tells_what_the_whole_line_could_have(user: CartUser) -> None:
    await user.add("STOVE-TI", 2)
    rejection = await user.refused(add_line={"sku": "STOVE-TI", "quantity": {"steps": 4}})
    assert rejection.available_steps == 5


async def test_everything_is_sold_by_the_piece(user: CartUser) -> None:
    for quantity in ({"steps": 1, "unit": "kg"}, {"steps": 1, "scale": 2}):
        rejection = await user.refused(add_line={"sku": "MUG-BLU", "quantity": quantity})
        assert rejection.reason == INVALID_FIELD


@pytest.mark.parametrize("steps", [0, -1])
async def test_adding_nothing_is_malformed(user: CartUser, steps: int) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await user.add("MUG-BLU", steps)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_little_stock_is_told(user: CartUser) -> None:
    line_id = (await user.add("STOVE-TI", 1)).line_id
    await user.add("MUG-BLU", 1)
    (message,) = user.cart.messages.items
    assert (message.code, message.path, message.text) == ("LOW_STOCK", f"line/{line_id}", "Only 5 in stock.")


# Versions


async def test_the_version_counts_what_changed_something(user: CartUser) -> None:
    await user.apply(set_email={"email": "ada@example.org"})
    assert user.version == "2"
    for intent in (
        {"set_email": {"email": "ada@example.org"}},
        {"set_note": {"note": ""}},
        {"remove_discount_code": {"code": "WELCOME10"}},
    ):
        await user.apply(**intent)
        assert user.version == "2"
    await user.refused(add_line={"sku": "NO-SUCH-SKU", "quantity": {"steps": 1}})
    await user.add("MUG-BLU", 1)
    assert user.version == "3"


async def test_a_repeat_is_known_by_what_it_means(user: CartUser) -> None:
    """What the hub computes anew for a repeat may differ; what the shopper wants may not."""
    request = user.call(add_line={"sku": "MUG-BLU", "quantity": {"steps": 2}})
    await user.send(request)
    request.line_target.CopyFrom(cart_service_pb2.LineTarget(line_id="1", sku="MUG-BLU", steps=4))
    request.adapter_state, request.expected_version, request.channel = b"other", "77", "app"
    await user.send(request)
    assert steps_by_sku(user.cart) == {"MUG-BLU": 2}


async def test_a_refusal_stands_even_when_its_reason_is_gone(user: CartUser) -> None:
    request = user.call(**set_steps(2, line_id="1"))
    assert (await user.send(request)).rejection.reason == cart_service_pb2.REJECTION_REASON_LINE_NOT_FOUND
    await user.add("MUG-BLU", 1)
    assert (await user.send(request)).rejection.reason == cart_service_pb2.REJECTION_REASON_LINE_NOT_FOUND
    assert steps_by_sku(user.cart) == {"MUG-BLU": 1}


# Fields


@pytest.mark.parametrize("email", ["", "ada", "ada@", "@example.org", "ada@example", "a b@example.org", "ada@ex..org"])
async def test_refused_emails(user: CartUser, email: str) -> None:
    assert (await user.refused(set_email={"email": email})).reason == INVALID_FIELD


async def test_over_long_texts_are_refused(user: CartUser) -> None:
    long_email = f"ada@{'x' * 250}.org"
    address = {"street": "x" * 201, "city": "Berlin", "country": "DE"}
    for intent in (
        {"set_note": {"note": "x" * 1001}},
        {"set_email": {"email": long_email}},
        {"set_address": {"purpose": SHIPPING, "address": address}},
        {"add_line": {"sku": "MUG-BLU", "quantity": {"steps": 1}, "client_line_key": "x" * 65}},
    ):
        assert (await user.refused(**intent)).reason == INVALID_FIELD


@pytest.mark.parametrize(
    ("country", "postal_code"), [("FR", "75001"), ("DE", "1234"), ("DE", "SW1A 1AA"), ("", "10115")]
)
async def test_addresses_that_cannot_be_delivered_to(user: CartUser, country: str, postal_code: str) -> None:
    assert (await user.refused(**delivery_from(country, postal_code))).reason == INVALID_FIELD


async def test_an_address_needs_a_purpose(user: CartUser) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await user.apply(set_address={"address": REFERENCE.shop.cart.address})
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


# Prices


async def test_prices_that_include_tax(user: CartUser) -> None:
    await user.add("MUG-WHT", 3)
    await user.add("MAP-LOFOTEN", 1)
    await user.apply(set_delivery_option={"option_id": "standard"})
    assert total(user.cart, total_pb2.TOTAL_TYPE_SUBTOTAL) == 3 * 1190 + 1590
    assert total(user.cart, GRAND_TOTAL) == 3 * 1190 + 1590 + 490
    rates = {tax.rate_ppm: tax.amount.units for tax in user.cart.totals.tax_lines}
    assert rates == {190_000: round((3 * 1190 + 490) * 19 / 119), 70_000: round(1590 * 7 / 107)}


async def test_prices_without_tax(stub: CartStub) -> None:
    user = await a_cart(stub, country="US", currency_code="USD")
    await user.add("MUG-WHT", 2)
    await user.add("MAP-LOFOTEN", 1)
    await user.apply(set_delivery_option={"option_id": "express"})
    assert not any(line.tax_included for line in user.cart.lines)
    assert {option.id for option in user.cart.fulfilment.available} == {"standard", "express"}
    tax = round((2 * 1250 + 1990) * 8 / 100)
    assert total(user.cart, total_pb2.TOTAL_TYPE_TAX) == tax
    assert total(user.cart, GRAND_TOTAL) == 2 * 1250 + 1690 + 1990 + tax


async def test_pick_up_costs_nothing_and_is_not_offered_across_the_ocean(stub: CartStub, user: CartUser) -> None:
    await user.add("MUG-WHT", 1)
    await user.apply(set_delivery_option={"option_id": "pickup"})
    assert total(user.cart, GRAND_TOTAL) == 1190
    american = await a_cart(stub, country="US", currency_code="USD")
    rejection = await american.refused(set_delivery_option={"option_id": "pickup"})
    assert rejection.reason == cart_service_pb2.REJECTION_REASON_DELIVERY_OPTION_INVALID


async def test_discounts_are_shared_out_to_the_lines(user: CartUser) -> None:
    await user.add("MUG-WHT", 3)
    await user.add("BAR-APPLE", 7)
    await user.apply(add_discount_code={"code": " welcome10 "})
    goods = 3 * 1190 + 7 * 220
    discount = round(goods / 10)
    shared = [line.adjustments[0].amount.units for line in user.cart.lines]
    assert sum(shared) == -discount
    for line in user.cart.lines:
        assert line.total.units == line.quantity.steps * line.unit_price.units + line.adjustments[0].amount.units
    assert [each.amount.units for each in user.cart.totals.adjustments] == [-discount]
    assert total(user.cart, total_pb2.TOTAL_TYPE_DISCOUNT) == -discount
    assert total(user.cart, GRAND_TOTAL) == goods - discount


async def test_codes_wait_for_their_conditions(user: CartUser) -> None:
    applied, waiting = discount_pb2.DISCOUNT_CODE_STATE_APPLIED, discount_pb2.DISCOUNT_CODE_STATE_NOT_APPLICABLE
    await user.add("MUG-WHT", 4)
    await user.apply(add_discount_code={"code": "SAVE5"})
    await user.apply(add_discount_code={"code": "FREESHIP"})
    assert [code.state for code in user.cart.discount_codes] == [waiting, waiting]
    assert total(user.cart, GRAND_TOTAL) == 4 * 1190
    await user.apply(set_delivery_option={"option_id": "standard"})
    await user.add("MUG-WHT", 1)
    assert [code.state for code in user.cart.discount_codes] == [applied, applied]
    assert total(user.cart, total_pb2.TOTAL_TYPE_DELIVERY) == 490
    assert total(user.cart, GRAND_TOTAL) == 5 * 1190 - 500


async def test_texts_are_in_the_carts_language(stub: CartStub) -> None:
    user = await a_cart(stub, locale="de-AT")
    await user.add("MUG-WHT", 1)
    (line,) = user.cart.lines
    assert line.item.name == "Emaillebecher, white"
    assert list(line.item.options) == [line_item_pb2.VariantOption(name="colour", value="white")]
    assert line.tax_lines[0].label == "MwSt."
    assert user.cart.fulfilment.available[0].name == "Standardversand"


async def test_an_unknown_language_gets_english(stub: CartStub) -> None:
    user = await a_cart(stub, locale="fi-FI")
    await user.add("MUG-WHT", 1)
    assert user.cart.lines[0].item.name == "Enamel mug, white"


async def test_a_refusal_leaves_everything_computed_as_it_was(user: CartUser) -> None:
    await user.add("MUG-WHT", 3)
    await user.apply(add_discount_code={"code": "WELCOME10"})
    before = comparable(user.cart)
    await user.refused(add_line={"sku": "LAMP-400-RED", "quantity": {"steps": 1}})
    assert comparable(user.cart) == before
