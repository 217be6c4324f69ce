"""Mapping, on what was recorded and on what commercetools documents; and on anything like it."""

import contextlib
import copy
import datetime
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.adapter.v1 import request_context_pb2
from legato.commerce.v1 import address_pb2, cart_pb2, discount_pb2, money_pb2, order_pb2, product_pb2, total_pb2
from legato_adapters.commercetools import marks
from legato_adapters.commercetools.catalog import availability
from legato_adapters.commercetools.codes import worthless
from legato_adapters.commercetools.customers import customer
from legato_adapters.commercetools.mapping import CartMapping, address, ct_address, localized, money
from legato_adapters.commercetools.order_mapping import order
from legato_adapters.commercetools.orders import order_number
from legato_adapters.commercetools.payments import cents, draft
from legato_adapters.commercetools.product_mapping import price, product
from legato_adapters.commercetools.project import Project
from legato_adapters.conformance.cart_user import total
from tests.adapters.commercetools.recording import EMULATOR, FIXTURES
from tests.adapters.tried import COMMERCETOOLS

PROJECT = Project(frozenset({"EUR", "USD"}), frozenset({"DE", "US"}), ("en", "de-DE"), frozenset({"US"}))
CONTEXT = request_context_pb2.RequestContext(
    tenant="acme", store="bicycles", country="DE", currency_code="EUR", locale="en"
)
MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)


def recorded(name: str) -> Any:
    return json.loads((FIXTURES / f"{name}.json").read_text("utf-8"))


def mapped(source: Any, methods: Any = ()) -> cart_pb2.Cart:
    return CartMapping(source, PROJECT, CONTEXT).cart("019a", methods)


def test_a_cart() -> None:
    cart = mapped(recorded("cart"), recorded("matching_methods")["results"])
    assert (cart.id, cart.tenant, cart.store, cart.country, cart.locale) == ("019a", "acme", "bicycles", "DE", "en")
    assert cart.state == cart_pb2.CART_STATE_ACTIVE
    assert [(line.sku, line.quantity.steps, line.total.units, line.total.scale) for line in cart.lines] == [
        ("BELL-BRASS", 10, 14_900, 2),
        ("TYRE-28-CRM", 2, 5_980, 2),
    ]
    assert [(option.name, option.value) for option in cart.lines[1].item.options] == [
        ("size", "28"),
        ("colour", "cream"),
    ]
    assert cart.shipping_address.street == "Torstraße 1"
    assert cart.email == "ada@shop.example"
    assert [(option.name, option.price.units) for option in cart.fulfilment.available] == [
        ("Standard delivery", 490),
        ("Express delivery", 1_290),
    ]
    assert cart.fulfilment.selected in cart.fulfilment.available
    assert cart.refs[0].version


def test_totals_with_shipping_and_tax() -> None:
    cart = mapped(recorded("documented/cart"))
    assert {item.amount.scale for item in cart.totals.items} == {2}
    lines = sum(line.total.units for line in cart.lines)
    grand = total(cart, total_pb2.TOTAL_TYPE_GRAND_TOTAL)
    assert total(cart, total_pb2.TOTAL_TYPE_SUBTOTAL) == lines
    assert total(cart, total_pb2.TOTAL_TYPE_DELIVERY) == 490
    assert grand == lines + 490
    assert 0 < total(cart, total_pb2.TOTAL_TYPE_TAX) < grand
    assert [(tax.label, tax.rate_ppm) for tax in cart.totals.tax_lines] == [("MwSt.", 190_000)]
    assert all(line.tax_included and line.tax_lines[0].rate_ppm == 190_000 for line in cart.lines)
    assert cart.note == "Ring twice."


def test_the_emulators_totals_are_wrong_as_recorded() -> None:
    cart = mapped(json.loads((EMULATOR / "shipping_in_totals.json").read_text("utf-8"))["body"])
    assert total(cart, total_pb2.TOTAL_TYPE_GRAND_TOTAL) == 490, "the reason of the known failure"


def test_discounts() -> None:
    cart = mapped(recorded("documented/cart"))
    (code,) = cart.discount_codes
    assert (code.code, code.state) == ("SPRING10", discount_pb2.DISCOUNT_CODE_STATE_APPLIED)
    assert [line.adjustments[0].amount.units for line in cart.lines] == [-1_490, -598]
    assert total(cart, total_pb2.TOTAL_TYPE_DISCOUNT) == -2_088
    source = recorded("documented/cart")
    source["discountCodes"][0]["state"] = "DoesNotMatchCart"
    assert mapped(source).discount_codes[0].state == discount_pb2.DISCOUNT_CODE_STATE_NOT_APPLICABLE


def test_a_discount_on_the_whole() -> None:
    source = recorded("documented/cart")
    amount = {"type": "centPrecision", "currencyCode": "EUR", "centAmount": 500, "fractionDigits": 2}
    included = {"discount": {"typeId": "cart-discount", "id": "d2"}, "discountedAmount": amount}
    source["discountOnTotalPrice"] = {"discountedAmount": amount, "includedDiscounts": [included]}
    cart = mapped(source)
    assert [(a.source_id, a.amount.units) for a in cart.totals.adjustments] == [("d2", -500)]
    assert total(cart, total_pb2.TOTAL_TYPE_DISCOUNT) == -2_588


