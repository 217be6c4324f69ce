"""How Vendure takes what a shopper enters: codes, e-mail, addresses."""

from typing import Any

import pytest

from legato.adapter.v1 import cart_service_pb2
from legato.commerce.v1 import address_pb2, discount_pb2
from legato_adapters.conformance.cart_user import CartUser
from legato_adapters.vendure.admin import VendureAdmin
from tests.support.http_proxy import HttpProxy

INVALID_FIELD = cart_service_pb2.REJECTION_REASON_INVALID_FIELD
SHIPPING = address_pb2.ADDRESS_PURPOSE_SHIPPING
ADDRESS = {"first_name": "Ada", "last_name": "Berg", "street": "Lindenweg 1", "city": "Graz", "country": "AT"}

REGISTER = """
mutation($input: CreateCustomerInput!) { createCustomer(input: $input, password: "local-test-only") { __typename } }
"""


async def test_a_code_in_other_letters_is_the_same_code(user: CartUser, proxy: HttpProxy) -> None:
    await user.add("PAPER-02", 2)
    await user.apply(add_discount_code={"code": "roast10"})
    await user.apply(add_discount_code={"code": "Roast10"})
    (code,) = user.cart.discount_codes
    assert (code.code, code.state) == ("ROAST10", discount_pb2.DISCOUNT_CODE_STATE_APPLIED)
    assert proxy.seen.count("applyCouponCode") == 1
    await user.apply(remove_discount_code={"code": "roast10"})
    assert not user.cart.discount_codes


async def test_two_codes(user: CartUser) -> None:
    await user.add("LIN-250-BEAN", 3)
    for code in ("ROAST10", "ESPRESSO20"):
        await user.apply(add_discount_code={"code": code})
    states = {code.code: code.state for code in user.cart.discount_codes}
    assert states == dict.fromkeys(("ROAST10", "ESPRESSO20"), discount_pb2.DISCOUNT_CODE_STATE_APPLIED)
    (line,) = user.cart.lines
    assert {adjustment.code for adjustment in line.adjustments} == {"ROAST10", "ESPRESSO20"}
    assert line.total.units == 3 * line.unit_price.units + sum(a.amount.units for a in line.adjustments)


async def test_an_email_is_folded(user: CartUser) -> None:
    await user.apply(set_email={"email": "Grace@Example.COM"})
    assert user.cart.email == "grace@example.com"


async def test_the_email_of_a_registered_customer(user: CartUser, admin: VendureAdmin) -> None:
    customer = {"firstName": "Reg", "lastName": "Istered", "emailAddress": f"{user.cart_id}@example.com"}
    await admin.query(REGISTER, input=customer)
    rejection = await user.refused(set_email={"email": customer["emailAddress"]})
    assert (rejection.reason, rejection.native_code) == (INVALID_FIELD, "EMAIL_ADDRESS_CONFLICT_ERROR")


@pytest.mark.parametrize("email", ["", "ada"])
async def test_an_email_that_is_none(user: CartUser, email: str) -> None:
    """Vendure itself would take it."""
    assert (await user.refused(set_email={"email": email})).reason == INVALID_FIELD


@pytest.mark.parametrize(
    "change", [{"country": "FR"}, {"country": "de"}, {"country": ""}, {"street": ""}, {"city": ""}]
)
async def test_an_address_that_is_refused(user: CartUser, change: dict[str, Any]) -> None:
    await user.apply(set_address={"purpose": SHIPPING, "address": ADDRESS})
    rejection = await user.refused(set_address={"purpose": SHIPPING, "address": {**ADDRESS, **change}})
    assert rejection.reason == INVALID_FIELD


async def test_an_address_replaces_the_whole_of_the_former_one(user: CartUser) -> None:
    whole = {**ADDRESS, "company": "Berg OG", "street_extra": "2nd floor", "region": "Styria", "phone": "+43 1"}
    await user.apply(set_address={"purpose": SHIPPING, "address": whole})
    assert user.cart.shipping_address == address_pb2.Address(**whole)
    await user.apply(set_address={"purpose": SHIPPING, "address": ADDRESS})
    assert user.cart.shipping_address == address_pb2.Address(**ADDRESS)
    assert not user.cart.HasField("billing_address")


async def test_the_name_of_the_recipient_becomes_the_customers(user: CartUser, admin: VendureAdmin) -> None:
    await user.apply(set_address={"purpose": SHIPPING, "address": ADDRESS})
    await user.apply(set_email={"email": f"{user.cart_id}@example.com"})
    query = "query($id: ID!) { order(id: $id) { customer { firstName lastName } } }"
    found = await admin.query(query, id=user.cart.refs[0].id)
    assert found["order"]["customer"] == {"firstName": "Ada", "lastName": "Berg"}
