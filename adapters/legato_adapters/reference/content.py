"""What editors wrote, read once at start like everything that is sold."""

from collections.abc import Mapping, Sequence
from typing import Any

from legato.commerce.v1 import content_pb2, ref_pb2
from legato_adapters.reference.shared import SYSTEM, NotFound, observed

PUBLISHED, DRAFT = content_pb2.CONTENT_STATE_PUBLISHED, content_pb2.CONTENT_STATE_DRAFT
DEFAULT_LOCALE = "en"

_State = content_pb2.ContentState


class Content:
    """Entries in the shape of `seed_data.toml`."""

    def __init__(self, entries: Sequence[Mapping[str, Any]]) -> None:
        self._by_type: dict[str, list[Mapping[str, Any]]] = {}
        for entry in entries:
            self._by_type.setdefault(entry["type"], []).append(entry)
        self._locales = {
            locale for entry in entries for locale in {**entry.get("published", {}), **entry.get("draft", {})}
        }

    def locale(self, wanted: str) -> str:
        """The locale that an answer is in."""
        for locale in (wanted, wanted.partition("-")[0].lower()):
            if locale in self._locales:
                return locale
        return DEFAULT_LOCALE

    def entries(self, kind: str, locale: str, state: "_State.ValueType") -> list[content_pb2.ContentEntry]:
        """All of one type; raises NotFound if there is no such type."""
        if kind not in self._by_type:
            raise NotFound("no such type")
        found = (self._entry(entry, self.locale(locale), state) for entry in self._by_type[kind])
        return [entry for entry in found if entry is not None]

    def _entry(
        self, entry: Mapping[str, Any], locale: str, state: "_State.ValueType"
    ) -> content_pb2.ContentEntry | None:
        published = entry.get("published", {}).get(locale)
        shown = entry.get("draft", {}).get(locale, published) if state == DRAFT else published
        if shown is None:
            return None
        message = content_pb2.ContentEntry(
            id=entry["id"],
            type=entry["type"],
            slug=shown.get("slug", ""),
            locale=locale,
            state=state,
            refs=[ref_pb2.Ref(system=SYSTEM, type=entry["type"], id=entry["id"])],
            provenance=observed(),
        )
        message.fields.update({name: value for name, value in shown.items() if name != "slug"})
        message.updated_at.FromJsonString(entry["updated"])
        if published is not None:
            message.published_at.CopyFrom(message.updated_at)
        return message
