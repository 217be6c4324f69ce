"""Strapi 5 as a content backend: entries by type, locale and state, through its REST API.

Everything is asked for with the token and with a state: Strapi gives drafts to anybody who asks for them, once
the public may read a type.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from legato_adapters.strapi.adapter import StrapiAdapter

__all__ = ["create"]


def create(*, url: str, token: str, types: Mapping[str, str], slug_field: str = "slug") -> "StrapiAdapter":
    """The adapter to the Strapi at `url`, with an API token that may read the `types`.

    `types` from the name that the hub uses to the plural name of the content type in Strapi's addresses, for example
    {"banner": "banners"}; others do not exist. Needs extra `http`. Raises ValueError for options that are none.
    """
    from legato_adapters.strapi.adapter import StrapiAdapter

    return StrapiAdapter(url, token, types, slug_field)
