"""Recorded answers of Vendure as canonical messages."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.adapter.v1 import request_context_pb2
from legato.commerce.v1 import cart_pb2, discount_pb2, line_item_pb2, money_pb2, product_pb2, total_pb2
from legato_adapters.vendure.catalog import availability_message, categories, product_message
from legato_adapters.vendure.mapping import SHIPPING, CartMapping, id_order, rate_ppm, state_of, stock_word
from legato_adapters.vendure.notebook import Notebook, join_names
from tests.adapters.vendure.recording import ADA, recorded

CONTEXT = request_context_pb2.RequestContext(
    tenant="acme", store="roastery", country="DE", currency_code="EUR", locale="en"
)


def notebook() -> Notebook:
    return Notebook("acme", "cart", "token", "1", "CODE")


def mapped(
    data: Any, *, tax_included: bool = True, notes: Notebook | None = None, field: str = "activeOrder"
) -> cart_pb2.Cart:
    methods = data.get("eligibleShippingMethods", ())
    return CartMapping(data[field], methods, tax_included=tax_included, notebook=notes or notebook()).cart(CONTEXT)


def euros(cents: int) -> money_pb2.Money:
    return money_pb2.Money(currency_code="EUR", units=cents, scale=2)


def totals(cart: cart_pb2.Cart) -> dict[int, int]:
    assert all(item.amount == euros(item.amount.units) for item in cart.totals.items)
    return {item.type: item.amount.units for item in cart.totals.items}


def test_a_new_cart() -> None:
    cart = mapped(recorded("order_created"), field="removeAllOrderLines")
    assert cart.state == cart_pb2.CART_STATE_ACTIVE
    assert (cart.id, cart.tenant, cart.currency_code, cart.locale) == ("cart", "acme", "EUR", "en")
    assert [ref.type for ref in cart.refs] == ["Order"]
    assert cart.refs[0].id
    assert cart.refs[0].key
    assert cart.created_at.seconds > 0
    assert set(totals(cart).values()) == {0}
    for empty in ("shipping_address", "billing_address", "messages"):
        assert not cart.HasField(empty)
    assert not cart.fulfilment.available
    assert not cart.email
    assert not cart.note


def test_a_complete_cart() -> None:
    cart = mapped(recorded("order_complete"))
    paper, coffee = cart.lines
    assert (paper.sku, paper.quantity.steps, coffee.sku, coffee.quantity.steps) == ("PAPER-02", 2, "LIN-250-BEAN", 3)
    assert int(paper.id) < int(coffee.id)
    assert coffee.unit_price == euros(950)
    assert coffee.tax_included
    assert coffee.total == euros(2850 - 285)
    (share,) = coffee.adjustments
    assert (share.code, share.label, share.amount) == ("ROAST10", "10 % off", euros(-285))
    (tax,) = coffee.tax_lines
    assert (tax.label, tax.rate_ppm, tax.amount) == ("Reduced VAT 7 %", 70_000, euros(168))
    assert coffee.item.name == "Espresso Lindenhof 250 g"
    assert list(coffee.item.options) == [line_item_pb2.VariantOption(name="Bag", value="250 g")]
    assert [ref.type for ref in coffee.refs] == ["OrderLine", "ProductVariant"]
    assert totals(cart) == {
        total_pb2.TOTAL_TYPE_SUBTOTAL: 4230,
        total_pb2.TOTAL_TYPE_DISCOUNT: -423,
        total_pb2.TOTAL_TYPE_DELIVERY: 490,
        total_pb2.TOTAL_TYPE_TAX: 168 + 198 + 78,
        total_pb2.TOTAL_TYPE_GRAND_TOTAL: 4297,
    }
    assert cart.totals.items[-1].type == total_pb2.TOTAL_TYPE_GRAND_TOTAL
    assert [(a.code, a.amount) for a in cart.totals.adjustments] == [("ROAST10", euros(-423))]
    assert sorted(tax.rate_ppm for tax in cart.totals.tax_lines) == [70_000, 190_000, 190_000]
    assert (cart.email, cart.note) == ("ada@example.com", "Ring twice")
    assert cart.shipping_address == cart.billing_address == ADA
    assert cart.fulfilment.selected.id == "1"
    assert cart.fulfilment.selected.price == euros(490)
    assert cart.fulfilment.selected in cart.fulfilment.available
    assert len(cart.fulfilment.available) == 3


def test_net_prices_where_the_channel_has_them() -> None:
    cart = mapped(recorded("order_complete"), tax_included=False)
    paper, coffee = cart.lines
    assert (paper.unit_price, coffee.unit_price) == (euros(580), euros(888))
    assert (paper.total, coffee.total) == (euros(1044), euros(2397))
    assert not coffee.tax_included
    assert not cart.fulfilment.selected.tax_included
    sums = totals(cart)
    assert sums[total_pb2.TOTAL_TYPE_SUBTOTAL] == 3824
    assert sums[total_pb2.TOTAL_TYPE_DISCOUNT] == -382
    # Vendure derives 411.76… from 490: a fraction of a cent in its answer.
    assert sums[total_pb2.TOTAL_TYPE_DELIVERY] == cart.fulfilment.selected.price.units == 412
    assert sums[total_pb2.TOTAL_TYPE_GRAND_TOTAL] == 4297


def test_a_code_counts_when_it_lowers_something() -> None:
    (idle,) = mapped(recorded("order_code_without_effect")).discount_codes
    assert (idle.code, idle.state) == ("ESPRESSO20", discount_pb2.DISCOUNT_CODE_STATE_NOT_APPLICABLE)
    cart = mapped(recorded("order_code_on_a_line"))
    (code,) = cart.discount_codes
    assert (code.code, code.state) == ("ESPRESSO20", discount_pb2.DISCOUNT_CODE_STATE_APPLIED)
    assert code.label == "20 % off espresso"
    by_sku = {line.sku: line for line in cart.lines}
    assert by_sku["LIN-250-BEAN"].total == euros(2280)
    assert not by_sku["PAPER-02"].adjustments
    assert totals(cart)[total_pb2.TOTAL_TYPE_DISCOUNT] == -570


def test_surcharges_are_in_the_subtotal_and_named() -> None:
    data = recorded("order_complete")
    data["activeOrder"]["surcharges"] = [{"id": "7", "description": "Deposit", "price": 21, "priceWithTax": 25}]
    cart = mapped(data)
    assert totals(cart)[total_pb2.TOTAL_TYPE_SUBTOTAL] == 4230 + 25
    assert (cart.totals.adjustments[-1].label, cart.totals.adjustments[-1].amount) == ("Deposit", euros(25))


def test_several_taxes_on_a_line_are_one_amount() -> None:
    data = recorded("order_complete")
    line = data["activeOrder"]["lines"][0]
    line["taxLines"] = [{"description": "State", "taxRate": 4.25}, {"description": "City", "taxRate": 2.5}]
    (tax,) = next(mapped_line for mapped_line in mapped(data).lines if mapped_line.id == line["id"]).tax_lines
    assert (tax.label, tax.rate_ppm) == ("State + City", 67_500)
    line["taxLines"] = []
    assert not next(mapped_line for mapped_line in mapped(data).lines if mapped_line.id == line["id"]).tax_lines


# Messages


def codes(cart: cart_pb2.Cart) -> list[str]:
    return [message.code for message in cart.messages.items]


def test_messages_about_lines() -> None:
    data = recorded("order_low_stock")
    (line,) = data["activeOrder"]["lines"]
    (message,) = mapped(data).messages.items
    assert (message.code, message.path) == ("LOW_STOCK", f"line/{line['id']}")
    line["productVariant"]["stockLevel"] = "OUT_OF_STOCK"
    line["unitPriceWithTaxChangeSinceAdded"] = 100
    cart = mapped(data)
    assert codes(cart) == ["OUT_OF_STOCK", "PRICE_CHANGED"]
    assert cart.messages.items[0].severity == cart_pb2.MESSAGE_SEVERITY_ERROR
    assert codes(mapped(data, tax_included=False)) == ["OUT_OF_STOCK"]


def test_a_delivery_option_that_vendure_has_replaced() -> None:
    data, notes = recorded("order_low_stock"), notebook()
    assert "DELIVERY_OPTION_CHANGED" not in codes(mapped(data, notes=notes)), "nothing was chosen through us"
    notes.delivery = data["activeOrder"]["shippingLines"][0]["shippingMethod"]["id"]
    assert "DELIVERY_OPTION_CHANGED" not in codes(mapped(data, notes=notes))
    notes.delivery = "999"
    assert "DELIVERY_OPTION_CHANGED" in codes(mapped(data, notes=notes))
    data["activeOrder"]["shippingLines"] = []
    cart = mapped(data, notes=notes)
    assert "DELIVERY_OPTION_CHANGED" in codes(cart)
    assert not cart.fulfilment.HasField("selected")


# States, names, small things


@pytest.mark.parametrize(
    ("state", "active", "expected"),
    [
        ("AddingItems", True, (cart_pb2.CART_STATE_ACTIVE, "")),
        ("Created", True, (cart_pb2.CART_STATE_ACTIVE, "")),
        ("ArrangingPayment", True, (cart_pb2.CART_STATE_FROZEN, "ArrangingPayment")),
        ("OnHold", True, (cart_pb2.CART_STATE_FROZEN, "OnHold")),
        ("PaymentSettled", False, (cart_pb2.CART_STATE_ORDERED, "PaymentSettled")),
        ("Cancelled", False, (cart_pb2.CART_STATE_CANCELED, "")),
    ],
)
def test_states(state: str, active: bool, expected: tuple[int, str]) -> None:
    assert state_of(state, active=active) == expected


@pytest.mark.parametrize(
    ("level", "word"),
    [
        *((word, word) for word in ("IN_STOCK", "LOW_STOCK", "OUT_OF_STOCK")),
        *(("17", "IN_STOCK"), ("0", "OUT_OF_STOCK"), ("-2", "OUT_OF_STOCK"), ("plenty", "")),
    ],
)
def test_stock_words(level: str, word: str) -> None:
    assert stock_word(level) == word


def test_rates_are_exact_although_vendure_has_floats() -> None:
    assert [rate_ppm(percent) for percent in (0, 7, 19, 5.5, 8.1, 8.875)] == [
        0,
        70_000,
        190_000,
        55_000,
        81_000,
        88_750,
    ]


@given(st.permutations([str(number) for number in (*range(1, 13), 99, 100, 101)]))
def test_lines_come_in_the_order_of_their_ids(ids: list[str]) -> None:
    data = recorded("order_low_stock")
    (line,) = data["activeOrder"]["lines"]
    data["activeOrder"]["lines"] = [{**copy.deepcopy(line), "id": line_id} for line_id in ids]
    assert [line.id for line in mapped(data).lines] == sorted(ids, key=int)
    assert sorted(ids, key=id_order) == sorted(ids, key=int)


names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8)
name = st.lists(names, max_size=3).map(" ".join)


@given(first=name, last=name)
def test_first_and_last_name_survive_vendures_one_field(first: str, last: str) -> None:
    address = copy.deepcopy(ADA)
    address.first_name, address.last_name = first, last
    data, notes = recorded("order_complete"), notebook()
    data["activeOrder"]["shippingAddress"]["fullName"] = join_names(first, last)
    notes.keep_names(SHIPPING, address)
    cart = mapped(data, notes=Notebook.from_bytes(notes.to_bytes()))
    assert (cart.shipping_address.first_name, cart.shipping_address.last_name) == (first, last)
    assert (cart.billing_address.first_name, cart.billing_address.last_name) == ("Ada", "Brew")


@pytest.mark.parametrize(
    ("full", "first", "last"), [("Ada Brew", "Ada", "Brew"), ("A B C", "A B", "C"), ("Cher", "", "Cher"), ("", "", "")]
)
def test_a_name_that_was_changed_elsewhere(full: str, first: str, last: str) -> None:
    data, notes = recorded("order_complete"), notebook()
    notes.names = {"1": ["Somebody", "Else"]}
    data["activeOrder"]["shippingAddress"]["fullName"] = full
    address = mapped(data, notes=notes).shipping_address
    assert (address.first_name, address.last_name) == (first, last)


# Catalog


def test_a_product() -> None:
    product = product_message(recorded("product")["product"])
    assert product.slug == "ethiopia-yirgacheffe"
    assert list(product.categories) == ["coffee", "filter-coffee"]
    assert {variant.sku for variant in product.variants} == {
        *("YIR-250-BEAN", "YIR-250-FILT", "YIR-1000-BEAN", "YIR-1000-FILT")
    }
    # Vendure mixes the order of options from variant to variant.
    assert {tuple(option.name for option in variant.options) for variant in product.variants} == {("Bag", "Grind")}


def test_categories_are_widest_first() -> None:
    path = [{"slug": "__root_collection__"}, {"slug": "food"}, {"slug": "coffee"}, {"slug": "beans"}]
    deep = {"slug": "beans", "breadcrumbs": path}
    wide = {"slug": "sale", "breadcrumbs": [path[0], {"slug": "sale"}]}
    assert categories([deep, wide]) == ["food", "sale", "coffee", "beans"]


def test_figures_of_stock_where_an_installation_shows_them() -> None:
    now = mapped(recorded("order_complete")).created_at
    shown = availability_message({"sku": "A", "stockLevel": "17"}, now)
    assert (shown.status, shown.available.steps) == (product_pb2.AVAILABILITY_STATUS_IN_STOCK, 17)
    none = availability_message({"sku": "A", "stockLevel": "0"}, now)
    assert none.HasField("available")
    assert none.status == product_pb2.AVAILABILITY_STATUS_OUT_OF_STOCK
    assert not availability_message({"sku": "A", "stockLevel": "IN_STOCK"}, now).HasField("available")
