"""Tokens that a backend gives and takes back: fetched once for all who wait, and again when they end."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from legato_adapters.http.call import Call
from legato_adapters.http.errors import ApiError, Busy, Denied, Malformed, NotSent, Refused

if TYPE_CHECKING:
    from legato_adapters.http.client import HttpClient

__all__ = ["Token", "Tokens", "client_credentials"]

FETCH_TIMEOUT_S = 10.0
_EARLY_S = 30.0


@dataclass(frozen=True, slots=True)
class Token:
    """One token; a secret. `lifetime` in seconds from now; None: until the server refuses it."""

    value: str = field(repr=False)
    lifetime: float | None = None


class Tokens:
    """Keeps one token. `fetch` gets a new one, and raises ApiError where there is none."""

    def __init__(self, fetch: Callable[[Call], Awaitable[Token]]) -> None:
        self._fetch = fetch
        self._value = ""
        self._until: float | None = None
        self._fetching: asyncio.Task[str] | None = None

    async def get(self, call: Call) -> str:
        """The token. Raises Denied, Busy, or NotSent: what it was wanted for has not been sent, for want of it."""
        if self._value and (self._until is None or self._until > time.monotonic()):
            return self._value
        if self._fetching is None:
            # All who wait share it: it must not end with the first of them.
            self._fetching = asyncio.create_task(self._renew(call.traceparent), name="fetch token")
            self._fetching.add_done_callback(self._fetched)
        try:
            return await asyncio.wait_for(asyncio.shield(self._fetching), call.left(FETCH_TIMEOUT_S))
        except TimeoutError:
            raise NotSent("no token in time") from None

    def spoil(self, value: str) -> None:
        """The server did not accept this token."""
        if value == self._value:
            self._value = ""

    async def close(self) -> None:
        """End a fetch that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    async def _renew(self, traceparent: str) -> str:
        call = Call(time.monotonic() + FETCH_TIMEOUT_S, traceparent)
        try:
            token = await self._fetch(call)
        except Refused as error:
            if error.status in {400, 403}:
                raise Denied(f"{error}: it does not accept our credentials") from None
            raise NotSent(f"no token: {error}") from None
        except (Denied, Busy, NotSent):
            raise
        except ApiError as error:
            raise NotSent(f"no token: {error}") from None
        if not token.value.isascii() or not token.value.isprintable():
            raise NotSent("no token: it cannot be sent in a header")
        self._value = token.value
        self._until = None
        if token.lifetime is not None:
            self._until = time.monotonic() + max(token.lifetime - _EARLY_S, token.lifetime / 2)
        return token.value

    def _fetched(self, task: "asyncio.Task[str]") -> None:
        self._fetching = None
        if not task.cancelled():
            # Whoever waited may be gone; an exception that nobody took is no news then.
            task.exception()


def client_credentials(
    client: "HttpClient", path: str, client_id: str, secret: str, scope: str = ""
) -> Callable[[Call], Awaitable[Token]]:
    """How to fetch a token by OAuth 2 client credentials from `path` of `client`."""

    async def fetch(call: Call) -> Token:
        form = {"grant_type": "client_credentials", **({"scope": scope} if scope else {})}
        answer = await client.read(call, "POST", path, form=form, basic=(client_id, secret))
        value, lifetime = answer.object.get("access_token"), answer.object.get("expires_in")
        if not isinstance(value, str) or not value or isinstance(lifetime, bool):
            raise Malformed("the answer holds no token")
        return Token(value, float(lifetime) if isinstance(lifetime, int | float) else None)

    return fetch