def test_a_reduced_price() -> None:
    source = recorded("documented/cart")
    value = {"type": "centPrecision", "currencyCode": "EUR", "centAmount": 1_000, "fractionDigits": 2}
    source["lineItems"][0]["price"]["discounted"] = {"value": value, "discount": {"id": "p1"}}
    line = mapped(source).lines[0]
    assert (line.adjustments[0].source_id, line.adjustments[0].amount.units) == ("p1", -4_900)
    variant = {"sku": "X", "price": {"value": {**value, "centAmount": 1_500}, "discounted": {"value": value}}}
    told = price(variant, "EUR", tax_included=True)
    assert told is not None
    assert (told.amount.units, told.regular_amount.units) == (1_000, 1_500)


@pytest.mark.parametrize(
    ("native", "state"), [("Ordered", "ORDERED"), ("Merged", "MERGED"), ("Frozen", "FROZEN"), ("Resting", "FROZEN")]
)
def test_states(native: str, state: str) -> None:
    cart = mapped({**recorded("documented/cart"), "cartState": native})
    assert cart_pb2.CartState.Name(cart.state) == f"CART_STATE_{state}"
    assert cart.native_status == (native if native == "Resting" else "")


def test_a_price_in_another_currency() -> None:
    foreign = {"type": "centPrecision", "currencyCode": "USD", "centAmount": 1, "fractionDigits": 2}
    for path in ("lineItems", "shippingInfo", "taxedPrice"):
        source = recorded("documented/cart")
        match path:
            case "lineItems":
                source["lineItems"][0]["totalPrice"] = foreign
            case "shippingInfo":
                source["shippingInfo"]["price"] = foreign
            case _:
                source["taxedPrice"]["totalGross"] = foreign
        with pytest.raises(ValueError, match="another currency"):
            mapped(source)
    with pytest.raises(ValueError, match="another currency"):
        price({"sku": "X", "price": {"value": foreign}}, "EUR", tax_included=True)


def test_precise_money() -> None:
    value = {
        "type": "highPrecision",
        "currencyCode": "EUR",
        "centAmount": 12,
        "preciseAmount": 123_456,
        "fractionDigits": 6,
    }
    assert money(value, "EUR") == money_pb2.Money(currency_code="EUR", units=123_456, scale=6)


def test_a_product() -> None:
    projection = recorded("product_projection")
    mapped_product = product(projection, "en")
    assert mapped_product.slug == "city-tyre"
    assert list(mapped_product.categories) == ["parts", "tyres"]
    assert [(variant.sku, variant.name) for variant in mapped_product.variants] == [
        ("TYRE-28-BLK", "City tyre, 28, black"),
        ("TYRE-28-CRM", "City tyre, 28, cream"),
        ("TYRE-26-BLK", "City tyre, 26, black"),
    ]
    found = recorded("search")["results"][0]["productProjection"]
    told = price(found["masterVariant"], "EUR", tax_included=True)
    assert told is not None
    assert told.amount.units > 0
    assert price({"sku": "X"}, "EUR", tax_included=True) is None


def test_stock() -> None:
    told = {entry.location_id: entry for entry in (availability(e, "en") for e in recorded("inventory")["results"])}
    assert {location: entry.available.steps for location, entry in told.items()} == {"": 5, "berlin": 3, "hamburg": 2}
    assert told["berlin"].location_name == "Berlin workshop"
    assert told[""].status == product_pb2.AVAILABILITY_STATUS_LOW_STOCK
    oversold = {**recorded("inventory")["results"][0], "availableQuantity": -3}
    assert availability(oversold, "en").status == product_pb2.AVAILABILITY_STATUS_OUT_OF_STOCK
    assert availability(oversold, "en").available.steps == 0


def test_an_order() -> None:
    placed = order(recorded("documented/order"), PROJECT, CONTEXT)
    assert (placed.number, placed.cart_id) == ("AAAA-BBBB-CCCC", "019a0000-0000-7000-8000-000000000001")
    assert placed.state == order_pb2.ORDER_STATE_OPEN
    assert placed.native_status == "Partial"
    (payment,) = placed.payments
    assert (payment.payment_id, payment.system) == ("pi_1", "stripe")
    grand = placed.totals.items[-1].amount.units
    assert (payment.authorized.units, payment.captured.units, payment.refunded.units) == (grand, grand, 1_000)
    assert [(line.current_steps, line.fulfilled_steps) for line in placed.lines] == [(10, 4), (2, 0)]
    gone = order({**recorded("documented/order"), "orderState": "Cancelled"}, PROJECT, CONTEXT)
    assert [line.current_steps for line in gone.lines] == [0, 0]
    assert gone.adjustments[0].amount.units == -grand
    strange = order({**recorded("documented/order"), "orderState": "Dreaming"}, PROJECT, CONTEXT)
    assert strange.state == order_pb2.ORDER_STATE_UNSPECIFIED


