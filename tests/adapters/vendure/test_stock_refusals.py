"""Where Vendure refuses and changes the cart all the same: the cart stays as it was, also in Vendure itself."""

import contextlib
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import cart_service_pb2
from legato_adapters.conformance.cart_user import CartUser
from legato_adapters.vendure.admin import VendureAdmin
from tests.support.http_proxy import HttpProxy

INSUFFICIENT_STOCK = cart_service_pb2.REJECTION_REASON_INSUFFICIENT_STOCK
# 5 in stock.
KENYA = "KEN-250-BEAN"
# 9 in stock, in the warehouse alone.
KETTLE = "KETTLE-09"

_VARIANT = """
query($sku: String!) {
  productVariants(options: { filter: { sku: { eq: $sku } } }) {
    items { id stockLevels { stockOnHand stockLocation { id name } } }
  }
}
"""
_STOCK = "mutation($input: [UpdateProductVariantInput!]!) { updateProductVariants(input: $input) { id } }"


@contextlib.asynccontextmanager
async def stock(admin: VendureAdmin, sku: str, quantity: int) -> AsyncIterator[None]:
    """So much lies in the warehouse meanwhile."""
    (variant,) = (await admin.query(_VARIANT, sku=sku))["productVariants"]["items"]
    level = next(level for level in variant["stockLevels"] if level["stockLocation"]["name"].endswith("warehouse"))

    async def put(figure: int) -> None:
        levels = [{"stockLocationId": level["stockLocation"]["id"], "stockOnHand": figure}]
        await admin.query(_STOCK, input=[{"id": variant["id"], "stockLevels": levels}])

    await put(quantity)
    try:
        yield
    finally:
        await put(level["stockOnHand"])


async def in_vendure(admin: VendureAdmin, user: CartUser) -> dict[str, int]:
    """What the administration sees in the cart's order."""
    return await admin.quantities(user.cart.refs[0].key)


async def test_more_than_there_is_of_something_new(user: CartUser, admin: VendureAdmin) -> None:
    await user.add("PAPER-02", 2)
    rejection = await user.refused(add_line={"sku": KENYA, "quantity": {"steps": 7}})
    assert rejection.reason == INSUFFICIENT_STOCK
    assert rejection.native_code == "INSUFFICIENT_STOCK_ERROR"
    assert rejection.available_steps == 5
    assert await in_vendure(admin, user) == {"PAPER-02": 2}


async def test_more_than_there_is_in_an_empty_cart(user: CartUser, admin: VendureAdmin) -> None:
    await user.refused(add_line={"sku": KENYA, "quantity": {"steps": 6}})
    assert await in_vendure(admin, user) == {}


@pytest.mark.parametrize("how", ["add", "set"])
async def test_more_than_there_is_of_a_line(user: CartUser, admin: VendureAdmin, how: str) -> None:
    line = (await user.add(KENYA, 2)).line_id
    if how == "add":
        rejection = await user.refused(add_line={"sku": KENYA, "quantity": {"steps": 7}})
    else:
        wish = {"line": {"line_id": line}, "quantity": {"steps": 9}}
        rejection = await user.refused(set_line_quantity=wish)
    assert (rejection.reason, rejection.available_steps) == (INSUFFICIENT_STOCK, 5)
    assert await in_vendure(admin, user) == {KENYA: 2}
    # Exactly what the refusal offered can be had.
    await user.apply(set_line_quantity={"line": {"line_id": line}, "quantity": {"steps": 5}})
    assert await in_vendure(admin, user) == {KENYA: 5}


@pytest.mark.parametrize("steps", [3, 8], ids=["fewer", "more"])
async def test_a_line_whose_stock_has_vanished_is_not_lost(
    user: CartUser, admin: VendureAdmin, proxy: HttpProxy, steps: int
) -> None:
    """Vendure would take out the whole line, and could not take it in again."""
    line = (await user.add(KETTLE, 6)).line_id
    async with stock(admin, KETTLE, 0):
        wish = {"line": {"line_id": line}, "quantity": {"steps": steps}}
        rejection = await user.refused(set_line_quantity=wish)
        assert (rejection.reason, rejection.available_steps) == (INSUFFICIENT_STOCK, 0)
        assert await in_vendure(admin, user) == {KETTLE: 6}
        assert "adjustOrderLine" not in proxy.seen
        (message,) = user.cart.messages.items
        assert (message.code, message.path) == ("OUT_OF_STOCK", f"line/{line}")
        await user.apply(remove_line={"line": {"line_id": line}})
    assert await in_vendure(admin, user) == {}


