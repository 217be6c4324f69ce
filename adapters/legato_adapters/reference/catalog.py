"""What the shop sells, where, and for how much: read once at start, constant while the adapter runs.

The tables of the shop hold one JSON document an entry, in the shape of `seed_data.toml`.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from legato.commerce.v1 import (
    address_pb2,
    fulfilment_pb2,
    line_item_pb2,
    money_pb2,
    product_pb2,
    provenance_pb2,
    ref_pb2,
)
from legato_adapters.reference.content import Content
from legato_adapters.reference.pricing import Promotion
from legato_adapters.reference.shared import SYSTEM

# From this many pieces on downwards the shop speaks of little stock.
LOW_STOCK = 5

_Texts = Mapping[str, str]


def in_language(texts: _Texts, locale: str) -> str:
    """The text for a BCP 47 tag's language, else the English one."""
    return texts.get(locale.partition("-")[0].lower()) or texts["en"]


@dataclass(frozen=True, slots=True)
class Market:
    """One country with its currency, whose prices include tax or do not. Rates are in millionths, by tax class."""

    country: str
    currency: str
    scale: int
    locale: str
    tax_included: bool
    tax_label: _Texts
    tax_rates: Mapping[str, int]
    postal_code: str

    def money(self, units: int) -> money_pb2.Money:
        return money_pb2.Money(currency_code=self.currency, units=units, scale=self.scale)

    def write(self, money: money_pb2.Money, units: int) -> None:
        """Write an amount in place, which costs half of making a message and copying it."""
        money.currency_code = self.currency
        money.units = units
        money.scale = self.scale


@dataclass(frozen=True, slots=True)
class Variant:
    """One sku: prices in units by currency, stock in pieces by location. The online shop sells all of it.

    The stock is what the shop began with: `Stock` knows what orders have left of it.
    """

    sku: str
    product: "Product"
    options: tuple[tuple[str, str], ...]
    prices: Mapping[str, int]
    regular_prices: Mapping[str, int]
    stock: Mapping[str, int]
    total_stock: int

    def name(self, locale: str) -> str:
        """The product's name and what tells this variant from its sisters."""
        return ", ".join([in_language(self.product.names, locale), *(value for _, value in self.options)])

    def option_messages(self) -> Iterable[line_item_pb2.VariantOption]:
        return (line_item_pb2.VariantOption(name=name, value=value) for name, value in self.options)


@dataclass(slots=True)
class Product:
    """One product; `variants` are in order of display."""

    id: str
    slug: str
    names: _Texts
    descriptions: _Texts
    brand: str
    categories: tuple[str, ...]
    tax_class: str
    variants: tuple[Variant, ...] = ()

    @property
    def image_url(self) -> str:
        return f"https://shop.example/images/{self.slug}.webp"


@dataclass(frozen=True, slots=True)
class DeliveryMethod:
    """One way of delivery, with its price in units by country; where there is no price it is not offered."""

    id: str
    names: _Texts
    prices: Mapping[str, int]
    location: str = ""
    """Where the shopper collects the goods; empty where they are delivered."""


@dataclass(frozen=True, slots=True)
class DiscountCode:
    """A code that shoppers may enter until it has expired."""

    code: str
    labels: _Texts
    promotion: Promotion
    expired: bool


