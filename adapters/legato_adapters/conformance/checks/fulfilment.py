"""FULFILMENT: shipments and hand-overs. DELIVERY_OPTIONS, PICKUP_LOCATIONS: what may be chosen."""

from typing import Any

from legato.adapter.v1 import fulfilment_service_pb2
from legato.commerce.v1 import order_pb2, shipment_pb2
from legato.protocol.ids import new_id
from legato_adapters.conformance.cart_user import CartUser, comparable
from legato_adapters.conformance.cases import ordered
from legato_adapters.conformance.check import HIDDEN, Code, check, ends_with, expect, one_of, same, shown
from legato_adapters.conformance.checks.orders import cancel
from legato_adapters.conformance.checks.orders import read as read_order
from legato_adapters.conformance.commands import Case, Port, command_checks
from legato_adapters.conformance.pages import Listing
from legato_adapters.conformance.shop import told
from legato_adapters.conformance.subject import Subject

Reason = fulfilment_service_pb2.FulfilmentRejectionReason
ALSO = ("ORDER", "CART")
SHIP = ("ship", "ORDER.place")


def command(subject: Subject, **wish: Any) -> fulfilment_service_pb2.ApplyFulfilmentCommandRequest:
    return fulfilment_service_pb2.ApplyFulfilmentCommandRequest(
        context=subject.context, command_id=new_id(), command=fulfilment_service_pb2.FulfilmentCommand(**wish)
    )


async def fulfil(subject: Subject, **wish: Any) -> shipment_pb2.Shipment:
    answer = await subject.stubs.fulfilment.ApplyFulfilmentCommand(command(subject, **wish))
    expect(not answer.HasField("rejection"), f"{next(iter(wish))} was refused: {shown(answer.rejection)}")
    return answer.shipment


async def refused(subject: Subject, **wish: Any) -> str:
    answer = await subject.stubs.fulfilment.ApplyFulfilmentCommand(command(subject, **wish))
    expect(answer.HasField("rejection"), f"{next(iter(wish))} was executed and not refused")
    return Reason.Name(answer.rejection.reason).removeprefix("FULFILMENT_REJECTION_REASON_")


async def shipments(subject: Subject, order_id: str) -> list[shipment_pb2.Shipment]:
    request = fulfilment_service_pb2.ListShipmentsRequest(context=subject.context, order_id=order_id)
    return list((await subject.stubs.fulfilment.ListShipments(request)).shipments)


def part(order: order_pb2.Order, steps: int) -> dict[str, Any]:
    return {"line_id": order.lines[0].item.id, "steps": steps}


async def _case(subject: Subject) -> Case:
    order = await ordered(subject)
    wish = {"order_id": order.id, "parts": [part(order, 1)]}
    request = command(subject, ship=wish)
    other = command(subject, ship={**wish, "parcel": {"tracking_number": "4711"}})
    other.command_id = request.command_id

    async def effects() -> int:
        return sum(p.steps for shipment in await shipments(subject, order.id) for p in shipment.parts)

    return Case(request, other, effects)


async def _refused(subject: Subject) -> Any:
    order = await ordered(subject)
    return command(subject, ship={"order_id": order.id, "parts": [part(order, 4)]})


async def _empty(subject: Subject, name: str) -> Any:
    request = fulfilment_service_pb2.ApplyFulfilmentCommandRequest(context=subject.context, command_id=new_id())
    if name:
        getattr(request.command, name).SetInParent()
    return request


COMMAND_CHECKS = command_checks(
    Port(
        capability="FULFILMENT",
        apply_method=lambda stubs: stubs.fulfilment.ApplyFulfilmentCommand,
        resolve_method=lambda stubs: stubs.fulfilment.ResolveFulfilmentCommand,
        resolve_request=fulfilment_service_pb2.ResolveFulfilmentCommandRequest,
        case=_case,
        refused=_refused,
        empty=_empty,
        needs=SHIP,
        also=ALSO,
    )
)


