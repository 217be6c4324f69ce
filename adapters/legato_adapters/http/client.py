"""One backend over HTTP: a pool of connections, bounded answers, and errors by what they may have done.

    client = HttpClient("shop", "https://shop.example", tokens=Tokens(...))
    await client.open()
    answer = await client.read(call, "GET", "/carts/{id}", parts={"id": cart_id})
    answer = await client.write(call, "POST", "/carts", json=draft)

A request is a read, a keyed write or a plain write. A read may be sent again, and so may a write that the backend
deduplicates by a key in it: that is done once, when the connection broke or a gateway had no answer, and time is left.
A plain write is sent again only where it certainly had no effect: after a 401, with a new token, and after a 429.
"""

import asyncio
import base64
import time
from collections.abc import Mapping
from enum import Enum
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from legato_adapters.http.answers import Answer, read_answer
from legato_adapters.http.call import Call
from legato_adapters.http.errors import Busy, Denied, NoAnswer, NotSent, Refused
from legato_adapters.http.spans import RequestSpan
from legato_adapters.http.tokens import Tokens

__all__ = ["HttpClient", "base_url"]

MAX_ANSWER = 8 * 1024 * 1024
TIMEOUT_S = 10.0
"""For a request of a call without a deadline, and the most for any other."""
PATIENCE_S = 1.0
"""A Retry-After up to this is waited for, once, where the deadline allows."""
_CONNECT_TIMEOUT_S = 3.0
_CONNECTIONS = 64
# Node closes idle connections after 5 s; a request that crosses that close would be lost without need.
_KEEPALIVE_S = 4.0
_GATEWAY = frozenset({502, 503, 504})

Form = Mapping[str, str] | list[tuple[str, str]]
Query = Mapping[str, str | int] | list[tuple[str, str | int]]


class _Kind(Enum):
    READ = "read"
    KEYED = "keyed write"
    PLAIN = "plain write"


