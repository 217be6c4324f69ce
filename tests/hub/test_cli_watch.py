"""`legato watch` as a process of its own, against a server that says what a test wants; and how things look as text."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from legato.commerce.v1 import cart_pb2, discount_pb2, line_item_pb2, money_pb2, quantity_pb2, session_pb2, total_pb2
from legato.orchestrator.v1 import cursor_pb2, error_pb2, orchestrator_service_pb2, stream_pb2
from legato.protocol import entities, state
from legato_hub import cli_render

CART = "carts/01932d5e-0000-7000-8000-000000000000"
ACTIVE = "sessions/01932d5e-0000-7000-8000-000000000001/active_cart"

Context = grpc.aio.ServicerContext[Any, Any]
Request = orchestrator_service_pb2.WatchRequest
Response = orchestrator_service_pb2.WatchResponse
Behaviour = Callable[[Request, Context], AsyncIterator[list[stream_pb2.ServerMessage]]]


def euros(cents: int) -> money_pb2.Money:
    return money_pb2.Money(currency_code="EUR", units=cents, scale=2)


def a_cart(steps: int) -> cart_pb2.Cart:
    line = line_item_pb2.LineItem(
        id="1",
        sku="ROMA-250",
        item=line_item_pb2.ItemSnapshot(name="Espresso Roma 250 g"),
        quantity=quantity_pb2.Quantity(steps=steps),
        total=euros(790 * steps),
    )
    total = total_pb2.Total(type=total_pb2.TOTAL_TYPE_GRAND_TOTAL, amount=euros(790 * steps))
    return cart_pb2.Cart(
        id=CART.partition("/")[2],
        tenant="demo",
        store="main",
        country="DE",
        currency_code="EUR",
        anonymous_id="s-1",
        state=cart_pb2.CART_STATE_ACTIVE,
        lines=[line],
        totals=total_pb2.Totals(items=[total]),
    )


def cursor(revision: int) -> cursor_pb2.Cursor:
    return cursor_pb2.Cursor(epoch="e", revision=revision)


def snapshot(steps: int, revision: int, *, target: str = CART) -> stream_pb2.ServerMessage:
    entries = entities.split_cart(a_cart(steps))
    message = stream_pb2.Snapshot(
        target=target,
        cursor=cursor(revision),
        reason=stream_pb2.SNAPSHOT_REASON_INITIAL,
        digest=state.digest(entries),
        payload=state.entries_to_bytes(entries),
    )
    return stream_pb2.ServerMessage(snapshot=message)


def delta(before: int, after: int, revision: int) -> stream_pb2.ServerMessage:
    change = state.diff(entities.split_cart(a_cart(before)), entities.split_cart(a_cart(after)))
    message = stream_pb2.Delta(prev_revision=revision - 1, cursor=cursor(revision), payload=change.to_bytes())
    return stream_pb2.ServerMessage(delta=message)


def progress(steps: int, revision: int) -> stream_pb2.ServerMessage:
    digest = state.digest(entities.split_cart(a_cart(steps)))
    return stream_pb2.ServerMessage(progress=stream_pb2.Progress(cursor=cursor(revision), digest=digest))


def present() -> stream_pb2.ServerMessage:
    till = stream_pb2.PresentChannel(channel=stream_pb2.Channel(kind="pos", name="Till 4"))
    web = stream_pb2.PresentChannel(channel=stream_pb2.Channel(kind="web"))
    return stream_pb2.ServerMessage(presence=stream_pb2.Presence(channels=[web, till]))


DRAIN = stream_pb2.ServerMessage(drain=stream_pb2.Drain())


class Hub:
    """A server whose Watch is scripted, and what it was asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.tokens: list[str] = []
        self.ended = asyncio.Event()
        self.address = ""
        self._behaviour: Behaviour | None = None
        self._server = grpc.aio.server()
        handler = grpc.unary_stream_rpc_method_handler(self._watch, Request.FromString, Response.SerializeToString)
        service = "legato.orchestrator.v1.OrchestratorService"
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Watch": handler}),))

    async def _watch(self, request: Request, context: Context) -> AsyncIterator[Response]:
        self.requests.append(request)
        self.tokens.append(str(dict(context.invocation_metadata() or ()).get("authorization")))
        assert self._behaviour is not None
        try:
            async for messages in self._behaviour(request, context):
                yield Response(messages=messages)
        finally:
            self.ended.set()

    async def start(self) -> None:
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        self.address = f"127.0.0.1:{port}"

    async def stop(self) -> None:
        await self._server.stop(None)

    async def watched(self, behaviour: Behaviour, *arguments: str) -> asyncio.subprocess.Process:
        self._behaviour = behaviour
        command = [sys.executable, "-m", "legato_hub.cli", "watch", *arguments, "--target", self.address]
        return await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    hub = Hub()
    await hub.start()
    yield hub
    await hub.stop()


