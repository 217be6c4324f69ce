"""A Vendure that is not there, or answers with anything but what was asked for."""

import asyncio
import dataclasses
import json
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import cart_service_pb2, catalog_service_pb2, identity_service_pb2, inventory_service_pb2
from legato.hosting import AdapterLoadError, load_adapter
from legato_adapters.conformance.cart_user import CartUser
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.conformance.wire import TIMEOUT_S
from legato_adapters.vendure import conversation
from legato_adapters.vendure.api import endpoint
from legato_adapters.vendure.notebook import Notebook
from tests.adapters.conftest import in_process
from tests.adapters.tried import ALL_INTENTS, VENDURE
from tests.support.http_proxy import Forward, HttpProxy, Reply, lose_request

Code = grpc.StatusCode
EFFECT_NONE = ("legato-effect", "none")
HTML = {"content-type": "text/html"}
SECRET = "swordfish"


def refusing(*codes: str, status: int = 200) -> Reply:
    errors = [{"message": SECRET, "extensions": {"code": code}} for code in codes]
    return Reply(json.dumps({"errors": errors, "data": None}).encode(), status)


GARBAGE = {
    "HTML": Reply(b"<html>swordfish</html>", headers=HTML),
    "HTML 502": Reply(b"<html>swordfish</html>", 502, HTML),
    "JSON 500": Reply(b'{"statusCode": 500, "message": "swordfish"}', 500),
    "JSON 404": Reply(b'{"statusCode": 404, "message": "swordfish"}', 404),
    "GraphQL 500": Reply(b'{"data": {"activeOrder": null}}', 500),
    "another type": Reply(b'{"data": {"activeOrder": null}}', headers={"content-type": "text/plain"}),
    "truncated": Reply(b'{"data": {"activeOrder": nu'),
    "cut off": Reply(b'{"data": {"activeOrder": ', length=100),
    "redirect": Reply(b"", 302, {"location": "http://127.0.0.1:1/"}),
    "empty": Reply(b""),
    "a list": Reply(b"[]"),
    "nothing": Reply(b"null"),
    "no data": Reply(b'{"data": null}'),
    "too deep": Reply(b"[" * 200_000),
    "too large": Reply(b'{"data": {"activeOrder": "' + b"x" * (8 * 1024 * 1024) + b'"}}'),
    "not UTF-8": Reply(b'{"data": "\xff"}'),
    "an error inside": refusing("INTERNAL_SERVER_ERROR"),
    "two errors": refusing("USER_INPUT_ERROR", "INTERNAL_SERVER_ERROR"),
    "strange errors": Reply(b'{"errors": [{"message": "swordfish"}], "data": null}'),
    "stranger errors": Reply(b'{"errors": "swordfish"}'),
}
SHAPELESS = Reply(b'{"data": {"something": "swordfish"}}')


def answering(reply: Reply) -> Callable[[Forward], Awaitable[Reply]]:
    async def rule(forward: Forward) -> Reply:
        return reply

    return rule


async def through(forward: Forward) -> Reply:
    return await forward()


