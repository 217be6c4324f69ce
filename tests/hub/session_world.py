"""A hub's sessions and carts on the real SQLite engine, without a server around them, for tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

from legato.commerce.v1 import cart_pb2, session_pb2
from legato.orchestrator.v1 import error_pb2, reads_pb2, session_intent_pb2
from legato.protocol import resources as names
from legato.protocol.entities import assemble_cart, assemble_session, split_cart
from legato.protocol.ids import new_id
from legato_hub.access import Access
from legato_hub.amend import Amender
from legato_hub.auth import Customer
from legato_hub.clock import now_ms
from legato_hub.core import sessions as core
from legato_hub.core.identity import Identity, IdentityKind
from legato_hub.core.market import Store
from legato_hub.core.problem import Problem
from legato_hub.live_resources import LiveResources
from legato_hub.sessions import Sessions
from legato_hub.storage.base import Storage
from legato_hub.storage.sqlite import SQLiteStorage

TENANT = "demo"

# Ids of one millisecond are in no order, and these tests ask for the newest.
_minted = count(now_ms())

STORES = {
    TENANT: {
        "main": Store("main", "DE", ("EUR", "CHF"), "de-DE"),
        "us": Store("us", "US", ("USD",), "en-US"),
    },
    "other": {"main": Store("main", "DE", ("EUR",), "de-DE")},
}
CHANNEL = Identity(IdentityKind.CHANNEL, TENANT, "web", "main")
TERMINAL = Identity(IdentityKind.TERMINAL, TENANT, "till-4", "main")
SERVICE = Identity(IdentityKind.SERVICE, TENANT, "mailer")
OPERATOR = Identity(IdentityKind.OPERATOR, TENANT, "anna")


def shopper(session_id: str, tenant: str = TENANT) -> Identity:
    """The holder of a session's token."""
    return Identity(IdentityKind.SHOPPER, tenant, session_id, "main")


class Verifier:
    """Believes "NAME's password"."""

    async def verify(self, tenant: str, credential: str) -> Customer:
        name, _, rest = credential.partition("'")
        if rest != "s password":
            raise Problem(error_pb2.ERROR_REASON_UNAUTHENTICATED, "wrong credential")
        return Customer(f"customer-{name}", name.title())


def issue(tenant: str, store: str, session_id: str) -> tuple[str, int]:
    """A token that says what it is for."""
    return f"token of {tenant}/{store}/{session_id}", 1_900_000_000_000


class World:
    """Everything wired together as the hub does it. A second one on the same storage is a second hub."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.resources = LiveResources(storage)
        self.amender = Amender(storage, self.resources)
        self.access = Access(storage, self.resources)
        self.sessions = Sessions(storage, self.resources, self.amender, self.access, STORES, Verifier(), issue)

    async def visit(self, store: str = "main") -> Identity:
        """A shopper with a new session."""
        answer = await self.sessions.start(CHANNEL, reads_pb2.StartSessionRequest(store=store))
        return shopper(answer.session.id)

    async def sign_in(self, who: Identity, name: str, channel: str = "web") -> Identity:
        """Whoever holds the token that the answer brings."""
        answer = await self.sessions.sign_in(who, f"{name}'s password", channel)
        assert answer.access_token == f"token of {TENANT}/main/{answer.session.id}"
        return shopper(answer.session.id)

    async def sign_out(self, who: Identity) -> None:
        """As the pipeline does it."""
        before = (await self.resources.get(names.session(who.subject))).entries
        await self.send(who, session_intent_pb2.SessionIntent(sign_out=session_intent_pb2.SignOut()))
        await self.sessions.signed_out(before)

    async def send(self, who: Identity, intent: session_intent_pb2.SessionIntent) -> None:
        """A command of the session's shopper, from the web."""
        await self.amender.amend(
            names.session(who.subject),
            lambda entries: core.reduce(entries, intent, channel="web", now=now_ms()),
        )

    async def session(self, who: Identity) -> session_pb2.Session:
        """A shopper's session as it is stored."""
        loaded = await self.storage.load(names.session(who.subject))
        assert loaded is not None
        return assemble_session(loaded.entries)

    async def cart(self, cart_id: str) -> cart_pb2.Cart:
        """A cart as it is stored."""
        loaded = await self.storage.load(names.cart(cart_id))
        assert loaded is not None
        return assemble_cart(loaded.entries)

    async def new_cart(
        self,
        who: Identity | None = None,
        *,
        customer: str = "",
        lines: int = 0,
        store: str = "main",
        tenant: str = TENANT,
        state: cart_pb2.CartState.ValueType = cart_pb2.CART_STATE_ACTIVE,
    ) -> str:
        """Make a cart as the pipeline does: index, commit, attach. Of `customer`, the shopper, or a till."""
        cart = cart_pb2.Cart(
            id=new_id(next(_minted)), tenant=tenant, store=store, country="DE", currency_code="EUR", state=state
        )
        if customer:
            cart.customer_id = f"customer-{customer}"
        elif who is not None:
            cart.anonymous_id = who.subject
        else:
            cart.terminal_id = TERMINAL.subject
        for number in range(lines):
            cart.lines.add(id=f"l{number}", sku=f"sku-{number}", position=number)
        await self.sessions.index_cart(cart)
        entries = split_cart(cart)
        await self.amender.amend(names.cart(cart.id), lambda _: entries)
        if who is not None:
            await self.sessions.attach_cart(who.subject, cart.id)
        return cart.id

    async def set_cart_state(self, cart_id: str, state: cart_pb2.CartState.ValueType) -> None:
        """What a backend would do."""

        def change(entries: dict[str, bytes]) -> dict[str, bytes]:
            cart = assemble_cart(entries)
            cart.state = state
            return split_cart(cart)

        await self.amender.amend(names.cart(cart_id), lambda entries: change(dict(entries)))


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """A hub on a storage of its own."""
    storage = SQLiteStorage(":memory:")
    await storage.open()
    try:
        yield World(storage)
    finally:
        await storage.close()
