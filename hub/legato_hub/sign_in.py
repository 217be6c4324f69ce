"""Signing in: which session the shopper goes on in, and what it takes over.

A customer has at most one live session: the record `live-session/...` names it, and it is believed as long as that
session is signed in as the customer. Every step may be repeated; the next sign-in completes one that was cut off:

    1. the guest's active cart becomes the customer's, unless the customer has one with something in it
    2. the caller's session is marked as joined, unless it is the one to go on in
    3. the session to go on in is signed in and takes carts and views over
    4. the caller's session is emptied
    5. the record names the session

A session serves one customer in its life. Other channels may hold its token, and after a sign-out they must not find
themselves in the session of whoever signs in next; that customer gets a session of their own.
"""

from legato.commerce.v1 import cart_pb2, session_pb2
from legato.protocol import resources as names
from legato.protocol.ids import new_id
from legato_hub import directory
from legato_hub.amend import Amender
from legato_hub.auth import Customer
from legato_hub.clock import now_ms
from legato_hub.core import sessions, sign_in
from legato_hub.core.access import customer_of
from legato_hub.core.market import Market
from legato_hub.live import Live
from legato_hub.live_resources import LiveResources
from legato_hub.storage.base import Storage

CUSTOMER_KEPT_MS = 365 * 24 * 3_600_000
"""How long it is remembered whose a session was, from the latest sign-in on."""


class SignIns:
    """One sign-in of a customer at a time, in this process; several hubs may run one each."""

    def __init__(self, storage: Storage, resources: LiveResources, amender: Amender) -> None:
        self._storage = storage
        self._resources = resources
        self._amender = amender

    async def sign_in(self, own_name: str, customer: Customer, channel: str) -> Live:
        """Sign the shopper of the session `own_name` in; the session to go on in.

        Raise Problem (NOT_FOUND) if there is no such session, and StorageError.
        """
        while True:
            own = await self._resources.get(own_name)
            head = sessions.head_of(own.entries)
            record = directory.live_session_record(head.tenant, customer.id)
            target = await self._live_session(record, customer)
            suits = await self._claim(head, customer) and head.state == session_pb2.SESSION_STATE_ACTIVE
            if target is None:
                target = own if suits else await self._fresh(head, customer)
            target = await self._go_on(own, target, customer, channel, join=suits)
            target_id = sessions.head_of(target.entries).id.encode()
            if await self._storage.put(record, target_id, now=now_ms(), if_absent=True):
                return target
            if await self._storage.get(record, now_ms()) == target_id:
                return target
            # Another hub was first; the session that it named is the live one.

    async def _live_session(self, record: str, customer: Customer) -> Live | None:
        value = await self._storage.get(record, now_ms())
        if value is None:
            return None
        live = await self._resources.get(names.session(value.decode()))
        if live.exists and customer_of(live.entries) == customer.id:
            return live
        await self._storage.delete(record)
        return None

    async def _claim(self, session: session_pb2.Session, customer: Customer) -> bool:
        """Whether a session is this customer's or, until now, nobody's. From now on it is nobody else's."""
        record, now = directory.session_customer_record(session.id), now_ms()
        until, value = now + CUSTOMER_KEPT_MS, customer.id.encode()
        if not await self._storage.put(record, value, until=until, now=now, if_absent=True):
            if await self._storage.get(record, now) != value:
                return False
            await self._storage.put(record, value, until=until, now=now)
        await self._storage.add(directory.sessions_of(session.tenant, customer.id), session.id)
        return True

    async def _fresh(self, like: session_pb2.Session, customer: Customer) -> Live:
        session_id = new_id()
        await self._claim(session_pb2.Session(id=session_id, tenant=like.tenant), customer)
        market = Market(like.store, like.country, like.currency_code, like.locale)
        entries = sessions.new(session_id, like.tenant, market, now_ms())
        return await self._amender.amend(names.session(session_id), lambda _: entries)

    async def _go_on(self, own: Live, target: Live, customer: Customer, channel: str, *, join: bool) -> Live:
        if target is own and customer_of(own.entries) == customer.id:
            return own
        now = now_ms()
        head, target_head = sessions.head_of(own.entries), sessions.head_of(target.entries)
        # Nothing is taken from a session that is signed in as somebody else: only the caller leaves it.
        taken = own.entries if customer_of(own.entries) in ("", customer.id) else {}
        customers = await self._open_carts(head.tenant, customer)
        active = await self._filled(target, customers)
        if not active and f"cart/{head.active_cart_id}" in taken and await self._assign(head, customer):
            active = head.active_cart_id
            customers.append(active)
        if target is not own and join:
            # What comes to the session from here on goes to the other one by itself.
            taken = (await self._amender.amend(own.name, lambda e: sign_in.joined(e, target_head.id, now))).entries
        guests = {cart.cart_id for cart in sessions.carts_of(taken) if cart.guest}
        carts = [session_pb2.SessionCart(cart_id=id_, guest=id_ not in customers) for id_ in {*guests, *customers}]
        result = await self._amender.amend(
            target.name,
            lambda entries: sign_in.signed_in(
                entries,
                customer_id=customer.id,
                display_name=customer.display_name,
                channel=channel,
                carts=carts,
                views=sessions.views_of(taken),
                active=active or target_head.active_cart_id or sessions.newest(customers),
                now=now,
            ),
        )
        if target is not own and taken:
            await self._amender.amend(own.name, sign_in.emptied)
        return result

    async def _open_carts(self, tenant: str, customer: Customer) -> list[str]:
        """The customer's carts that are open, newest first."""
        key = directory.carts_of_customer(tenant, customer.id)
        found = []
        for cart_id in await self._storage.members(key, limit=sessions.MAX_CARTS):
            head = _head(await self._resources.get(names.cart(cart_id)))
            if head.customer_id == customer.id and head.state == cart_pb2.CART_STATE_ACTIVE:
                found.append(cart_id)
        return found

    async def _filled(self, target: Live, carts: list[str]) -> str:
        """The cart to go on with, as something is in it: what the live session shows, else the customer's newest."""
        shown = sessions.head_of(target.entries).active_cart_id if customer_of(target.entries) else ""
        for cart_id in (shown, *carts):
            if cart_id:
                live = await self._resources.get(names.cart(cart_id))
                if _head(live).state == cart_pb2.CART_STATE_ACTIVE and any(k.startswith("line/") for k in live.entries):
                    return cart_id
        return ""

    async def _assign(self, session: session_pb2.Session, customer: Customer) -> bool:
        """Make the guest's active cart the customer's; whether it is."""
        live = await self._resources.get(names.cart(session.active_cart_id))
        head = _head(live)
        if head.state != cart_pb2.CART_STATE_ACTIVE or head.WhichOneof("owner") != "anonymous_id":
            return False
        await self._storage.add(directory.carts_of_customer(session.tenant, customer.id), head.id)
        await self._amender.amend(live.name, lambda entries: sign_in.assigned(entries, customer.id))
        return _head(live).customer_id == customer.id


def _head(live: Live) -> cart_pb2.Cart:
    return cart_pb2.Cart.FromString(live.entries.get("cart", b""))