async def failed(call: Awaitable[Any], user: CartUser | None = None) -> tuple[Code, bool]:
    """The status of a call, and whether it says that it had no effect."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    details = caught.value.details() or ""
    assert details
    assert SECRET not in details
    if user is not None:
        assert Notebook.from_bytes(user.adapter_state).token not in details
    return caught.value.code(), EFFECT_NONE in tuple(caught.value.trailing_metadata() or ())


def product_request() -> catalog_service_pb2.GetProductRequest:
    key = catalog_service_pb2.ProductKey(slug=VENDURE.shop.catalog.slug)
    return catalog_service_pb2.GetProductRequest(context=VENDURE.context(), product=key)


@pytest.mark.parametrize("reply", [*GARBAGE.values(), SHAPELESS], ids=[*GARBAGE, "shapeless"])
async def test_reads_are_unavailable(stubs: Stubs, user: CartUser, proxy: HttpProxy, reply: Reply) -> None:
    proxy.on("product", answering(reply))
    assert await failed(stubs.catalog.GetProduct(product_request(), timeout=TIMEOUT_S)) == (Code.UNAVAILABLE, False)
    proxy.on("activeOrder", answering(reply))
    assert await failed(user.read(), user) == (Code.UNAVAILABLE, False)
    proxy.on("activeOrder", answering(reply))
    call = user.call(add_line={"sku": "PAPER-01", "quantity": {"steps": 1}})
    assert await failed(user.resolve(call), user) == (Code.UNAVAILABLE, False)
    # It was the answer, not the adapter: the next one is understood.
    assert (await user.read())[0].id == user.cart_id
    product = (await stubs.catalog.GetProduct(product_request(), timeout=TIMEOUT_S)).product
    assert product.slug == VENDURE.shop.catalog.slug


@pytest.mark.parametrize("reply", GARBAGE.values(), ids=GARBAGE)
async def test_a_command_had_no_effect_before_its_change_and_an_unknown_one_after(
    user: CartUser, proxy: HttpProxy, reply: Reply
) -> None:
    intent = {"add_line": {"sku": "PAPER-01", "quantity": {"steps": 4}}}
    proxy.on("activeOrder", answering(reply))
    assert await failed(user.send(user.call(**intent)), user) == (Code.UNAVAILABLE, True)
    proxy.on("addItemToOrder", answering(reply))
    assert await failed(user.send(user.call(**intent)), user) == (Code.UNKNOWN, False)
    proxy.on("activeOrder", through, answering(reply))
    assert await failed(user.send(user.call(**intent)), user) == (Code.UNKNOWN, False)
    assert await user.steps() == {"PAPER-01": 4}


async def test_a_change_with_a_shapeless_answer(user: CartUser, proxy: HttpProxy) -> None:
    proxy.on("addItemToOrder", answering(SHAPELESS))
    call = user.call(add_line={"sku": "PAPER-01", "quantity": {"steps": 4}})
    assert await failed(user.send(call), user) == (Code.UNKNOWN, False)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(b"swordfish", 429, HTML), Code.RESOURCE_EXHAUSTED),
        (refusing("GRAPHQL_VALIDATION_FAILED", status=400), Code.INVALID_ARGUMENT),
        (refusing("BAD_USER_INPUT"), Code.INVALID_ARGUMENT),
        (refusing("FORBIDDEN"), Code.INVALID_ARGUMENT),
    ],
)
async def test_refusals_that_certainly_had_no_effect(
    user: CartUser, proxy: HttpProxy, reply: Reply, code: Code
) -> None:
    proxy.on("addItemToOrder", answering(reply))
    call = user.call(add_line={"sku": "PAPER-01", "quantity": {"steps": 4}})
    assert await failed(user.send(call), user) == (code, False)
    assert (await user.resolve(call)).resolution == cart_service_pb2.RESOLUTION_NOT_APPLIED


async def test_a_creation_that_is_not_answered(stubs: Stubs, proxy: HttpProxy) -> None:
    user = CartUser(stubs.cart, VENDURE.context())
    proxy.on("removeAllOrderLines", answering(GARBAGE["HTML 502"]))
    assert await failed(user.send(user.call(create_cart={}))) == (Code.UNKNOWN, False)
    proxy.on("removeAllOrderLines", answering(Reply(b"", 429)))
    assert await failed(user.send(user.call(create_cart={}))) == (Code.RESOURCE_EXHAUSTED, False)


async def test_a_vendure_that_gives_no_token_makes_no_carts(stubs: Stubs, proxy: HttpProxy) -> None:
    """By default Vendure holds sessions in cookies alone."""

    async def without_token(forward: Forward) -> Reply:
        return Reply((await forward()).body)

    proxy.on("removeAllOrderLines", without_token)
    user = CartUser(stubs.cart, VENDURE.context())
    assert await failed(user.send(user.call(create_cart={}))) == (Code.UNIMPLEMENTED, False)


async def test_cookies_are_not_kept(user: CartUser, stubs: Stubs, proxy: HttpProxy) -> None:
    """They would give all carts one session."""

    async def with_cookie(forward: Forward) -> Reply:
        reply = await forward()
        return dataclasses.replace(reply, headers={**reply.headers, "set-cookie": "session=swordfish; path=/"})

    proxy.on("activeOrder", with_cookie)
    await user.read()
    await user.read()
    assert not proxy.cookies


async def test_no_answer_in_time(
    user: CartUser, stubs: Stubs, proxy: HttpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = asyncio.Event()

    async def silent(forward: Forward) -> None:
        await never.wait()

    monkeypatch.setattr(conversation, "READ_TIMEOUT_S", 0.2)
    proxy.on("activeOrder", silent)
    assert await failed(user.read(), user) == (Code.UNAVAILABLE, False)
    proxy.on("activeOrder", silent)
    call = user.call(add_line={"sku": "PAPER-01", "quantity": {"steps": 4}})
    assert await failed(user.send(call), user) == (Code.UNAVAILABLE, True)
    monkeypatch.setattr(conversation, "READ_TIMEOUT_S", 10.0)
    monkeypatch.setattr(conversation, "MUTATION_TIMEOUT_S", 0.2)
    proxy.on("addItemToOrder", silent)
    assert await failed(user.send(call), user) == (Code.DEADLINE_EXCEEDED, False)
    never.set()


async def test_something_that_is_no_http_server(user: CartUser) -> None:
    async def gibberish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 swordfish ESMTP\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(gibberish, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with in_process(VENDURE, {"url": url}) as channel:
            other = CartUser(Stubs(channel).cart, VENDURE.context())
            other.cart_id, other.adapter_state = user.cart_id, user.adapter_state
            assert await failed(other.read(), user) == (Code.UNAVAILABLE, False)
            call = other.call(add_line={"sku": "PAPER-01", "quantity": {"steps": 1}})
            assert await failed(other.send(call), user) == (Code.UNAVAILABLE, True)


async def test_a_product_without_variants_is_none(stubs: Stubs, proxy: HttpProxy) -> None:
    async def without(forward: Forward) -> Reply:
        found = json.loads((await forward()).body)
        data = found["data"]
        product = data["product"] if "product" in data else data["products"]["items"][0]
        product["variants"] = []
        return Reply(json.dumps(found).encode())

    proxy.on("product", without)
    assert await failed(stubs.catalog.GetProduct(product_request(), timeout=TIMEOUT_S)) == (Code.NOT_FOUND, False)
    proxy.on("products", without)
    request = catalog_service_pb2.SearchProductsRequest(context=VENDURE.context(), page_size=5)
    assert len((await stubs.catalog.SearchProducts(request, timeout=TIMEOUT_S)).hits) == 4


# Nobody there


@pytest.fixture
def nowhere() -> str:
    """An address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize("host", ["nowhere", "http://vendure.invalid"])
