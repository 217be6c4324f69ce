"""Who may see what: the whole table, then the same through the storage."""

from collections.abc import AsyncIterator

import pytest

from legato.commerce.v1 import cart_pb2, session_pb2
from legato.orchestrator.v1 import error_pb2
from legato.protocol import resources as names
from legato.protocol.entities import split_session
from legato.protocol.ids import new_id
from legato.protocol.resources import Kind
from legato_hub.clock import now_ms
from legato_hub.core.access import sees_cart, sees_session
from legato_hub.core.identity import Identity, IdentityKind
from legato_hub.core.problem import Problem
from tests.hub.session_world import CHANNEL, OPERATOR, SERVICE, TERMINAL, World, shopper, world

OWN = new_id()


@pytest.fixture
async def hub() -> AsyncIterator[World]:
    async with world() as made:
        yield made


def identity(kind: IdentityKind, tenant: str = "demo", subject: str = OWN, store: str = "main") -> Identity:
    return Identity(kind, tenant, subject, store)


def a_cart(**owner: str) -> cart_pb2.Cart:
    return cart_pb2.Cart(id="c1", tenant="demo", store="main", **owner)  # type: ignore[arg-type]


def a_session(customer_id: str = "", *carts: str) -> dict[str, bytes]:
    session = session_pb2.Session(id=OWN, tenant="demo")
    session.login.status = session_pb2.LOGIN_STATUS_SIGNED_IN if customer_id else session_pb2.LOGIN_STATUS_ANONYMOUS
    session.login.customer_id = customer_id
    session.carts.extend(session_pb2.SessionCart(cart_id=cart) for cart in carts)
    return split_session(session)


@pytest.mark.parametrize(
    ("cart", "session", "expected"),
    [
        (a_cart(anonymous_id=OWN), a_session(), True),
        (a_cart(anonymous_id=OWN), {}, True),
        (a_cart(anonymous_id="another"), a_session(), False),
        (a_cart(anonymous_id="another"), a_session("", "c1"), True),
        (a_cart(anonymous_id="another"), a_session("", "c2"), False),
        (a_cart(customer_id="anna"), a_session("anna"), True),
        (a_cart(customer_id="anna"), a_session("berta"), False),
        (a_cart(customer_id="anna"), a_session(), False),
        (a_cart(terminal_id=OWN), a_session(), False),
        (a_cart(), a_session(), False),
    ],
)
def test_a_shopper_sees_what_the_session_has_at_present(
    cart: cart_pb2.Cart, session: dict[str, bytes], expected: bool
) -> None:
    assert sees_cart(identity(IdentityKind.SHOPPER), cart, session, granted=False) is expected
    assert sees_cart(identity(IdentityKind.SHOPPER), cart, session, granted=True)


def test_a_terminal_sees_its_stores_carts() -> None:
    cart = a_cart(anonymous_id="x")
    assert sees_cart(identity(IdentityKind.TERMINAL), cart, {}, granted=False)
    assert not sees_cart(identity(IdentityKind.TERMINAL, store="us"), cart, {}, granted=False)
    assert sees_cart(identity(IdentityKind.TERMINAL, store="us"), cart, {}, granted=True)
    nowhere = cart_pb2.Cart(id="c1", tenant="demo")
    assert not sees_cart(identity(IdentityKind.TERMINAL, store=""), nowhere, {}, granted=False)


@pytest.mark.parametrize("kind", [IdentityKind.SERVICE, IdentityKind.OPERATOR])
def test_services_and_operators_see_their_tenant(kind: IdentityKind) -> None:
    assert sees_cart(identity(kind), a_cart(anonymous_id="x"), {}, granted=False)
    assert sees_session(identity(kind), session_pb2.Session(id="any", tenant="demo"))


def test_a_channel_sees_nothing() -> None:
    assert not sees_cart(identity(IdentityKind.CHANNEL), a_cart(anonymous_id=OWN), a_session("", "c1"), granted=True)
    assert not sees_session(identity(IdentityKind.CHANNEL), session_pb2.Session(id=OWN, tenant="demo"))


