"""The HTTP API of one commercetools project: requests, pages, and what its refusals say."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import grpc

from legato_adapters.http import Call, Failure, HttpClient, Malformed, Refused, Tokens, client_credentials

__all__ = ["Api", "Json", "codes", "details"]

Json = Mapping[str, Any]

CHANGE_TIMEOUT_S = 10.0
_ATTEMPTS = 8
_PROJECT_KEY = re.compile(r"[A-Za-z0-9_-]{2,36}")
SYSTEM = "commercetools"
PAGE = 500


class Api:
    """One project. To be opened and closed in the loop that uses it. Its methods raise ApiError."""

    def __init__(
        self, url: str, auth_url: str, project_key: str, client_id: str, client_secret: str, scope: str
    ) -> None:
        if not _PROJECT_KEY.fullmatch(project_key):
            raise ValueError("project_key must be 2 to 36 letters, digits, hyphens and underscores")
        self._auth = HttpClient(SYSTEM, auth_url)
        tokens = Tokens(client_credentials(self._auth, "/oauth/token", client_id, client_secret, scope))
        self._client = HttpClient(SYSTEM, f"{url.rstrip('/')}/{project_key}", tokens=tokens)

    async def open(self) -> None:
        await self._auth.open()
        await self._client.open()

    async def close(self) -> None:
        await self._client.close()
        await self._auth.close()

    async def get(self, call: Call, template: str, query: Sequence[tuple[str, str]] = (), **parts: str) -> Json:
        return (await self._client.read(call, "GET", template, parts=parts, query=list(query))).object

    async def find(self, call: Call, template: str, query: Sequence[tuple[str, str]] = (), **parts: str) -> Json | None:
        """The same, or None where there is no such thing."""
        try:
            return await self.get(call, template, query, **parts)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    async def search(self, call: Call, template: str, body: Json) -> Json:
        """A read by POST."""
        return (await self._client.read(call, "POST", template, json=body)).object

    async def query(
        self,
        call: Call,
        template: str,
        where: str = "",
        *,
        variables: Mapping[str, str | Sequence[str]] | None = None,
        expand: Sequence[str] = (),
        more: Sequence[tuple[str, str]] = (),
        limit: int = PAGE,
    ) -> list[Json]:
        """The first `limit` (at most 500) results. Values stand in `variables`, never in the predicate."""
        query: list[tuple[str, str]] = [("limit", str(limit)), *more]
        if where:
            query.append(("where", where))
        for name, value in (variables or {}).items():
            values = [value] if isinstance(value, str) else value
            query += [(f"var.{name}", text) for text in values]
        query += [("expand", path) for path in expand]
        results = (await self.get(call, template, query))["results"]
        if not isinstance(results, list):
            raise Malformed("commercetools answered with results that are no list")
        return results

    async def post(
        self, call: Call, template: str, body: Json, query: Sequence[tuple[str, str]] = (), **parts: str
    ) -> Json:
        """A change, followed to its end."""
        call.see_through(CHANGE_TIMEOUT_S)
        return (await self._client.write(call, "POST", template, json=body, parts=parts, query=list(query))).object

    async def revise(
        self,
        call: Call,
        template: str,
        resource: Json,
        decide: Callable[[Json], Awaitable[list[Json]]],
        query: Sequence[tuple[str, str]] = (),
    ) -> Json:
        """Bring a resource to where `decide` wants it: its update actions are for the version that it was shown.

        When somebody else was quicker it is shown the newer one. What `decide` raises passes; no actions, no change.
        """
        for _ in range(_ATTEMPTS):
            actions = await decide(resource)
            if not actions:
                return resource
            body = {"version": resource["version"], "actions": actions}
            try:
                return await self.post(call, template, body, query, id=resource["id"])
            except Refused as refused:
                if refused.status != 409:
                    raise
            current = await self.find(call, template, query, id=resource["id"])
            if current is None:
                raise Failure(grpc.StatusCode.NOT_FOUND, "it was deleted meanwhile")
            resource = current
        raise Failure(grpc.StatusCode.UNAVAILABLE, "too many others change it at this moment", without_effect=True)


def codes(refused: Refused) -> list[str]:
    """The codes of commercetools' errors, the first of which is the cause."""
    return [str(error.get("code", "")) for error in details(refused)]


def details(refused: Refused) -> list[Json]:
    """The errors themselves. They may quote the request."""
    errors = refused.said.get("errors")
    return [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