async def test_nobody_there(host: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("nowhere") if host == "nowhere" else host
    async with in_process(VENDURE, {"url": url}) as channel:
        stubs = Stubs(channel)
        user = CartUser(stubs.cart, VENDURE.context())
        assert await failed(user.send(user.call(create_cart={}))) == (Code.UNAVAILABLE, True)
        user.adapter_state = Notebook("acme", user.cart_id, "t" * 64, "1", "CODE").to_bytes()
        call = user.call(add_line={"sku": "PAPER-01", "quantity": {"steps": 1}})
        assert await failed(user.send(call), user) == (Code.UNAVAILABLE, True)
        stock = inventory_service_pb2.GetAvailabilityRequest(context=VENDURE.context(), skus=["PAPER-01"])
        search = catalog_service_pb2.SearchProductsRequest(context=VENDURE.context(), page_size=5)
        for read in (
            user.read(),
            user.resolve(call),
            stubs.identity.Probe(identity_service_pb2.ProbeRequest()),
            stubs.catalog.GetProduct(product_request()),
            stubs.catalog.SearchProducts(search),
            stubs.inventory.GetAvailability(stock),
        ):
            assert await failed(read) == (Code.UNAVAILABLE, False)
        info = await stubs.identity.GetInfo(identity_service_pb2.GetInfoRequest())
        assert set(info.cart_intents) == ALL_INTENTS


async def test_a_vendure_that_comes_up_after_the_adapter(proxy: HttpProxy) -> None:
    proxy.on("activeChannel", lose_request, lose_request)
    proxy.on("__type", answering(Reply(b'{"data": {"__type": null}}')))
    async with in_process(VENDURE, {"url": proxy.url}) as channel:
        stubs = Stubs(channel)
        for intents in (ALL_INTENTS, ALL_INTENTS - {"set_note"}):
            info = await stubs.identity.GetInfo(identity_service_pb2.GetInfoRequest(), timeout=TIMEOUT_S)
            assert set(info.cart_intents) == intents
        await stubs.identity.Probe(identity_service_pb2.ProbeRequest(), timeout=TIMEOUT_S)


# What an installation may be without


@pytest.mark.parametrize(
    "reply", [Reply(b'{"data": {"__type": null}}'), refusing("GRAPHQL_VALIDATION_FAILED", status=400)]
)
async def test_orders_without_a_field_for_notes(proxy: HttpProxy, reply: Reply) -> None:
    proxy.on("__type", answering(reply))
    async with in_process(VENDURE, {"url": proxy.url}) as channel:
        stubs = Stubs(channel)
        info = await stubs.identity.GetInfo(identity_service_pb2.GetInfoRequest())
        assert set(info.cart_intents) == ALL_INTENTS - {"set_note"}
        user = CartUser(stubs.cart, VENDURE.context())
        await user.apply(create_cart={})
        await user.add("PAPER-01", 1)
        assert not any("customFields" in document for document in proxy.documents)
        assert await failed(user.send(user.call(set_note={"note": "!"})), user) == (Code.UNIMPLEMENTED, False)


# Options and languages


@pytest.mark.parametrize(
    ("options", "locale", "name"),
    [
        ({}, "de-AT", "Papierfilter, 100 Stück 01"),
        ({}, "en", "Paper filters, pack of 100 01"),
        ({}, "fr", "Paper filters, pack of 100 01"),
        ({}, "de&currencyCode=USD", "Paper filters, pack of 100 01"),
        ({"language": "de", "currency_code": "EUR"}, "", "Papierfilter, 100 Stück 01"),
    ],
)
async def test_languages(proxy: HttpProxy, options: dict[str, str], locale: str, name: str) -> None:
    async with in_process(VENDURE, {"url": proxy.url, **options}) as channel:
        user = CartUser(Stubs(channel).cart, VENDURE.context())
        user.context.locale = locale
        if options:
            user.context.currency_code = ""
        await user.apply(create_cart={})
        await user.add("PAPER-01", 1)
        assert user.cart.lines[0].item.name == name


@pytest.mark.parametrize("url", ["", "vendure", "ftp://vendure", "http://", "http://a:b@vendure", "http://vendure?x=1"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(AdapterLoadError, match="url must be"):
        load_adapter(VENDURE.factory, {"url": url})


def test_the_address_of_the_shop_api() -> None:
    assert endpoint("http://127.0.0.1:8320") == "http://127.0.0.1:8320/shop-api"
    assert endpoint("https://shop.example/") == "https://shop.example/shop-api"
    assert endpoint("https://shop.example/api/shop") == "https://shop.example/api/shop"


def test_aiohttp_is_needed_by_the_adapter_alone() -> None:
    program = """
import sys
sys.modules["aiohttp"] = None
import legato_adapters.vendure.dev_server
try:
    legato_adapters.vendure.create(url="http://127.0.0.1")
except ImportError as error:
    print(error.name)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "aiohttp\n"


async def test_closing_waits_for_what_was_begun(proxy: HttpProxy) -> None:
    come, release = asyncio.Event(), asyncio.Event()

    async def held(forward: Forward) -> Reply:
        come.set()
        await release.wait()
        return await forward()

    async with in_process(VENDURE, {"url": proxy.url}) as channel:
        user = CartUser(Stubs(channel).cart, VENDURE.context())
        await user.apply(create_cart={})
        proxy.on("addItemToOrder", held)
        call = user.call(add_line={"sku": "PAPER-01", "quantity": {"steps": 4}})
        assert (await failed(user.send(call, timeout=0.5)))[0] is Code.DEADLINE_EXCEEDED
        await come.wait()
        asyncio.get_running_loop().call_later(0.1, release.set)
    assert proxy.seen[-1] == "activeOrder", "it was brought to its end"
