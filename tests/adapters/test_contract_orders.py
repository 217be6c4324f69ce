"""The adapter contract: orders. What all commands have in common is in test_contract_effects.py."""

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import order_service_pb2
from legato.commerce.v1 import cart_pb2, order_pb2
from legato.protocol.ids import new_id
from legato_adapters.conformance.cart_user import CartUser
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.conformance.wire import TIMEOUT_S
from tests.adapters.shops import Shop
from tests.support.shopper import Shopper, grand_total

pytestmark = [pytest.mark.usefixtures("placement"), pytest.mark.claims("ORDER")]

Code = grpc.StatusCode
Reason = order_service_pb2.OrderRejectionReason


@pytest.fixture
def shopper(shop: Shop, stubs: Stubs) -> Shopper:
    return Shopper(shop, stubs)


async def refused(shopper: Shopper, request: order_service_pb2.ApplyOrderCommandRequest) -> str:
    """The reason; the cart or order must be as it was."""
    answer = await shopper.stubs.order.ApplyOrderCommand(request, timeout=TIMEOUT_S)
    assert answer.HasField("rejection"), "the backend executed it"
    return Reason.Name(answer.rejection.reason).removeprefix("ORDER_REJECTION_REASON_")


async def code_of(shopper: Shopper, request: order_service_pb2.ApplyOrderCommandRequest) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await shopper.stubs.order.ApplyOrderCommand(request, timeout=TIMEOUT_S)
    return caught.value.code()


async def test_an_order_is_what_the_cart_was(shopper: Shopper) -> None:
    user = await shopper.cart(3)
    await user.apply(set_note={"note": "Ring twice."})
    cart, _ = await user.read()
    order = await shopper.order(user)
    assert order.id
    assert order.number
    assert order.cart_id == user.cart_id
    for name in ("tenant", "store", "country", "currency_code", "locale", "email", "note", "totals"):
        assert getattr(order, name) == getattr(cart, name)
    assert [line.item for line in order.lines] == list(cart.lines)
    assert [(line.current_steps, line.fulfilled_steps) for line in order.lines] == [(3, 0)]
    assert order.delivery == cart.fulfilment.selected
    assert order.shipping_address == cart.shipping_address
    assert order.state == order_pb2.ORDER_STATE_OPEN
    assert order.HasField("placed_at")
    assert [event.type for event in order.events] == [order_pb2.ORDER_EVENT_TYPE_PLACED]
    after, _ = await user.read()
    assert after.state == cart_pb2.CART_STATE_ORDERED
    rejection = await user.refused(add_line={"sku": shopper.shop.sku, "quantity": {"steps": 1}})
    assert rejection.reason


async def test_an_order_by_each_of_its_names(shopper: Shopper) -> None:
    order = await shopper.order()
    for key in ({"order_id": order.id}, {"number": order.number}, {"cart_id": order.cart_id}):
        read = await shopper.read_order(**key)
        assert (read.id, read.lines, read.events) == (order.id, order.lines, order.events)
        assert read.HasField("provenance")


@pytest.mark.parametrize("key", [{"order_id": "999999999"}, {"order_id": "nonsense"}, {"number": "R-x"}])
async def test_no_such_order(shopper: Shopper, key: dict[str, str]) -> None:
    for names in (key, {"cart_id": new_id()}):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await shopper.read_order(**names)
        assert caught.value.code() is Code.NOT_FOUND
    assert await code_of(shopper, shopper.to_cancel(key.get("order_id", "nonsense"))) is Code.NOT_FOUND


async def test_another_tenants_order_is_not_there(shop: Shop, shopper: Shopper) -> None:
    order = await shopper.order()
    stranger = Shopper(shop, shopper.stubs, tenant="other")
    for key in ({"order_id": order.id}, {"number": order.number}, {"cart_id": order.cart_id}):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stranger.read_order(**key)
        assert caught.value.code() is Code.NOT_FOUND
    assert await code_of(stranger, stranger.to_cancel(order.id)) is Code.NOT_FOUND


async def test_a_read_needs_a_key(shopper: Shopper) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await shopper.read_order()
    assert caught.value.code() is Code.INVALID_ARGUMENT


