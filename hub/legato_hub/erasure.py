"""Forgets a customer: finds everything that the hub keeps of one, and erases it.

Where a customer's data lives, and what becomes of it:

    sessions ever claimed for the customer   erased: login, history, log, results
    the customer's carts                     erased: addresses, e-mail, log, results, the adapter's notebook
    guest's carts of those sessions          erased
    where to find all these                  deleted, with what was granted to those sessions
    what hubs hold in memory                 dropped when the storage tells that it is lost
    share codes, others' grants              name a cart's id only, and end by themselves within hours
    bindings of client ids                   name a session's id only, and end by themselves

Sessions go first: whoever holds their tokens finds nothing from then on, and makes no new carts. The sets that lead to
it all go last, so that a call that was cut off can be completed by another.
"""

from dataclasses import dataclass

from legato.commerce.v1 import cart_pb2
from legato.orchestrator.v1 import error_pb2
from legato.protocol import resources as names
from legato_hub import directory
from legato_hub.clock import now_ms
from legato_hub.core.identity import Identity, IdentityKind
from legato_hub.core.problem import Problem
from legato_hub.storage.base import Storage

PASSES = 8
"""How often to look again for what came while the rest was being erased."""

PAGE = 1_000


@dataclass(slots=True)
class Erased:
    """How many there were."""

    sessions: int = 0
    carts: int = 0


class Erasure:
    """All methods may raise StorageError; then some of it is done, and calling again does the rest."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def erase(self, tenant: str, customer_id: str) -> Erased:
        """Erase a customer of a tenant. Raise Problem (RESOURCE_BUSY) if more and more comes meanwhile."""
        erased = Erased()
        for _ in range(PASSES):
            if not await self._erase_once(tenant, customer_id, erased):
                await self._storage.scrub()
                return erased
        message = "the customer is still making carts and sessions"
        raise Problem(error_pb2.ERROR_REASON_RESOURCE_BUSY, message, retry_ms=1_000)

    async def _erase_once(self, tenant: str, customer_id: str, erased: Erased) -> bool:
        """Whether there was anything."""
        storage = self._storage
        live_session = directory.live_session_record(tenant, customer_id)
        sessions_of = directory.sessions_of(tenant, customer_id)
        sessions = await self._all(sessions_of)
        signed_in = await storage.get(live_session, now_ms())
        if signed_in is not None:
            sessions.add(signed_in.decode())
        for session_id in sessions:
            await storage.erase(names.session(session_id), now_ms())
        looked_in = {directory.carts_of_customer(tenant, customer_id): ""}
        for session_id in sessions:
            principal = Identity(IdentityKind.SHOPPER, tenant, session_id)
            looked_in[directory.carts_of(principal)] = session_id
        found = False
        for key, session_id in looked_in.items():
            for cart_id in await self._all(key):
                found = True
                erased.carts += await self._erase_cart(cart_id, customer_id, sessions)
                if session_id:
                    shopper = Identity(IdentityKind.SHOPPER, tenant, session_id)
                    await storage.delete(directory.grant_record(shopper, cart_id))
                await storage.remove(key, cart_id)
        for session_id in sessions:
            await storage.delete(directory.session_customer_record(session_id))
            await storage.remove(sessions_of, session_id)
        await storage.delete(live_session)
        erased.sessions += len(sessions)
        return found or bool(sessions)

    async def _erase_cart(self, cart_id: str, customer_id: str, sessions: set[str]) -> bool:
        """Whether it was the customer's, or may become that: what is not there yet must not come any more."""
        name = names.cart(cart_id)
        loaded = await self._storage.load(name)
        head = cart_pb2.Cart.FromString(loaded.entries.get("cart", b"")) if loaded is not None else cart_pb2.Cart()
        if head.id and head.customer_id != customer_id and head.anonymous_id not in sessions:
            return False  # It was shared with the customer, and is somebody else's.
        await self._storage.erase(name, now_ms())
        for key in directory.sets_of(head) if head.id else ():
            await self._storage.remove(key, cart_id)
        return bool(head.id)

    async def _all(self, key: str) -> set[str]:
        """Every member of a set."""
        found: list[str] = []
        page = await self._storage.members(key, limit=PAGE)
        while page:
            found += page
            page = await self._storage.members(key, before=page[-1], limit=PAGE)
        return set(found)
