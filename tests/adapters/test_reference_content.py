"""What the reference adapter promises of content beyond the contract, on the entries it is seeded with."""

from typing import Any

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import content_service_pb2
from legato.commerce.v1 import content_pb2
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.conformance.wire import TIMEOUT_S
from tests.adapters.tried import REFERENCE

Code = grpc.StatusCode
DRAFT, PUBLISHED = content_pb2.CONTENT_STATE_DRAFT, content_pb2.CONTENT_STATE_PUBLISHED


async def entry(stubs: Stubs, locale: str = "en", **fields: Any) -> content_pb2.ContentEntry:
    context = REFERENCE.context()
    context.locale = locale
    request = content_service_pb2.GetEntryRequest(context=context, **{"type": "article", **fields})
    return (await stubs.content.GetEntry(request, timeout=TIMEOUT_S)).entry


async def listed(stubs: Stubs, locale: str = "en", **fields: Any) -> content_service_pb2.ListEntriesResponse:
    context = REFERENCE.context()
    context.locale = locale
    request = content_service_pb2.ListEntriesRequest(context=context, **{"type": "article", "page_size": 100, **fields})
    return await stubs.content.ListEntries(request, timeout=TIMEOUT_S)


async def test_an_entry_by_id_and_by_slug(stubs: Stubs) -> None:
    found = await entry(stubs, entry_id="pitching")
    assert (found.id, found.type, found.slug, found.locale) == ("pitching", "article", "pitching-in-a-storm", "en")
    assert found.state == PUBLISHED
    assert dict(found.fields.items())["title"] == "Pitching in a storm"
    assert list(found.fields["tags"]) == ["tents", "weather"]  # type: ignore[arg-type]
    assert "slug" not in found.fields
    assert found.HasField("updated_at")
    assert found.HasField("published_at")
    by_slug = await entry(stubs, slug="pitching-in-a-storm")
    assert (by_slug.id, by_slug.fields) == (found.id, found.fields)


@pytest.mark.parametrize(
    ("locale", "found"), [("de", "de"), ("de-AT", "de"), ("DE-de", "de"), ("", "en"), ("fr", "en"), ("en-GB", "en")]
)
async def test_the_nearest_locale(stubs: Stubs, locale: str, found: str) -> None:
    assert (await entry(stubs, locale, entry_id="pitching")).locale == found


async def test_what_is_not_translated_is_not_there(stubs: Stubs) -> None:
    assert (await entry(stubs, entry_id="water")).locale == "en"
    for key in ({"entry_id": "water"}, {"slug": "water-on-the-way"}):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await entry(stubs, "de", **key)
        assert caught.value.code() is Code.NOT_FOUND
    assert "water" not in {found.id for found in (await listed(stubs, "de")).entries}


async def test_a_draft_says_what_is_not_published(stubs: Stubs) -> None:
    published = await entry(stubs, entry_id="layers", state=PUBLISHED)
    draft = await entry(stubs, entry_id="layers", state=DRAFT)
    assert (published.state, draft.state) == (PUBLISHED, DRAFT)
    assert published.fields["body"] != draft.fields["body"]
    assert draft.HasField("published_at")
    same = await entry(stubs, entry_id="pitching", state=DRAFT)
    assert same.fields == (await entry(stubs, entry_id="pitching")).fields
    never = await entry(stubs, entry_id="autumn", state=DRAFT)
    assert not never.HasField("published_at")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await entry(stubs, entry_id="autumn")
    assert caught.value.code() is Code.NOT_FOUND


async def test_a_list_page_by_page(stubs: Stubs) -> None:
    whole = await listed(stubs)
    assert [found.id for found in whole.entries] == ["pitching", "layers", "water"]
    assert not whole.next_page_token
    first = await listed(stubs, page_size=2)
    second = await listed(stubs, page_size=2, page_token=first.next_page_token)
    assert [found.id for found in (*first.entries, *second.entries)] == [found.id for found in whole.entries]
    assert not second.next_page_token
    assert len((await listed(stubs, state=DRAFT)).entries) == 4
    (banner,) = (await listed(stubs, type="banner")).entries
    assert banner.slug == ""
    assert banner.fields["priority"] == 1