async def test_every_change_is_a_block_at_once_until_the_hub_ends(hub: Hub) -> None:
    shown = asyncio.Event()

    async def play(request: Request, context: Context) -> AsyncIterator[list[stream_pb2.ServerMessage]]:
        yield [snapshot(1, 7), present()]
        await shown.wait()
        yield [delta(1, 2, 8), delta(2, 5, 9), progress(5, 9)]
        yield [DRAIN]

    process = await hub.watched(play, CART)
    assert process.stdout is not None
    first = [(await process.stdout.readline()).decode() for _ in range(5)]
    shown.set()
    rest, errors = await process.communicate()
    assert "".join(first) == (
        f"{CART} revision 7 (snapshot, initial)\n"
        "  active, demo/main, DE EUR, anonymous s-1\n"
        "  ROMA-250 x 1  7.90 EUR  Espresso Roma 250 g\n"
        "  grand total 7.90 EUR\n"
        "present: web, pos (Till 4)\n"
    )
    assert rest.decode() == (
        f"{CART} revision 9 (delta)\n"
        "  active, demo/main, DE EUR, anonymous s-1\n"
        "  ROMA-250 x 5  39.50 EUR  Espresso Roma 250 g\n"
        "  grand total 39.50 EUR\n"
    )
    assert (process.returncode, errors) == (0, b"legato: the hub is going down\n")
    (request,) = hub.requests
    assert request.subscriptions[0].resource == CART
    assert not request.subscriptions[0].HasField("since")
    assert request.channel.kind == "cli"
    assert hub.tokens[0].startswith("Bearer ey")


async def test_a_given_token_or_channel_key_is_used(hub: Hub) -> None:
    async def play(request: Request, context: Context) -> AsyncIterator[list[stream_pb2.ServerMessage]]:
        yield [DRAIN]

    for option in ("--token", "--channel-key"):
        assert await (await hub.watched(play, CART, option, "dev-web")).wait() == 0
    assert hub.tokens == ["Bearer dev-web", "Bearer dev-web"]


async def test_what_does_not_fit_is_asked_for_again_from_where_it_stands(hub: Hub) -> None:
    async def play(request: Request, context: Context) -> AsyncIterator[list[stream_pb2.ServerMessage]]:
        if len(hub.requests) == 1:
            yield [snapshot(1, 7)]
            yield [delta(1, 2, 9)]  # 8 was lost
            await asyncio.Event().wait()
        else:
            yield [delta(1, 4, 8)]
            yield [DRAIN]

    process = await hub.watched(play, ACTIVE)
    output, _ = await process.communicate()
    assert [line for line in output.decode().splitlines() if "revision" in line] == [
        f"{CART} revision 7 (snapshot, initial)",
        f"{CART} revision 8 (delta)",
    ]
    again = hub.requests[1].subscriptions[0]
    assert again.since == cursor(7)
    assert again.since_target == CART
    assert again.subscription_id != hub.requests[0].subscriptions[0].subscription_id


async def test_a_state_that_never_matches_its_digest_is_given_up(hub: Hub) -> None:
    async def play(request: Request, context: Context) -> AsyncIterator[list[stream_pb2.ServerMessage]]:
        broken = snapshot(1, 7)
        broken.snapshot.digest = b"?"
        yield [broken]

    process = await hub.watched(play, CART)
    output, errors = await process.communicate()
    assert (process.returncode, output) == (1, b"")
    assert b"digest differed" in errors
    assert len(hub.requests) == 2


async def test_a_refusal_is_told_with_its_reason(hub: Hub) -> None:
    error = error_pb2.Error(code=5, reason=error_pb2.ERROR_REASON_NOT_FOUND, message=f"{CART} does not exist")

    async def close(request: Request, context: Context) -> AsyncIterator[list[stream_pb2.ServerMessage]]:
        closed = stream_pb2.SubscriptionStatus(state=stream_pb2.SUBSCRIPTION_STATE_CLOSED, error=error)
        yield [stream_pb2.ServerMessage(subscription_status=closed)]

    async def fail(request: Request, context: Context) -> AsyncIterator[list[stream_pb2.ServerMessage]]:
        for messages in ([progress(1, 1)] for _ in range(0)):
            yield messages
        trailer = (("legato-error-bin", error.SerializeToString()),)
        await context.abort(grpc.StatusCode.NOT_FOUND, error.message, trailer)

    for behaviour in (close, fail):
        process = await hub.watched(behaviour, CART)
        _, errors = await process.communicate()
        assert process.returncode == 1
        assert errors.decode().startswith(f"legato: {CART} does not exist [NOT_FOUND]")


