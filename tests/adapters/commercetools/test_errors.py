"""A commercetools that answers anything but what was asked for, loses answers, or is not there. No cart suffers."""

import asyncio
import json
import logging
from typing import Any

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import cart_service_pb2, catalog_service_pb2, inventory_service_pb2
from legato_adapters.commercetools.dev_server import CommercetoolsServer, read_cart
from legato_adapters.conformance.cart_user import CartUser, comparable
from legato_adapters.conformance.stubs import Stubs
from tests.adapters.commercetools.payloads import refusal
from tests.adapters.tried import COMMERCETOOLS
from tests.support.bad_answers import SECRET, SENSELESS
from tests.support.http_backend import Forward, HttpBackend, Rule, answer, answer_after, never
from tests.support.http_proxy import Reply, lose_answer, lose_request

Code = grpc.StatusCode
NONE = ("legato-effect", "none")
SKU = COMMERCETOOLS.shop.goods.sku
UPDATE = "POST /legato/carts/"
APPLIED = cart_service_pb2.RESOLUTION_APPLIED

READS = {
    "an unknown enum": Reply(b'{"limit": 1, "results": [{"cartState": "Dreaming"}]}'),
    "another form": Reply(b'{"results": {"swordfish": 1}}'),
    "no object": Reply(b'["swordfish"]'),
    **SENSELESS,
}


def add(user: CartUser, steps: int = 2) -> cart_service_pb2.ApplyCommandRequest:
    return user.call(add_line={"sku": SKU, "quantity": {"steps": steps}})