def test_a_customer() -> None:
    mapped_customer = customer(recorded("customer"))
    assert (mapped_customer.email, mapped_customer.first_name) == ("ada@shop.example", "Ada")
    assert "password" not in str(mapped_customer).lower()


SOURCES: list[tuple[str, Callable[[Any], object]]] = [
    ("documented/cart", mapped),
    ("cart", lambda source: mapped(source, recorded("matching_methods")["results"])),
    ("documented/order", lambda source: order(source, PROJECT, CONTEXT)),
    ("product_projection", lambda source: product(source, "de")),
    ("customer", customer),
]
WRONG = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.just([]), st.just({}), st.just("remove")
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        found += paths(inner, (*path, name))
    return found


@pytest.mark.parametrize(("name", "mapping"), SOURCES, ids=[name for name, _ in SOURCES])
@given(data=st.data())
def test_anything_else_is_mapped_or_refused(name: str, mapping: Callable[[Any], object], data: st.DataObject) -> None:
    source = copy.deepcopy(recorded(name))
    path = data.draw(st.sampled_from(paths(source)))
    wrong = data.draw(WRONG)
    holder = source
    for step in path[:-1]:
        holder = holder[step]
    if wrong == "remove":
        del holder[path[-1]]
    else:
        holder[path[-1]] = wrong
    with contextlib.suppress(*MALFORMED):
        mapping(source)


@given(
    st.builds(
        address_pb2.Address,
        **{name: st.text(max_size=20).map(str.strip) for name in ("first_name", "company", "street", "city", "phone")},
    )
)
def test_addresses_survive(wanted: address_pb2.Address) -> None:
    assert address(ct_address(wanted)) == wanted


def test_a_house_number_that_stands_apart() -> None:
    assert address({"streetName": "Torstraße", "streetNumber": "1", "country": "DE"}).street == "Torstraße 1"


def test_languages() -> None:
    text = {"de-DE": "Reifen", "en": "Tyre"}
    assert [localized(text, name) for name in ("en", "de-DE", "de-AT", "fr")] == ["Tyre", "Reifen", "Reifen", "Reifen"]
    assert localized({}, "en") == localized(None, "en") == ""
    assert [PROJECT.language(name) for name in ("en", "de", "fr", "")] == ["en", "de-DE", "en", "en"]


ids = st.lists(st.uuids().map(str), unique=True, max_size=100)


@given(ids)
def test_marks_are_kept_in_their_text(commands: list[str]) -> None:
    kept = marks.Marks()
    for number, command in enumerate(commands):
        kept = marks.Marks(str(kept.add(command, f"{number:08x}")))
    for number, command in enumerate(commands):
        remembered = kept.body(command) == f"{number:08x}"
        assert remembered == (number >= len(commands) - 64)
        assert remembered or kept.may_have_forgotten(command)
    assert len(str(kept)) <= 2_700


def test_order_numbers() -> None:
    numbers = {order_number("acme", f"command {n}") for n in range(10_000)}
    assert len(numbers) == 10_000
    assert order_number("other", "command 1") not in numbers, "a command id counts in its tenant only"
    assert all(len(number) == 14 for number in numbers)


def test_payments_are_written_down() -> None:
    paid = order_pb2.OrderPayment(
        payment_id="pi_1",
        system="stripe",
        authorized=money_pb2.Money(currency_code="EUR", units=19_990, scale=3),
        captured=money_pb2.Money(currency_code="EUR", units=500, scale=2),
    )
    written = draft(paid, 2)
    assert written["amountPlanned"] == {"currencyCode": "EUR", "centAmount": 1_999}
    assert [(t["type"], t["amount"]["centAmount"]) for t in written["transactions"]] == [
        ("Authorization", 1_999),
        ("Charge", 500),
    ]
    assert draft(order_pb2.OrderPayment(payment_id="pi_2", system="stripe"), 2)["key"] != written["key"]
    assert cents(money_pb2.Money(units=1, scale=3), 2) is None


def test_worthless_codes() -> None:
    now = datetime.datetime(2026, 11, 25, tzinfo=datetime.UTC)
    begin, end = "2026-11-24T00:00:00.000Z", "2026-11-26T00:00:00.000Z"
    assert worthless({"isActive": True, "validFrom": begin, "validUntil": end}, now) == ""
    assert worthless({"isActive": False}, now) == "NotActive"
    assert worthless({"isActive": True, "validFrom": end}, now) == "NotValid"
    assert worthless({"isActive": True, "validUntil": begin}, now) == "NotValid"


def test_each_known_failure_has_its_payload_and_its_own_test() -> None:
    # That the payload is there, reading the shop file has seen.
    for known in COMMERCETOOLS.shop.known_failures:
        file, _, name = known.tested.partition("::")
        text = (FIXTURES.parents[1] / "commercetools" / file).read_text("utf-8")
        assert f"def {name}(" in text
