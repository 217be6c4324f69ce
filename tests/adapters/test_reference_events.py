"""What the reference adapter reports, exactly, and which webhooks it believes."""

import json
import time
from typing import Any

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import event_service_pb2
from legato.protocol.ids import new_id
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.conformance.wire import TIMEOUT_S
from legato_adapters.reference.events import SIGNATURE, TOLERANCE_S, sign
from tests.adapters.tried import REFERENCE
from tests.support.shopper import Shopper

Code = grpc.StatusCode
Entity = event_service_pb2.ChangedEntity
BODY = json.dumps(
    {"changes": [{"id": "77", "entity": "CHANGED_ENTITY_ORDER", "entityId": "5", "nativeType": "order.placed"}]}
).encode()


@pytest.fixture
def shopper(stubs: Stubs) -> Shopper:
    return Shopper(REFERENCE, stubs, tenant=new_id())


async def changes(shopper: Shopper, cursor: str = "", limit: int = 1_000) -> event_service_pb2.ListChangesResponse:
    request = event_service_pb2.ListChangesRequest(context=shopper.context, cursor=cursor, limit=limit)
    return await shopper.stubs.event.ListChanges(request, timeout=TIMEOUT_S)


async def webhook(shopper: Shopper, body: bytes, **headers: str) -> event_service_pb2.ParseWebhookResponse:
    request = event_service_pb2.ParseWebhookRequest(context=shopper.context, body=body)
    for name, value in headers.items():
        request.headers.add(name=name.replace("_", "-"), value=value)
    return await shopper.stubs.event.ParseWebhook(request, timeout=TIMEOUT_S)


def seen(response: event_service_pb2.ListChangesResponse) -> list[tuple[str, str]]:
    return [(Entity.Name(c.entity).removeprefix("CHANGED_ENTITY_"), c.entity_id) for c in response.changes]


async def test_what_changed_after_a_cursor(shopper: Shopper) -> None:
    user = await shopper.cart()
    start = await changes(shopper)
    assert not start.changes
    assert start.cursor
    order = await shopper.order(user)
    customer = await shopper.customer()
    payment = await shopper.pay(shopper.to_authorize())
    found = await changes(shopper, start.cursor)
    assert not found.more
    assert {
        ("ORDER", order.id),
        ("CART", user.cart_id),
        ("AVAILABILITY", shopper.shop.goods.abundant_sku),
        ("CUSTOMER", customer.id),
        ("PAYMENT", payment.id),
    } == set(seen(found))
    assert all(change.id and change.native_type and change.HasField("occurred_at") for change in found.changes)
    assert len({change.id for change in found.changes}) == len(found.changes)
    assert await changes(shopper, start.cursor) == found, "asking again has the same answer"
    pages: list[event_service_pb2.Change] = []
    cursor, more = start.cursor, True
    while more:
        page = await changes(shopper, cursor, limit=2)
        pages += page.changes
        cursor, more = page.cursor, page.more
    assert pages == list(found.changes)
    assert not (await changes(shopper, found.cursor)).changes


async def test_a_malformed_cursor_or_limit(shopper: Shopper) -> None:
    for cursor, limit in (("", 0), ("", 1_001), ("nonsense", 5), ("-1", 5), ("9" * 18, 5)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await changes(shopper, cursor, limit)
        assert caught.value.code() is Code.INVALID_ARGUMENT


async def test_a_signed_webhook(shopper: Shopper, reference_options: dict[str, Any]) -> None:
    signature = sign(reference_options["webhook_secret"], BODY, int(time.time()))
    answer = await webhook(shopper, BODY, host="hub.example", legato_signature=signature)
    (change,) = answer.changes
    assert (change.id, change.entity, change.entity_id) == ("77", Entity.CHANGED_ENTITY_ORDER, "5")
    empty = b'{"changes": [], "added_later": 1}'
    signature = sign(reference_options["webhook_secret"], empty, int(time.time()))
    assert not (await webhook(shopper, empty, legato_signature=signature)).changes


async def test_a_webhook_that_is_not_believed(shopper: Shopper, reference_options: dict[str, Any]) -> None:
    assert SIGNATURE == "legato-signature"
    secret, now = reference_options["webhook_secret"], int(time.time())
    for signature in (
        "",
        "nonsense",
        sign("another secret", BODY, now),
        sign(secret, BODY + b" ", now),
        sign(secret, BODY, now).replace(f"t={now}", f"t={now + 1}"),
        sign(secret, BODY, now - TOLERANCE_S - 60),
        sign(secret, BODY, now + TOLERANCE_S + 60),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await webhook(shopper, BODY, legato_signature=signature)
        assert caught.value.code() is Code.UNAUTHENTICATED
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await webhook(shopper, BODY)
    assert caught.value.code() is Code.UNAUTHENTICATED


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe", b'{"changes": 5}', b"[]", BODY[:-5], b"[" * 100_000])
async def test_a_signed_webhook_that_is_not_understood(
    shopper: Shopper, reference_options: dict[str, Any], body: bytes
) -> None:
    signature = sign(reference_options["webhook_secret"], body, int(time.time()))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await webhook(shopper, body, legato_signature=signature)
    assert caught.value.code() is Code.INVALID_ARGUMENT
