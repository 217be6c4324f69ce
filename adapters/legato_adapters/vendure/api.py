"""GraphQL over HTTP as Vendure speaks it, and errors by what they mean.

Vendure fails in three ways: errors of business inside `data` (left to the caller), `errors` beside it with status 200,
and `errors` or anything else with another status.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yarl import URL

from legato_adapters.http import ApiError, Busy, Call, HttpClient, NoAnswer, NotSent
from legato_adapters.http import Refused as HttpRefused

__all__ = ["Answer", "ApiError", "Busy", "NoAnswer", "NotSent", "Refused", "VendureApi", "endpoint"]

TOKEN_HEADER = "vendure-auth-token"
READ_TIMEOUT_S = 10.0
MUTATION_TIMEOUT_S = 10.0

_WITHOUT_EFFECT = frozenset(
    {
        *("BAD_REQUEST", "BAD_USER_INPUT", "GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED"),
        *("ENTITY_NOT_FOUND", "FORBIDDEN", "UNAUTHORIZED", "USER_INPUT_ERROR"),
    }
)
"""Codes with which Vendure refuses a request before it does anything, or rolls the transaction back."""


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
        self._client = HttpClient("Vendure", address)

    async def open(self) -> None:
        await self._client.open()

    async def close(self) -> None:
        await self._client.close()

    async def post(
        self,
        document: str,
        variables: Mapping[str, Any] | None = None,
        *,
        token: str = "",
        parameters: Mapping[str, str] | None = None,
        timeout: float,
    ) -> Answer:
        """Execute one operation within `timeout` seconds, and never twice; raises ApiError."""
        try:
            answer = await self._client.write(
                Call.within(timeout),
                "POST",
                "",
                query=parameters or {},
                json={"query": document, "variables": variables or {}},
                headers={"Authorization": f"Bearer {token}"} if token else {},
            )
        except HttpRefused as refused:
            if refused.status == 400 and refused.said.get("errors"):
                raise _refusal(refused.said["errors"]) from None
            raise NoAnswer(f"Vendure answered HTTP {refused.status} with what is no GraphQL") from None
        return Answer(_data(answer.object), answer.headers.get(TOKEN_HEADER, ""))


def _data(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    if errors := answer.get("errors"):
        raise _refusal(errors)
    data = answer.get("data")
    if not isinstance(data, dict):
        raise NoAnswer("Vendure answered with JSON that is no GraphQL")
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
