"""Sharing a cart by a short code: how a till gets at the cart on a phone without being almighty."""

import secrets
from collections import OrderedDict, deque

from legato.orchestrator.v1 import error_pb2, reads_pb2
from legato.protocol.ids import is_uuid7
from legato_hub import directory
from legato_hub.access import Access
from legato_hub.clock import now_ms
from legato_hub.core import share_codes
from legato_hub.core.identity import Identity, IdentityKind
from legato_hub.core.problem import Problem, invalid
from legato_hub.core.sessions import timestamp
from legato_hub.reads import Reads
from legato_hub.storage.base import Storage

CODE_MS = 10 * 60_000
"""How long a code can be looked up."""

GRANT_MS = 12 * 3_600_000
"""How long the access lasts that it gives."""

WRONG_CODES = 5
WRONG_WINDOW_MS = 60_000
"""So many wrong codes in so long, then the caller waits."""

GUESSERS_KEPT = 10_000

_SHARE = (IdentityKind.SHOPPER, IdentityKind.TERMINAL, IdentityKind.SERVICE)


class Sharing:
    """All methods may raise StorageError."""

    def __init__(self, storage: Storage, access: Access, reads: Reads) -> None:
        self._storage = storage
        self._access = access
        self._reads = reads
        self._guesses = Guesses()

    async def share(self, identity: Identity, request: reads_pb2.ShareCartRequest) -> reads_pb2.ShareCartResponse:
        """A new code for a cart. Raise Problem: NOT_ALLOWED for channels and operators, NOT_FOUND, INVALID_FIELD."""
        if identity.kind not in _SHARE:
            raise Problem(error_pb2.ERROR_REASON_NOT_ALLOWED, "only shoppers, terminals and services share carts")
        if not is_uuid7(request.cart_id):
            raise invalid("cart_id", "must be a UUIDv7 in lower-case hyphenated form")
        await self._access.cart(identity, request.cart_id)
        now, value = now_ms(), request.cart_id.encode()
        while True:
            code = share_codes.code_of(secrets.randbits(5 * share_codes.LENGTH))
            record = directory.share_record(identity.tenant, code)
            if await self._storage.put(record, value, until=now + CODE_MS, now=now, if_absent=True):
                return reads_pb2.ShareCartResponse(code=share_codes.shown(code), expires_at=timestamp(now + CODE_MS))

    async def look_up(
        self, identity: Identity, request: reads_pb2.LookUpCartRequest, timeout: float | None
    ) -> reads_pb2.LookUpCartResponse:
        """The cart of a code, which the caller may see from now on. `timeout` in seconds, for `min_cursor`.

        Raise Problem: NOT_ALLOWED for channels, INVALID_FIELD for what cannot be a code, SHARE_CODE_INVALID, THROTTLED
        after too many wrong ones, and what `Reads.at_least` raises.
        """
        if identity.kind is IdentityKind.CHANNEL:
            raise Problem(error_pb2.ERROR_REASON_NOT_ALLOWED, "a channel's key sees no carts: start a session")
        code = share_codes.normalise(request.code)
        if code is None:
            raise invalid("code", f"must be {share_codes.LENGTH} characters of 0-9 and A-Z without I, L, O and U")
        now = now_ms()
        # Counted before it is known to be wrong, so that many at once are no way round the limit.
        self._guesses.count(identity.principal, now)
        value = await self._storage.get(directory.share_record(identity.tenant, code), now)
        if value is None:
            raise Problem(error_pb2.ERROR_REASON_SHARE_CODE_INVALID, "the code is wrong or past its time")
        self._guesses.forgive(identity.principal)
        cart_id = value.decode()
        await self._access.grant(identity, cart_id, now + GRANT_MS)
        live = await self._access.cart(identity, cart_id)
        await self._reads.at_least(live, request.min_cursor if request.HasField("min_cursor") else None, timeout)
        read = self._reads.answer(live)
        return reads_pb2.LookUpCartResponse(
            cart=read.cart, cursor=read.cursor, access_expires_at=timestamp(now + GRANT_MS)
        )


class Guesses:
    """Wrong codes of the last minute by whoever tried them. Knows the latest GUESSERS_KEPT principals only."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, deque[int]] = OrderedDict()

    def count(self, principal: str, now: int) -> None:
        """Count a try. Raise Problem (THROTTLED) instead if there were too many."""
        times = self._times.setdefault(principal, deque())
        self._times.move_to_end(principal)
        while times and times[0] <= now - WRONG_WINDOW_MS:
            times.popleft()
        if len(times) >= WRONG_CODES:
            wait = times[0] + WRONG_WINDOW_MS - now
            raise Problem(error_pb2.ERROR_REASON_THROTTLED, "too many wrong codes: wait", retry_ms=wait)
        times.append(now)
        if len(self._times) > GUESSERS_KEPT:
            self._times.popitem(last=False)

    def forgive(self, principal: str) -> None:
        """The latest try was right."""
        times = self._times.get(principal)
        if times:
            times.pop()
