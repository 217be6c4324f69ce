"""The shop file: what the kit has to know of the shop behind an adapter, in TOML.

Each capability has a table of its own, which is needed where the capability is claimed. A key with a default may be
left out: the checks that need it are skipped and say so. `[minimum]` is what the adapter must claim. A
`[[known_failure]]` is a check that fails because the backend under test is wrong, and not the one that is meant.
"""

import dataclasses
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from legato.adapter.v1 import request_context_pb2
from legato_adapters.conformance.check import Broken, Skipped


class ShopError(Exception):
    """The shop file cannot be used; the text says where and why."""


@dataclass(frozen=True)
class Market:
    """`[market]`: for whom and where the checks buy."""

    country: str
    currency: str
    locale: str
    store: str = "main"
    tenant: str = "acme"
    other_tenant: str = ""
    """A tenant for whom nothing of the first one's exists."""
    unserved: tuple[str, ...] = ()
    """A country and a currency that exist and are not sold in."""
    tax_included: bool = True
    """Whether prices contain tax."""


@dataclass(frozen=True)
class Minimum:
    """`[minimum]`: less than this fails."""

    capabilities: tuple[str, ...] = ()
    """Without their prefix, for example "CART"."""
    effects: Mapping[str, str] = field(default_factory=dict)
    """The effect class of each capability that has commands."""
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The commands of each."""


@dataclass(frozen=True)
class CatalogData:
    """`[catalog]`: one product, and the skus of all its variants."""

    slug: str
    skus: tuple[str, ...]


@dataclass(frozen=True)
class SearchData:
    """`[search]`."""

    slug: str
    """A product that `word` finds and `category` holds."""
    word: str
    products: int
    """How many products a search for nothing finds, at least 3."""
    category: str = ""
    """A category that does not hold every product."""


@dataclass(frozen=True)
class Goods:
    """`[goods]`: variants that are sold, for stock, prices, carts and orders."""

    sku: str
    """Costs something, and 100 are in stock."""
    other_sku: str
    """Another of this kind."""
    abundant_sku: str
    """10,000 are in stock."""
    abundance: int
    """So many of it a cart takes beside a few other things."""
    low_sku: str
    low_stock: int
    """Exactly so many of `low_sku` can be sold, at least 2. No check buys one."""
    empty_sku: str
    """None in stock."""


@dataclass(frozen=True)
class InventoryData:
    """`[inventory]`."""

    locations: tuple[str, ...] = ()
    """Ids of all locations that tell stock of `goods.sku`."""


@dataclass(frozen=True)
class CartData:
    """`[cart]`."""

    address: Mapping[str, str]
    """Fields of an address that the backend accepts and delivers to."""
    discount_code: str = ""
    """Lowers the price of a cart with 10 of `goods.sku`."""
    refused_codes: tuple[str, ...] = ()
    """Codes that are unknown or have expired."""
    refused_email: str = ""
    """An e-mail address that the backend refuses."""


@dataclass(frozen=True)
class OrderData:
    """`[order]`."""

    paid_later: bool = True
    """Whether an order can be placed without payments."""
    payments: bool = True
    """Whether an order can be placed with the payments of another backend."""
    customer_id: str = ""
    """A customer to order as, where the adapter claims no customers to make one."""
    needs_email: bool = False
    """Whether an order cannot be placed without an e-mail address."""


@dataclass(frozen=True)
class PaymentData:
    """`[payment]`: tokens of the backend's test mode."""

    method_token: str
    """Is authorized at once."""
    declined_token: str = ""
    """Is declined at once."""
    action_token: str = ""
    """The shopper must do something first."""
    unserved_currency: str = ""
    """A currency that is not handled."""


@dataclass(frozen=True)
class CustomerData:
    """`[customer]`."""

    address: Mapping[str, str]
    """Fields of an address that the backend accepts."""
    password: str = ""
    """Good enough for the backend."""
    weak_password: str = ""
    """Not good enough."""
    email_domain: str = "example.org"


@dataclass(frozen=True)
class ContentData:
    """`[content]`."""

    type: str
    slug: str
    """A published entry, in the market's locale."""
    entries: int
    """How many published ones there are, at least 3."""
    fields: tuple[str, ...] = ()
    """Fields that the entry has."""
    draft_slug: str = ""
    """An entry that was never published."""


@dataclass(frozen=True)
class FulfilmentData:
    """`[fulfilment]`."""

    location_id: str = ""
    """A location where goods go over the counter."""


@dataclass(frozen=True)
class DeliveryData:
    """`[delivery]`."""

    address: Mapping[str, str]
    """Fields of an address that something goes to."""
    nowhere: str = ""
    """A country that nothing goes to."""


@dataclass(frozen=True)
class PickupData:
    """`[pickup]`: ids of all locations where goods can be collected."""

    locations: tuple[str, ...]


@dataclass(frozen=True)
class ChangesData:
    """`[changes]`: the kinds of things whose changes the backend reports, as in ChangedEntity, for example "CART"."""

    reports: tuple[str, ...]


@dataclass(frozen=True)
class WebhooksData:
    """`[webhooks]`."""

    signer: str
    """"module:function": from the bytes of a body to the headers, pairs of name and value, of the signed request."""
    body: str
    """A file beside the shop file: the body of a request that reports a change."""
    entity: str
    """What it reports, as in ChangedEntity, for example "PAYMENT"."""
    entity_id: str
    boring_body: str = ""
    """A file: the body of a request of no interest."""
    garbled_body: str = ""
    """A file: a body that cannot be understood."""


@dataclass(frozen=True)
class KnownFailure:
    """`[[known_failure]]`: this check fails, and must. What passes again is no known failure any more."""

    check: str
    reason: str
    payload: str
    """A file beside the shop file: what the backend really answered."""


