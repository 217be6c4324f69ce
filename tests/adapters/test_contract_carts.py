"""The adapter contract: what each intent does to a cart, and what a backend refuses."""

from typing import Any

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import cart_service_pb2, catalog_service_pb2
from legato.commerce.v1 import address_pb2, cart_pb2, discount_pb2, total_pb2
from legato_adapters.conformance.cart_user import CartUser, comparable, total
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.conformance.wire import TIMEOUT_S
from tests.adapters.shops import ALL_INTENTS, Shop

pytestmark = pytest.mark.usefixtures("placement")

Code = grpc.StatusCode
SHIPPING = address_pb2.ADDRESS_PURPOSE_SHIPPING
BILLING = address_pb2.ADDRESS_PURPOSE_BILLING


async def chosen_delivery(user: CartUser, shop: Shop) -> str:
    """Bring the cart to where delivery can be chosen; the id of the first option that costs something."""
    await user.add(shop.sku, 1)
    await user.apply(set_address={"purpose": SHIPPING, "address": shop.address})
    return next(option.id for option in user.cart.fulfilment.available if option.price.units > 0)


async def test_a_new_cart(shop: Shop, user: CartUser) -> None:
    assert user.cart.state in {cart_pb2.CART_STATE_UNSPECIFIED, cart_pb2.CART_STATE_ACTIVE}
    assert user.cart.id in {"", user.cart_id}
    assert user.cart.currency_code in {"", shop.currency}
    assert not user.cart.lines
    assert total(user.cart, total_pb2.TOTAL_TYPE_GRAND_TOTAL) == 0
    cart, version = await user.read()
    assert comparable(cart) == comparable(user.cart)
    assert version == user.version


async def test_a_market_that_is_not_served(shop: Shop, stubs: Stubs) -> None:
    user = CartUser(stubs.cart, shop.context())
    user.context.country, user.context.currency_code = shop.unserved
    response = await user.send(user.call(create_cart={}))
    assert response.rejection.reason == cart_service_pb2.REJECTION_REASON_UNKNOWN_CURRENCY
    assert not response.HasField("cart")


async def test_add(shop: Shop, stubs: Stubs, user: CartUser) -> None:
    request = catalog_service_pb2.GetPricesRequest(context=shop.context(), skus=[shop.sku])
    (price,) = (await stubs.catalog.GetPrices(request, timeout=TIMEOUT_S)).prices
    response = await user.add(shop.sku, 3)
    (line,) = user.cart.lines
    assert response.line_id == line.id
    assert (line.sku, line.quantity.steps) == (shop.sku, 3)
    assert line.item.name
    assert line.item.product_id
    assert line.unit_price == price.amount
    assert line.tax_included == shop.tax_included
    assert line.total.units == 3 * price.amount.units
    cart, version = await user.read()
    assert comparable(cart) == comparable(user.cart)
    assert version == user.version


async def test_add_more_of_the_same_and_something_else(shop: Shop, user: CartUser) -> None:
    await user.add(shop.sku, 1)
    await user.add(shop.sku, 2)
    await user.add(shop.other_sku, 4)
    await user.add(shop.abundant_sku, shop.abundance)
    assert await user.steps() == {shop.sku: 3, shop.other_sku: 4, shop.abundant_sku: shop.abundance}


async def test_totals_add_up(shop: Shop, user: CartUser) -> None:
    await user.add(shop.sku, 3)
    await user.add(shop.other_sku, 7)
    items = user.cart.totals.items
    assert items[-1].type == total_pb2.TOTAL_TYPE_GRAND_TOTAL
    assert {item.amount.currency_code for item in items} == {shop.currency}
    tax = total(user.cart, total_pb2.TOTAL_TYPE_TAX)
    lines = sum(line.total.units for line in user.cart.lines)
    assert total(user.cart, total_pb2.TOTAL_TYPE_GRAND_TOTAL) == lines + (0 if shop.tax_included else tax)
    assert tax == sum(line.amount.units for line in user.cart.totals.tax_lines)


async def test_set_quantity(shop: Shop, user: CartUser) -> None:
    added = await user.add(shop.sku, 5)
    for steps in (7, 2):
        response = await user.apply(
            set_line_quantity={"line": {"line_id": added.line_id}, "quantity": {"steps": steps}}
        )
        assert response.line_id == added.line_id
        assert await user.steps() == {shop.sku: steps}


@pytest.mark.parametrize("how", ["set to zero", "remove"])
async def test_take_out(shop: Shop, user: CartUser, how: str) -> None:
    line = {"line_id": (await user.add(shop.sku, 5)).line_id}
    await user.add(shop.other_sku, 1)
    if how == "remove":
        await user.apply(remove_line={"line": line})
    else:
        await user.apply(set_line_quantity={"line": line, "quantity": {"steps": 0}})
    assert await user.steps() == {shop.other_sku: 1}


