"""The adapter contract: command ids, repeats, lost answers, versions."""

import asyncio

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import cart_service_pb2, identity_service_pb2
from legato_adapters.conformance.cart_user import CartUser, comparable
from legato_adapters.conformance.stubs import Stubs
from tests.adapters.shops import Shop

pytestmark = pytest.mark.usefixtures("placement")

Code = grpc.StatusCode
APPLIED = cart_service_pb2.RESOLUTION_APPLIED
NOT_APPLIED = cart_service_pb2.RESOLUTION_NOT_APPLIED
KEYED = identity_service_pb2.EFFECT_CLASS_KEYED
REMEMBERING = {KEYED, identity_service_pb2.EFFECT_CLASS_MARKED}


def add_two(shop: Shop, user: CartUser) -> cart_service_pb2.ApplyCommandRequest:
    return user.call(add_line={"sku": shop.sku, "quantity": {"steps": 2}})


async def test_a_repeat_has_one_effect(shop: Shop, user: CartUser) -> None:
    request = add_two(shop, user)
    first = await user.send(request)
    for _ in range(3):
        again = await user.send(request)
        assert comparable(again.cart) == comparable(first.cart)
        assert (again.version, again.line_id) == (first.version, first.line_id)
    assert await user.steps() == {shop.sku: 2}


@pytest.mark.effect(*REMEMBERING)
async def test_repeats_at_the_same_time_have_one_effect(shop: Shop, stubs: Stubs, user: CartUser) -> None:
    request = add_two(shop, user)
    await asyncio.gather(*(stubs.cart.ApplyCommand(request) for _ in range(16)))
    assert await user.steps() == {shop.sku: 2}


async def test_a_repeated_creation(shop: Shop, stubs: Stubs) -> None:
    user = CartUser(stubs.cart, shop.context())
    request = user.call(create_cart={})
    first = await user.send(request)
    again = await user.send(request)
    assert not again.HasField("rejection")
    assert again.version == first.version
    assert not again.cart.lines


async def test_a_repeat_of_a_refused_command(shop: Shop, user: CartUser) -> None:
    request = user.call(add_line={"sku": "NO-SUCH-SKU", "quantity": {"steps": 1}})
    first = await user.send(request)
    again = await user.send(request)
    assert again.rejection.reason == first.rejection.reason == cart_service_pb2.REJECTION_REASON_UNKNOWN_SKU


@pytest.mark.effect(*REMEMBERING)
async def test_a_late_repeat_shows_the_cart_as_it_is_now(shop: Shop, user: CartUser) -> None:
    request = add_two(shop, user)
    first = await user.send(request)
    await user.add(shop.other_sku, 4)
    again = await user.send(request)
    assert again.line_id == first.line_id
    assert comparable(again.cart) == comparable((await user.read())[0])
    assert await user.steps() == {shop.sku: 2, shop.other_sku: 4}


@pytest.mark.effect(*REMEMBERING)
async def test_a_command_id_with_another_body(shop: Shop, user: CartUser) -> None:
    request = add_two(shop, user)
    await user.send(request)
    other = user.call(add_line={"sku": shop.other_sku, "quantity": {"steps": 1}})
    other.command_id = request.command_id
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await user.send(other)
    assert caught.value.code() is Code.ABORTED
    assert await user.steps() == {shop.sku: 2}


@pytest.mark.effect(KEYED)
async def test_an_old_expected_version(shop: Shop, user: CartUser) -> None:
    request = add_two(shop, user)
    request.expected_version = user.version
    await user.send(request)
    assert int(user.version) > int(request.expected_version)
    late = add_two(shop, user)
    late.expected_version = request.expected_version
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await user.send(late)
    assert caught.value.code() is Code.FAILED_PRECONDITION
    again = await user.send(request)
    assert not again.HasField("rejection"), "a repeat is known before its expected version is looked at"
    assert await user.steps() == {shop.sku: 2}


async def test_resolve_an_executed_command(shop: Shop, user: CartUser) -> None:
    request = add_two(shop, user)
    response = await user.send(request)
    # What the hub sends is the lost call, with the notebook as it was before it.
    resolved = await user.resolve(request)
    if shop.effect_class in REMEMBERING:
        assert resolved.resolution == APPLIED
        assert resolved.response.line_id == response.line_id
        assert resolved.response.version == response.version
    assert resolved.resolution != NOT_APPLIED
    assert comparable(resolved.response.cart) == comparable(response.cart)
    assert await user.steps() == {shop.sku: 2}


async def test_resolve_a_command_that_never_came(shop: Shop, user: CartUser) -> None:
    await user.add(shop.other_sku, 1)
    request = add_two(shop, user)
    resolved = await user.resolve(request)
    assert resolved.resolution != APPLIED
    if shop.effect_class == KEYED:
        assert resolved.resolution == NOT_APPLIED
    assert comparable(resolved.response.cart) == comparable(user.cart)
    await user.send(request)
    assert await user.steps() == {shop.sku: 2, shop.other_sku: 1}


async def test_resolve_a_refused_command(shop: Shop, user: CartUser) -> None:
    await user.add(shop.other_sku, 1)
    request = user.call(add_line={"sku": "NO-SUCH-SKU", "quantity": {"steps": 1}})
    await user.send(request)
    resolved = await user.resolve(request)
    if shop.effect_class == KEYED:
        assert resolved.resolution == APPLIED
        assert resolved.response.rejection.reason == cart_service_pb2.REJECTION_REASON_UNKNOWN_SKU
    else:
        assert not (resolved.resolution == APPLIED and not resolved.response.HasField("rejection"))


async def test_resolve_the_creation_of_a_cart_that_is_not_there(shop: Shop, stubs: Stubs) -> None:
    user = CartUser(stubs.cart, shop.context())
    resolved = await user.resolve(user.call(create_cart={}))
    assert resolved.resolution != APPLIED
    assert not resolved.response.HasField("cart")


async def test_a_deadline_leaves_nothing_undecided(shop: Shop, user: CartUser) -> None:
    request = add_two(shop, user)
    code = Code.OK
    try:
        await user.send(request, timeout=0.000_001)
    except grpc.aio.AioRpcError as error:
        code = error.code()
    # Late as good as always; but gRPC's clock is coarser than that, and a quick adapter may be quicker.
    if code is not Code.OK:
        assert code is Code.DEADLINE_EXCEEDED
        resolved = await user.resolve(request)
        if resolved.resolution == NOT_APPLIED:
            assert not resolved.response.cart.lines
    # Whether it was executed or not: a repeat leaves one effect.
    await user.send(request)
    assert await user.steps() == {shop.sku: 2}


async def test_commands_on_many_carts_at_once(shop: Shop, stubs: Stubs) -> None:
    users = [CartUser(stubs.cart, shop.context()) for _ in range(8)]
    await asyncio.gather(*(user.apply(create_cart={}) for user in users))
    for turn in range(3):
        await asyncio.gather(*(user.add(shop.abundant_sku, 1 << turn) for user in users))
    for user in users:
        assert await user.steps() == {shop.abundant_sku: 7}
