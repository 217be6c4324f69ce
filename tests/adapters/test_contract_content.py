"""The adapter contract: content, on the entries that the reference adapter is seeded with."""

from typing import Any

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import content_service_pb2
from legato.commerce.v1 import content_pb2
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.conformance.wire import TIMEOUT_S
from tests.adapters.shops import Shop

pytestmark = [pytest.mark.usefixtures("placement"), pytest.mark.claims("CONTENT")]

Code = grpc.StatusCode
DRAFT, PUBLISHED = content_pb2.CONTENT_STATE_DRAFT, content_pb2.CONTENT_STATE_PUBLISHED


async def entry(shop: Shop, stubs: Stubs, locale: str = "en", **fields: Any) -> content_pb2.ContentEntry:
    context = shop.context()
    context.locale = locale
    request = content_service_pb2.GetEntryRequest(context=context, **{"type": "article", **fields})
    return (await stubs.content.GetEntry(request, timeout=TIMEOUT_S)).entry


async def listed(
    shop: Shop, stubs: Stubs, locale: str = "en", **fields: Any
) -> content_service_pb2.ListEntriesResponse:
    context = shop.context()
    context.locale = locale
    request = content_service_pb2.ListEntriesRequest(context=context, **{"type": "article", "page_size": 100, **fields})
    return await stubs.content.ListEntries(request, timeout=TIMEOUT_S)


async def test_an_entry_by_id_and_by_slug(shop: Shop, stubs: Stubs) -> None:
    found = await entry(shop, stubs, entry_id="pitching")
    assert (found.id, found.type, found.slug, found.locale) == ("pitching", "article", "pitching-in-a-storm", "en")
    assert found.state == PUBLISHED
    assert dict(found.fields.items())["title"] == "Pitching in a storm"
    assert list(found.fields["tags"]) == ["tents", "weather"]  # type: ignore[arg-type]
    assert "slug" not in found.fields
    assert found.HasField("updated_at")
    assert found.HasField("published_at")
    by_slug = await entry(shop, stubs, slug="pitching-in-a-storm")
    assert (by_slug.id, by_slug.fields) == (found.id, found.fields)


@pytest.mark.parametrize(
    ("locale", "found"), [("de", "de"), ("de-AT", "de"), ("DE-de", "de"), ("", "en"), ("fr", "en"), ("en-GB", "en")]
)
async def test_the_nearest_locale(shop: Shop, stubs: Stubs, locale: str, found: str) -> None:
    assert (await entry(shop, stubs, locale, entry_id="pitching")).locale == found


async def test_what_is_not_translated_is_not_there(shop: Shop, stubs: Stubs) -> None:
    assert (await entry(shop, stubs, entry_id="water")).locale == "en"
    for key in ({"entry_id": "water"}, {"slug": "water-on-the-way"}):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await entry(shop, stubs, "de", **key)
        assert caught.value.code() is Code.NOT_FOUND
    assert "water" not in {found.id for found in (await listed(shop, stubs, "de")).entries}


async def test_a_draft_says_what_is_not_published(shop: Shop, stubs: Stubs) -> None:
    published = await entry(shop, stubs, entry_id="layers", state=PUBLISHED)
    draft = await entry(shop, stubs, entry_id="layers", state=DRAFT)
    assert (published.state, draft.state) == (PUBLISHED, DRAFT)
    assert published.fields["body"] != draft.fields["body"]
    assert draft.HasField("published_at")
    same = await entry(shop, stubs, entry_id="pitching", state=DRAFT)
    assert same.fields == (await entry(shop, stubs, entry_id="pitching")).fields
    never = await entry(shop, stubs, entry_id="autumn", state=DRAFT)
    assert not never.HasField("published_at")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await entry(shop, stubs, entry_id="autumn")
    assert caught.value.code() is Code.NOT_FOUND


async def test_a_list_page_by_page(shop: Shop, stubs: Stubs) -> None:
    whole = await listed(shop, stubs)
    assert [found.id for found in whole.entries] == ["pitching", "layers", "water"]
    assert not whole.next_page_token
    first = await listed(shop, stubs, page_size=2)
    second = await listed(shop, stubs, page_size=2, page_token=first.next_page_token)
    assert [found.id for found in (*first.entries, *second.entries)] == [found.id for found in whole.entries]
    assert not second.next_page_token
    assert len((await listed(shop, stubs, state=DRAFT)).entries) == 4
    (banner,) = (await listed(shop, stubs, type="banner")).entries
    assert banner.slug == ""
    assert banner.fields["priority"] == 1


async def test_no_such_thing(shop: Shop, stubs: Stubs) -> None:
    for work in (
        entry(shop, stubs, entry_id="nowhere"),
        entry(shop, stubs, slug=""),
        entry(shop, stubs, type="poem", entry_id="pitching"),
        entry(shop, stubs, type="banner", entry_id="pitching"),
        listed(shop, stubs, type="poem"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await work
        assert caught.value.code() is Code.NOT_FOUND


async def test_malformed_requests(shop: Shop, stubs: Stubs) -> None:
    token = (await listed(shop, stubs, page_size=1)).next_page_token
    for work in (
        entry(shop, stubs),
        entry(shop, stubs, type="", entry_id="pitching"),
        listed(shop, stubs, type=""),
        listed(shop, stubs, page_size=0),
        listed(shop, stubs, page_size=101),
        listed(shop, stubs, page_token="nonsense"),
        listed(shop, stubs, page_token=token, state=DRAFT),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await work
        assert caught.value.code() is Code.INVALID_ARGUMENT
