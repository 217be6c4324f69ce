"""Reading carts and sessions, at least as new as the caller has seen them."""

import asyncio

from legato.commerce.v1 import cart_pb2
from legato.orchestrator.v1 import cursor_pb2, error_pb2, reads_pb2
from legato.protocol import resources as names
from legato.protocol.entities import assemble_cart, assemble_session
from legato.protocol.ids import is_uuid7
from legato.protocol.resources import Kind
from legato_hub import directory
from legato_hub.access import Access
from legato_hub.core.access import customer_of
from legato_hub.core.identity import Identity, IdentityKind
from legato_hub.core.outbox import to_cursor
from legato_hub.core.problem import Problem, invalid, not_found
from legato_hub.core.sessions import head_of, timestamp
from legato_hub.live import Live
from legato_hub.live_resources import LiveResources
from legato_hub.storage.base import Storage

LONGEST_WAIT_S = 5.0
"""For a revision that is on its way, where the caller has no earlier deadline."""

SCANNED_AT_MOST = 200
"""Carts looked at for one page; a page may be shorter than asked for, and the next one goes on."""

PAGE_SIZE, MAX_PAGE_SIZE = 20, 100


class Reads:
    """All methods may raise StorageError. Timeouts are in seconds; None is no deadline."""

    def __init__(self, storage: Storage, resources: LiveResources, access: Access) -> None:
        self._storage = storage
        self._resources = resources
        self._access = access

    async def cart(
        self, identity: Identity, request: reads_pb2.GetCartRequest, timeout: float | None
    ) -> reads_pb2.GetCartResponse:
        """One cart. Not to be changed by the caller: it is given to others, too.

        Raise Problem: INVALID_FIELD, NOT_FOUND, and what `at_least` raises.
        """
        resource, live = await self._access.resource(identity, request.resource)
        if resource.kind is Kind.SESSION:
            raise invalid("resource", "must be carts/{uuid7} or sessions/{uuid7}/active_cart")
        if resource.kind is Kind.ACTIVE_CART:
            active = head_of(live.entries).active_cart_id
            if not active:
                raise not_found(request.resource)
            live = await self._access.cart(identity, active)
        await self.at_least(live, request.min_cursor if request.HasField("min_cursor") else None, timeout)
        return self.answer(live)

    async def session(
        self, identity: Identity, request: reads_pb2.GetSessionRequest, timeout: float | None
    ) -> reads_pb2.GetSessionResponse:
        """One session. Raise Problem: INVALID_FIELD, NOT_FOUND, and what `at_least` raises."""
        session_id = request.session_id
        if not session_id and identity.kind is IdentityKind.SHOPPER:
            session_id = identity.subject
        if not is_uuid7(session_id):
            what = (
                "must be a UUIDv7 in lower-case hyphenated form" if session_id else "is required: you have no session"
            )
            raise invalid("session_id", what)
        live = await self._access.session(identity, session_id)
        await self.at_least(live, request.min_cursor if request.HasField("min_cursor") else None, timeout)
        return reads_pb2.GetSessionResponse(session=assemble_session(live.entries), cursor=to_cursor(live.cursor))

    async def carts(
        self, identity: Identity, request: reads_pb2.ListCartsRequest, timeout: float | None
    ) -> reads_pb2.ListCartsResponse:
        """A page of carts, newest first.

        Raise Problem: INVALID_FIELD; NOT_ALLOWED for channels, and for a customer filter of all but services and
        operators; and what `at_least` raises.
        """
        size = _page_size(identity, request)
        if request.HasField("min_cursor"):
            name = request.min_cursor_resource
            resource, live = await self._access.resource(identity, name, "min_cursor_resource")
            if resource.kind is not Kind.CART:
                raise invalid("min_cursor_resource", "must be carts/{uuid7}")
            await self.at_least(live, request.min_cursor, timeout)
        keys, also = await self._where_to_look(identity, request.customer_id)
        found: list[Live] = []
        scanned, before = 0, request.page_token
        while len(found) <= size and scanned < SCANNED_AT_MOST:
            batch = await self._newest(keys, also, before, MAX_PAGE_SIZE)
            for cart_id in batch:
                live = await self._resources.get(names.cart(cart_id))
                if await self._listed(identity, live, request, keys):
                    found.append(live)
                    if len(found) > size:
                        break
                before = cart_id
            scanned += len(batch)
            if len(batch) < MAX_PAGE_SIZE and len(found) <= size:
                before = ""
                break
        answers = [self.answer(live) for live in found[:size]]
        summaries = [reads_pb2.CartSummary(cart=answer.cart, cursor=answer.cursor) for answer in answers]
        return reads_pb2.ListCartsResponse(carts=summaries, next_page_token=before)

    def answer(self, live: Live) -> reads_pb2.GetCartResponse:
        """A loaded cart as an answer. The hottest read: assembled once for each revision and time of reading."""
        if live.answer is not None and live.answer[0] == live.observed_at:
            return live.answer[1]
        cart = assemble_cart(live.entries)
        if live.observed_at > cart.provenance.observed_at.ToMilliseconds():
            # The backend was read again and said the same: no revision came of it, but it is known to be so fresh.
            cart.provenance.observed_at.CopyFrom(timestamp(live.observed_at))
        answer = reads_pb2.GetCartResponse(cart=cart, cursor=to_cursor(live.cursor))
        live.answer = live.observed_at, answer
        return answer

    async def at_least(self, live: Live, cursor: cursor_pb2.Cursor | None, timeout: float | None) -> None:
        """Wait until a resource is as new as a cursor.

        Raise Problem: EPOCH_MISMATCH; CURSOR_AHEAD where the storage itself is not that far; DEADLINE_EXCEEDED.
        """
        if cursor is None:
            return
        if live.expecting:
            await self._resources.reload(live)
        if cursor.epoch != live.cursor.epoch:
            raise Problem(error_pb2.ERROR_REASON_EPOCH_MISMATCH, "min_cursor belongs to another epoch")
        if cursor.revision <= live.revision:
            return
        stored = await self._storage.load(live.name)
        if stored is None or stored.cursor.revision < cursor.revision:
            raise Problem(error_pb2.ERROR_REASON_CURSOR_AHEAD, "min_cursor is ahead of the hub")
        try:
            async with asyncio.timeout(LONGEST_WAIT_S if timeout is None else min(timeout, LONGEST_WAIT_S)):
                await self._resources.reload(live)
                await live.reached(cursor.revision)
        except TimeoutError:
            message = "the revision of min_cursor did not arrive in time"
            raise Problem(error_pb2.ERROR_REASON_DEADLINE_EXCEEDED, message) from None

    async def _where_to_look(self, identity: Identity, customer_id: str) -> tuple[list[str], list[str]]:
        """Sets that hold all carts of a list, and single carts that may stand in none of them."""
        tenant = identity.tenant
        match identity.kind:
            case IdentityKind.SHOPPER:
                entries = (await self._resources.get(names.session(identity.subject))).entries
                customer = customer_of(entries)
                keys = [directory.carts_of(identity)]
                if customer:
                    keys.append(directory.carts_of_customer(tenant, customer))
                return keys, [key.removeprefix("cart/") for key in entries if key.startswith("cart/")]
            case IdentityKind.TERMINAL:
                return [directory.carts_of(identity), directory.carts_of_store(tenant, identity.store)], []
        if customer_id:
            return [directory.carts_of_customer(tenant, customer_id)], []
        return [directory.carts_of_tenant(tenant)], []

    async def _newest(self, keys: list[str], also: list[str], before: str, limit: int) -> list[str]:
        members = await asyncio.gather(*(self._storage.members(key, before=before, limit=limit) for key in keys))
        below = (cart_id for cart_id in also if not before or cart_id < before)
        return sorted({*below, *(cart_id for found in members for cart_id in found)}, reverse=True)[:limit]

    async def _listed(
        self, identity: Identity, live: Live, request: reads_pb2.ListCartsRequest, keys: list[str]
    ) -> bool:
        if not await self._access.sees(identity, live):
            # Where somebody looks the sets are tidied, of carts that will not be again and of grants past their time. A
            # cart that does not exist yet stays: whoever put it in is about to commit it.
            stale = keys if live.tombstone else [directory.carts_of(identity)] if live.exists else []
            await asyncio.gather(*(self._storage.remove(key, live.name.removeprefix("carts/")) for key in stale))
            return False
        head = live.head()
        fits = request.state in (cart_pb2.CART_STATE_UNSPECIFIED, head.state)
        return fits and request.customer_id in ("", head.customer_id)


def _page_size(identity: Identity, request: reads_pb2.ListCartsRequest) -> int:
    if identity.kind is IdentityKind.CHANNEL:
        raise Problem(error_pb2.ERROR_REASON_NOT_ALLOWED, "a channel's key sees no carts: start a session")
    if request.customer_id and identity.kind not in (IdentityKind.SERVICE, IdentityKind.OPERATOR):
        raise Problem(error_pb2.ERROR_REASON_NOT_ALLOWED, "only services and operators list a customer's carts")
    if len(request.customer_id) > 256:
        raise invalid("customer_id", "must have at most 256 characters")
    if request.state not in cart_pb2.CartState.values():
        raise invalid("state", "is not a known state")
    if not 0 <= request.page_size <= MAX_PAGE_SIZE:
        raise invalid("page_size", f"must be 1 to {MAX_PAGE_SIZE}, or 0 for {PAGE_SIZE}")
    if request.page_token and not is_uuid7(request.page_token):
        raise invalid("page_token", "is none that a page came with")
    if request.min_cursor_resource and not request.HasField("min_cursor"):
        raise invalid("min_cursor_resource", "means nothing without min_cursor")
    return request.page_size or PAGE_SIZE