@check(
    "fulfilment.parts",
    "FULFILMENT",
    "an order goes out in parcels, and is COMPLETED when all has",
    commands=SHIP,
    also=ALSO,
)
async def parts(subject: Subject) -> None:
    order = await ordered(subject)
    same("the shipments of a new order", await shipments(subject, order.id), [])
    parcel = {"carrier": "DHL", "tracking_number": "0034 1234"}
    first = await fulfil(subject, ship={"order_id": order.id, "parts": [part(order, 2)], "parcel": parcel})
    expect(first.id, "the shipment has no id")
    same("the order of the shipment", first.order_id, order.id)
    same("its parts", [(p.line_id, p.steps) for p in first.parts], [(order.lines[0].item.id, 2)])
    one_of("its state", first.state, (shipment_pb2.SHIPMENT_STATE_READY, shipment_pb2.SHIPMENT_STATE_SHIPPED))
    subject.losses.compare("FULFILMENT", "Shipment.parcel", shipment_pb2.Parcel(**parcel), first.parcel)
    half = await read_order(subject, order_id=order.id)
    same("what is fulfilled", half.lines[0].fulfilled_steps, 2)
    same("the state of the order", half.state, order_pb2.ORDER_STATE_OPEN)
    second = await fulfil(subject, ship={"order_id": order.id})
    same("what is in the second parcel", [p.steps for p in second.parts], [1])
    same("the shipments, oldest first", [s.id for s in await shipments(subject, order.id)], [first.id, second.id])
    whole = await read_order(subject, order_id=order.id)
    same("what is fulfilled", whole.lines[0].fulfilled_steps, 3)
    same("the state of the order", whole.state, order_pb2.ORDER_STATE_COMPLETED)
    same("the reason for shipping nothing", await refused(subject, ship={"order_id": order.id}), "QUANTITY_LIMIT")


@check(
    "fulfilment.refused",
    "FULFILMENT",
    "more than is left is refused: QUANTITY_LIMIT; what is no line: LINE_NOT_FOUND",
    commands=SHIP,
    also=ALSO,
)
async def refusals(subject: Subject) -> None:
    order = await ordered(subject)
    for wish, reason in (
        ([part(order, 4)], "QUANTITY_LIMIT"),
        ([{"line_id": "no-such-line", "steps": 1}], "LINE_NOT_FOUND"),
    ):
        same("the reason", await refused(subject, ship={"order_id": order.id, "parts": wish}), reason)
    for malformed in ([part(order, 1), part(order, 1)], [part(order, 0)]):
        call = command(subject, ship={"order_id": order.id, "parts": malformed})
        what = "a line twice, or 0 of one"
        await ends_with(subject.stubs.fulfilment.ApplyFulfilmentCommand(call), what, Code.INVALID_ARGUMENT)
    same("the shipments", await shipments(subject, order.id), [])


@check(
    "fulfilment.cancelled",
    "FULFILMENT",
    "a cancelled order is not shipped, nor one on its way cancelled",
    commands=(*SHIP, "ORDER.cancel"),
    also=ALSO,
)
async def cancelled(subject: Subject) -> None:
    order = await ordered(subject)
    await subject.stubs.order.ApplyOrderCommand(cancel(subject, order.id))
    same("the reason for shipping", await refused(subject, ship={"order_id": order.id}), "ORDER_NOT_OPEN")
    order = await ordered(subject)
    await fulfil(subject, ship={"order_id": order.id})
    answer = await subject.stubs.order.ApplyOrderCommand(cancel(subject, order.id))
    expect(answer.HasField("rejection"), "an order on its way was cancelled")


@check(
    "fulfilment.hand_over",
    "FULFILMENT",
    "goods over the counter are DELIVERED; an unknown location is LOCATION_NOT_FOUND",
    commands=("hand_over", "ORDER.place"),
    also=ALSO,
)
async def hand_over(subject: Subject) -> None:
    location = told(subject.shop.fulfilment.location_id, "fulfilment.location_id")
    order = await ordered(subject)
    wish = {"order_id": order.id, "location_id": "no-such-location"}
    same("the reason", await refused(subject, hand_over=wish), "LOCATION_NOT_FOUND")
    shipment = await fulfil(subject, hand_over={"order_id": order.id, "location_id": location})
    same("the state", shipment.state, shipment_pb2.SHIPMENT_STATE_DELIVERED)
    expect(shipment.HasField("hand_over"), "it did not go over the counter")
    same("the shipments", [s.id for s in await shipments(subject, order.id)], [shipment.id])
    if shipment.hand_over.location_id != location:
        subject.losses.note("FULFILMENT", "HandOver.location_id", "is written and lost")


