"""Sessions and orders that end past us, and notebooks that are not a cart's own."""

import dataclasses
import json
import logging
from typing import Any

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import cart_service_pb2
from legato.commerce.v1 import cart_pb2
from legato.protocol.ids import new_id
from legato_adapters.conformance.cart_user import CartUser, comparable
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.vendure.admin import VendureAdmin, read_order
from legato_adapters.vendure.api import VendureApi
from legato_adapters.vendure.dev_server import VendureServer
from legato_adapters.vendure.notebook import Notebook
from tests.adapters.tried import VENDURE
from tests.support.http_proxy import Forward, HttpProxy, Reply

Code = grpc.StatusCode
NOT_APPLIED = cart_service_pb2.RESOLUTION_NOT_APPLIED
CART_NOT_ACTIVE = cart_service_pb2.REJECTION_REASON_CART_NOT_ACTIVE
UNKNOWN_TOKEN = "0" * 64


def token_of(user: CartUser) -> str:
    return Notebook.from_bytes(user.adapter_state).token


async def code_of_adding(user: CartUser, sku: str = "PAPER-01") -> Code:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await user.add(sku, 1)
    return caught.value.code()


async def code_of_reading(user: CartUser) -> Code:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await user.read()
    return caught.value.code()


async def past_us(server: VendureServer, user: CartUser, *mutations: str) -> None:
    """What somebody does who holds the session's token."""
    api = VendureApi(server.shop_api)
    await api.open()
    try:
        for mutation in mutations:
            await api.post(f"mutation {{ {mutation} {{ __typename }} }}", token=token_of(user), timeout=20)
    finally:
        await api.close()


PLACE = (
    'setCustomerForOrder(input: { firstName: "A", lastName: "B", emailAddress: "ada@example.com" })',
    'setOrderShippingAddress(input: { streetLine1: "Lindenweg 1", countryCode: "DE" })',
    'setOrderShippingMethod(shippingMethodId: ["1"])',
    'transitionOrderToState(state: "ArrangingPayment")',
    'addPaymentToOrder(input: { method: "invoice", metadata: {} })',
)


EDIT = """
mutation($id: ID!, $input: AddItemToDraftOrderInput!) {
  addItemToDraftOrder(orderId: $id, input: $input) { __typename }
}
"""
STATE = "query($id: String!) { orders(options: { filter: { id: { eq: $id } } }) { items { state } } }"


async def test_an_order_that_was_placed_past_us(user: CartUser, vendure_server: VendureServer) -> None:
    await user.add("PAPER-02", 2)
    line, lost = user.cart.lines[0].id, user.call(cancel_cart={})
    await past_us(vendure_server, user, *PLACE)
    cart, _ = await user.read()
    assert (cart.state, cart.native_status) == (cart_pb2.CART_STATE_ORDERED, "PaymentAuthorized")
    assert [line.sku for line in cart.lines] == ["PAPER-02"]
    intents: list[dict[str, Any]] = [
        {"remove_line": {"line": {"line_id": line}}},
        {"cancel_cart": {}},
        {"set_note": {"note": "!"}},
    ]
    for intent in intents:
        rejection = await user.refused(**intent)
        assert rejection.reason == CART_NOT_ACTIVE
    resolved = await user.resolve(lost)
    assert resolved.resolution == NOT_APPLIED
    assert resolved.response.cart.state == cart_pb2.CART_STATE_ORDERED


async def test_an_order_on_its_way_to_payment_is_frozen(user: CartUser, vendure_server: VendureServer) -> None:
    await user.add("PAPER-02", 2)
    await past_us(vendure_server, user, *PLACE[:-1])
    cart, _ = await user.read()
    assert (cart.state, cart.native_status) == (cart_pb2.CART_STATE_FROZEN, "ArrangingPayment")
    # Vendure itself would take the code.
    rejection = await user.refused(add_discount_code={"code": "ROAST10"})
    assert rejection.reason == CART_NOT_ACTIVE


async def test_an_order_that_was_canceled_past_us(user: CartUser, vendure_server: VendureServer) -> None:
    await user.add("PAPER-02", 2)
    await past_us(vendure_server, user, 'transitionOrderToState(state: "Cancelled")')
    assert await code_of_reading(user) is Code.NOT_FOUND
    request = user.call(add_line={"sku": "PAPER-01", "quantity": {"steps": 1}})
    response = await user.send(request)
    assert response.rejection.reason == CART_NOT_ACTIVE
    assert not response.HasField("cart")
    assert (await user.resolve(request)).resolution == NOT_APPLIED


async def test_a_session_that_vendure_has_forgotten(user: CartUser, proxy: HttpProxy) -> None:
    await user.add("PAPER-02", 2)
    notebook = Notebook.from_bytes(user.adapter_state)
    user.adapter_state = dataclasses.replace(notebook, token=UNKNOWN_TOKEN).to_bytes()
    before = len(proxy.changes())
    assert await code_of_reading(user) is Code.NOT_FOUND
    assert await code_of_adding(user) is Code.NOT_FOUND
    request = user.call(add_line={"sku": "PAPER-01", "quantity": {"steps": 1}})
    assert (await user.resolve(request)).resolution == NOT_APPLIED
    assert len(proxy.changes()) == before


