"""What is right against the real API where the emulator is wrong or cannot do it: payloads after its documentation."""

import json
from typing import Any

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import (
    cart_service_pb2,
    customer_service_pb2,
    identity_service_pb2,
    order_service_pb2,
)
from legato.commerce.v1 import cart_intent_pb2, cart_pb2, money_pb2, order_pb2
from legato.protocol.ids import new_id
from legato_adapters.commercetools import marks
from legato_adapters.commercetools.orders import order_number
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.conformance.wire import TIMEOUT_S
from tests.adapters.commercetools.payloads import Written, payload, refusal, reply
from tests.adapters.tried import COMMERCETOOLS

CART_ID = "019a0000-0000-7000-8000-000000000001"
CONTEXT = COMMERCETOOLS.context()
Code = grpc.StatusCode


def cart(**fields: Any) -> dict[str, Any]:
    return {**payload("documented/cart"), **fields}


def command(cart_id: str = CART_ID, **intent: Any) -> cart_service_pb2.ApplyCommandRequest:
    return cart_service_pb2.ApplyCommandRequest(
        context=CONTEXT,
        cart_id=cart_id,
        command_id=new_id(),
        intent=cart_intent_pb2.CartIntent(**intent),
        channel="web",
    )


def place(*payments: order_pb2.OrderPayment, **fields: Any) -> order_service_pb2.ApplyOrderCommandRequest:
    wish = order_service_pb2.PlaceOrder(cart_id=CART_ID, payments=payments)
    return order_service_pb2.ApplyOrderCommandRequest(
        context=CONTEXT, command_id=new_id(), command=order_service_pb2.OrderCommand(place=wish), **fields
    )