@check("fulfilment.unknown", "FULFILMENT", "an order that does not exist is NOT_FOUND", commands=("ship",))
async def unknown(subject: Subject) -> None:
    await ends_with(shipments(subject, "nonsense"), "shipments of an order that does not exist", Code.NOT_FOUND)
    call = subject.stubs.fulfilment.ApplyFulfilmentCommand(command(subject, ship={"order_id": "nonsense"}))
    await ends_with(call, "shipping an order that does not exist", Code.NOT_FOUND)


@check("fulfilment.tenants", "FULFILMENT", "another tenant's order does not exist", commands=SHIP, also=ALSO)
async def tenants(subject: Subject) -> None:
    order, stranger = await ordered(subject), subject.stranger()
    await ends_with(shipments(stranger, order.id), "shipments of another tenant's order", *HIDDEN)
    call = subject.stubs.fulfilment.ApplyFulfilmentCommand(command(stranger, ship={"order_id": order.id}))
    await ends_with(call, "shipping another tenant's order", *HIDDEN)
    same("the shipments", await shipments(subject, order.id), [])


async def options(subject: Subject, user: CartUser, **address: str) -> list[str]:
    request = fulfilment_service_pb2.ListDeliveryOptionsRequest(
        context=subject.context, cart_id=user.cart_id, adapter_state=user.adapter_state
    )
    for name, value in {**subject.shop.delivery.address, **address}.items():
        setattr(request.address, name, value)
    return [option.id for option in (await subject.stubs.fulfilment.ListDeliveryOptions(request)).options]


@check(
    "delivery.options",
    "DELIVERY_OPTIONS",
    "what could be chosen elsewhere is told, and the cart is not changed",
    also=("CART",),
    commands=("CART.add_line",),
)
async def delivery_options(subject: Subject) -> None:
    user = await subject.shopper()
    await user.add(subject.shop.goods.sku, 1)
    before, _ = await user.read()
    expect(await options(subject, user), "nothing goes to the address of the shop file")
    nowhere = told(subject.shop.delivery.nowhere, "delivery.nowhere")
    same("what goes nowhere", await options(subject, user, country=nowhere), [])
    same("the cart", comparable((await user.read())[0]), comparable(before))


@check(
    "delivery.malformed",
    "DELIVERY_OPTIONS",
    "no such cart is NOT_FOUND; a malformed cart id, or no country, INVALID_ARGUMENT",
    also=("CART",),
    commands=("CART.add_line",),
)
async def delivery_malformed(subject: Subject) -> None:
    user = await subject.shopper()
    await user.add(subject.shop.goods.sku, 1)
    await ends_with(options(subject, user, country=""), "options for no country", Code.INVALID_ARGUMENT)
    user.adapter_state = b""
    for cart_id, code in ((new_id(), Code.NOT_FOUND), ("nonsense", Code.INVALID_ARGUMENT)):
        user.cart_id = cart_id
        await ends_with(options(subject, user), f"options for cart {cart_id!r}", code)


def locations(subject: Subject) -> Listing:
    return Listing(
        lambda size, token: subject.stubs.fulfilment.ListPickupLocations(
            fulfilment_service_pb2.ListPickupLocationsRequest(context=subject.context, page_size=size, page_token=token)
        ),
        lambda answer: [location.id for location in answer.locations],
    )


@check(
    "pickup.locations",
    "PICKUP_LOCATIONS",
    "every location where shoppers collect is told once, with name and address",
)
async def pickup_locations(subject: Subject) -> None:
    found = (await locations(subject).page(100, "")).locations
    same("the locations", sorted(location.id for location in found), sorted(subject.shop.pickup.locations))
    same("the locations page by page", await locations(subject).all(1), [location.id for location in found])
    for location in found:
        expect(location.name and location.address.city, f"location {location.id} has no name or city")


@check(
    "pickup.bounds",
    "PICKUP_LOCATIONS",
    "a page size out of range and a page token that is none are INVALID_ARGUMENT",
)
async def pickup_bounds(subject: Subject) -> None:
    await locations(subject).refuses()


@check("pickup.market", "PICKUP_LOCATIONS", "locations of a market that is not served are FAILED_PRECONDITION")
async def pickup_market(subject: Subject) -> None:
    request = fulfilment_service_pb2.ListPickupLocationsRequest(context=subject.shop.unserved_context(), page_size=10)
    call = subject.stubs.fulfilment.ListPickupLocations(request)
    await ends_with(call, "a market not served", Code.FAILED_PRECONDITION)
