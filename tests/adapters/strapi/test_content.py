"""The Strapi adapter on payloads recorded from Strapi 5.54.0, and on answers that make no sense."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.adapter.v1 import content_service_pb2, content_service_pb2_grpc, identity_service_pb2
from legato.adapter.v1 import identity_service_pb2_grpc as identity_grpc
from legato.commerce.v1 import content_pb2
from legato.hosting import AdapterLoadError, load_adapter
from legato.local_channel import LocalChannel
from legato_adapters.strapi.mapping import choose_locale, entry_of
from tests.support.bad_answers import SECRET, SENSELESS
from tests.support.http_backend import HttpBackend, answer
from tests.support.http_proxy import Reply

DRAFT, PUBLISHED = content_pb2.CONTENT_STATE_DRAFT, content_pb2.CONTENT_STATE_PUBLISHED
SUMMER_ID = "ihvly18aqrhw0n6m5drb2ush"
SUMMER = {
    "id": 2,
    "documentId": SUMMER_ID,
    "title": "Summer",
    "slug": "summer",
    "body": "# hi",
    "sku": "SKU1",
    "createdAt": "2026-11-25T05:46:09.647Z",
    "updatedAt": "2026-11-25T05:46:09.647Z",
    "publishedAt": "2026-11-25T05:46:09.665Z",
}
SUMMER_DRAFT = {**SUMMER, "id": 1, "publishedAt": None}
OTHER_DRAFT = {**SUMMER_DRAFT, "id": 3, "documentId": "rb20y0zbd55m2ftl3f8aaar4", "slug": "draft", "body": None}
LOCALES = [{"id": 1, "documentId": "bgdoucu6mmcj1vbd3fits6su", "code": "en", "isDefault": True}]
NOT_FOUND = {"data": None, "error": {"status": 404, "name": "NotFoundError", "message": "Not Found", "details": {}}}
INVALID = {"data": None, "error": {"status": 400, "name": "ValidationError", "message": "Invalid key swordfish"}}
OPTIONS = {"token": "swordfish", "types": {"banner": "banners"}}


class Reader:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.content: content_service_pb2_grpc.ContentServiceAsyncStub = content_service_pb2_grpc.ContentServiceStub(
            channel
        )
        self.identity: identity_grpc.IdentityServiceAsyncStub = identity_grpc.IdentityServiceStub(channel)

    async def get(self, type: str = "banner", **more: Any) -> content_pb2.ContentEntry:
        request = content_service_pb2.GetEntryRequest(type=type, **more)
        return (await self.content.GetEntry(request, timeout=20)).entry

    async def list(
        self, type: str = "banner", page_size: int = 2, **more: Any
    ) -> content_service_pb2.ListEntriesResponse:
        request = content_service_pb2.ListEntriesRequest(type=type, page_size=page_size, **more)
        return await self.content.ListEntries(request, timeout=20)


@pytest.fixture
async def backend() -> AsyncIterator[HttpBackend]:
    async with HttpBackend() as backend:
        yield backend


@contextlib.asynccontextmanager
async def reader_of(backend: HttpBackend) -> AsyncIterator[Reader]:
    adapter = load_adapter("legato_adapters.strapi:create", {"url": backend.url, **OPTIONS})
    async with LocalChannel() as channel:
        adapter.add_to(channel)
        await adapter.start()
        yield Reader(channel)
    await adapter.close()


@pytest.fixture
async def reader(backend: HttpBackend) -> AsyncIterator[Reader]:
    backend.always("/api/i18n/locales", answer(said(LOCALES)))
    async with reader_of(backend) as reader:
        yield reader


def said(data: Any, status: int = 200) -> Reply:
    return Reply(json.dumps(data).encode(), status)


def page(*documents: Any, total: int | None = None) -> Reply:
    return said({"data": documents, "meta": {"pagination": {"total": len(documents) if total is None else total}}})


def asked(backend: HttpBackend) -> dict[str, str]:
    return dict(backend.requests[-1]["query"])


async def failed(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_claims_and_a_sign_of_life(backend: HttpBackend, reader: Reader) -> None:
    info = await reader.identity.GetInfo(identity_service_pb2.GetInfoRequest(contract_versions=["1.1"]))
    assert list(info.capabilities) == [identity_service_pb2.CAPABILITY_CONTENT]
    backend.on("/api/banners", answer(page(SUMMER)))
    await reader.identity.Probe(identity_service_pb2.ProbeRequest())


async def test_an_entry_by_its_id(backend: HttpBackend, reader: Reader) -> None:
    backend.on(f"/api/banners/{SUMMER_ID}$", answer(said({"data": SUMMER, "meta": {}})))
    entry = await reader.get(entry_id=SUMMER_ID, context={"locale": "en-GB"})
    assert (entry.id, entry.type, entry.slug, entry.state) == (SUMMER_ID, "banner", "summer", PUBLISHED)
    assert set(entry.fields) == {"title", "body", "sku", "createdAt"}
    assert entry.published_at.ToJsonString() == SUMMER["publishedAt"]
    assert asked(backend) == {"status": "published", "populate": "*", "locale": "en"}
    assert backend.requests[-1]["headers"]["Authorization"] == "Bearer swordfish"


async def test_an_entry_by_its_slug(backend: HttpBackend, reader: Reader) -> None:
    backend.on("/api/banners$", answer(page(SUMMER)), answer(page()), answer(said(INVALID, 400)))
    assert (await reader.get(slug="summer")).id == SUMMER_ID
    assert asked(backend)["filters[slug][$eq]"] == "summer"
    assert (await failed(reader.get(slug="none"))).code() is grpc.StatusCode.NOT_FOUND
    assert (await failed(reader.get(slug="no-slugs"))).code() is grpc.StatusCode.NOT_FOUND


async def test_drafts_only_for_who_asks(backend: HttpBackend, reader: Reader) -> None:
    drafts = page(SUMMER_DRAFT, OTHER_DRAFT)
    backend.on("/api/banners$", answer(drafts), answer(drafts), answer(drafts))
    listed = await reader.list(state=DRAFT)
    assert asked(backend)["status"] == "draft"
    assert [entry.slug for entry in listed.entries] == ["summer", "draft"]
    assert not listed.entries[0].HasField("published_at")
    assert not (await reader.list()).entries
    assert asked(backend)["status"] == "published"
    assert (await failed(reader.get(slug="draft"))).code() is grpc.StatusCode.NOT_FOUND
    assert asked(backend)["status"] == "published"


async def test_pages(backend: HttpBackend, reader: Reader) -> None:
    backend.on("/api/banners$", answer(page(SUMMER, SUMMER, total=3)), answer(page(SUMMER, total=3)))
    first = await reader.list()
    assert asked(backend)["pagination[start]"] == "0"
    second = await reader.list(page_token=first.next_page_token)
    assert (asked(backend)["pagination[start]"], asked(backend)["sort"]) == ("2", "documentId:asc")
    assert not second.next_page_token
    for token in ("x", first.next_page_token):
        error = await failed(reader.list(page_token=token, state=DRAFT))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_what_does_not_exist_and_what_is_malformed(backend: HttpBackend, reader: Reader) -> None:
    backend.always("/api/banners", answer(said(NOT_FOUND, 404)))
    for call in (reader.get(entry_id="none"), reader.get(entry_id=".."), reader.get(type="no", slug="x")):
        assert (await failed(call)).code() is grpc.StatusCode.NOT_FOUND
    assert (await failed(reader.list(type="../admin"))).code() is grpc.StatusCode.NOT_FOUND
    malformed: list[Any] = [reader.get(), reader.get(type="", slug="x"), reader.list(page_size=0)]
    malformed.append(reader.list(page_size=101))
    for bad in malformed:
        assert (await failed(bad)).code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("bad", SENSELESS, ids=str)
async def test_senseless_answers(backend: HttpBackend, caplog: pytest.LogCaptureFixture, bad: str) -> None:
    backend.always(".", answer(SENSELESS[bad]))
    async with reader_of(backend) as reader:
        error = await failed(reader.list())
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert SECRET not in f"{error.details()} {caplog.text}"


async def test_a_refused_token(backend: HttpBackend, reader: Reader, caplog: pytest.LogCaptureFixture) -> None:
    backend.always("/api/banners", answer(said({"error": {"message": SECRET}}, 401)))
    error = await failed(reader.list())
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert SECRET not in f"{error.details()} {caplog.text}"


@pytest.mark.parametrize("wrong", [{"token": ""}, {"types": {}}, {"slug_field": "a]["}, {"url": "ftp://x"}])
def test_wrong_options(wrong: dict[str, Any]) -> None:
    with pytest.raises(AdapterLoadError) as caught:
        load_adapter("legato_adapters.strapi:create", {"url": "http://127.0.0.1:1", **OPTIONS, **wrong})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "chosen"), [("de-AT", "de-AT"), ("de", "de"), ("de-CH", "de"), ("fr", "fr-CA"), ("ja", "en"), ("", "en")]
)
def test_locales(wanted: str, chosen: str) -> None:
    locales = [{"code": code, "isDefault": code == "en"} for code in ("de-AT", "de", "en", "fr-CA")]
    assert choose_locale(wanted, locales) == chosen
    assert choose_locale(wanted, []) == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_any_field_survives(value: Any) -> None:
    entry = entry_of({**SUMMER, "body": [value]}, "banner", PUBLISHED, slug_field="slug", url="http://cms.example")
    expected = content_pb2.ContentEntry()
    expected.fields.update({"body": [value]})
    assert entry.fields.fields["body"] == expected.fields.fields["body"]


def test_media_have_whole_addresses() -> None:
    image = {"mime": "image/png", "url": "/uploads/a.png", "formats": {"small": {"mime": "image/png", "url": "/b.png"}}}
    entry = entry_of({**SUMMER, "image": image}, "banner", PUBLISHED, slug_field="slug", url="http://cms.example")
    told: Any = entry.fields["image"]
    assert told["url"] == "http://cms.example/uploads/a.png"
    assert told["formats"]["small"]["url"] == "http://cms.example/b.png"
