"""Which market somebody shops in: a store of the tenant, and what it sells for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from legato_hub.core.problem import invalid
from legato_hub.core.validation import Violation, check_market, raise_for


@dataclass(frozen=True, slots=True)
class Store:
    """A selling entity."""

    name: str
    country: str
    """ISO 3166-1 alpha-2."""
    currencies: tuple[str, ...]
    """ISO 4217; the first is the default."""
    locale: str
    """BCP 47."""


Stores = Mapping[str, Mapping[str, Store]]
"""The stores of each tenant, by name."""


class Market(NamedTuple):
    """A resolved market: nothing in it is empty."""

    store: str
    country: str
    currency_code: str
    locale: str


def resolve(
    stores: Mapping[str, Store], own: str, *, store: str, country: str, currency_code: str, locale: str, path: str = ""
) -> Market:
    """The market that was asked for; what is empty takes the store's, and an empty store `own`, the identity's.

    An identity of the whole tenant need not name the store where there is only one. Raise Problem (INVALID_FIELD,
    UNKNOWN_CURRENCY) at `path`.
    """
    prefix = f"{path}." if path else ""
    name = store or own or (next(iter(stores)) if len(stores) == 1 else "")
    if not name:
        raise invalid(f"{prefix}store", "is required: this identity belongs to no store")
    found = stores.get(name)
    if found is None:
        raise invalid(f"{prefix}store", "is no store of this tenant")
    raise_for(_violations(found, prefix, country, currency_code, locale))
    return Market(name, country or found.country, currency_code or found.currencies[0], locale or found.locale)


def _violations(store: Store, prefix: str, country: str, currency_code: str, locale: str) -> Iterator[Violation]:
    for field, description in check_market("", country, currency_code, locale):
        yield f"{prefix}{field.removeprefix('.')}", description
    if country and country != store.country:
        yield f"{prefix}country", f"is not where the store sells: that is {store.country}"
    if currency_code and currency_code not in store.currencies:
        yield f"{prefix}currency_code", f"is not what the store sells in: {', '.join(store.currencies)}"
