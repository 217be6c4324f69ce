"""What the reference adapter promises of orders beyond the contract: what is missing, stable pages, adjustments."""

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import order_service_pb2
from legato.commerce.v1 import order_pb2
from legato.protocol.ids import new_id
from legato_adapters.conformance.cart_user import CartUser
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.conformance.wire import TIMEOUT_S
from tests.adapters.tried import REFERENCE
from tests.support.shopper import Shopper

Code = grpc.StatusCode
Reason = order_service_pb2.OrderRejectionReason


@pytest.fixture
def shopper(stubs: Stubs) -> Shopper:
    return Shopper(REFERENCE, stubs)


async def refused(shopper: Shopper, request: order_service_pb2.ApplyOrderCommandRequest) -> str:
    """The reason; the cart or order must be as it was."""
    answer = await shopper.stubs.order.ApplyOrderCommand(request, timeout=TIMEOUT_S)
    assert answer.HasField("rejection"), "the backend executed it"
    return Reason.Name(answer.rejection.reason).removeprefix("ORDER_REJECTION_REASON_")


async def code_of(shopper: Shopper, request: order_service_pb2.ApplyOrderCommandRequest) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await shopper.stubs.order.ApplyOrderCommand(request, timeout=TIMEOUT_S)
    return caught.value.code()


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


async def test_what_is_missing_is_named(shopper: Shopper) -> None:
    user = CartUser(shopper.stubs.cart, shopper.context)
    await user.apply(create_cart={})
    await user.add(shopper.shop.goods.sku, 1)
    before, _ = await user.read()
    answer = await shopper.stubs.order.ApplyOrderCommand(shopper.to_order(user), timeout=TIMEOUT_S)
    assert answer.rejection.reason == Reason.ORDER_REJECTION_REASON_CART_INCOMPLETE
    assert not answer.HasField("order")
    assert {"email", "fulfilment"} <= set(answer.rejection.paths)
    await user.apply(set_email={"email": "ada@shop.example"})
    await user.apply(set_delivery_option={"option_id": before.fulfilment.available[0].id})
    answer = await shopper.stubs.order.ApplyOrderCommand(shopper.to_order(user), timeout=TIMEOUT_S)
    assert answer.rejection.paths == ["address/shipping"]


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