async def test_a_hub_that_is_not_there_is_told(hub: Hub) -> None:
    await hub.stop()

    async def play(request: Request, context: Context) -> AsyncIterator[list[stream_pb2.ServerMessage]]:
        yield []

    process = await hub.watched(play, CART)
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert b"[UNAVAILABLE]" in errors


async def hold(request: Request, context: Context) -> AsyncIterator[list[stream_pb2.ServerMessage]]:
    yield [snapshot(1, 7)]
    await asyncio.Event().wait()


async def test_control_c_ends_it_quietly(hub: Hub) -> None:
    process = await hub.watched(hold, CART)
    assert process.stdout is not None
    assert b"revision 7" in await process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")
    await hub.ended.wait()


async def test_a_reader_that_leaves_ends_it_quietly(hub: Hub) -> None:
    left = asyncio.Event()

    async def play(request: Request, context: Context) -> AsyncIterator[list[stream_pb2.ServerMessage]]:
        yield [snapshot(1, 7)]
        await left.wait()
        for revision in range(8, 20):
            yield [delta(1, 1, revision)]

    hub._behaviour = play
    command = f"{sys.executable} -m legato_hub.cli watch {CART} --target {hub.address}"
    reader = await asyncio.create_subprocess_shell(
        f"({command}; echo status $? >&2) | head -n 1", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert reader.stdout is not None
    assert b"revision 7" in await reader.stdout.readline()
    left.set()
    _, errors = await reader.communicate()
    assert errors == b"status 0\n"


def test_an_active_cart_that_is_not_there() -> None:
    assert cli_render.render("", {}) == ["no active cart"]


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (money_pb2.Money(currency_code="EUR", units=1999, scale=2), "19.99 EUR"),
        (money_pb2.Money(currency_code="EUR", units=-5, scale=2), "-0.05 EUR"),
        (money_pb2.Money(currency_code="JPY", units=1200), "1200 JPY"),
        (money_pb2.Money(currency_code="EUR", units=10**15, scale=9), "1000000.000000000 EUR"),
    ],
)
def test_money_is_exact(amount: money_pb2.Money, text: str) -> None:
    assert cli_render.money(amount) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (quantity_pb2.Quantity(steps=2), "2"),
        (quantity_pb2.Quantity(steps=125, unit="kg", scale=2), "1.25 kg"),
        (quantity_pb2.Quantity(steps=1_000_000), "1000000"),
    ],
)
def test_quantities_are_exact(amount: quantity_pb2.Quantity, text: str) -> None:
    assert cli_render.quantity(amount) == text


def test_a_cart_tells_codes_and_messages() -> None:
    cart = a_cart(1)
    del cart.lines[:]
    cart.customer_id = "c-1"
    cart.discount_codes.append(discount_pb2.DiscountCode(code="SPRING"))
    message = cart_pb2.CartMessage(severity=cart_pb2.MESSAGE_SEVERITY_WARNING, code="PRICE_CHANGED", text="Dearer now")
    cart.messages.items.append(message)
    assert cli_render.render(CART, entities.split_cart(cart)) == [
        "active, demo/main, DE EUR, customer c-1",
        "no lines",
        "code SPRING",
        "grand total 7.90 EUR",
        "warning: PRICE_CHANGED Dearer now",
    ]


def test_a_session_tells_login_carts_history_and_consents() -> None:
    session = session_pb2.Session(
        id="s",
        tenant="demo",
        store="main",
        country="DE",
        currency_code="EUR",
        state=session_pb2.SESSION_STATE_ACTIVE,
        active_cart_id="c2",
        login=session_pb2.Login(status=session_pb2.LOGIN_STATUS_SIGNED_IN, customer_id="c-1", channel="app"),
        carts=[session_pb2.SessionCart(cart_id="c2"), session_pb2.SessionCart(cart_id="c1", guest=True)],
        views=[session_pb2.ProductView(product_id="roma", sku="ROMA-250", channel="web")],
        consents=[session_pb2.Consent(purpose="personalisation", granted=True)],
    )
    assert cli_render.render("sessions/s", entities.split_session(session)) == [
        "active, demo/main, DE EUR",
        "signed in as customer c-1 on app",
        "cart c2, active",
        "cart c1, guest",
        "viewed roma ROMA-250 on web",
        "consent personalisation granted",
    ]
