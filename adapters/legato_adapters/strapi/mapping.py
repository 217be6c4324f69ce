"""From Strapi's documents to canonical entries. Pure: nothing here asks anybody."""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from legato.commerce.v1 import content_pb2, ref_pb2

__all__ = ["SYSTEM", "choose_locale", "entry_of", "is_public"]

SYSTEM = "strapi"
# `id` is a row's, another in each state; `localizations` are the same entry's other locales.
_NO_FIELDS = frozenset({"id", "documentId", "locale", "localizations", "updatedAt", "publishedAt"})


def choose_locale(wanted: str, locales: Sequence[Mapping[str, Any]]) -> str:
    """One of Strapi's locales: the same, else one of the same language, else the default; empty where there is none."""
    codes = [str(locale["code"]) for locale in locales]
    tag = wanted.lower()
    language = tag.partition("-")[0]
    same = [code for code in codes if code.lower() == tag]
    plain = [code for code in codes if code.lower() == language]
    related = [code for code in codes if code.lower().partition("-")[0] == language]
    for code in (*same, *plain, *related):
        return code
    return next((str(locale["code"]) for locale in locales if locale.get("isDefault")), "")


def is_public(document: Mapping[str, Any]) -> bool:
    """Whether it is what everybody sees."""
    return bool(document.get("publishedAt"))


def entry_of(
    document: Mapping[str, Any], type: str, state: "content_pb2.ContentState.ValueType", *, slug_field: str, url: str
) -> content_pb2.ContentEntry:
    """The entry of a document; `url` is the Strapi's, for addresses of media."""
    entry = content_pb2.ContentEntry(
        id=document["documentId"],
        type=type,
        slug=document.get(slug_field) or "",
        locale=document.get("locale") or "",
        state=state,
        updated_at=_time(document["updatedAt"]),
        refs=[ref_pb2.Ref(system=SYSTEM, type=type, id=document["documentId"], version=document["updatedAt"])],
    )
    if document.get("publishedAt"):
        entry.published_at.CopyFrom(_time(document["publishedAt"]))
    own = {name: value for name, value in document.items() if name not in _NO_FIELDS and name != slug_field}
    entry.fields.update(_with_addresses(own, url))
    return entry


def _with_addresses(value: Any, url: str) -> Any:
    """The same with whole addresses where media is, which a Strapi that keeps files itself tells without its host."""
    if isinstance(value, list):
        return [_with_addresses(item, url) for item in value]
    if not isinstance(value, dict):
        return value
    inner = {name: _with_addresses(item, url) for name, item in value.items()}
    address = inner.get("url")
    if "mime" in inner and isinstance(address, str) and address.startswith("/") and not address.startswith("//"):
        inner["url"] = url + address
    return inner


def _time(text: str) -> Timestamp:
    moment = Timestamp()
    moment.FromJsonString(text)
    return moment
