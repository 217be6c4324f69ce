"""Sessions: how they begin, how shoppers sign in, and which carts belong to them.

Commands on sessions take the write path like any other; `core/sessions.py` says what they do.
"""

import asyncio
from functools import partial
from typing import Protocol
from weakref import WeakValueDictionary

from google.protobuf.timestamp_pb2 import Timestamp

from legato.commerce.v1 import cart_pb2, session_pb2
from legato.orchestrator.v1 import error_pb2, reads_pb2
from legato.protocol import resources as names
from legato.protocol.entities import assemble_session
from legato.protocol.ids import new_id
from legato.protocol.state import Entries
from legato_hub import directory
from legato_hub.access import Access
from legato_hub.amend import Amender
from legato_hub.auth import CredentialVerifier
from legato_hub.clock import now_ms
from legato_hub.core import sessions as core
from legato_hub.core.identity import Identity, IdentityKind
from legato_hub.core.market import Market, Stores, resolve
from legato_hub.core.outbox import to_cursor
from legato_hub.core.problem import Problem
from legato_hub.live import Live
from legato_hub.live_resources import LiveResources
from legato_hub.sign_in import SignIns
from legato_hub.storage.base import Storage


class IssueToken(Protocol):
    """Makes a shopper's bearer token."""

    def __call__(self, tenant: str, store: str, session_id: str) -> tuple[str, int]:
        """The token and when it ends, milliseconds since 1970."""


class Sessions:
    """All methods may raise StorageError."""

    def __init__(
        self,
        storage: Storage,
        resources: LiveResources,
        amender: Amender,
        access: Access,
        stores: Stores,
        verifier: CredentialVerifier,
        issue: IssueToken,
    ) -> None:
        self._storage = storage
        self._resources = resources
        self._amender = amender
        self._access = access
        self._stores = stores
        self._verifier = verifier
        self._issue = issue
        self._sign_ins = SignIns(storage, resources, amender)
        # One at a time for each customer in this process; `SignIns` settles what two hubs do at once.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def start(self, identity: Identity, request: reads_pb2.StartSessionRequest) -> reads_pb2.StartSessionResponse:
        """A new anonymous session, or a new token for a shopper's own, whatever market the request names.

        Raise Problem: NOT_ALLOWED for terminals and operators, INVALID_FIELD or UNKNOWN_CURRENCY for a market that the
        tenant does not serve, NOT_FOUND for a shopper whose session is gone.
        """
        match identity.kind:
            case IdentityKind.SHOPPER:
                live = await self._access.session(identity, identity.subject)
            case IdentityKind.CHANNEL | IdentityKind.SERVICE:
                live = await self._new(identity.tenant, self._market(identity, request))
            case _:
                raise Problem(error_pb2.ERROR_REASON_NOT_ALLOWED, "terminals and operators have no session")
        session, token, expires_at = self._answer(live)
        return reads_pb2.StartSessionResponse(
            session=session, cursor=to_cursor(live.cursor), access_token=token, expires_at=expires_at
        )

    async def sign_in(self, identity: Identity, credential: str, channel: str) -> reads_pb2.SignInResponse:
        """Sign a shopper in from a sales channel such as "web": to the customer's live session, or else to their own.

        Raise Problem: NOT_ALLOWED unless a shopper asks, UNAUTHENTICATED or TOKEN_EXPIRED for the credential,
        NOT_FOUND if the session is gone.
        """
        if identity.kind is not IdentityKind.SHOPPER:
            raise Problem(error_pb2.ERROR_REASON_NOT_ALLOWED, "only shoppers sign in")
        customer = await self._verifier.verify(identity.tenant, credential)
        own = await self._access.session(identity, identity.subject)
        key = directory.live_session_record(identity.tenant, customer.id)
        async with self._locks.setdefault(key, asyncio.Lock()):
            live = await self._sign_ins.sign_in(own.name, customer, channel)
        session, token, expires_at = self._answer(live)
        return reads_pb2.SignInResponse(
            session=session, cursor=to_cursor(live.cursor), access_token=token, expires_at=expires_at
        )

    async def signed_out(self, before: Entries) -> None:
        """Tell it after a sign-out was committed, with the session's entities before: the customer has no live session.

        If it is not told, because the hub died between, the next sign-in finds the session signed out.
        """
        session = assemble_session(before)
        record = directory.live_session_record(session.tenant, session.login.customer_id)
        if session.login.customer_id and await self._storage.get(record, now_ms()) == session.id.encode():
            await self._storage.delete(record)

    async def index_cart(self, cart: cart_pb2.Cart) -> None:
        """Make a cart findable. Tell it before the commit that creates the cart: what is created is then never lost."""
        await asyncio.gather(*(self._storage.add(key, cart.id) for key in directory.sets_of(cart)))

    async def attach_cart(self, session_id: str, cart_id: str) -> None:
        """List a cart that a session's shopper has created. Repeating it is harmless, as is naming somebody else's.

        Raise Problem (NOT_FOUND) if the session is gone.
        """
        cart = cart_pb2.Cart.FromString((await self._resources.get(names.cart(cart_id))).entries["cart"])
        if not cart.customer_id and cart.anonymous_id != session_id:
            return  # What a session lists its shopper sees for good: not what was merely shared.
        name, now = names.session(session_id), now_ms()
        while True:
            session = await self._resources.get(name)
            active = core.head_of(session.entries).active_cart_id
            change = partial(
                core.attach_cart,
                cart_id=cart_id,
                customer_id=cart.customer_id,
                closed=active if await self._is_closed(active) else "",
                now=now,
            )
            head = core.head_of((await self._amender.amend(name, change)).entries)
            if head.state != session_pb2.SESSION_STATE_JOINED:
                return
            # The shopper signed in while the cart was being made.
            name = names.session(head.joined_session_id)

    async def _is_closed(self, cart_id: str) -> bool:
        if not cart_id:
            return False
        cart = await self._resources.get(names.cart(cart_id))
        state = cart_pb2.Cart.FromString(cart.entries.get("cart", b"")).state
        return state not in (cart_pb2.CART_STATE_ACTIVE, cart_pb2.CART_STATE_FROZEN)

    async def _new(self, tenant: str, market: Market) -> Live:
        session_id, now = new_id(), now_ms()
        entries = core.new(session_id, tenant, market, now)
        return await self._amender.amend(names.session(session_id), lambda _: entries)

    def _market(self, identity: Identity, request: reads_pb2.StartSessionRequest) -> Market:
        return resolve(
            self._stores.get(identity.tenant, {}),
            identity.store,
            store=request.store,
            country=request.country,
            currency_code=request.currency_code,
            locale=request.locale,
        )

    def _answer(self, live: Live) -> tuple[session_pb2.Session, str, Timestamp]:
        session = assemble_session(live.entries)
        token, expires_at = self._issue(session.tenant, session.store, session.id)
        return session, token, core.timestamp(expires_at)
