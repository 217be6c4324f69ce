"""The adapter contract: customers. What all commands have in common is in test_contract_effects.py."""

from typing import Any

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import customer_service_pb2
from legato.commerce.v1 import customer_pb2
from legato.protocol.ids import new_id
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.conformance.wire import TIMEOUT_S
from tests.adapters.shops import Shop
from tests.support.shopper import Shopper

pytestmark = [pytest.mark.usefixtures("placement"), pytest.mark.claims("CUSTOMER")]

Code = grpc.StatusCode

PASSWORD = "correct horse"


@pytest.fixture
def shopper(shop: Shop, stubs: Stubs) -> Shopper:
    return Shopper(shop, stubs)


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


async def test_a_customer_by_id_and_by_email(shopper: Shopper) -> None:
    email = f"{new_id()}@shop.example"
    customer = await shopper.customer(email=email, first_name="Ada", last_name="Berg", phone="+49 30 1234")
    assert (customer.email, customer.first_name, customer.last_name) == (email, "Ada", "Berg")
    assert customer.phone == "+49 30 1234"
    for key in ({"customer_id": customer.id}, {"email": email}, {"email": email.upper()}):
        found = await read(shopper, **key)
        assert (found.id, found.email) == (customer.id, email)


async def test_no_such_customer(shop: Shop, shopper: Shopper) -> None:
    customer = await shopper.customer()
    stranger = Shopper(shop, shopper.stubs, tenant="other")
    for who, key in (
        (shopper, {"customer_id": "nonsense"}),
        (shopper, {"customer_id": "999999999"}),
        (shopper, {"email": "nobody@shop.example"}),
        (stranger, {"customer_id": customer.id}),
        (stranger, {"email": customer.email}),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(who, **key)
        assert caught.value.code() is Code.NOT_FOUND
        assert customer.email not in str(caught.value.details())
    for who, customer_id in ((shopper, "nonsense"), (stranger, customer.id)):
        for command in ("update", "set_address", "remove_address"):
            request = who.customer_call(**{command: {"customer_id": customer_id}})
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await shopper.stubs.customer.ApplyCustomerCommand(request, timeout=TIMEOUT_S)
            assert caught.value.code() is Code.NOT_FOUND


async def test_a_read_needs_a_key(shopper: Shopper) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await read(shopper)
    assert caught.value.code() is Code.INVALID_ARGUMENT


async def test_what_is_absent_in_an_update_stays(shopper: Shopper) -> None:
    customer = await shopper.customer(first_name="Ada", last_name="Berg", phone="1234")
    update = {"customer_id": customer.id, "last_name": "Lovelace", "phone": ""}
    changed = (await shopper.keep(shopper.customer_call(update=update))).customer
    assert (changed.first_name, changed.last_name, changed.phone) == ("Ada", "Lovelace", "")
    moved = f"{new_id()}@shop.example"
    await shopper.keep(shopper.customer_call(update={"customer_id": customer.id, "email": moved}))
    assert (await read(shopper, email=moved)).id == customer.id
    with pytest.raises(grpc.aio.AioRpcError):
        await read(shopper, email=customer.email)


async def test_an_address_of_another_is_taken(shop: Shop, shopper: Shopper) -> None:
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
    elsewhere = Shopper(shop, shopper.stubs, tenant="other")
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


async def test_the_address_book(shopper: Shopper) -> None:
    customer = await shopper.customer()
    ids = []
    for city in ("Berlin", "Hamburg"):
        wish = {
            "customer_id": customer.id,
            "address": {**shopper.shop.address, "city": city},
            "default_shipping": True,
            "default_billing": city == "Berlin",
        }
        ids.append((await shopper.keep(shopper.customer_call(set_address=wish))).address_id)
    book = (await read(shopper, customer_id=customer.id)).addresses
    assert [(entry.id, entry.address.city) for entry in book] == list(zip(ids, ("Berlin", "Hamburg"), strict=True))
    assert [(entry.default_shipping, entry.default_billing) for entry in book] == [(False, True), (True, False)]
    changed = {"customer_id": customer.id, "address_id": ids[0], "address": {**shopper.shop.address, "city": "Kiel"}}
    answer = await shopper.keep(shopper.customer_call(set_address=changed))
    assert answer.address_id == ids[0]
    assert [entry.address.city for entry in answer.customer.addresses] == ["Kiel", "Hamburg"]
    assert not answer.customer.addresses[0].default_billing
    gone = {"customer_id": customer.id, "address_id": ids[0]}
    answer = await shopper.keep(shopper.customer_call(remove_address=gone))
    assert [entry.id for entry in answer.customer.addresses] == ids[1:]
    assert await refused(shopper, remove_address=gone) == "ADDRESS_NOT_FOUND"
    assert await refused(shopper, set_address=changed) == "ADDRESS_NOT_FOUND"


@pytest.mark.parametrize("fields", [{"street": ""}, {"city": ""}, {"country": "Germany"}, {"region": "x" * 201}])
async def test_an_address_that_is_not_acceptable(shopper: Shopper, fields: dict[str, str]) -> None:
    customer = await shopper.customer()
    wish = {"customer_id": customer.id, "address": {**shopper.shop.address, **fields}}
    assert await refused(shopper, set_address=wish) == "INVALID_FIELD"
    assert not (await read(shopper, customer_id=customer.id)).addresses


@pytest.mark.claims("CREDENTIALS")
async def test_a_customer_signs_in(shop: Shop, shopper: Shopper) -> None:
    customer = await shopper.customer(password=PASSWORD)
    assert (await signs_in(shopper, customer.email.upper(), PASSWORD)).id == customer.id
    without = await shopper.customer()
    stranger = Shopper(shop, shopper.stubs, tenant="other")
    told = set()
    for who, email, password in (
        (shopper, customer.email, "wrong horse"),
        (shopper, "nobody@shop.example", PASSWORD),
        (shopper, without.email, PASSWORD),
        (stranger, customer.email, PASSWORD),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await signs_in(who, email, password)
        assert caught.value.code() is Code.UNAUTHENTICATED
        told.add(caught.value.details())
    assert len(told) == 1, "nobody learns which of them was wrong"


@pytest.mark.claims("CREDENTIALS")
async def test_a_sign_in_needs_both(shopper: Shopper) -> None:
    for email, password in (("", PASSWORD), ("ada@shop.example", "")):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await signs_in(shopper, email, password)
        assert caught.value.code() is Code.INVALID_ARGUMENT


@pytest.mark.claims("CREDENTIALS")
async def test_a_weak_password(shopper: Shopper) -> None:
    wish = {"email": f"{new_id()}@shop.example", "password": "1234567"}
    assert await refused(shopper, create=wish) == "PASSWORD_REFUSED"