async def failed(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert "swordfish" not in (caught.value.details() or "")
    return caught.value


# Carts


async def test_a_lost_creation_is_found_by_its_key(written: Written, written_stubs: Stubs) -> None:
    request = command(create_cart={})
    made = cart()
    made["custom"]["fields"][marks.COMMANDS] = str(
        marks.Marks().add(request.command_id, marks.digest(CART_ID, request.intent))
    )
    written.on(f"GET /legato/carts/key={CART_ID}", reply(made))
    resolved = await written_stubs.cart.ResolveCommand(cart_service_pb2.ResolveCommandRequest(call=request))
    assert resolved.resolution == cart_service_pb2.RESOLUTION_APPLIED
    assert resolved.response.cart.id == CART_ID
    again = await written_stubs.cart.ApplyCommand(request)
    assert not again.HasField("rejection")
    assert not written.sent("POST /legato/carts$")
    other = await written_stubs.cart.ApplyCommand(command(create_cart={}))
    assert other.rejection.reason == cart_service_pb2.REJECTION_REASON_CART_EXISTS


async def test_two_creations_at_once(written: Written, written_stubs: Stubs) -> None:
    missing = refusal("ResourceNotFound", 404)
    written.on("GET /legato/carts/key=", missing, reply(cart()))
    written.on("POST /legato/carts$", refusal("DuplicateField", field="key"))
    answer = await written_stubs.cart.ApplyCommand(command(create_cart={}))
    assert answer.rejection.reason == cart_service_pb2.REJECTION_REASON_CART_EXISTS
    draft = written.sent("POST /legato/carts$")[0]
    assert (draft["key"], draft["inventoryMode"], draft["currency"]) == (CART_ID, "ReserveOnOrder", "EUR")


async def test_an_ordered_cart(written: Written, written_stubs: Stubs) -> None:
    written.on("GET /legato/carts/key=", reply(cart(cartState="Ordered")))
    read = await written_stubs.cart.GetCart(cart_service_pb2.GetCartRequest(context=CONTEXT, cart_id=CART_ID))
    assert read.cart.state == cart_pb2.CART_STATE_ORDERED
    answer = await written_stubs.cart.ApplyCommand(command(set_email={"email": "a@shop.example"}))
    assert answer.rejection.reason == cart_service_pb2.REJECTION_REASON_CART_NOT_ACTIVE
    placed = await written_stubs.order.ApplyOrderCommand(place())
    assert placed.rejection.reason == order_service_pb2.ORDER_REJECTION_REASON_CART_NOT_ACTIVE
    assert not written.sent("POST /legato/(carts|orders)")


async def test_a_lost_race_is_run_again_with_the_same_wish(written: Written, written_stubs: Stubs) -> None:
    newer = cart(version=99)
    written.on("GET /legato/carts/key=", reply(cart()))
    written.on("GET /legato/carts/0", reply(newer))
    written.on("GET /legato/inventory", reply({"results": []}))
    conflict = refusal("ConcurrentModification", 409, currentVersion=99)
    written.on("POST /legato/carts/0", conflict, reply(cart(version=100)))
    answer = await written_stubs.cart.ApplyCommand(command(add_line={"sku": "BELL-BRASS", "quantity": {"steps": 2}}))
    assert not answer.HasField("rejection")
    assert answer.version == "100"
    first, second = written.sent("POST /legato/carts/0")
    assert (first["version"], second["version"]) == (payload("documented/cart")["version"], 99)
    assert first["actions"] == second["actions"]
    assert first["actions"][0] == {"action": "addLineItem", "sku": "BELL-BRASS", "quantity": 2}
    assert first["actions"][1]["name"] == marks.COMMANDS


async def test_a_race_that_is_never_won(written: Written, written_stubs: Stubs) -> None:
    written.on("GET /legato/carts/", reply(cart()))
    written.on("POST /legato/carts/0", refusal("ConcurrentModification", 409, currentVersion=99))
    error = await failed(written_stubs.cart.ApplyCommand(command(set_note={"note": "x"})))
    assert error.code() is Code.UNAVAILABLE
    assert ("legato-effect", "none") in [tuple(pair) for pair in error.trailing_metadata()]
    assert len(written.sent("POST /legato/carts/0")) == 8


async def test_a_code_that_is_used_up_comes_off_again(written: Written, written_stubs: Stubs) -> None:
    before = cart(discountCodes=[])
    entry = {**payload("documented/cart")["discountCodes"][0], "state": "MaxApplicationReached"}
    written.on("GET /legato/carts/key=", reply(before))
    written.on("GET /legato/discount-codes", reply({"results": [{"isActive": True}]}))
    written.on("POST /legato/carts/0", reply(cart(version=50, discountCodes=[entry])), reply({**before, "version": 51}))
    answer = await written_stubs.cart.ApplyCommand(command(add_discount_code={"code": "SPRING10"}))
    assert answer.rejection.reason == cart_service_pb2.REJECTION_REASON_DISCOUNT_CODE_INVALID
    assert answer.rejection.native_code == "MaxApplicationReached"
    assert (answer.version, list(answer.cart.discount_codes)) == ("51", [])
    undone = written.sent("POST /legato/carts/0")[1]
    assert undone["actions"][0]["action"] == "removeDiscountCode"


@pytest.mark.parametrize(
    ("intent", "code", "reason"),
    [
        ({"set_email": {"email": "x"}}, "InvalidInput", "INVALID_FIELD"),
        (
            {"set_address": {"purpose": 1, "address": {"street": "a", "city": "b", "country": "FR"}}},
            "MissingTaxRateForCountry",
            "INVALID_FIELD",
        ),
        ({"set_note": {"note": "x"}}, "SomethingNew", "UNSPECIFIED"),
    ],
)
async def test_refusals(written: Written, written_stubs: Stubs, intent: dict[str, Any], code: str, reason: str) -> None:
    written.on("GET /legato/carts/key=", reply(cart()))
    written.on("POST /legato/carts/0", refusal(code))
    rejection = (await written_stubs.cart.ApplyCommand(command(**intent))).rejection
    assert cart_service_pb2.RejectionReason.Name(rejection.reason) == f"REJECTION_REASON_{reason}"
    assert rejection.native_code == code
    assert "swordfish" not in rejection.message


async def test_a_forgotten_command_is_unknown(written: Written, written_stubs: Stubs) -> None:
    early = command(set_note={"note": "x"})
    early.command_id = "01900000-0000-7000-8000-000000000000"
    kept = marks.Marks()
    for _ in range(70):
        kept.add(new_id(), "00000000")
    full = cart()
    full["custom"]["fields"][marks.COMMANDS] = str(kept)
    written.on("GET /legato/carts/key=", reply(full))
    resolved = await written_stubs.cart.ResolveCommand(cart_service_pb2.ResolveCommandRequest(call=early))
    assert resolved.resolution == cart_service_pb2.RESOLUTION_UNKNOWN
    late = cart_service_pb2.ResolveCommandRequest(call=command(set_note={"note": "x"}))
    resolved = await written_stubs.cart.ResolveCommand(late)
    assert resolved.resolution == cart_service_pb2.RESOLUTION_NOT_APPLIED


# Orders


async def test_an_order_is_of_the_version_that_was_looked_at(written: Written, written_stubs: Stubs) -> None:
    written.on("GET /legato/carts/key=", reply(cart()))
    written.on("POST /legato/orders", reply(payload("documented/order"), 201))
    request = place()
    answer = await written_stubs.order.ApplyOrderCommand(request)
    assert answer.order.payments[0].payment_id == "pi_1"
    sent = written.sent("POST /legato/orders")[0]
    assert sent["version"] == payload("documented/cart")["version"]
    assert sent["orderNumber"] == order_number("acme", request.command_id)
    written.on("POST /legato/orders", refusal("ConcurrentModification", 409, currentVersion=9))
    error = await failed(written_stubs.order.ApplyOrderCommand(place()))
    assert (error.code(), ("legato-effect", "none") in map(tuple, error.trailing_metadata())) == (
        Code.UNAVAILABLE,
        True,
    )
    version = str(payload("documented/cart")["version"])
    error = await failed(written_stubs.order.ApplyOrderCommand(place(expected_version=version)))
    assert error.code() is Code.FAILED_PRECONDITION


async def test_out_of_stock(written: Written, written_stubs: Stubs) -> None:
    written.on("GET /legato/carts/key=", reply(cart()))
    written.on("POST /legato/orders", refusal("OutOfStock", lineItems=["1"], skus=["TYRE-28-CRM"]))
    rejection = (await written_stubs.order.ApplyOrderCommand(place())).rejection
    assert rejection.reason == order_service_pb2.ORDER_REJECTION_REASON_INSUFFICIENT_STOCK
    line = next(line for line in cart()["lineItems"] if line["variant"]["sku"] == "TYRE-28-CRM")
    assert list(rejection.paths) == [f"line/{line['id']}"]


async def test_a_lost_order_is_found_by_its_number(written: Written, written_stubs: Stubs) -> None:
    request = place()
    resolve = order_service_pb2.ResolveOrderCommandRequest(call=request)
    resolved = await written_stubs.order.ResolveOrderCommand(resolve)
    assert resolved.resolution == cart_service_pb2.RESOLUTION_NOT_APPLIED
    number = order_number("acme", request.command_id)
    written.on(f"GET /legato/orders/order-number={number}", reply(payload("documented/order")))
    resolved = await written_stubs.order.ResolveOrderCommand(resolve)
    assert resolved.resolution == cart_service_pb2.RESOLUTION_APPLIED
    assert resolved.response.order.cart_id == CART_ID
    assert (await written_stubs.order.ApplyOrderCommand(request)).order.id == resolved.response.order.id
    assert not written.sent("POST /legato/orders")
    request.command.place.cart_id = new_id()
    assert (await failed(written_stubs.order.ApplyOrderCommand(request))).code() is Code.ABORTED


async def test_goods_of_a_cancelled_order_come_back(written: Written, written_stubs: Stubs) -> None:
    order = {**payload("documented/order"), "shipmentState": "Pending"}
    line = order["lineItems"][0]
    entry = {"id": "stock-1", "version": 4, "sku": line["variant"]["sku"], "quantityOnStock": 7}
    written.on(f"GET /legato/orders/{order['id']}", reply(order))
    written.on(f"POST /legato/orders/{order['id']}", reply({**order, "orderState": "Cancelled"}))
    written.on("GET /legato/inventory", reply({"results": [entry], "count": 1, "total": 1, "offset": 0, "limit": 20}))
    written.on("POST /legato/inventory/stock-1", reply(entry))
    request = order_service_pb2.ApplyOrderCommandRequest(
        context=CONTEXT,
        command_id=new_id(),
        command=order_service_pb2.OrderCommand(cancel=order_service_pb2.CancelOrder(order_id=order["id"])),
    )
    assert not (await written_stubs.order.ApplyOrderCommand(request)).HasField("rejection")
    (change,) = written.sent("POST /legato/inventory/stock-1")
    assert change["version"] == 4
    assert change["actions"] == [{"action": "changeQuantity", "quantity": 7 + line["quantity"]}]


async def test_payments_are_objects_of_their_own(written: Written, written_stubs: Stubs) -> None:
    grand = cart()["taxedPrice"]["totalGross"]["centAmount"]
    paid = order_pb2.OrderPayment(
        payment_id="pi_1",
        system="stripe",
        authorized=money_pb2.Money(currency_code="EUR", units=grand, scale=2),
    )
    attached = cart(version=60, paymentInfo={"payments": [{"typeId": "payment", "id": "p1"}]})
    written.on("GET /legato/carts/key=", reply(cart()))
    written.on("GET /legato/payments/key=", refusal("ResourceNotFound", 404))
    written.on("POST /legato/payments", reply({"id": "p1", "version": 1}, 201))
    written.on("POST /legato/carts/0", reply(attached))
    written.on("POST /legato/orders", reply(payload("documented/order"), 201))
    await written_stubs.order.ApplyOrderCommand(place(paid))
    made = written.sent("POST /legato/payments")[0]
    assert made["interfaceId"] == "pi_1"
    assert made["transactions"][0]["type"] == "Authorization"
    assert written.sent("POST /legato/carts/0")[0]["actions"][0]["action"] == "addPayment"
    assert written.sent("POST /legato/orders")[0]["version"] == 60


async def test_orders_are_asked_for_newest_first(written: Written, written_stubs: Stubs) -> None:
    first = payload("documented/order")
    second = {**first, "id": "00000000-0000-4000-8000-0000000000f2"}
    written.on("GET /legato/orders$", reply({"results": [first, second]}), reply({"results": [second]}))
    request = order_service_pb2.ListOrdersRequest(context=CONTEXT, customer_id="ada", page_size=1)
    page = await written_stubs.order.ListOrders(request)
    assert [order.id for order in page.orders] == [first["id"]]
    request.page_token = page.next_page_token
    assert not (await written_stubs.order.ListOrders(request)).next_page_token
    asked = written.queries("GET /legato/orders$")
    assert [value for name, value in asked[0] if name == "sort"] == ["createdAt desc", "id desc"]
    assert ("var.last", first["id"]) in asked[1]
    assert ("var.moment", first["createdAt"]) in asked[1]


# Customers


def keep(**wish: Any) -> customer_service_pb2.ApplyCustomerCommandRequest:
    return customer_service_pb2.ApplyCustomerCommandRequest(
        context=CONTEXT, command_id=new_id(), command=customer_service_pb2.CustomerCommand(**wish)
    )


async def test_a_taken_email(written: Written, written_stubs: Stubs) -> None:
    ada = payload("documented/customer")
    written.on("GET /legato/customers/", reply(ada))
    written.on("POST /legato/customers/", refusal("DuplicateField", field="email", duplicateValue="swordfish"))
    answer = await written_stubs.customer.ApplyCustomerCommand(
        keep(update={"customer_id": ada["id"], "email": "grace@shop.example"})
    )
    assert answer.rejection.reason == customer_service_pb2.CUSTOMER_REJECTION_REASON_EMAIL_TAKEN
    assert answer.customer.email == "ada@shop.example"
    assert "swordfish" not in str(answer.rejection)


async def test_a_default_address_is_unset(written: Written, written_stubs: Stubs) -> None:
    entry = {"id": "a1", "country": "DE", "city": "Berlin", "streetName": "Torstraße 1"}
    ada = {**payload("documented/customer"), "addresses": [entry], "defaultBillingAddressId": "a1"}
    written.on("GET /legato/customers/", reply(ada))
    written.on("POST /legato/customers/", reply({**ada, "defaultBillingAddressId": None}))
    wish = {"customer_id": ada["id"], "address_id": "a1", "address": COMMERCETOOLS.shop.cart.address}
    answer = await written_stubs.customer.ApplyCustomerCommand(keep(set_address=wish))
    assert (answer.address_id, answer.customer.addresses[0].default_billing) == ("a1", False)
    actions = written.sent("POST /legato/customers/")[0]["actions"]
    assert actions[0]["action"] == "changeAddress"
    assert actions[1] == {"action": "setDefaultBillingAddress"}
    assert "setDefaultShippingAddress" not in json.dumps(actions)


async def test_a_sign_in(written: Written, written_stubs: Stubs) -> None:
    request = customer_service_pb2.AuthenticateCustomerRequest(
        context=CONTEXT, email="ada@shop.example", password="correct horse"
    )
    written.on("POST /legato/login", reply({"customer": payload("documented/customer")}))
    answer = await written_stubs.customer.AuthenticateCustomer(request, timeout=TIMEOUT_S)
    assert answer.customer.email == "ada@shop.example"
    assert written.sent("POST /legato/login") == [{"email": "ada@shop.example", "password": "correct horse"}]
    written.on("POST /legato/login", refusal("InvalidCredentials"))
    error = await failed(written_stubs.customer.AuthenticateCustomer(request, timeout=TIMEOUT_S))
    assert error.code() is Code.UNAUTHENTICATED
    stranger = payload("documented/customer")
    stranger["custom"] = {"type": {"typeId": "type", "id": "t"}, "fields": {marks.TENANT: "other"}}
    written.on("POST /legato/login", reply({"customer": stranger}))
    told = await failed(written_stubs.customer.AuthenticateCustomer(request, timeout=TIMEOUT_S))
    assert (told.code(), told.details()) == (error.code(), error.details())


# The project


async def test_a_project_without_the_type(written: Written, written_stubs: Stubs) -> None:
    written.on("GET /legato/types/key=legato", refusal("ResourceNotFound", 404))
    error = await failed(written_stubs.identity.Probe(identity_service_pb2.ProbeRequest()))
    assert error.code() is Code.FAILED_PRECONDITION
    assert "'legato'" in (error.details() or "")


async def test_credentials_that_are_refused(written: Written, written_stubs: Stubs) -> None:
    written.on("POST /oauth/token", refusal("invalid_client", 401))
    written.on("GET /legato/types/key=legato", refusal("invalid_token", 401))
    error = await failed(written_stubs.identity.Probe(identity_service_pb2.ProbeRequest()))
    assert error.code() is Code.FAILED_PRECONDITION