class HttpClient:
    """The connections to one backend, of one tenant. To be opened and closed in the loop that uses it.

    `headers` go with every request and may hold secrets. With `tokens` each request carries a bearer token.
    """

    def __init__(
        self,
        system: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        tokens: Tokens | None = None,
        max_answer: int = MAX_ANSWER,
    ) -> None:
        self.system = system
        self._base = base_url(url)
        self._host = URL(self._base).host or ""
        self._headers = dict(headers or {})
        self._tokens = tokens
        self._max_answer = max_answer
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        sent = aiohttp.TraceConfig()
        sent.on_request_headers_sent.append(_note_sent)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=_KEEPALIVE_S),
            # What a backend sets for one shopper must not go along with another's request.
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[sent],
            headers={"Accept": "application/json", **self._headers},
        )

    async def close(self) -> None:
        if self._tokens is not None:
            await self._tokens.close()
        if self._session is not None:
            await self._session.close()

    async def read(self, call: Call, method: str, template: str, **request: Any) -> Answer:
        """Send what changes nothing, whatever its method. Arguments as with `write`; raises ApiError."""
        return await self._persist(_Kind.READ, call, method, template, request)

    async def write(self, call: Call, method: str, template: str, *, keyed: bool = False, **request: Any) -> Answer:
        """Send a change; `keyed`: the backend knows it again, by something in it. Raises ApiError.

        `template` is a path whose {names} are filled, quoted, from `parts`: traces show the template alone. Further
        arguments: `query`, and at most one of `json` (any JSON value) and `form`; `headers`; `basic` (name, password).
        """
        return await self._persist(_Kind.KEYED if keyed else _Kind.PLAIN, call, method, template, request)

    async def _persist(self, kind: _Kind, call: Call, method: str, template: str, request: dict[str, Any]) -> Answer:
        """Send it, and once more for each reason there is: a new token, a short wait, a lost repeatable request."""
        renewed = waited = repeated = False
        while True:
            token = await self._tokens.get(call) if self._tokens is not None and "basic" not in request else ""
            try:
                return await self._send(kind, call, method, template, token, **request)
            except Denied:
                if renewed or not token or self._tokens is None:
                    raise
                self._tokens.spoil(token)
                renewed = True
            except Busy as busy:
                if waited or not _bearable(busy, call):
                    raise
                await asyncio.sleep(busy.retry_after or 0.0)
                waited = True
            except NoAnswer as lost:
                again = not lost.timed_out and (lost.status == 0 or lost.status in _GATEWAY)
                if kind is _Kind.PLAIN or repeated or not again:
                    raise
                repeated = True

    async def _send(
        self,
        kind: _Kind,
        call: Call,
        method: str,
        template: str,
        token: str,
        *,
        parts: Mapping[str, str] | None = None,
        query: Query | None = None,
        json: Any = None,
        form: Form | None = None,
        headers: Mapping[str, str] | None = None,
        basic: tuple[str, str] | None = None,
    ) -> Answer:
        assert self._session is not None, "opened before use"
        url = self._url(template, parts or {}, query)
        timeout = call.left(TIMEOUT_S)
        state = SimpleNamespace(sent=False)
        touched = call.touched
        with RequestSpan(method, template or "/", self.system, self._host, call.traceparent) as span:
            given = dict(headers or {})
            if token:
                given["Authorization"] = f"Bearer {token}"
            elif basic:
                given["Authorization"] = "Basic " + base64.b64encode(":".join(basic).encode()).decode()
            if span.traceparent:
                given["traceparent"] = span.traceparent
            try:
                async with self._session.request(
                    method,
                    url,
                    json=json,
                    data=form,
                    headers=given,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=timeout, connect=min(_CONNECT_TIMEOUT_S, timeout)),
                    trace_request_ctx=(state, call, kind),
                ) as response:
                    span.answered(response.status)
                    return await read_answer(self.system, response, self._max_answer)
            except (Refused, Denied, Busy):
                call.touched = touched
                raise
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                timed_out = isinstance(error, TimeoutError)
                what = "no answer in time" if timed_out else type(error).__name__
                # Texts of these errors name addresses, and what stands in a query is nobody's business.
                if not state.sent:
                    raise NotSent(f"{self.system} cannot be reached: {what}") from None
                raise NoAnswer(f"{self.system}: {what}", timed_out=timed_out) from None

    def _url(self, template: str, parts: Mapping[str, str], query: Query | None) -> URL:
        if any(part in {"", ".", ".."} for part in parts.values()):
            # A server would read another path out of it; and nothing has such a name.
            raise Refused(self.system, 404)
        path = template.format_map({name: quote(part, safe="") for name, part in parts.items()})
        url = URL(self._base + path, encoded=True)
        return url.with_query(query) if query else url


async def _note_sent(_session: object, context: SimpleNamespace, _parameters: object) -> None:
    """aiohttp says this just before the first byte goes out: from here on nothing is certain."""
    state, call, kind = context.trace_request_ctx
    if state.sent and kind is _Kind.PLAIN:
        # aiohttp itself repeats a DELETE or PUT whose connection was closed, though it may have been executed.
        raise aiohttp.ServerDisconnectedError
    state.sent = True
    if kind is not _Kind.READ:
        call.touched = True


def _bearable(busy: Busy, call: Call) -> bool:
    if busy.retry_after is None or busy.retry_after > PATIENCE_S:
        return False
    return call.deadline is None or call.deadline - time.monotonic() > 2 * busy.retry_after


def base_url(url: str) -> str:
    """The address without a slash at its end. ValueError for anything but http(s), or with user, query, fragment."""
    try:
        parsed = URL(url)
        acceptable = parsed.scheme in {"http", "https"} and parsed.host and not parsed.user
    except ValueError:
        acceptable = False
    if not acceptable or "?" in url or "#" in url:
        raise ValueError("url must be an http(s) address without user, query or fragment")
    return url.rstrip("/")