async def test_parts_of_a_line_by_the_clients_keys(shop: Shop, user: CartUser) -> None:
    await user.add(shop.sku, 1, "web-1")
    await user.add(shop.sku, 2, "app-1")
    await user.apply(set_line_quantity={"line": {"client_line_key": "app-1"}, "quantity": {"steps": 4}})
    assert await user.steps() == {shop.sku: 5}
    await user.apply(remove_line={"line": {"client_line_key": "web-1"}})
    assert await user.steps() == {shop.sku: 4}


async def test_an_unknown_sku(shop: Shop, user: CartUser) -> None:
    await user.add(shop.sku, 1)
    rejection = await user.refused(add_line={"sku": "NO-SUCH-SKU", "quantity": {"steps": 1}})
    assert rejection.reason == cart_service_pb2.REJECTION_REASON_UNKNOWN_SKU


@pytest.mark.parametrize("existing", [0, 1], ids=["new line", "existing line"])
async def test_oversell(shop: Shop, user: CartUser, existing: int) -> None:
    await user.add(shop.sku, 1)
    if existing:
        await user.add(shop.low_sku, existing)
    rejection = await user.refused(add_line={"sku": shop.low_sku, "quantity": {"steps": shop.low_stock + 1}})
    assert rejection.reason == cart_service_pb2.REJECTION_REASON_INSUFFICIENT_STOCK
    assert not rejection.HasField("available_steps") or rejection.available_steps == shop.low_stock
    await user.add(shop.low_sku, shop.low_stock - existing)
    assert await user.steps() == {shop.sku: 1, shop.low_sku: shop.low_stock}


async def test_oversell_by_setting(shop: Shop, user: CartUser) -> None:
    line = {"line_id": (await user.add(shop.low_sku, 1)).line_id}
    quantity = {"steps": shop.low_stock + 1}
    rejection = await user.refused(set_line_quantity={"line": line, "quantity": quantity})
    assert rejection.reason == cart_service_pb2.REJECTION_REASON_INSUFFICIENT_STOCK
    assert not rejection.HasField("available_steps") or rejection.available_steps == shop.low_stock


async def test_nothing_in_stock(shop: Shop, user: CartUser) -> None:
    rejection = await user.refused(add_line={"sku": shop.empty_sku, "quantity": {"steps": 1}})
    assert rejection.reason == cart_service_pb2.REJECTION_REASON_INSUFFICIENT_STOCK
    assert not rejection.HasField("available_steps") or rejection.available_steps == 0


async def test_a_line_that_is_not_there(shop: Shop, user: CartUser) -> None:
    gone = {"line_id": (await user.add(shop.sku, 1)).line_id}
    await user.apply(remove_line={"line": gone})
    await user.add(shop.other_sku, 1)
    for intent in ({"remove_line": {"line": gone}}, {"set_line_quantity": {"line": gone, "quantity": {"steps": 2}}}):
        rejection = await user.refused(**intent)
        assert rejection.reason == cart_service_pb2.REJECTION_REASON_LINE_NOT_FOUND


@pytest.mark.needs("add_discount_code", "remove_discount_code")
async def test_discount_code(shop: Shop, user: CartUser) -> None:
    await user.add(shop.sku, 10)
    full = total(user.cart, total_pb2.TOTAL_TYPE_GRAND_TOTAL)
    await user.apply(add_discount_code={"code": shop.discount_code})
    assert total(user.cart, total_pb2.TOTAL_TYPE_GRAND_TOTAL) < full
    assert total(user.cart, total_pb2.TOTAL_TYPE_DISCOUNT) < 0
    (code,) = user.cart.discount_codes
    assert (code.code, code.state) == (shop.discount_code, discount_pb2.DISCOUNT_CODE_STATE_APPLIED)
    lower = comparable(user.cart)
    await user.apply(add_discount_code={"code": shop.discount_code})
    assert comparable(user.cart) == lower, "a code that is there already changes nothing"
    await user.apply(remove_discount_code={"code": shop.discount_code})
    assert total(user.cart, total_pb2.TOTAL_TYPE_GRAND_TOTAL) == full
    assert not user.cart.discount_codes
    await user.apply(remove_discount_code={"code": shop.discount_code})
    assert total(user.cart, total_pb2.TOTAL_TYPE_GRAND_TOTAL) == full


@pytest.mark.needs("add_discount_code")
async def test_discount_codes_that_do_not_count(shop: Shop, user: CartUser) -> None:
    await user.add(shop.sku, 1)
    for code in shop.refused_codes:
        rejection = await user.refused(add_discount_code={"code": code})
        assert rejection.reason == cart_service_pb2.REJECTION_REASON_DISCOUNT_CODE_INVALID


@pytest.mark.needs("set_email")
async def test_email(shop: Shop, user: CartUser) -> None:
    await user.add(shop.sku, 1)
    for email in ("ada@example.org", "grace@example.org"):
        await user.apply(set_email={"email": email})
        assert (await user.read())[0].email == email


@pytest.mark.needs("set_address")
async def test_addresses(shop: Shop, user: CartUser) -> None:
    await user.add(shop.sku, 1)
    shipping = address_pb2.Address(**shop.address)
    billing = address_pb2.Address(**{**shop.address, "first_name": "Grace", "company": "Hopper GmbH"})
    await user.apply(set_address={"purpose": SHIPPING, "address": shipping})
    await user.apply(set_address={"purpose": BILLING, "address": billing})
    cart, _ = await user.read()
    assert cart.shipping_address == shipping
    assert cart.billing_address == billing