async def test_a_session_that_is_forgotten_just_before_the_change(
    user: CartUser, proxy: HttpProxy, admin: VendureAdmin, caplog: pytest.LogCaptureFixture
) -> None:
    """Vendure makes a new session and a new order, and says that all is well."""
    await user.add("PAPER-02", 2)

    async def forgotten(forward: Forward) -> Reply:
        return await forward(token=UNKNOWN_TOKEN)

    proxy.on("addItemToOrder", forgotten)
    with caplog.at_level(logging.DEBUG):
        assert await code_of_adding(user) is Code.NOT_FOUND
    assert await admin.quantities(user.cart.refs[0].key) == {"PAPER-02": 2}
    newest = "query { orders(options: { take: 1, sort: { createdAt: DESC, id: DESC } }) { items { code state } } }"
    (stray,) = (await admin.query(newest))["orders"]["items"]
    assert stray["code"] != user.cart.refs[0].key
    assert stray["state"] == "Cancelled"
    assert token_of(user) not in caplog.text


async def test_an_order_that_ends_just_before_the_change(
    user: CartUser, proxy: HttpProxy, admin: VendureAdmin, vendure_server: VendureServer
) -> None:
    """Vendure puts it into another order of the same session."""
    await user.add("PAPER-02", 2)

    async def ended(forward: Forward) -> Reply:
        await past_us(vendure_server, user, 'transitionOrderToState(state: "Cancelled")')
        return await forward()

    proxy.on("addItemToOrder", ended)
    order = user.cart.refs[0].key
    response = await user.send(user.call(add_line={"sku": "PAPER-01", "quantity": {"steps": 4}}))
    assert response.rejection.reason == CART_NOT_ACTIVE
    assert await admin.quantities(order) == {"PAPER-02": 2}
    assert proxy.seen[-2:] == ["transitionOrderToState", "orderByCode"], "the other order was canceled"


async def test_a_line_that_was_changed_elsewhere(user: CartUser, admin: VendureAdmin) -> None:
    """More of it is not added to what the hub has not seen; it is told to look first."""
    await user.add("PAPER-02", 2)
    order, variant = user.cart.refs[0].id, user.cart.lines[0].refs[1].id
    await admin.query(EDIT, id=order, input={"productVariantId": variant, "quantity": 4})
    assert await code_of_adding(user, "PAPER-02") is Code.FAILED_PRECONDITION
    user.cart, _ = await user.read()
    await user.add("PAPER-02", 1)
    assert await user.steps() == {"PAPER-02": 7}


async def test_read_order_by_id_and_by_code(user: CartUser, vendure_server: VendureServer) -> None:
    await user.add("PAPER-02", 2)
    await user.add("LIN-250-BEAN", 8)
    credentials = (vendure_server.username, vendure_server.password)
    (ref,) = user.cart.refs
    for name in (ref.id, ref.key):
        found = await read_order(vendure_server.admin_api, credentials, name)
        assert found == {"PAPER-02": 2, "LIN-250-BEAN": 8}
    with pytest.raises(LookupError):
        await read_order(vendure_server.admin_api, credentials, "NO-SUCH-ORDER")
    with pytest.raises(PermissionError):
        await read_order(vendure_server.admin_api, ("superadmin", "wrong"), ref.id)


async def test_a_cart_is_created_once(user: CartUser) -> None:
    rejection = await user.refused(create_cart={})
    assert rejection.reason == cart_service_pb2.REJECTION_REASON_CART_EXISTS


async def test_the_notebook_of_another_cart_opens_nothing(stubs: Stubs, user: CartUser) -> None:
    await user.add("PAPER-02", 2)
    for tenant, cart_id in (("acme", new_id()), ("other", user.cart_id)):
        stranger = CartUser(stubs.cart, VENDURE.context(tenant=tenant))
        stranger.cart_id, stranger.adapter_state = cart_id, user.adapter_state
        assert await code_of_reading(stranger) is Code.NOT_FOUND
        assert await code_of_adding(stranger) is Code.NOT_FOUND


@pytest.mark.parametrize("state", [b"\xff", b"{}", b"[]", b'{"v": 2}', b'{"v": 1, "x": 1}', b"null", b"[" * 100_000])
async def test_a_notebook_that_is_none(user: CartUser, state: bytes) -> None:
    user.adapter_state = state
    assert await code_of_reading(user) is Code.INVALID_ARGUMENT
    assert await code_of_adding(user) is Code.INVALID_ARGUMENT


async def test_the_token_is_in_the_notebook_alone(user: CartUser) -> None:
    await user.add("PAPER-02", 2)
    token = token_of(user)
    assert len(token) == 64
    assert token not in str(user.cart)
    notebook = Notebook.from_bytes(user.adapter_state)
    assert token not in repr(notebook)
    assert json.loads(user.adapter_state)["token"] == token


async def test_a_canceled_cart_keeps_what_was_in_it(user: CartUser, admin: VendureAdmin, proxy: HttpProxy) -> None:
    await user.add("PAPER-02", 2)
    order = user.cart.refs[0]
    await user.apply(cancel_cart={})
    assert [(line.sku, line.quantity.steps) for line in user.cart.lines] == [("PAPER-02", 2)]
    cart, _ = await user.read()
    assert comparable(cart) == comparable(user.cart)
    (found,) = (await admin.query(STATE, id=order.id))["orders"]["items"]
    assert found["state"] == "Cancelled"
    before = len(proxy.seen)
    await user.apply(cancel_cart={})
    assert len(proxy.seen) == before, "it is canceled already"