async def test_a_customers_orders_newest_first_page_by_page(shopper: Shopper) -> None:
    customer_id = new_id()
    placed = [(await shopper.order(customer_id=customer_id)).id for _ in range(3)]
    request = order_service_pb2.ListOrdersRequest(context=shopper.context, customer_id=customer_id, page_size=2)
    first = await shopper.stubs.order.ListOrders(request, timeout=TIMEOUT_S)
    # One that comes in between moves nothing to the next page.
    await shopper.order(customer_id=customer_id)
    request.page_token = first.next_page_token
    second = await shopper.stubs.order.ListOrders(request, timeout=TIMEOUT_S)
    assert [order.id for order in (*first.orders, *second.orders)] == placed[::-1]
    assert all(order.customer_id == customer_id for order in first.orders)
    assert not second.next_page_token


async def test_an_unknown_customer_has_no_orders(shopper: Shopper) -> None:
    request = order_service_pb2.ListOrdersRequest(context=shopper.context, customer_id=new_id(), page_size=100)
    answer = await shopper.stubs.order.ListOrders(request, timeout=TIMEOUT_S)
    assert answer == order_service_pb2.ListOrdersResponse()


@pytest.mark.parametrize(
    "fields",
    [
        {"page_size": 0},
        {"page_size": 101},
        {"page_size": -1},
        {"customer_id": ""},
        {"page_token": "nonsense"},
        {"page_token": "of another"},
    ],
)
async def test_a_malformed_list(shopper: Shopper, fields: dict[str, object]) -> None:
    if fields.get("page_token") == "of another":
        other = new_id()
        for _ in range(2):
            await shopper.order(customer_id=other)
        request = order_service_pb2.ListOrdersRequest(context=shopper.context, customer_id=other, page_size=1)
        fields = {"page_token": (await shopper.stubs.order.ListOrders(request, timeout=TIMEOUT_S)).next_page_token}
    wanted = {"customer_id": new_id(), "page_size": 10, **fields}
    request = order_service_pb2.ListOrdersRequest(context=shopper.context, **wanted)  # type: ignore[arg-type]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await shopper.stubs.order.ListOrders(request, timeout=TIMEOUT_S)
    assert caught.value.code() is Code.INVALID_ARGUMENT


async def test_a_cart_that_is_not_there(shop: Shop, shopper: Shopper) -> None:
    user = await shopper.cart()
    stranger = Shopper(shop, shopper.stubs, tenant="other")
    assert await code_of(stranger, stranger.to_order(user)) is Code.NOT_FOUND
    user.cart_id = new_id()
    assert await code_of(shopper, shopper.to_order(user)) is Code.NOT_FOUND
    user.cart_id = "nonsense"
    assert await code_of(shopper, shopper.to_order(user)) is Code.INVALID_ARGUMENT


async def test_an_old_expected_version(shopper: Shopper) -> None:
    user = await shopper.cart()
    request = shopper.to_order(user)
    request.expected_version = user.version
    await user.add(shopper.shop.sku, 1)
    assert await code_of(shopper, request) is Code.FAILED_PRECONDITION
    request.expected_version = user.version
    answer = await shopper.stubs.order.ApplyOrderCommand(request, timeout=TIMEOUT_S)
    assert answer.order.lines[1].item.sku == shopper.shop.sku


async def test_a_cart_is_ordered_once(shopper: Shopper) -> None:
    user = await shopper.cart()
    await shopper.order(user)
    assert await refused(shopper, shopper.to_order(user)) == "CART_NOT_ACTIVE"
    given_up = await shopper.cart()
    await given_up.apply(cancel_cart={})
    assert await refused(shopper, shopper.to_order(given_up)) == "CART_NOT_ACTIVE"


async def test_an_empty_cart(shopper: Shopper) -> None:
    user = CartUser(shopper.stubs.cart, shopper.context)
    await user.apply(create_cart={})
    assert await refused(shopper, shopper.to_order(user)) == "CART_EMPTY"


