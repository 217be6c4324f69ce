"""What the reference adapter promises of fulfilment beyond the contract: its options, its events."""

from typing import Any

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import fulfilment_service_pb2
from legato.commerce.v1 import order_pb2, shipment_pb2
from legato_adapters.conformance.cart_user import CartUser, comparable
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.conformance.wire import TIMEOUT_S
from tests.adapters.tried import REFERENCE
from tests.support.shopper import Shopper

Code = grpc.StatusCode


@pytest.fixture
def shopper(stubs: Stubs) -> Shopper:
    return Shopper(REFERENCE, stubs)


async def options(shopper: Shopper, user: CartUser, country: str) -> list[str]:
    request = fulfilment_service_pb2.ListDeliveryOptionsRequest(
        context=shopper.context,
        cart_id=user.cart_id,
        adapter_state=user.adapter_state,
        address={**shopper.shop.cart.address, "country": country},  # type: ignore[arg-type]
    )
    answer = await shopper.stubs.fulfilment.ListDeliveryOptions(request, timeout=TIMEOUT_S)
    return [option.id for option in answer.options]


async def locations(shopper: Shopper, **fields: Any) -> fulfilment_service_pb2.ListPickupLocationsResponse:
    wanted = {"context": shopper.context, "page_size": 100, **fields}
    request = fulfilment_service_pb2.ListPickupLocationsRequest(**wanted)
    return await shopper.stubs.fulfilment.ListPickupLocations(request, timeout=TIMEOUT_S)


async def refused(shopper: Shopper, **command: Any) -> str:
    rejection = await shopper.not_fulfilled(shopper.fulfilment_call(**command))
    reason = fulfilment_service_pb2.FulfilmentRejectionReason.Name(rejection.reason)
    return reason.removeprefix("FULFILMENT_REJECTION_REASON_")


async def test_what_could_be_chosen_elsewhere(shopper: Shopper) -> None:
    user = CartUser(shopper.stubs.cart, shopper.context)
    await user.apply(create_cart={})
    await user.add(REFERENCE.shop.goods.sku, 1)
    before, _ = await user.read()
    assert await options(shopper, user, REFERENCE.shop.market.country) == [
        option.id for option in before.fulfilment.available
    ]
    assert await options(shopper, user, REFERENCE.shop.market.unserved[0]) == []
    after, _ = await user.read()
    assert comparable(after) == comparable(before)


async def test_where_shoppers_collect(shopper: Shopper) -> None:
    whole = await locations(shopper)
    assert {location.id for location in whole.locations} <= set(REFERENCE.shop.pickup.locations)
    assert all(location.name and location.address.city for location in whole.locations)
    first = await locations(shopper, page_size=1)
    second = await locations(shopper, page_size=1, page_token=first.next_page_token)
    assert [*first.locations, *second.locations] == list(whole.locations)[:2]
    user = await shopper.cart()
    offered = {option.location_id for option in user.cart.fulfilment.available} - {""}
    assert offered == {location.id for location in whole.locations}


async def test_an_order_in_two_parcels(shopper: Shopper) -> None:
    order = await shopper.order(steps=3)
    line_id = order.lines[0].item.id
    assert await shopper.shipments(order.id) == []
    parcel = {"carrier": "DHL", "tracking_number": "0034"}
    ship = {"order_id": order.id, "parts": [{"line_id": line_id, "steps": 2}], "parcel": parcel}
    first = await shopper.fulfil(shopper.fulfilment_call(ship=ship))
    assert first.state == shipment_pb2.SHIPMENT_STATE_SHIPPED
    assert first.order_id == order.id
    assert (first.parcel.carrier, first.parcel.tracking_number) == ("DHL", "0034")
    assert [(part.line_id, part.steps) for part in first.parts] == [(line_id, 2)]
    half = await shopper.read_order(order_id=order.id)
    assert (half.state, half.lines[0].fulfilled_steps) == (order_pb2.ORDER_STATE_OPEN, 2)
    assert await refused(shopper, ship=ship) == "QUANTITY_LIMIT"
    second = await shopper.fulfil(shopper.fulfilment_call(ship={"order_id": order.id}))
    assert [(part.line_id, part.steps) for part in second.parts] == [(line_id, 1)]
    whole = await shopper.read_order(order_id=order.id)
    assert (whole.state, whole.lines[0].fulfilled_steps) == (order_pb2.ORDER_STATE_COMPLETED, 3)
    shipped = [event for event in whole.events if event.type == order_pb2.ORDER_EVENT_TYPE_SHIPPED]
    assert [event.shipment_id for event in shipped] == [first.id, second.id]
    assert [event.parts[0].steps for event in shipped] == [2, 1]
    assert [shipment.id for shipment in await shopper.shipments(order.id)] == [first.id, second.id]
    assert await refused(shopper, ship={"order_id": order.id}) == "QUANTITY_LIMIT"


async def test_an_order_over_the_counter(shopper: Shopper) -> None:
    user = await shopper.cart()
    option = next(option for option in user.cart.fulfilment.available if option.location_id)
    await user.apply(set_delivery_option={"option_id": option.id})
    order = await shopper.order(user)
    assert order.delivery.location_id == option.location_id
    assert not order.HasField("shipping_address")
    wish = {"order_id": order.id, "location_id": "nowhere"}
    assert await refused(shopper, hand_over=wish) == "LOCATION_NOT_FOUND"
    wish["location_id"] = option.location_id
    shipment = await shopper.fulfil(shopper.fulfilment_call(hand_over=wish))
    assert shipment.state == shipment_pb2.SHIPMENT_STATE_DELIVERED
    assert shipment.hand_over.location_id == option.location_id
    after = await shopper.read_order(order_id=order.id)
    assert after.events[-1].type == order_pb2.ORDER_EVENT_TYPE_HANDED_OVER
    assert after.state == order_pb2.ORDER_STATE_COMPLETED


async def test_what_cannot_be_shipped(shopper: Shopper) -> None:
    order = await shopper.order(steps=2)
    line_id = order.lines[0].item.id
    part = {"line_id": line_id, "steps": 1}
    unknown = {"order_id": order.id, "parts": [{"line_id": "nowhere", "steps": 1}]}
    assert await refused(shopper, ship=unknown) == "LINE_NOT_FOUND"
    for parts in ([part, part], [{"line_id": line_id, "steps": 0}]):
        request = shopper.fulfilment_call(ship={"order_id": order.id, "parts": parts})
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await shopper.stubs.fulfilment.ApplyFulfilmentCommand(request, timeout=TIMEOUT_S)
        assert caught.value.code() is Code.INVALID_ARGUMENT
    await shopper.stubs.order.ApplyOrderCommand(shopper.to_cancel(order.id), timeout=TIMEOUT_S)
    assert await refused(shopper, ship={"order_id": order.id}) == "ORDER_NOT_OPEN"
    assert await shopper.shipments(order.id) == []
