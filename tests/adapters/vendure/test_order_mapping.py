"""Placed orders of Vendure as canonical ones: recorded carts, with what an administrator sees beside."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.adapter.v1 import request_context_pb2
from legato.commerce.v1 import money_pb2, order_pb2
from legato_adapters.vendure.order_mapping import held_elsewhere, order_message, state_of_order
from tests.adapters.vendure.recording import recorded

CONTEXT = request_context_pb2.RequestContext(
    tenant="acme", store="roastery", country="DE", currency_code="EUR", locale="en"
)
UNITS = st.integers(0, 2**40)


def placed(**more: Any) -> dict[str, Any]:
    order: dict[str, Any] = recorded("order_complete")["activeOrder"]
    order |= {"state": "PaymentSettled", "active": False, "payments": [], "fulfillments": []}
    order |= {"orderPlacedAt": order["createdAt"], "updatedAt": order["createdAt"]}
    order["customer"]["id"] = "7"
    order["customFields"]["cartId"] = "cart"
    for line in order["lines"]:
        line["orderPlacedQuantity"] = line["quantity"]
    return order | more


def mapped(source: dict[str, Any]) -> order_pb2.Order:
    return order_message(source, CONTEXT, tax_included=True)


def payment(payment_id: str, amount: int, state: str, **more: Any) -> dict[str, Any]:
    own = {"id": payment_id, "method": "invoice", "amount": amount, "state": state, "metadata": {}, "refunds": []}
    return own | more


def test_who_and_what() -> None:
    order = mapped(placed())
    assert (order.customer_id, order.cart_id, order.note, order.tenant) == ("7", "cart", "Ring twice", "acme")
    assert [code.code for code in order.discount_codes] == ["ROAST10"]
    assert order.placed_at.seconds > 0


def test_an_order_without_a_cart_of_ours_and_without_a_customer() -> None:
    order = mapped(placed(customFields={"note": None, "cartId": None}, customer=None))
    assert not order.cart_id
    assert not order.customer_id


@given(amount=UNITS, refund=UNITS, failed=UNITS)
def test_what_vendure_itself_holds(amount: int, refund: int, failed: int) -> None:
    refunds = [{"id": "1", "total": refund, "state": "Settled"}, {"id": "2", "total": failed, "state": "Failed"}]
    source = placed(
        payments=[
            payment("10", amount, "Settled", refunds=refunds),
            payment("9", amount, "Authorized"),
            payment("2", amount, "Declined"),
        ]
    )
    held, taken = mapped(source).payments
    assert (held.payment_id, held.authorized.units, held.captured.units, held.refunded.units) == ("9", amount, 0, 0)
    assert (taken.payment_id, taken.captured.units, taken.refunded.units) == ("10", amount, refund)


money = st.builds(money_pb2.Money, currency_code=st.just("EUR"), units=UNITS, scale=st.integers(0, 9))
payments = st.builds(
    order_pb2.OrderPayment, payment_id=st.text(max_size=9), system=st.text(max_size=9), authorized=money, captured=money
)


@given(st.lists(payments, min_size=1, max_size=3))
def test_what_payment_backends_hold_survives(given_payments: list[order_pb2.OrderPayment]) -> None:
    metadata = {"legato": held_elsewhere(given_payments)}
    order = mapped(placed(payments=[payment("1", 1, "Authorized", metadata=metadata)]))
    assert list(order.payments) == given_payments


@given(st.lists(st.tuples(st.sampled_from(["Pending", "Shipped", "Delivered", "Cancelled"]), st.integers(1, 9))))
def test_what_has_left_the_house(parts: list[tuple[str, int]]) -> None:
    source = placed()
    line = source["lines"][0]["id"]
    source["fulfillments"] = [
        {"id": "1", "state": state, "createdAt": "", "lines": [{"orderLineId": line, "quantity": steps}]}
        for state, steps in parts
    ]
    gone = {order_line.item.id: order_line.fulfilled_steps for order_line in mapped(source).lines}
    assert gone.pop(line) == sum(steps for state, steps in parts if state in {"Shipped", "Delivered"})
    assert set(gone.values()) == {0}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("PaymentAuthorized", (order_pb2.ORDER_STATE_OPEN, "PaymentAuthorized")),
        ("PartiallyDelivered", (order_pb2.ORDER_STATE_OPEN, "PartiallyDelivered")),
        ("Delivered", (order_pb2.ORDER_STATE_COMPLETED, "")),
        ("Cancelled", (order_pb2.ORDER_STATE_CANCELED, "")),
        ("Roasting", (order_pb2.ORDER_STATE_UNSPECIFIED, "Roasting")),
    ],
)
def test_states(state: str, expected: tuple[int, str]) -> None:
    assert state_of_order(state) == expected


def test_what_was_ordered_stays_when_it_is_called_off() -> None:
    source = placed(state="Cancelled")
    ordered = {line["id"]: line["quantity"] for line in source["lines"]}
    for line in source["lines"]:
        line["quantity"] = 0
    order = mapped(source)
    assert {line.item.id: line.item.quantity.steps for line in order.lines} == ordered
    assert {line.current_steps for line in order.lines} == {0}