def test_a_terminal_sees_no_session() -> None:
    assert not sees_session(identity(IdentityKind.TERMINAL), session_pb2.Session(id=OWN, tenant="demo", store="main"))


@pytest.mark.parametrize("kind", IdentityKind)
def test_another_tenants_things_do_not_exist(kind: IdentityKind) -> None:
    stranger = identity(kind, tenant="other")
    assert not sees_cart(stranger, a_cart(anonymous_id=OWN), a_session("", "c1"), granted=True)
    assert not sees_session(stranger, session_pb2.Session(id=OWN, tenant="demo"))


def test_a_shopper_sees_the_own_session_only() -> None:
    assert sees_session(identity(IdentityKind.SHOPPER), session_pb2.Session(id=OWN, tenant="demo"))
    assert not sees_session(identity(IdentityKind.SHOPPER), session_pb2.Session(id="another", tenant="demo"))


async def refusal(hub: World, who: Identity, name: str) -> tuple[int, str]:
    with pytest.raises(Problem) as caught:
        await hub.access.resource(who, name)
    return caught.value.reason, str(caught.value)


async def test_what_is_foreign_is_answered_as_what_is_not_there(hub: World) -> None:
    anna, berta = await hub.visit(), await hub.visit()
    cart_id = await hub.new_cart(anna)
    for name in (names.cart(cart_id), names.session(anna.subject), names.active_cart(anna.subject)):
        await hub.access.resource(anna, name)
        resource = names.parse(name)
        said = names.session(resource.id) if resource.kind is Kind.ACTIVE_CART else name
        assert await refusal(hub, berta, name) == (error_pb2.ERROR_REASON_NOT_FOUND, f"{said} does not exist")
    missing = names.cart(new_id())
    assert await refusal(hub, anna, missing) == (error_pb2.ERROR_REASON_NOT_FOUND, f"{missing} does not exist")


async def test_an_active_cart_is_authorised_as_its_session(hub: World) -> None:
    anna = await hub.visit()
    for who in (anna, SERVICE, OPERATOR):
        resource, live = await hub.access.resource(who, names.active_cart(anna.subject))
        assert (resource.kind, live.name) == (Kind.ACTIVE_CART, names.session(anna.subject))
    for stranger in (TERMINAL, CHANNEL, shopper(anna.subject, "other")):
        assert (await refusal(hub, stranger, names.active_cart(anna.subject)))[0] == error_pb2.ERROR_REASON_NOT_FOUND


async def test_what_is_no_name_is_invalid(hub: World) -> None:
    with pytest.raises(Problem) as caught:
        await hub.access.resource(SERVICE, "carts/7", "subscribe.resource")
    assert caught.value.reason == error_pb2.ERROR_REASON_INVALID_FIELD
    assert caught.value.error.field_violations[0].field == "subscribe.resource"


async def test_a_grant_is_for_one_identity_and_one_cart_and_ends(hub: World) -> None:
    anna, berta, carla = await hub.visit(), await hub.visit(), await hub.visit()
    cart_id, other_id = await hub.new_cart(anna), await hub.new_cart(anna)
    await hub.access.grant(berta, cart_id, now_ms() + 60_000)
    assert (await hub.access.cart(berta, cart_id)).name == names.cart(cart_id)
    for who, cart in ((carla, cart_id), (berta, other_id)):
        with pytest.raises(Problem):
            await hub.access.cart(who, cart)
    await hub.access.grant(berta, cart_id, now_ms())
    with pytest.raises(Problem):
        await hub.access.cart(berta, cart_id)


async def test_a_forgotten_cart_does_not_exist(hub: World) -> None:
    cart_id = await hub.new_cart(await hub.visit())
    assert await hub.storage.sweep(now_ms() + 1_000_000, closed_ms=1, idle_ms=1) >= 1
    again = World(hub.storage)
    with pytest.raises(Problem):
        await again.access.cart(SERVICE, cart_id)
