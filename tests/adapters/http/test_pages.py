"""Page tokens, and a backend's own pages."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato_adapters.http import Failure, all_pages, check_page_size, page_position, page_token

words = st.lists(st.text(), max_size=4)


@given(st.text(min_size=1), words)
def test_a_token_gives_its_position_back(position: str, listing: list[str]) -> None:
    assert page_position(page_token(position, *listing), *listing) == position


@given(words, words)
def test_a_token_is_good_for_its_listing_only(listing: list[str], other: list[str]) -> None:
    token = page_token("40", *listing)
    if listing != other:
        with pytest.raises(Failure):
            page_position(token, *other)


@given(st.text(min_size=1))
def test_nonsense(token: str) -> None:
    with pytest.raises(Failure):
        page_position(token, "search")


@pytest.mark.parametrize("size", [-1, 0, 101])
def test_sizes(size: int) -> None:
    with pytest.raises(Failure):
        check_page_size(size)
    check_page_size(1)
    check_page_size(100)


async def test_all_pages() -> None:
    async def fetch(position: int) -> tuple[Sequence[int], int | None]:
        return range(position, min(position + 3, 8)), position + 3 if position < 6 else None

    assert [item async for item in all_pages(fetch, 0, 100)] == list(range(8))
    assert [item async for item in all_pages(fetch, 0, 4)] == list(range(4))


async def test_a_listing_without_an_end() -> None:
    async def fetch(position: int) -> tuple[Sequence[int], int | None]:
        return [], position

    assert [item async for item in all_pages(fetch, 0, 100)] == []
