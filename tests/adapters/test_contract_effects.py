"""The adapter contract: commands of orders, payments, customers and shipments have one effect, however often they come.

What holds for all four is here; what each command does, in the file of its service.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import (
    cart_service_pb2,
    customer_service_pb2,
    event_service_pb2,
    fulfilment_service_pb2,
    order_service_pb2,
    payment_service_pb2,
)
from legato.protocol.ids import new_id
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.conformance.wire import TIMEOUT_S
from tests.adapters.shops import Shop
from tests.support.shopper import Shopper

pytestmark = [
    pytest.mark.usefixtures("placement"),
    pytest.mark.claims("ORDER", "PAYMENT", "CUSTOMER", "FULFILMENT", "CHANGES"),
]

Code = grpc.StatusCode

APPLIED = cart_service_pb2.RESOLUTION_APPLIED
NOT_APPLIED = cart_service_pb2.RESOLUTION_NOT_APPLIED

Body = Callable[[Any], None]


class Kind:
    """One service: how to call it, two commands that it executes once each, and one that it refuses."""

    def __init__(
        self,
        service: str,
        word: str,
        request: type[Any],
        good: Callable[[Shopper], Awaitable[Any]],
        other: Body,
        bad: Callable[[Shopper], Awaitable[Any]],
    ) -> None:
        self.service, self.word = service, word
        self.resolve_request, self.good, self.other, self.bad = request, good, other, bad

    async def apply(self, stubs: Stubs, call: Any, *, timeout: float = TIMEOUT_S) -> Any:
        return await getattr(getattr(stubs, self.service), f"Apply{self.word}Command")(call, timeout=timeout)

    async def resolve(self, stubs: Stubs, call: Any) -> Any:
        method = getattr(getattr(stubs, self.service), f"Resolve{self.word}Command")
        return await method(self.resolve_request(call=call), timeout=TIMEOUT_S)

    def __str__(self) -> str:
        return self.service


async def an_order(shopper: Shopper) -> Any:
    return shopper.to_order(await shopper.cart())


async def an_empty_cart(shopper: Shopper) -> Any:
    user = await shopper.cart()
    await user.apply(remove_line={"line": {"line_id": user.cart.lines[0].id}})
    return shopper.to_order(user)


async def an_authorization(shopper: Shopper) -> Any:
    return shopper.to_authorize()


async def a_declined_one(shopper: Shopper) -> Any:
    return shopper.to_authorize(token="declines")


async def an_account(shopper: Shopper) -> Any:
    return shopper.customer_call(create={"email": f"{new_id()}@shop.example"})


async def a_taken_address(shopper: Shopper) -> Any:
    return shopper.customer_call(create={"email": (await shopper.customer()).email})


async def a_shipment(shopper: Shopper) -> Any:
    order = await shopper.order(steps=2)
    part = {"line_id": order.lines[0].item.id, "steps": 1}
    return shopper.fulfilment_call(ship={"order_id": order.id, "parts": [part]})


async def too_large_a_shipment(shopper: Shopper) -> Any:
    request = await a_shipment(shopper)
    request.command.ship.parts[0].steps = 3
    return request


def another_cart(call: Any) -> None:
    call.command.place.cart_id = new_id()


def another_amount(call: Any) -> None:
    call.command.authorize.amount.units += 1


def another_name(call: Any) -> None:
    call.command.create.first_name = "Grace"


def another_parcel(call: Any) -> None:
    call.command.ship.parcel.tracking_number = "4711"


KINDS = [
    Kind("order", "Order", order_service_pb2.ResolveOrderCommandRequest, an_order, another_cart, an_empty_cart),
    Kind(
        "payment",
        "Payment",
        payment_service_pb2.ResolvePaymentCommandRequest,
        an_authorization,
        another_amount,
        a_declined_one,
    ),
    Kind(
        "customer",
        "Customer",
        customer_service_pb2.ResolveCustomerCommandRequest,
        an_account,
        another_name,
        a_taken_address,
    ),
    Kind(
        "fulfilment",
        "Fulfilment",
        fulfilment_service_pb2.ResolveFulfilmentCommandRequest,
        a_shipment,
        another_parcel,
        too_large_a_shipment,
    ),
]

all_kinds = pytest.mark.parametrize("kind", KINDS, ids=str)


@pytest.fixture
def shopper(shop: Shop, stubs: Stubs) -> Shopper:
    # A tenant of its own: what others do changes nothing for it.
    return Shopper(shop, stubs, tenant=new_id())


async def cursor(shopper: Shopper) -> str:
    request = event_service_pb2.ListChangesRequest(context=shopper.context, limit=1)
    return (await shopper.stubs.event.ListChanges(request, timeout=TIMEOUT_S)).cursor


def without_time(answer: Any) -> Any:
    """A copy without the time of reading."""
    copy = type(answer)()
    copy.CopyFrom(answer)
    for field, value in copy.ListFields():
        if "provenance" in getattr(field.message_type, "fields_by_name", {}):
            value.ClearField("provenance")
    return copy


@all_kinds
async def test_a_repeat_has_no_second_effect(kind: Kind, shopper: Shopper) -> None:
    call = await kind.good(shopper)
    first = await kind.apply(shopper.stubs, call)
    assert not first.HasField("rejection")
    since = await cursor(shopper)
    again = await kind.apply(shopper.stubs, call)
    assert without_time(again) == without_time(first)
    assert await cursor(shopper) == since, "nothing in the backend has changed"


@all_kinds
async def test_repeats_at_once_have_one_effect(kind: Kind, shopper: Shopper) -> None:
    call = await kind.good(shopper)
    answers = await asyncio.gather(*(kind.apply(shopper.stubs, call) for _ in range(5)))
    assert all(without_time(answer) == without_time(answers[0]) for answer in answers)


@all_kinds
async def test_the_same_id_with_another_body(kind: Kind, shopper: Shopper) -> None:
    call = await kind.good(shopper)
    await kind.apply(shopper.stubs, call)
    since = await cursor(shopper)
    kind.other(call)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await kind.apply(shopper.stubs, call)
    assert caught.value.code() is Code.ABORTED
    assert (await kind.resolve(shopper.stubs, call)).resolution == NOT_APPLIED
    assert await cursor(shopper) == since


@all_kinds
async def test_an_id_counts_in_its_tenant_only(kind: Kind, shop: Shop, shopper: Shopper) -> None:
    call = await kind.good(shopper)
    await kind.apply(shopper.stubs, call)
    elsewhere = await kind.good(Shopper(shop, shopper.stubs, tenant=new_id()))
    elsewhere.command_id = call.command_id
    assert not (await kind.apply(shopper.stubs, elsewhere)).HasField("rejection")


@all_kinds
async def test_a_refusal_is_remembered(kind: Kind, shopper: Shopper) -> None:
    call = await kind.bad(shopper)
    first = await kind.apply(shopper.stubs, call)
    assert first.rejection.reason
    assert first.rejection.message
    assert without_time(await kind.apply(shopper.stubs, call)) == without_time(first)
    resolved = await kind.resolve(shopper.stubs, call)
    assert resolved.resolution == APPLIED
    assert resolved.response.rejection == first.rejection


@all_kinds
async def test_resolve_an_executed_command(kind: Kind, shopper: Shopper) -> None:
    call = await kind.good(shopper)
    first = await kind.apply(shopper.stubs, call)
    resolved = await kind.resolve(shopper.stubs, call)
    assert resolved.resolution == APPLIED
    assert without_time(resolved.response) == without_time(first)


@all_kinds
async def test_resolve_a_command_that_never_came(kind: Kind, shopper: Shopper) -> None:
    call = await kind.good(shopper)
    resolved = await kind.resolve(shopper.stubs, call)
    assert resolved.resolution == NOT_APPLIED
    assert not resolved.HasField("response")
    assert not (await kind.apply(shopper.stubs, call)).HasField("rejection"), "asking has no effect"


@all_kinds
async def test_a_deadline_leaves_nothing_undecided(kind: Kind, shopper: Shopper) -> None:
    call = await kind.good(shopper)
    code = Code.OK
    try:
        await kind.apply(shopper.stubs, call, timeout=0.000_001)
    except grpc.aio.AioRpcError as error:
        code = error.code()
    assert code in {Code.OK, Code.DEADLINE_EXCEEDED}
    # Whether it was executed or not: a repeat leaves one effect.
    answer = await kind.apply(shopper.stubs, call)
    assert not answer.HasField("rejection")
    assert without_time((await kind.resolve(shopper.stubs, call)).response) == without_time(answer)


@all_kinds
@pytest.mark.parametrize("fault", ["command_id", "no_command"])
async def test_a_malformed_request(kind: Kind, shopper: Shopper, fault: str) -> None:
    call = await kind.good(shopper)
    if fault == "command_id":
        call.command_id = "not-a-uuid"
    else:
        call.ClearField("command")
    for work in (kind.apply(shopper.stubs, call), kind.resolve(shopper.stubs, call)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await work
        assert caught.value.code() is Code.INVALID_ARGUMENT
