"""What the reference adapter promises of customers beyond the contract: which fields it refuses."""

from typing import Any

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import customer_service_pb2
from legato.commerce.v1 import customer_pb2
from legato.protocol.ids import new_id
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.conformance.wire import TIMEOUT_S
from tests.adapters.tried import REFERENCE
from tests.support.shopper import Shopper

Code = grpc.StatusCode

PASSWORD = "correct horse"


@pytest.fixture
def shopper(stubs: Stubs) -> Shopper:
    return Shopper(REFERENCE, stubs)


async def read(shopper: Shopper, **key: str) -> customer_pb2.Customer:
    request = customer_service_pb2.GetCustomerRequest(context=shopper.context, **key)
    return (await shopper.stubs.customer.GetCustomer(request, timeout=TIMEOUT_S)).customer


async def signs_in(shopper: Shopper, email: str, password: str) -> customer_pb2.Customer:
    request = customer_service_pb2.AuthenticateCustomerRequest(context=shopper.context, email=email, password=password)
    return (await shopper.stubs.customer.AuthenticateCustomer(request, timeout=TIMEOUT_S)).customer


async def refused(shopper: Shopper, **command: Any) -> str:
    rejection = await shopper.not_kept(shopper.customer_call(**command))
    reason = customer_service_pb2.CustomerRejectionReason.Name(rejection.reason)
    return reason.removeprefix("CUSTOMER_REJECTION_REASON_")


async def test_an_address_of_another_is_taken(shopper: Shopper) -> None:
    first, second = await shopper.customer(), await shopper.customer()
    assert await refused(shopper, create={"email": first.email.upper()}) == "EMAIL_TAKEN"
    assert await refused(shopper, update={"customer_id": second.id, "email": first.email}) == "EMAIL_TAKEN"
    assert (await read(shopper, customer_id=second.id)).email == second.email
    same = {"customer_id": first.id, "email": first.email.upper()}
    assert (await shopper.keep(shopper.customer_call(update=same))).customer.email == first.email.upper()
    answer = await shopper.stubs.customer.ApplyCustomerCommand(
        shopper.customer_call(create={"email": first.email}), timeout=TIMEOUT_S
    )
    assert not answer.HasField("customer"), "somebody else's account is not shown"
    elsewhere = Shopper(REFERENCE, shopper.stubs, tenant="other")
    assert (await elsewhere.customer(email=first.email)).id != first.id


@pytest.mark.parametrize(
    "fields",
    [
        {"email": ""},
        {"email": "nobody"},
        {"email": f"{'a' * 64}@{'b' * 200}.example"},
        {"first_name": "x" * 201},
        {"last_name": "x" * 201},
        {"phone": "1" * 201},
    ],
)
async def test_a_field_that_is_not_acceptable(shopper: Shopper, fields: dict[str, str]) -> None:
    good = {"email": f"{new_id()}@shop.example"}
    assert await refused(shopper, create={**good, **fields}) == "INVALID_FIELD"
    customer = await shopper.customer()
    assert await refused(shopper, update={"customer_id": customer.id, **fields}) == "INVALID_FIELD"
    rejection = await shopper.not_kept(shopper.customer_call(update={"customer_id": customer.id, **fields}))
    assert rejection.message.startswith(next(iter(fields)))


@pytest.mark.parametrize("fields", [{"street": ""}, {"city": ""}, {"country": "Germany"}, {"region": "x" * 201}])
async def test_an_address_that_is_not_acceptable(shopper: Shopper, fields: dict[str, str]) -> None:
    customer = await shopper.customer()
    wish = {"customer_id": customer.id, "address": {**shopper.shop.cart.address, **fields}}
    assert await refused(shopper, set_address=wish) == "INVALID_FIELD"
    assert not (await read(shopper, customer_id=customer.id)).addresses
