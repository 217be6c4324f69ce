"""Pages: the tokens that the contract hands out, and going through a backend's own."""

import base64
import binascii
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

import grpc

from legato_adapters.http.errors import Failure

__all__ = ["MAX_PAGE", "all_pages", "check_page_size", "page_position", "page_token"]

MAX_PAGE = 100

_Item = TypeVar("_Item")
_Position = TypeVar("_Position")


def check_page_size(size: int) -> None:
    """Raises Failure for a size that the contract does not allow."""
    if not 1 <= size <= MAX_PAGE:
        raise Failure(grpc.StatusCode.INVALID_ARGUMENT, f"page_size must be 1 to {MAX_PAGE}")


def page_token(position: str, *listing: str) -> str:
    """A token for `position` (an offset, a cursor), good only for the `listing` that these words describe."""
    raw = _digest(listing) + position.encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def page_position(token: str, *listing: str) -> str:
    """The position of a token of this listing, empty for an empty token; raises Failure for any other."""
    if not token:
        return ""
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        position = raw[_DIGEST:].decode()
    except (binascii.Error, ValueError):
        raw, position = b"", ""
    # What decodes to the same is the same only where it is written the same.
    if not position or page_token(position, *listing) != token:
        raise Failure(grpc.StatusCode.INVALID_ARGUMENT, "page_token is not one of this listing")
    return position


async def all_pages(
    fetch: Callable[[_Position], Awaitable[tuple[Sequence[_Item], _Position | None]]], start: _Position, most: int
) -> AsyncIterator[_Item]:
    """Every item of a backend's listing, page by page; no more than `most`, whatever the backend says.

    `fetch` gets a position, and gives the items there and the next position, None at the end.
    """
    position: _Position | None = start
    while position is not None and most > 0:
        items, position = await fetch(position)
        for item in items[:most]:
            yield item
        # An empty page in the middle must not keep us here for ever.
        most -= max(len(items), 1)


_DIGEST = 8


def _digest(listing: Sequence[str]) -> bytes:
    words = b"".join(len(word.encode()).to_bytes(4) + word.encode() for word in listing)
    return hashlib.sha256(words).digest()[:_DIGEST]
