"""Strapi's REST API: the requests that the adapter makes, and no meaning."""

from typing import Any

from legato_adapters.http import Call, HttpClient, Refused

__all__ = ["StrapiApi"]


class StrapiApi:
    """One Strapi. To be opened and closed in the loop that uses it. `status` is "published" or "draft", `locale` may be
    empty."""

    def __init__(self, url: str, token: str) -> None:
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError("token must be an API token of Strapi's")
        self._client = HttpClient("Strapi", url, headers={"Authorization": f"Bearer {token}"})

    async def open(self) -> None:
        await self._client.open()

    async def close(self) -> None:
        await self._client.close()

    async def locales(self, call: Call) -> list[dict[str, Any]]:
        """The locales of this Strapi; none where it does not translate, or does not tell us."""
        try:
            data: list[dict[str, Any]] = (await self._client.read(call, "GET", "/api/i18n/locales")).data
        except Refused as refused:
            if refused.status in {403, 404}:
                return []
            raise
        return data

    async def entry(self, call: Call, plural: str, id: str, status: str, locale: str) -> dict[str, Any]:
        query = _query(status, locale)
        answer = await self._client.read(call, "GET", "/api/{type}/{id}", parts={"type": plural, "id": id}, query=query)
        entry: dict[str, Any] = answer.object["data"]
        return entry

    async def entries(
        self,
        call: Call,
        plural: str,
        status: str,
        locale: str,
        *,
        start: int = 0,
        limit: int,
        equal: tuple[str, str] | None = None,
    ) -> tuple[list[dict[str, Any]], int]:
        """Some entries in the order of their ids, and how many there are; `equal`: a field and its value."""
        query = [
            *_query(status, locale),
            ("sort", "documentId:asc"),
            ("pagination[start]", str(start)),
            ("pagination[limit]", str(limit)),
        ]
        if equal is not None:
            query.append((f"filters[{equal[0]}][$eq]", equal[1]))
        answer = await self._client.read(call, "GET", "/api/{type}", parts={"type": plural}, query=query)
        return answer.object["data"], int(answer.object["meta"]["pagination"]["total"])


def _query(status: str, locale: str) -> list[tuple[str, str]]:
    return [("status", status), ("populate", "*"), *([("locale", locale)] if locale else [])]
