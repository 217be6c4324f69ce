"""The shop file: what the kit has to know of the shop behind an adapter, in TOML.

Each capability has a table of its own, which is needed where the capability is claimed. A key with a default may be
left out: the checks that need it are skipped and say so. `[minimum]` is what the adapter must claim. A
`[[known_failure]]` is a check that fails because the backend under test is wrong, and not the one that is meant.
"""

import dataclasses
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from legato.adapter.v1 import request_context_pb2
from legato_adapters.conformance.check import Broken, Skipped
from legato_adapters.conformance.shop_tables import (
    CartData,
    CatalogData,
    ChangesData,
    ContentData,
    CustomerData,
    DeliveryData,
    FulfilmentData,
    Goods,
    InventoryData,
    KnownFailure,
    Market,
    Minimum,
    OrderData,
    PaymentData,
    PickupData,
    SearchData,
    WebhooksData,
)


class ShopError(Exception):
    """The shop file cannot be used; the text says where and why."""


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
    options: Mapping[str, Any] = field(default_factory=dict)
    """`[options]`: with which the adapter under test is made where it is named by its factory."""
    tenants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """`[tenants.NAME]`: the same for each tenant, where one backend is one tenant's."""

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

    def of_tenant(self, tenant: str) -> "Shop":
        """The same shop for another tenant."""
        return replace(self, tables={**self.tables, "market": replace(self.market, tenant=tenant)})

    def read_bytes(self, name: str) -> bytes:
        """A file that the shop file names."""
        return (self.folder / name).read_bytes()

    def context(self) -> request_context_pb2.RequestContext:
        """The context of a request; a new one at each call."""
        market = self.market
        return request_context_pb2.RequestContext(
            tenant=market.tenant,
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
    options, tenants = tables.pop("options", {}), tables.pop("tenants", {})
    try:
        if unknown := sorted(tables.keys() - _TABLES.keys()):
            raise ShopError(f"[{unknown[0]}] is not a known table; there is {', '.join(_TABLES)}")
        if not isinstance(failures, list):
            raise ShopError("known failures are written [[known_failure]]")
        if not isinstance(options, dict) or not isinstance(tenants, dict):
            raise ShopError("options and tenants must be tables")
        if "market" not in tables:
            raise ShopError("[market] is missing")
        read: dict[str, Any] = {name: _read(_TABLES[name], table, name) for name, table in tables.items()}
        known = [_read(KnownFailure, table, "known_failure") for table in failures]
        for failure in known:
            if not (path.parent / failure.payload).is_file():
                raise ShopError(f"known failure {failure.check}: there is no file {failure.payload}")
    except ShopError as error:
        raise ShopError(f"{path}: {error}") from None
    return Shop(path.parent, read, tuple(known), options, tenants)


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
