"""GraphQL over HTTP as Vendure speaks it: one pool of connections, bounded answers, and errors by what they mean.

Vendure fails in three ways: errors of business inside `data` (left to the caller), `errors` beside it with status 200,
and `errors` or anything else with another status.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import aiohttp
from yarl import URL

__all__ = ["Answer", "ApiError", "Busy", "NoAnswer", "NotSent", "Refused", "VendureApi", "endpoint"]

TOKEN_HEADER = "vendure-auth-token"
MAX_ANSWER = 8 * 1024 * 1024
READ_TIMEOUT_S = 10.0
MUTATION_TIMEOUT_S = 10.0
_CONNECT_TIMEOUT_S = 3.0
_CONNECTIONS = 64
# Node closes idle connections after 5 s; a request that crosses that close would be lost without need.
_KEEPALIVE_S = 4.0

_WITHOUT_EFFECT = frozenset(
    {
        *("BAD_REQUEST", "BAD_USER_INPUT", "GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED"),
        *("ENTITY_NOT_FOUND", "FORBIDDEN", "UNAUTHORIZED", "USER_INPUT_ERROR"),
    }
)
"""Codes with which Vendure refuses a request before it does anything, or rolls the transaction back."""


class ApiError(Exception):
    """No usable answer. The text is for developers and holds nothing that the server or the caller said."""


class NotSent(ApiError):
    """The request certainly did not reach the server."""


class NoAnswer(ApiError):
    """The request was sent and no answer that makes sense came: what it did is unknown."""

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        super().__init__(message)
        self.timed_out = timed_out


class Busy(ApiError):
    """The server asks to slow down; the request had no effect."""


class Refused(ApiError):
    """Vendure answered with `errors` and did nothing. `code` is its own; `text` may quote the request."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"Vendure refuses with {code}")
        self.code = code
        self.text = text


@dataclass(frozen=True)
class Answer:
    """`data` of a request that succeeded, and the token of a session that was made for it, if one was."""

    data: Mapping[str, Any]
    new_token: str = field(repr=False)


def endpoint(url: str) -> str:
    """The address of the shop API: that of the server, or what it is mapped to. ValueError for anything but http(s)."""
    parsed = URL(url)
    if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.user or parsed.query_string:
        raise ValueError("url must be an http(s) address without user or query")
    return str(parsed if parsed.path != "/" else parsed / "shop-api")


class VendureApi:
    """One GraphQL endpoint. To be opened and closed in the loop that uses it."""

    def __init__(self, address: str) -> None:
        self._address = URL(address)
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        sent = aiohttp.TraceConfig()
        sent.on_request_headers_sent.append(_mark_sent)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=_KEEPALIVE_S),
            # A cookie would let all carts share one session.
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[sent],
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(
        self,
        document: str,
        variables: Mapping[str, Any] | None = None,
        *,
        token: str = "",
        parameters: Mapping[str, str] | None = None,
        timeout: float,
    ) -> Answer:
        """Execute one operation within `timeout` seconds; raises ApiError."""
        assert self._session is not None, "opened before use"
        state = SimpleNamespace(sent=False)
        try:
            async with self._session.post(
                self._address.with_query(parameters or {}),
                json={"query": document, "variables": variables or {}},
                headers={"Authorization": f"Bearer {token}"} if token else {},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout, connect=min(_CONNECT_TIMEOUT_S, timeout)),
                trace_request_ctx=state,
            ) as response:
                body = await _read(response)
                return Answer(_data(response, body), response.headers.get(TOKEN_HEADER, ""))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            what = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
            if not state.sent:
                raise NotSent(f"Vendure cannot be reached: {what}") from error
            raise NoAnswer(f"Vendure: {what}", timed_out=isinstance(error, TimeoutError)) from error


async def _mark_sent(_session: object, context: SimpleNamespace, _parameters: object) -> None:
    """aiohttp says this just before the first byte goes out: from here on nothing is certain."""
    context.trace_request_ctx.sent = True


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        body += chunk
        if len(body) > MAX_ANSWER:
            raise NoAnswer(f"Vendure answered with more than {MAX_ANSWER} bytes")
    return bytes(body)


def _data(response: aiohttp.ClientResponse, body: bytes) -> Mapping[str, Any]:
    status = response.status
    if status == 429:
        raise Busy("Vendure asks to slow down")
    if response.content_type not in {"application/json", "application/graphql-response+json"}:
        raise NoAnswer(f"Vendure answered HTTP {status} without JSON")
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NoAnswer(f"Vendure answered HTTP {status} with broken JSON") from error
    if not isinstance(answer, dict):
        raise NoAnswer(f"Vendure answered HTTP {status} with JSON that is no GraphQL")
    errors = answer.get("errors")
    if errors and status in {200, 400}:
        raise _refusal(errors)
    data = answer.get("data")
    if status != 200 or errors or not isinstance(data, dict):
        raise NoAnswer(f"Vendure answered HTTP {status} with JSON that is no GraphQL")
    return data


def _refusal(errors: Any) -> ApiError:
    try:
        code = str(errors[0]["extensions"]["code"])
        text = str(errors[0]["message"])
    except (LookupError, TypeError):
        return NoAnswer("Vendure answered with errors of an unknown form")
    if code in _WITHOUT_EFFECT and len(errors) == 1:
        return Refused(code, text[:300])
    return NoAnswer("Vendure failed while it executed the request")


def left(deadline: float | None, most: float) -> float:
    """Seconds until `deadline` on the monotonic clock, at most `most`; raises NotSent when it has passed."""
    if deadline is None:
        return most
    remaining = min(deadline - time.monotonic(), most)
    if remaining <= 0:
        raise NotSent("the deadline has passed")
    return remaining
