"""Content: what the contract asks for, as requests of Strapi's."""

import time
from collections.abc import Mapping
from typing import Any

import grpc

from legato.adapter.v1 import content_service_pb2
from legato.commerce.v1 import content_pb2
from legato_adapters.http import Call, Failure, Refused, check_page_size, page_position, page_token
from legato_adapters.strapi.api import StrapiApi
from legato_adapters.strapi.mapping import SYSTEM, choose_locale, entry_of, is_public

__all__ = ["Content"]

Code = grpc.StatusCode
_DRAFT = content_pb2.CONTENT_STATE_DRAFT
_PUBLISHED = content_pb2.CONTENT_STATE_PUBLISHED
# A locale that editors add is known after this.
Documents = list[dict[str, Any]]
_LOCALES_S = 60.0


class Content:
    """The entries of one Strapi; `types` from the hub's names to Strapi's."""

    def __init__(self, api: StrapiApi, url: str, types: Mapping[str, str], slug_field: str) -> None:
        self._api = api
        self._url = url
        self._types = types
        self._slug_field = slug_field
        self._locales: list[dict[str, Any]] = []
        self._locales_until = 0.0

    async def probe(self, call: Call) -> None:
        await self._api.entries(call, next(iter(self._types.values())), "published", "", limit=1)

    async def get(
        self, call: Call, request: content_service_pb2.GetEntryRequest
    ) -> content_service_pb2.GetEntryResponse:
        plural = self._plural(request.type)
        if not request.entry_id and not request.slug:
            raise Failure(Code.INVALID_ARGUMENT, "entry_id or slug must be set")
        state, status = _state(request.state)
        locale = await self._locale(call, request.context.locale)
        if request.entry_id:
            documents = [await self._api.entry(call, plural, request.entry_id, status, locale)]
        else:
            documents = await self._by_slug(call, plural, request.slug, status, locale)
        for document in documents:
            if state == _DRAFT or is_public(document):
                return content_service_pb2.GetEntryResponse(entry=self._entry(document, request.type, state))
        raise Failure(Code.NOT_FOUND, "there is no such entry")

    async def list(
        self, call: Call, request: content_service_pb2.ListEntriesRequest
    ) -> content_service_pb2.ListEntriesResponse:
        plural = self._plural(request.type)
        check_page_size(request.page_size)
        state, status = _state(request.state)
        locale = await self._locale(call, request.context.locale)
        listing = (request.type, status, locale)
        start = int(page_position(request.page_token, *listing) or "0")
        documents, total = await self._api.entries(call, plural, status, locale, start=start, limit=request.page_size)
        after = start + len(documents)
        return content_service_pb2.ListEntriesResponse(
            entries=(
                self._entry(document, request.type, state)
                for document in documents
                if state == _DRAFT or is_public(document)
            ),
            next_page_token=page_token(str(after), *listing) if documents and after < total else "",
        )

    async def _by_slug(self, call: Call, plural: str, slug: str, status: str, locale: str) -> Documents:
        try:
            documents, _ = await self._api.entries(
                call, plural, status, locale, limit=1, equal=(self._slug_field, slug)
            )
        except Refused as refused:
            if refused.status == 400:
                raise Failure(Code.NOT_FOUND, "entries of this type have no slug") from None
            raise
        return documents

    def _plural(self, type: str) -> str:
        if not type:
            raise Failure(Code.INVALID_ARGUMENT, "type must be set")
        if type not in self._types:
            raise Failure(Code.NOT_FOUND, "there is no such type")
        return self._types[type]

    async def _locale(self, call: Call, wanted: str) -> str:
        if time.monotonic() >= self._locales_until:
            self._locales = await self._api.locales(call)
            self._locales_until = time.monotonic() + _LOCALES_S
        return choose_locale(wanted, self._locales)

    def _entry(
        self, document: Mapping[str, Any], type: str, state: "content_pb2.ContentState.ValueType"
    ) -> content_pb2.ContentEntry:
        entry = entry_of(document, type, state, slug_field=self._slug_field, url=self._url)
        entry.provenance.source = SYSTEM
        entry.provenance.observed_at.GetCurrentTime()
        return entry


def _state(state: "content_pb2.ContentState.ValueType") -> "tuple[content_pb2.ContentState.ValueType, str]":
    """The state, and Strapi's word for it. Only who asks for drafts gets them."""
    return (_DRAFT, "draft") if state == _DRAFT else (_PUBLISHED, "published")
