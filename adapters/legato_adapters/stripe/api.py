"""Stripe's API: the requests that the adapter makes, and no meaning."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from legato_adapters.http import Call, HttpClient, Malformed, all_pages

__all__ = ["MOST_LISTED", "StripeApi"]

# The shape of what Stripe answers goes by this, and not by what the account was set up for.
API_VERSION = "2024-06-20"
MOST_LISTED = 2_000
_EXPAND = [("expand[]", "latest_charge"), ("expand[]", "payment_method")]
_PAGE = 100

_Form = Sequence[tuple[str, str]]
_Json = Mapping[str, Any]


class StripeApi:
    """One account. To be opened and closed in the loop that uses it."""

    def __init__(self, secret_key: str, url: str) -> None:
        if not secret_key or not secret_key.isascii() or not secret_key.isprintable() or " " in secret_key:
            raise ValueError("secret_key must be a key of Stripe's")
        headers = {"Authorization": f"Bearer {secret_key}", "Stripe-Version": API_VERSION}
        self._client = HttpClient("Stripe", url, headers=headers)

    async def open(self) -> None:
        await self._client.open()

    async def close(self) -> None:
        await self._client.close()

    async def probe(self, call: Call) -> None:
        await self._client.read(call, "GET", "/v1/payment_intents", query=[("limit", 1)])

    async def intent(self, call: Call, id: str) -> _Json:
        answer = await self._client.read(call, "GET", "/v1/payment_intents/{id}", parts={"id": id}, query=_EXPAND)
        return answer.object

    async def refunds(self, call: Call, id: str) -> list[_Json]:
        """All refunds of an intent."""
        return [item async for item in self._list(call, "/v1/refunds", [("payment_intent", id)])]

    def intents_since(self, call: Call, moment: int) -> AsyncIterator[_Json]:
        """The intents that were made since a time in seconds, newest first, at most MOST_LISTED."""
        return self._list(call, "/v1/payment_intents", [("created[gte]", str(moment))])

    async def create(self, call: Call, key: str, form: _Form) -> _Json:
        return await self._post(call, key, "/v1/payment_intents", "", form)

    async def capture(self, call: Call, key: str, id: str, form: _Form) -> None:
        await self._post(call, key, "/v1/payment_intents/{id}/capture", id, form)

    async def cancel(self, call: Call, key: str, id: str) -> None:
        await self._post(call, key, "/v1/payment_intents/{id}/cancel", id, [])

    async def refund(self, call: Call, key: str, form: _Form) -> None:
        await self._post(call, key, "/v1/refunds", "", form)

    async def _post(self, call: Call, key: str, template: str, id: str, form: _Form) -> _Json:
        answer = await self._client.write(
            call,
            "POST",
            template,
            keyed=True,
            parts={"id": id} if id else {},
            form=list(form),
            headers={"Idempotency-Key": key},
        )
        return answer.object

    def _list(self, call: Call, path: str, query: _Form) -> AsyncIterator[_Json]:
        async def fetch(after: str) -> tuple[list[_Json], str | None]:
            position = [("starting_after", after)] if after else []
            answer = await self._client.read(call, "GET", path, query=[*query, ("limit", str(_PAGE)), *position])
            items = answer.object["data"]
            if not isinstance(items, list):
                raise Malformed("Stripe answered a list that is none")
            return items, items[-1]["id"] if items and answer.object["has_more"] else None

        return all_pages(fetch, "", MOST_LISTED)
