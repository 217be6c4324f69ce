"""Full-text search over the catalog: a small inverted index in memory.

SQLite's FTS5 would do it too, but not every Python is built with it, and a catalog that is in memory anyway is searched
faster there. Every word of a query must occur as the beginning of a word of the product, in any language the shop has;
a hit in the name counts more than one in the description, a whole word more than its beginning, a rare word more than a
frequent one.
"""

import base64
import binascii
import bisect
import hashlib
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence

from legato_adapters.reference.catalog import Product

_WORD = re.compile(r"\w+")
_NAME, _BRAND, _TEXT = 8.0, 4.0, 1.0


def words(text: str) -> list[str]:
    """Words in lower case without accents."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return _WORD.findall("".join(character for character in plain if not unicodedata.combining(character)))


class SearchIndex:
    """Finds products by words."""

    def __init__(self, products: Sequence[Product]) -> None:
        self._products = products
        self._weights: dict[str, dict[int, float]] = {}
        for position, product in enumerate(products):
            for weight, text in _texts(product):
                for word in words(text):
                    entry = self._weights.setdefault(word, {})
                    entry[position] = max(entry.get(position, 0.0), weight)
        self._words = sorted(self._weights)

    def find(self, query: str, category: str) -> list[Product]:
        """The hits, best first; equals, and all of an empty query, in the catalog's order."""
        scores = dict.fromkeys(range(len(self._products)), 0.0)
        for word in words(query):
            found = self._score(word)
            scores = {position: scores[position] + found[position] for position in scores.keys() & found.keys()}
        ranked = sorted(scores, key=lambda position: (-scores[position], position))
        products = [self._products[position] for position in ranked]
        return [product for product in products if not category or category in product.categories]

    def _score(self, beginning: str) -> dict[int, float]:
        scores: dict[int, float] = {}
        for word in self._words[bisect.bisect_left(self._words, beginning) :]:
            if not word.startswith(beginning):
                break
            entry = self._weights[word]
            rarity = math.log(1 + len(self._products) / len(entry)) * (1.0 if word == beginning else 0.5)
            for position, weight in entry.items():
                scores[position] = max(scores.get(position, 0.0), weight * rarity)
        return scores


def _texts(product: Product) -> Iterator[tuple[float, str]]:
    for name in product.names.values():
        yield _NAME, name
    yield _BRAND, product.brand
    for text in (*product.descriptions.values(), *product.categories):
        yield _TEXT, text
    for variant in product.variants:
        yield _BRAND, variant.sku
        for _, value in variant.options:
            yield _TEXT, value


def page_token(offset: int, search: Sequence[str]) -> str:
    """A token for the page that begins at `offset` of the search that `search` describes."""
    return base64.urlsafe_b64encode(_fingerprint(search) + offset.to_bytes(4)).decode()


def page_offset(token: str, search: Sequence[str]) -> int:
    """The offset in a token; ValueError if it is none, or of another search. An empty one begins at the beginning."""
    if not token:
        return 0
    try:
        raw = base64.b64decode(token, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("the page token is malformed") from error
    if len(raw) != 12 or raw[:8] != _fingerprint(search):
        raise ValueError("the page token is not of this search")
    return int.from_bytes(raw[8:])


def _fingerprint(search: Sequence[str]) -> bytes:
    return hashlib.sha256("\0".join(search).encode()).digest()[:8]