async def test_what_is_missing_is_named(shopper: Shopper) -> None:
    user = CartUser(shopper.stubs.cart, shopper.context)
    await user.apply(create_cart={})
    await user.add(shopper.shop.sku, 1)
    before, _ = await user.read()
    answer = await shopper.stubs.order.ApplyOrderCommand(shopper.to_order(user), timeout=TIMEOUT_S)
    assert answer.rejection.reason == Reason.ORDER_REJECTION_REASON_CART_INCOMPLETE
    assert not answer.HasField("order")
    assert {"email", "fulfilment"} <= set(answer.rejection.paths)
    await user.apply(set_email={"email": "ada@shop.example"})
    missing = ["address/shipping"]
    if before.fulfilment.available:
        await user.apply(set_delivery_option={"option_id": before.fulfilment.available[0].id})
    else:
        # Backends that deliver by zones offer nothing before they know where to.
        await user.apply(set_address={"purpose": "ADDRESS_PURPOSE_SHIPPING", "address": shopper.shop.address})
        missing = ["fulfilment"]
    answer = await shopper.stubs.order.ApplyOrderCommand(shopper.to_order(user), timeout=TIMEOUT_S)
    assert answer.rejection.paths == missing


@pytest.mark.parametrize("less", [0, 1, -1])
async def test_payments_from_elsewhere_must_be_the_total(shopper: Shopper, less: int) -> None:
    user = await shopper.cart()
    half = grand_total(user) // 2
    amounts = (half, grand_total(user) - half - less)
    payments = [
        order_pb2.OrderPayment(payment_id=f"pi_{number}", system="bank", authorized=shopper.money(units))  # type: ignore[arg-type]
        for number, units in enumerate(amounts)
    ]
    if less:
        assert await refused(shopper, shopper.to_order(user, *payments)) == "PAYMENT_MISMATCH"
    else:
        assert list((await shopper.order(user, *payments)).payments) == payments


async def test_a_payment_counts_once(shopper: Shopper) -> None:
    user = await shopper.cart(4)
    half, odd = divmod(grand_total(user), 2)
    assert not odd
    payment = order_pb2.OrderPayment(payment_id="pi_1", system="bank", authorized=shopper.money(half))  # type: ignore[arg-type]
    assert await refused(shopper, shopper.to_order(user, payment, payment)) == "PAYMENT_MISMATCH"


async def test_a_payment_in_another_currency(shopper: Shopper) -> None:
    user = await shopper.cart()
    money = {"currency_code": "CHF", "units": grand_total(user), "scale": 2}
    payment = order_pb2.OrderPayment(payment_id="pi_1", system="bank", authorized=money)  # type: ignore[arg-type]
    assert await refused(shopper, shopper.to_order(user, payment)) == "PAYMENT_MISMATCH"


async def test_a_cancelled_order(shopper: Shopper) -> None:
    order = await shopper.order(steps=3)
    answer = await shopper.stubs.order.ApplyOrderCommand(shopper.to_cancel(order.id), timeout=TIMEOUT_S)
    canceled = answer.order
    assert canceled.state == order_pb2.ORDER_STATE_CANCELED
    assert [line.current_steps for line in canceled.lines] == [0]
    assert [line.item for line in canceled.lines] == [line.item for line in order.lines], "the past stays"
    assert canceled.totals == order.totals
    assert [event.type for event in canceled.events][1:] == [order_pb2.ORDER_EVENT_TYPE_CANCELED]
    (adjustment,) = canceled.adjustments
    assert adjustment.type == order_pb2.ORDER_ADJUSTMENT_TYPE_CANCELLATION
    assert adjustment.amount.units == -order.totals.items[-1].amount.units
    assert [(part.line_id, part.steps) for part in adjustment.parts] == [(order.lines[0].item.id, 3)]
    assert await refused(shopper, shopper.to_cancel(order.id)) == "NOT_CANCELABLE"


@pytest.mark.claims("FULFILMENT")
async def test_what_is_on_its_way_cannot_be_cancelled(shopper: Shopper) -> None:
    order = await shopper.order()
    await shopper.fulfil(shopper.fulfilment_call(ship={"order_id": order.id}))
    assert await refused(shopper, shopper.to_cancel(order.id)) == "NOT_CANCELABLE"
