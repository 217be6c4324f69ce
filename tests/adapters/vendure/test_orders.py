"""Orders on the real server: placed once, found by each of their names, called off in time."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import (
    cart_service_pb2,
    identity_service_pb2,
    identity_service_pb2_grpc,
    order_service_pb2,
    order_service_pb2_grpc,
)
from legato.commerce.v1 import address_pb2, cart_pb2, money_pb2, order_pb2, total_pb2
from legato.protocol.ids import new_id
from legato_adapters.conformance.cart_user import CartUser, comparable, total
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.conformance.wire import TIMEOUT_S
from legato_adapters.vendure import create
from legato_adapters.vendure.admin import VendureAdmin
from legato_adapters.vendure.dev_server import VendureServer
from tests.adapters.conftest import in_process
from tests.adapters.tried import VENDURE
from tests.support.http_proxy import HttpProxy, lose_answer, lose_request

Code = grpc.StatusCode
SKU = "PAPER-01"
STOCK = """
query($sku: String!) { productVariants(options: { filter: { sku: { eq: $sku } } }) { items { stockAllocated } } }
"""


@pytest.fixture
def options(vendure_server: VendureServer, proxy: HttpProxy) -> Mapping[str, Any]:
    return {
        "url": proxy.url,
        "admin_url": vendure_server.admin_api,
        "username": vendure_server.username,
        "password": vendure_server.password,
        "payment_method": "invoice",
    }


@pytest.fixture
async def channel(options: Mapping[str, Any]) -> AsyncIterator[grpc.aio.Channel]:
    async with in_process(VENDURE, options) as channel:
        yield channel


class Buyer:
    """Places and looks for the order of one cart."""

    def __init__(self, channel: grpc.aio.Channel, user: CartUser) -> None:
        self.stub: order_service_pb2_grpc.OrderServiceAsyncStub = order_service_pb2_grpc.OrderServiceStub(channel)
        self.user = user

    async def fill(self, email: str = "ada@example.com", steps: int = 2) -> None:
        shipping = {"purpose": address_pb2.ADDRESS_PURPOSE_SHIPPING, "address": VENDURE.shop.cart.address}
        await self.user.add(SKU, steps)
        await self.user.apply(set_email={"email": email})
        await self.user.apply(set_address=shipping)
        await self.user.apply(set_delivery_option={"option_id": self.user.cart.fulfilment.available[0].id})

    def call(self, **command: Any) -> order_service_pb2.ApplyOrderCommandRequest:
        return order_service_pb2.ApplyOrderCommandRequest(
            context=self.user.context,
            command_id=new_id(),
            command=order_service_pb2.OrderCommand(**command),
            adapter_state=self.user.adapter_state if "place" in command else b"",
        )

    def place(self, *payments: order_pb2.OrderPayment) -> order_service_pb2.ApplyOrderCommandRequest:
        return self.call(place={"cart_id": self.user.cart_id, "payments": payments})

    async def send(
        self, request: order_service_pb2.ApplyOrderCommandRequest
    ) -> order_service_pb2.ApplyOrderCommandResponse:
        return await self.stub.ApplyOrderCommand(request, timeout=TIMEOUT_S)

    async def bought(self) -> order_pb2.Order:
        response = await self.send(self.place())
        assert not response.HasField("rejection"), response.rejection
        return response.order

    async def get(self, **key: str) -> order_pb2.Order:
        request = order_service_pb2.GetOrderRequest(context=self.user.context, **key)
        return (await self.stub.GetOrder(request, timeout=TIMEOUT_S)).order

    async def resolve(
        self, call: order_service_pb2.ApplyOrderCommandRequest
    ) -> order_service_pb2.ResolveOrderCommandResponse:
        request = order_service_pb2.ResolveOrderCommandRequest(call=call)
        return await self.stub.ResolveOrderCommand(request, timeout=TIMEOUT_S)


@pytest.fixture
async def buyer(channel: grpc.aio.Channel, stubs: Stubs) -> Buyer:
    user = CartUser(stubs.cart, VENDURE.context())
    await user.apply(create_cart={})
    return Buyer(channel, user)


async def code_of(work: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await work
    return error.value.code()


async def test_what_is_claimed(channel: grpc.aio.Channel) -> None:
    stub: identity_service_pb2_grpc.IdentityServiceAsyncStub = identity_service_pb2_grpc.IdentityServiceStub(channel)
    info = await stub.GetInfo(identity_service_pb2.GetInfoRequest(), timeout=TIMEOUT_S)
    assert identity_service_pb2.CAPABILITY_ORDER in info.capabilities
    (claim,) = info.command_claims
    assert claim.effect_class == identity_service_pb2.EFFECT_CLASS_ABSOLUTE
    assert list(claim.commands) == ["place", "cancel"]
    await stub.Probe(identity_service_pb2.ProbeRequest(), timeout=TIMEOUT_S)


async def test_a_cart_becomes_an_order_with_all_that_was_in_it(buyer: Buyer) -> None:
    await buyer.fill()
    before = buyer.user.cart
    order = await buyer.bought()
    assert (order.cart_id, order.email, order.number) == (before.id, "ada@example.com", before.refs[0].key)
    assert (order.state, order.native_status) == (order_pb2.ORDER_STATE_OPEN, "PaymentAuthorized")
    (line,) = order.lines
    assert (line.item.sku, line.item.quantity.steps, line.current_steps, line.fulfilled_steps) == (SKU, 2, 2, 0)
    assert order.totals == before.totals
    assert order.shipping_address == before.shipping_address
    assert order.delivery.id == before.fulfilment.selected.id
    assert [event.type for event in order.events] == [order_pb2.ORDER_EVENT_TYPE_PLACED]
    (payment,) = order.payments
    assert payment.authorized.units == total(before, total_pb2.TOTAL_TYPE_GRAND_TOTAL)
    assert payment.captured.units == payment.refunded.units == 0
    cart, _ = await buyer.user.read()
    assert cart.state == cart_pb2.CART_STATE_ORDERED
    for key in ({"order_id": order.id}, {"number": order.number}, {"cart_id": order.cart_id}):
        assert comparable(await buyer.get(**key)) == comparable(order)


async def test_placed_twice_it_is_one_order(buyer: Buyer, admin: VendureAdmin) -> None:
    await buyer.fill(steps=3)
    (before,) = (await admin.query(STOCK, sku=SKU))["productVariants"]["items"]
    request = buyer.place()
    first = await buyer.send(request)
    assert comparable((await buyer.send(request)).order) == comparable(first.order)
    assert comparable((await buyer.send(buyer.place())).order) == comparable(first.order)
    (after,) = (await admin.query(STOCK, sku=SKU))["productVariants"]["items"]
    assert after["stockAllocated"] == before["stockAllocated"] + 3


@pytest.mark.parametrize("lost", ["transitionOrderToState", "addPaymentToOrder"])
async def test_an_answer_that_was_lost_behind_its_commit(buyer: Buyer, proxy: HttpProxy, lost: str) -> None:
    await buyer.fill()
    request = buyer.place()
    proxy.on(lost, lose_answer)
    assert await code_of(buyer.send(request)) is Code.UNKNOWN
    if lost == "addPaymentToOrder":
        resolved = await buyer.resolve(request)
        assert resolved.resolution == cart_service_pb2.RESOLUTION_APPLIED
        found = await buyer.get(cart_id=buyer.user.cart_id)
        assert comparable(resolved.response.order) == comparable(found)
    else:
        assert await code_of(buyer.resolve(request)) is Code.UNAVAILABLE, "it may still come"
    repeated = await buyer.send(request)
    assert repeated.order.state == order_pb2.ORDER_STATE_OPEN
    assert len(repeated.order.payments) == 1


async def test_a_request_that_never_arrived(buyer: Buyer, proxy: HttpProxy) -> None:
    await buyer.fill()
    request = buyer.place()
    proxy.on("setOrderCustomFields", lose_request)
    assert await code_of(buyer.send(request)) is Code.UNKNOWN
    assert (await buyer.send(request)).order.state == order_pb2.ORDER_STATE_OPEN


async def test_what_an_order_needs(buyer: Buyer) -> None:
    refused = await buyer.send(buyer.place())
    assert refused.rejection.reason == order_service_pb2.ORDER_REJECTION_REASON_CART_EMPTY
    await buyer.user.add(SKU, 1)
    refused = await buyer.send(buyer.place())
    assert refused.rejection.reason == order_service_pb2.ORDER_REJECTION_REASON_CART_INCOMPLETE
    assert set(refused.rejection.paths) == {"email", "shipping_address", "fulfilment"}
    assert not refused.HasField("order")
    await buyer.user.add(SKU, 1)


async def test_payments_must_be_what_the_cart_costs(buyer: Buyer) -> None:
    await buyer.fill()
    costs = total(buyer.user.cart, total_pb2.TOTAL_TYPE_GRAND_TOTAL)

    def paid(units: int, currency: str = "EUR", scale: int = 2) -> order_pb2.OrderPayment:
        money = money_pb2.Money(currency_code=currency, units=units, scale=scale)
        return order_pb2.OrderPayment(payment_id="pi_1", system="stripe", authorized=money)

    for payment in (paid(costs - 1), paid(costs + 1), paid(costs, "USD"), paid(costs, scale=3)):
        refused = await buyer.send(buyer.place(payment))
        assert refused.rejection.reason == order_service_pb2.ORDER_REJECTION_REASON_PAYMENT_MISMATCH
    await buyer.user.apply(set_note={"note": "still open"})
    response = await buyer.send(buyer.place(paid(costs)))
    assert not response.HasField("rejection")
    (payment,) = response.order.payments
    assert (payment.system, payment.payment_id, payment.authorized.units) == ("stripe", "pi_1", costs)


async def test_a_cart_stays_open_where_no_payment_can_be_noted(
    options: Mapping[str, Any], proxy: HttpProxy, vendure_server: VendureServer
) -> None:
    async with in_process(VENDURE, {**options, "payment_method": "no-such-method"}) as channel:
        user = CartUser(Stubs(channel).cart, VENDURE.context())
        await user.apply(create_cart={})
        buyer = Buyer(channel, user)
        await buyer.fill()
        refused = await buyer.send(buyer.place())
        assert refused.HasField("rejection")
        assert refused.rejection.native_code
        await user.add(SKU, 1)


async def test_called_off(buyer: Buyer, admin: VendureAdmin) -> None:
    (before,) = (await admin.query(STOCK, sku=SKU))["productVariants"]["items"]
    await buyer.fill()
    order = await buyer.bought()
    request = buyer.call(cancel={"order_id": order.id})
    assert (await buyer.resolve(request)).resolution == cart_service_pb2.RESOLUTION_NOT_APPLIED
    canceled = await buyer.send(request)
    assert canceled.order.state == order_pb2.ORDER_STATE_CANCELED
    (line,) = canceled.order.lines
    assert (line.item.quantity.steps, line.current_steps) == (2, 0)
    assert [event.type for event in canceled.order.events] == [
        order_pb2.ORDER_EVENT_TYPE_PLACED,
        order_pb2.ORDER_EVENT_TYPE_CANCELED,
    ]
    assert comparable((await buyer.send(request)).order) == comparable(canceled.order)
    assert comparable((await buyer.resolve(request)).response.order) == comparable(canceled.order)
    (after,) = (await admin.query(STOCK, sku=SKU))["productVariants"]["items"]
    assert after == before


async def test_the_orders_of_a_customer(buyer: Buyer, stubs: Stubs, channel: grpc.aio.Channel) -> None:
    email = f"{new_id()}@example.com"
    numbers = []
    customer = ""
    for _ in range(3):
        user = CartUser(stubs.cart, VENDURE.context())
        await user.apply(create_cart={})
        other = Buyer(channel, user)
        await other.fill(email)
        order = await other.bought()
        numbers.append(order.number)
        assert customer in {"", order.customer_id}
        customer = order.customer_id
    request = order_service_pb2.ListOrdersRequest(context=buyer.user.context, customer_id=customer, page_size=2)
    first = await buyer.stub.ListOrders(request, timeout=TIMEOUT_S)
    request.page_token = first.next_page_token
    second = await buyer.stub.ListOrders(request, timeout=TIMEOUT_S)
    assert [order.number for order in (*first.orders, *second.orders)] == numbers[::-1]
    assert not second.next_page_token
    request.customer_id = "1"
    assert await code_of(buyer.stub.ListOrders(request, timeout=TIMEOUT_S)) is Code.INVALID_ARGUMENT
    for unknown in ("987654", new_id(), "nonsense"):
        nobody = order_service_pb2.ListOrdersRequest(context=buyer.user.context, customer_id=unknown, page_size=2)
        assert not (await buyer.stub.ListOrders(nobody, timeout=TIMEOUT_S)).orders


async def test_what_is_no_order(buyer: Buyer) -> None:
    await buyer.fill()
    cart = buyer.user.cart.refs[0]
    for key in (
        *({"order_id": name} for name in (cart.id, "987654", new_id(), "nonsense")),
        {"number": cart.key},
        {"cart_id": new_id()},
    ):
        assert await code_of(buyer.get(**key)) is Code.NOT_FOUND
    assert await code_of(buyer.get()) is Code.INVALID_ARGUMENT
    assert await code_of(buyer.send(buyer.call(cancel={"order_id": cart.id}))) is Code.NOT_FOUND
    assert await code_of(buyer.send(buyer.call())) is Code.INVALID_ARGUMENT
    await buyer.user.apply(cancel_cart={})
    refused = await buyer.send(buyer.place())
    assert refused.rejection.reason == order_service_pb2.ORDER_REJECTION_REASON_CART_NOT_ACTIVE
    assert await code_of(buyer.get(order_id=cart.id)) is Code.NOT_FOUND


async def test_wrong_credentials_are_told_before_anything_is_bought(options: Mapping[str, Any]) -> None:
    async with in_process(VENDURE, {**options, "password": "wrong"}) as channel:
        user = CartUser(Stubs(channel).cart, VENDURE.context())
        await user.apply(create_cart={})
        buyer = Buyer(channel, user)
        await buyer.fill()
        assert await code_of(buyer.send(buyer.place())) is Code.FAILED_PRECONDITION
        cart, _ = await user.read()
        assert cart.state == cart_pb2.CART_STATE_ACTIVE


def test_a_part_of_an_administrator_is_none() -> None:
    with pytest.raises(ValueError, match="belong together"):
        create(url="http://127.0.0.1:1", username="somebody")
