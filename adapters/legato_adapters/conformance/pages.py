"""What every list promises: pages that hold each entry once, and bounds on what may be asked."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from legato_adapters.conformance.check import Broken, Code, Skipped, broken, ends_with, expect

MOST_PAGES = 1000


@dataclass(frozen=True)
class Listing:
    """One list: `page(page_size, page_token)` asks, `ids` reads an answer."""

    page: Callable[[int, str], Awaitable[Any]]
    ids: Callable[[Any], Sequence[str]]

    async def all(self, page_size: int) -> list[str]:
        """The ids on all pages, in order; Broken if the pages do not end, are too long, or hold something twice."""
        seen: list[str] = []
        token = ""
        tokens = {""}
        for _ in range(MOST_PAGES):
            answer = await self.page(page_size, token)
            ids = self.ids(answer)
            expect(len(ids) <= page_size, f"a page of {page_size} has {len(ids)} entries")
            if twice := sorted(set(seen) & set(ids)) or sorted({id for id in ids if ids.count(id) > 1}):
                broken(f"{twice[0]} is on two pages, or twice on one")
            seen += ids
            token = answer.next_page_token
            if not token:
                return seen
            expect(token not in tokens, "a page token repeats: the pages do not end")
            expect(ids, "a page before the last one is empty")
            tokens.add(token)
        raise Broken(f"the list does not end after {MOST_PAGES} pages")

    async def refuses(self) -> None:
        """Sizes out of range, and tokens that are none, are INVALID_ARGUMENT."""
        for size in (0, -1, 101):
            await ends_with(self.page(size, ""), f"page size {size}", Code.INVALID_ARGUMENT)
        await ends_with(self.page(2, "nonsense"), "a page token that is none", Code.INVALID_ARGUMENT)

    async def token(self) -> str:
        """A page token; Skipped where the list has one page only."""
        token: str = (await self.page(1, "")).next_page_token
        if not token:
            raise Skipped("the list has one page only")
        return token