async def failed(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.details()
    assert SECRET not in (caught.value.details() or "")
    return caught.value


def without_effect(error: grpc.aio.AioRpcError) -> bool:
    return NONE in [tuple(pair) for pair in error.trailing_metadata()]


async def in_backend(server: CommercetoolsServer, user: CartUser) -> dict[str, int]:
    """What the emulator has, past adapter and proxy."""
    return await read_cart(server, next(ref.id for ref in user.cart.refs if ref.type == "Cart"))


@pytest.mark.parametrize("name", SENSELESS)
async def test_a_senseless_answer_before_the_effect(
    backend: HttpBackend,
    user: CartUser,
    commercetools_server: CommercetoolsServer,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    caplog.set_level(logging.DEBUG, logger="legato_adapters")
    backend.on(UPDATE, answer(SENSELESS[name]))
    request = add(user)
    error = await failed(user.send(request))
    assert error.code() is Code.UNKNOWN
    assert not without_effect(error)
    assert SECRET not in caplog.text
    assert await in_backend(commercetools_server, user) == {}
    # As long as it may still be at work nobody says that it is not.
    assert (await failed(user.resolve(request))).code() is Code.UNAVAILABLE
    await user.send(request)
    assert await in_backend(commercetools_server, user) == {SKU: 2}


@pytest.mark.parametrize("rule", [lose_answer, *(answer_after(reply) for reply in SENSELESS.values())])
async def test_an_answer_that_is_lost_behind_the_effect(
    backend: HttpBackend, user: CartUser, commercetools_server: CommercetoolsServer, rule: Rule
) -> None:
    backend.on(UPDATE, rule)
    request = add(user)
    assert (await failed(user.send(request))).code() is Code.UNKNOWN
    resolved = await user.resolve(request)
    assert resolved.resolution == APPLIED
    assert resolved.response.line_id == resolved.response.cart.lines[0].id
    again = await user.send(request)
    assert comparable(again.cart) == comparable(resolved.response.cart)
    assert await in_backend(commercetools_server, user) == {SKU: 2}


async def test_a_request_that_is_lost(
    backend: HttpBackend, user: CartUser, commercetools_server: CommercetoolsServer
) -> None:
    backend.on(UPDATE, lose_request)
    request = add(user)
    assert (await failed(user.send(request))).code() is Code.UNKNOWN
    await user.send(request)
    assert await in_backend(commercetools_server, user) == {SKU: 2}


async def test_an_answer_that_never_comes(
    backend: HttpBackend, user: CartUser, commercetools_server: CommercetoolsServer
) -> None:
    """The caller's deadline ends its waiting; what was sent is followed to its end."""
    held, go = asyncio.Event(), asyncio.Event()

    async def slow(forward: Forward) -> Reply:
        held.set()
        await go.wait()
        return await forward()

    backend.on(UPDATE, slow)
    request = add(user)
    waiting = asyncio.create_task(failed(user.send(request, timeout=2)))
    await held.wait()
    assert (await waiting).code() is Code.DEADLINE_EXCEEDED
    resolving = asyncio.create_task(user.resolve(request))
    go.set()
    assert (await resolving).resolution == APPLIED, "who asks meanwhile waits for it"
    assert await in_backend(commercetools_server, user) == {SKU: 2}


async def test_a_read_that_never_ends(backend: HttpBackend, user: CartUser) -> None:
    backend.on("GET /legato/carts/", never)
    request = cart_service_pb2.GetCartRequest(
        context=user.context, cart_id=user.cart_id, adapter_state=user.adapter_state
    )
    assert (await failed(user.stub.GetCart(request, timeout=0.5))).code() is Code.DEADLINE_EXCEEDED
    await user.read()


@pytest.mark.parametrize("name", READS)
async def test_reads(backend: HttpBackend, stubs: Stubs, user: CartUser, name: str) -> None:
    context = user.context
    rule = answer(READS[name])
    for pattern, call in (
        (
            "GET /legato/carts/",
            lambda: stubs.cart.GetCart(
                cart_service_pb2.GetCartRequest(context=context, cart_id=user.cart_id, adapter_state=user.adapter_state)
            ),
        ),
        (
            "POST /legato/products/search",
            lambda: stubs.catalog.GetPrices(catalog_service_pb2.GetPricesRequest(context=context, skus=[SKU])),
        ),
        (
            "GET /legato/inventory",
            lambda: stubs.inventory.GetAvailability(
                inventory_service_pb2.GetAvailabilityRequest(context=context, skus=[SKU])
            ),
        ),
    ):
        backend.on(pattern, rule, rule)
        error = await failed(call())
        assert error.code() is Code.UNAVAILABLE
        backend.forget()
        await call()


async def test_a_command_whose_reading_fails_had_no_effect(backend: HttpBackend, user: CartUser) -> None:
    for name in ("garbage", "HTML", "redirect", "JSON 500"):
        backend.on("GET /legato/carts/", answer(SENSELESS[name]))
        error = await failed(user.send(add(user)))
        assert error.code() is Code.UNAVAILABLE
        assert without_effect(error)
    assert await user.steps() == {}


async def test_a_price_in_another_currency(backend: HttpBackend, user: CartUser) -> None:
    """The change is made; what the cart costs then, nobody may be told wrongly."""

    async def dollars(forward: Forward) -> Reply:
        cart = json.loads((await forward()).body)
        cart["lineItems"][0]["totalPrice"]["currencyCode"] = "USD"
        return Reply(json.dumps(cart).encode())

    backend.on(UPDATE, dollars)
    request = add(user)
    assert (await failed(user.send(request))).code() is Code.UNKNOWN
    assert (await user.resolve(request)).resolution == APPLIED
    assert {line.total.currency_code for line in (await user.read())[0].lines} == {"EUR"}


async def test_an_unknown_state_of_a_cart(backend: HttpBackend, user: CartUser) -> None:
    async def dreaming(forward: Forward) -> Reply:
        cart = json.loads((await forward()).body)
        return Reply(json.dumps({**cart, "cartState": "Dreaming"}).encode())

    backend.on("GET /legato/carts/", dreaming)
    cart, _ = await user.read()
    assert cart.native_status == "Dreaming"
    backend.on("GET /legato/carts/", dreaming)
    rejection = (await user.send(add(user))).rejection
    assert rejection.reason == cart_service_pb2.REJECTION_REASON_CART_NOT_ACTIVE
    assert await user.steps() == {}


async def test_a_token_that_ends_in_the_middle(
    backend: HttpBackend, user: CartUser, commercetools_server: CommercetoolsServer
) -> None:
    backend.on(UPDATE, answer(Reply(b"swordfish", 401, {})))
    await user.send(add(user))
    assert await in_backend(commercetools_server, user) == {SKU: 2}
    assert backend.count("POST /oauth/token") == 2
    backend.on(UPDATE, answer(Reply(b"", 401, {})), answer(Reply(b"", 401, {})))
    error = await failed(user.send(add(user)))
    assert error.code() is Code.UNAVAILABLE
    assert without_effect(error)


async def test_too_many_requests(
    backend: HttpBackend, user: CartUser, commercetools_server: CommercetoolsServer
) -> None:
    for headers in ({}, {"retry-after": "30"}):
        backend.on(UPDATE, answer(Reply(b"swordfish", 429, headers)))
        error = await failed(user.send(add(user)))
        assert error.code() is Code.RESOURCE_EXHAUSTED
        status = dict(error.trailing_metadata()).get("grpc-status-details-bin")
        assert (status is not None) == bool(headers)
    assert await in_backend(commercetools_server, user) == {}
    backend.on(UPDATE, answer(Reply(b"", 429, {"retry-after": "0"})))
    await user.send(add(user))
    assert await in_backend(commercetools_server, user) == {SKU: 2}


async def test_somebody_else_is_quicker(
    backend: HttpBackend, user: CartUser, commercetools_server: CommercetoolsServer
) -> None:
    """Two more stay two more: the update is made anew for the cart as it is then."""

    async def overtaken(forward: Forward) -> Reply:
        body = json.loads(backend.requests[-1]["body"])
        theirs = {"version": body["version"], "actions": [{"action": "addLineItem", "sku": SKU, "quantity": 4}]}
        headers = {"authorization": backend.requests[-1]["headers"]["Authorization"]}
        path = backend.seen[-1].removeprefix("POST ")
        async with backend.http.post(commercetools_server.url + path, json=theirs, headers=headers) as response:
            assert response.status == 200
        return await forward()

    backend.on(UPDATE, overtaken)
    response = await user.send(add(user))
    assert response.cart.lines[0].quantity.steps == 6
    assert backend.count(UPDATE) == 2


async def test_a_refusal_that_quotes_the_request(backend: HttpBackend, user: CartUser) -> None:
    backend.on(UPDATE, answer(refusal("InvalidField", field="email", invalidValue=SECRET)))
    rejection = (await user.send(user.call(set_email={"email": "ada@shop.example"}))).rejection
    assert rejection.reason == cart_service_pb2.REJECTION_REASON_INVALID_FIELD
    assert SECRET not in str(rejection)
    assert "ada@" not in rejection.message


async def test_a_backend_that_is_not_there(backend: HttpBackend, stubs: Stubs, user: CartUser) -> None:
    await backend.stop()
    error = await failed(user.send(add(user)))
    assert error.code() is Code.UNAVAILABLE
    assert without_effect(error)