class Catalog:
    """The whole shop in memory, with the look-ups that calls need."""

    def __init__(self, entries: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        self.locations = {entry["id"]: str(entry["name"]) for entry in entries.get("location", ())}
        self.addresses = {
            e["id"]: address_pb2.Address(**e["address"]) for e in entries.get("location", ()) if "address" in e
        }
        self.markets = [Market(**entry) for entry in entries.get("market", ())]
        self.delivery = [DeliveryMethod(**entry) for entry in entries.get("delivery", ())]
        self.codes = {entry["code"]: _discount_code(entry) for entry in entries.get("discount", ())}
        self.products = [_product(entry, list(self.locations)) for entry in entries.get("product", ())]
        self.by_id = {product.id: product for product in self.products}
        self.by_slug = {product.slug: product for product in self.products}
        self._fulfilments: dict[tuple[str, ...], fulfilment_pb2.Fulfilment] = {}
        self.by_sku = {variant.sku: variant for product in self.products for variant in product.variants}
        self.content = Content(entries.get("content", ()))

    @classmethod
    def load(cls, connection: sqlite3.Connection) -> "Catalog":
        """Read the shop's tables."""
        entries: dict[str, list[Any]] = {}
        for kind, body in connection.execute("SELECT kind, body FROM shop ORDER BY kind, position"):
            entries.setdefault(kind, []).append(json.loads(body))
        return cls(entries)

    def market(self, country: str, currency: str) -> Market | None:
        """The market of a country and currency; what is empty fits, the first market first."""
        for market in self.markets:
            if country in {"", market.country} and currency in {"", market.currency}:
                return market
        return None

    def fulfilment(self, market: Market, locale: str, selected: str) -> fulfilment_pb2.Fulfilment:
        """What may be chosen in a market, and the option that is; nothing is selected where it is not offered.

        The same message is given out again: it must be copied, not changed.
        """
        key = (market.country, market.currency, locale.partition("-")[0], selected)
        if (known := self._fulfilments.get(key)) is not None:
            return known
        fulfilment = fulfilment_pb2.Fulfilment()
        for method in self.delivery:
            if (amount := method.prices.get(market.country)) is not None:
                option = fulfilment.available.add(
                    id=method.id,
                    name=in_language(method.names, locale),
                    price=market.money(amount),
                    tax_included=market.tax_included,
                    location_id=method.location,
                )
                if method.id == selected:
                    fulfilment.selected.CopyFrom(option)
        self._fulfilments[key] = fulfilment
        return fulfilment


def product_message(product: Product, locale: str) -> product_pb2.Product:
    return product_pb2.Product(
        id=product.id,
        slug=product.slug,
        name=in_language(product.names, locale),
        description=in_language(product.descriptions, locale),
        brand=product.brand,
        categories=product.categories,
        image_urls=[product.image_url],
        variants=[
            product_pb2.Variant(sku=variant.sku, name=variant.name(locale), options=variant.option_messages())
            for variant in product.variants
        ],
        refs=[ref_pb2.Ref(system=SYSTEM, type="product", id=product.id, key=product.slug)],
    )


def price_message(variant: Variant, market: Market, now: Timestamp) -> product_pb2.Price:
    regular = variant.regular_prices.get(market.currency)
    return product_pb2.Price(
        sku=variant.sku,
        amount=market.money(variant.prices[market.currency]),
        regular_amount=None if regular is None else market.money(regular),
        tax_included=market.tax_included,
        provenance=provenance_pb2.Provenance(source=SYSTEM, observed_at=now),
    )


def availability_message(
    variant: Variant, location: str, name: str, steps: int, now: Timestamp
) -> product_pb2.Availability:
    status = product_pb2.AVAILABILITY_STATUS_IN_STOCK
    if steps <= LOW_STOCK:
        status = product_pb2.AVAILABILITY_STATUS_LOW_STOCK
    if steps == 0:
        status = product_pb2.AVAILABILITY_STATUS_OUT_OF_STOCK
    message = product_pb2.Availability(
        sku=variant.sku,
        location_id=location,
        location_name=name,
        status=status,
        provenance=provenance_pb2.Provenance(source=SYSTEM, observed_at=now),
    )
    # Zero is an answer too: the field must be present.
    message.available.steps = steps
    message.available.SetInParent()
    return message


def _product(entry: Mapping[str, Any], locations: Sequence[str]) -> Product:
    product = Product(
        id=entry["id"],
        slug=entry["slug"],
        names=entry["name"],
        descriptions=entry["description"],
        brand=entry["brand"],
        categories=tuple(entry["categories"]),
        tax_class=entry.get("tax_class", "standard"),
    )
    names: Sequence[str] = entry.get("options", ())
    variants = []
    for variant in entry["variants"]:
        stock = dict(zip(locations, variant["stock"], strict=True))
        variants.append(
            Variant(
                sku=variant["sku"],
                product=product,
                options=tuple(zip(names, variant.get("options", ()), strict=True)),
                prices=variant["price"],
                regular_prices=variant.get("regular", {}),
                stock=stock,
                total_stock=sum(stock.values()),
            )
        )
    product.variants = tuple(variants)
    return product


def _discount_code(entry: Mapping[str, Any]) -> DiscountCode:
    promotion = Promotion(
        percent_ppm=entry.get("percent_ppm", 0),
        amount=entry.get("amount", 0),
        free_delivery=entry.get("free_delivery", False),
        least=entry.get("least", 0),
    )
    return DiscountCode(entry["code"], entry["label"], promotion, entry.get("expired", False))