@pytest.mark.needs("set_delivery_option", "set_address")
async def test_delivery_option(shop: Shop, user: CartUser) -> None:
    option_id = await chosen_delivery(user, shop)
    before = total(user.cart, total_pb2.TOTAL_TYPE_GRAND_TOTAL)
    await user.apply(set_delivery_option={"option_id": option_id})
    cart, _ = await user.read()
    assert cart.fulfilment.selected.id == option_id
    assert cart.fulfilment.selected in cart.fulfilment.available
    assert total(cart, total_pb2.TOTAL_TYPE_DELIVERY) > 0
    assert total(cart, total_pb2.TOTAL_TYPE_GRAND_TOTAL) > before


@pytest.mark.needs("set_delivery_option", "set_address")
async def test_an_unknown_delivery_option(shop: Shop, user: CartUser) -> None:
    await chosen_delivery(user, shop)
    rejection = await user.refused(set_delivery_option={"option_id": "999999"})
    assert rejection.reason == cart_service_pb2.REJECTION_REASON_DELIVERY_OPTION_INVALID


@pytest.mark.needs("set_note")
async def test_note(shop: Shop, user: CartUser) -> None:
    await user.add(shop.sku, 1)
    await user.apply(set_note={"note": "Please ring twice. ÄÖÜ 🎒"})
    assert (await user.read())[0].note == "Please ring twice. ÄÖÜ 🎒"
    await user.apply(set_note={"note": ""})
    assert not (await user.read())[0].note


@pytest.mark.needs("cancel_cart")
async def test_cancel(shop: Shop, user: CartUser) -> None:
    await user.add(shop.sku, 1)
    await user.apply(cancel_cart={})
    assert user.cart.state == cart_pb2.CART_STATE_CANCELED
    rejection = await user.refused(add_line={"sku": shop.sku, "quantity": {"steps": 1}})
    assert rejection.reason == cart_service_pb2.REJECTION_REASON_CART_NOT_ACTIVE
    assert (await user.read())[0].state == cart_pb2.CART_STATE_CANCELED


@pytest.mark.parametrize("intent", sorted(ALL_INTENTS - {"create_cart"}))
async def test_an_intent_is_executed_as_claimed_or_unimplemented(shop: Shop, user: CartUser, intent: str) -> None:
    """What is asked for is impossible or incomplete on purpose: only UNIMPLEMENTED is looked for."""
    before = comparable((await user.read())[0])
    request = user.call()
    getattr(request.intent, intent).SetInParent()
    code = Code.OK
    try:
        await user.send(request)
    except grpc.aio.AioRpcError as error:
        code = error.code()
    assert (code is Code.UNIMPLEMENTED) == (intent not in shop.intents)
    if code is not Code.OK:
        assert comparable((await user.read())[0]) == before


# Whose cart


async def test_a_cart_that_does_not_exist(shop: Shop, stubs: Stubs) -> None:
    user = CartUser(stubs.cart, shop.context())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await user.read()
    assert caught.value.code() is Code.NOT_FOUND
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await user.add(shop.sku, 1)
    assert caught.value.code() is Code.NOT_FOUND


async def test_another_tenants_cart_does_not_exist(shop: Shop, stubs: Stubs, user: CartUser) -> None:
    await user.add(shop.sku, 1)
    stranger = CartUser(stubs.cart, shop.context(tenant="other"))
    stranger.cart_id = user.cart_id
    for call in (stranger.read(), stranger.add(shop.sku, 1)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is Code.NOT_FOUND
    assert await user.steps() == {shop.sku: 1}


@pytest.mark.parametrize("field", ["cart_id", "command_id"])
@pytest.mark.parametrize(
    "value", ["", "nonsense", "019A2B3C-4D5E-7F60-8A1B-2C3D4E5F6071", "550e8400-e29b-41d4-a716-446655440000"]
)
async def test_malformed_ids(shop: Shop, stubs: Stubs, user: CartUser, field: str, value: str) -> None:
    request = user.call(add_line={"sku": shop.sku, "quantity": {"steps": 1}})
    setattr(request, field, value)
    calls: list[Any] = [
        stubs.cart.ApplyCommand(request, timeout=TIMEOUT_S),
        stubs.cart.ResolveCommand(cart_service_pb2.ResolveCommandRequest(call=request), timeout=TIMEOUT_S),
    ]
    if field == "cart_id":
        get = cart_service_pb2.GetCartRequest(context=user.context, cart_id=value, adapter_state=user.adapter_state)
        calls.append(stubs.cart.GetCart(get, timeout=TIMEOUT_S))
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is Code.INVALID_ARGUMENT


async def test_a_command_without_an_intent(shop: Shop, user: CartUser) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await user.send(user.call())
    assert caught.value.code() is Code.INVALID_ARGUMENT