async def test_what_cannot_be_undone_is_said_to_be_unknown_and_then_found_out(
    user: CartUser, admin: VendureAdmin
) -> None:
    line = (await user.add(KETTLE, 6)).line_id
    async with stock(admin, KETTLE, 4):
        request = user.call(set_line_quantity={"line": {"line_id": line}, "quantity": {"steps": 8}})
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await user.send(request)
        assert caught.value.code() is grpc.StatusCode.UNKNOWN
        resolved = await user.resolve(request)
        assert resolved.resolution == cart_service_pb2.RESOLUTION_NOT_APPLIED
        assert [item.quantity.steps for item in resolved.response.cart.lines] == [4]
        assert await in_vendure(admin, user) == {KETTLE: 4}
        again = await user.send(request)
        assert (again.rejection.reason, again.rejection.available_steps) == (INSUFFICIENT_STOCK, 4)
        assert await in_vendure(admin, user) == {KETTLE: 4}


async def test_more_than_an_order_may_hold(user: CartUser) -> None:
    await user.add("BRA-1000-BEAN", 512)
    await user.add("PAPER-02", 2)
    rejection = await user.refused(add_line={"sku": "BRA-1000-BEAN", "quantity": {"steps": 512}})
    assert rejection.reason == cart_service_pb2.REJECTION_REASON_QUANTITY_LIMIT
    assert rejection.available_steps == 997
    rejection = await user.refused(add_line={"sku": "LIN-250-BEAN", "quantity": {"steps": 1_000_000}})
    assert (rejection.reason, rejection.available_steps) == (cart_service_pb2.REJECTION_REASON_QUANTITY_LIMIT, 485)


async def test_stock_of_two_locations_is_sold_together(user: CartUser) -> None:
    rejection = await user.refused(add_line={"sku": "NER-250-BEAN", "quantity": {"steps": 11}})
    assert rejection.available_steps == 10
    await user.add("NER-250-BEAN", 10)
    assert await user.steps() == {"NER-250-BEAN": 10}


async def test_what_is_not_counted_never_runs_out(user: CartUser) -> None:
    await user.add("COURSE-01", 64)
    assert await user.steps() == {"COURSE-01": 64}


async def test_a_removed_line_comes_back_under_a_new_id(user: CartUser) -> None:
    seen = set()
    for _ in range(3):
        line = (await user.add("PAPER-02", 1)).line_id
        assert line not in seen
        seen.add(line)
        await user.apply(remove_line={"line": {"line_id": line}})


async def test_a_delivery_option_that_the_goods_no_longer_earn(user: CartUser) -> None:
    line = (await user.add("DRIP-01-WHITE", 4)).line_id
    free = next(o for o in user.cart.fulfilment.available if o.name == "Free parcel")
    await user.apply(set_delivery_option={"option_id": free.id})
    assert not user.cart.messages.items
    await user.apply(set_line_quantity={"line": {"line_id": line}, "quantity": {"steps": 1}})
    assert user.cart.fulfilment.selected.id != free.id
    assert [message.code for message in user.cart.messages.items] == ["DELIVERY_OPTION_CHANGED"]
    cart, _ = await user.read()
    assert [message.code for message in cart.messages.items] == ["DELIVERY_OPTION_CHANGED"]
    await user.apply(set_delivery_option={"option_id": user.cart.fulfilment.selected.id})
    assert not user.cart.messages.items


async def test_an_empty_cart_has_no_delivery_option_to_choose(user: CartUser) -> None:
    """Vendure offers them, takes the choice, and forgets it."""
    assert not user.cart.fulfilment.available
    rejection = await user.refused(set_delivery_option={"option_id": "1"})
    assert rejection.reason == cart_service_pb2.REJECTION_REASON_DELIVERY_OPTION_INVALID