_TABLES: dict[str, type] = {
    "market": Market,
    "minimum": Minimum,
    "catalog": CatalogData,
    "search": SearchData,
    "goods": Goods,
    "inventory": InventoryData,
    "cart": CartData,
    "order": OrderData,
    "payment": PaymentData,
    "customer": CustomerData,
    "content": ContentData,
    "fulfilment": FulfilmentData,
    "delivery": DeliveryData,
    "pickup": PickupData,
    "changes": ChangesData,
    "webhooks": WebhooksData,
}

_T = TypeVar("_T")


@dataclass(frozen=True)
class Shop:
    """A shop file. Asking for a table that it has not is `Broken`: what is claimed must be checkable."""

    folder: Path
    """Where the files that it names lie."""
    tables: Mapping[str, Any]
    known_failures: tuple[KnownFailure, ...] = ()

    def _table(self, name: str, _: type[_T]) -> _T:
        if name not in self.tables:
            raise Broken(f"cannot be checked: the shop file has no [{name}]")
        table: _T = self.tables[name]
        return table

    @property
    def market(self) -> Market:
        return self._table("market", Market)

    @property
    def minimum(self) -> Minimum:
        minimum: Minimum = self.tables.get("minimum", Minimum())
        return minimum

    @property
    def catalog(self) -> CatalogData:
        return self._table("catalog", CatalogData)

    @property
    def search(self) -> SearchData:
        return self._table("search", SearchData)

    @property
    def goods(self) -> Goods:
        return self._table("goods", Goods)

    @property
    def inventory(self) -> InventoryData:
        return self._table("inventory", InventoryData)

    @property
    def cart(self) -> CartData:
        return self._table("cart", CartData)

    @property
    def order(self) -> OrderData:
        return self._table("order", OrderData)

    @property
    def payment(self) -> PaymentData:
        return self._table("payment", PaymentData)

    @property
    def customer(self) -> CustomerData:
        return self._table("customer", CustomerData)

    @property
    def content(self) -> ContentData:
        return self._table("content", ContentData)

    @property
    def fulfilment(self) -> FulfilmentData:
        return self._table("fulfilment", FulfilmentData)

    @property
    def delivery(self) -> DeliveryData:
        return self._table("delivery", DeliveryData)

    @property
    def pickup(self) -> PickupData:
        return self._table("pickup", PickupData)

    @property
    def changes(self) -> ChangesData:
        return self._table("changes", ChangesData)

    @property
    def webhooks(self) -> WebhooksData:
        return self._table("webhooks", WebhooksData)

    def context(self, *, tenant: str = "") -> request_context_pb2.RequestContext:
        """The context of a request, for the shop's tenant or another."""
        market = self.market
        return request_context_pb2.RequestContext(
            tenant=tenant or market.tenant,
            store=market.store,
            country=market.country,
            currency_code=market.currency,
            locale=market.locale,
        )

    def unserved_context(self) -> request_context_pb2.RequestContext:
        """The context of a market that is not served; Skipped where the shop file tells none."""
        context = self.context()
        context.country, context.currency_code = told(self.market.unserved, "market.unserved")
        return context


def told(value: _T, key: str) -> _T:
    """A value that a shop file may leave out; Skipped where it did."""
    if not value:
        raise Skipped(f"the shop file does not tell {key}")
    return value


def read_shop(path: Path) -> Shop:
    """The shop file at `path`. Raises ShopError."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ShopError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ShopError(f"{path}: is not TOML: {error}") from None
    failures = tables.pop("known_failure", [])
    try:
        if unknown := sorted(tables.keys() - _TABLES.keys()):
            raise ShopError(f"[{unknown[0]}] is not a known table; there is {', '.join(_TABLES)}")
        if not isinstance(failures, list):
            raise ShopError("known failures are written [[known_failure]]")
        if "market" not in tables:
            raise ShopError("[market] is missing")
        read: dict[str, Any] = {name: _read(_TABLES[name], table, name) for name, table in tables.items()}
        known = [_read(KnownFailure, table, "known_failure") for table in failures]
        for failure in known:
            if not (path.parent / failure.payload).is_file():
                raise ShopError(f"known failure {failure.check}: there is no file {failure.payload}")
    except ShopError as error:
        raise ShopError(f"{path}: {error}") from None
    return Shop(path.parent, read, tuple(known))


def _read(kind: type[_T], table: Any, where: str) -> _T:
    if not isinstance(table, dict):
        raise ShopError(f"{where} must be a table")
    hints = typing.get_type_hints(kind)
    if unknown := sorted(table.keys() - hints.keys()):
        raise ShopError(f"{where}.{unknown[0]} is not a known key; there is {', '.join(hints)}")
    values = {key: _value(hints[key], value, f"{where}.{key}") for key, value in table.items()}
    for known in dataclasses.fields(kind):  # type: ignore[arg-type]  # every table is a dataclass
        required = known.default is dataclasses.MISSING and known.default_factory is dataclasses.MISSING
        if required and known.name not in values:
            raise ShopError(f"{where}.{known.name} is missing")
    return kind(**values)


def _value(hint: Any, value: Any, where: str) -> Any:
    """The value as its type says; ShopError where it is of another."""
    origin = typing.get_origin(hint)
    if origin is tuple and isinstance(value, list):
        return tuple(_value(typing.get_args(hint)[0], item, where) for item in value)
    if origin is not None and isinstance(value, dict):
        inner = typing.get_args(hint)[1]
        return {key: _value(inner, item, f"{where}.{key}") for key, item in value.items()}
    if origin is None and type(value) is hint:
        return value
    names = {str: "text", int: "a whole number", bool: "true or false"}
    raise ShopError(f"{where} must be {names.get(hint, 'a list' if origin is tuple else 'a table')}")
