"""The shops that the adapter contract is tested on: what a test needs to know of each.

To add one: describe it here, and add to conftest.py a fixture of session scope named after it, `{name}_options`, that
returns the options of its factory. Both placements use the same options, at the same time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from legato.adapter.v1 import identity_service_pb2, request_context_pb2
from legato.commerce.v1 import cart_intent_pb2

ALL_INTENTS = frozenset(descriptor.name for descriptor in cart_intent_pb2.CartIntent.DESCRIPTOR.fields)
ALL_CAPABILITIES = frozenset(
    name.removeprefix("CAPABILITY_") for name, number in identity_service_pb2.Capability.items() if number
)


@dataclass(frozen=True)
class Shop:
    """One adapter with its backend's data. All skus are sold in the market; amounts are in the market's currency."""

    name: str
    factory: str
    effect_class: "identity_service_pb2.EffectClass.ValueType"
    intents: frozenset[str]
    """The intents that the adapter claims; tests that need others do not run on it."""
    capabilities: frozenset[str]
    """The same for capabilities, without their prefix."""
    store: str
    country: str
    currency: str
    locale: str
    tax_included: bool
    unserved: tuple[str, str]
    """A country and currency that are known but not sold in."""

    products: int
    """How many products a search for nothing finds."""
    slug: str
    """A product with the variants `product_skus`, in any order."""
    product_skus: frozenset[str]
    search_word: str
    """A word that finds the product `slug` first, or among equals."""
    category: str
    """A category that holds the product `slug` and not every product."""

    sku: str
    """Costs something, and 100 are in stock."""
    other_sku: str
    """Another of this kind."""
    abundant_sku: str
    """10,000 are in stock."""
    abundance: int
    """So many of it a cart takes beside a few other things: a power of two."""
    low_sku: str
    low_stock: int
    """Exactly so many of `low_sku` can be sold, at least 2."""
    empty_sku: str
    """None in stock."""
    locations: frozenset[str]
    """Ids of the locations that tell stock; empty where the backend has none."""

    discount_code: str
    """Lowers the price of a cart with 10 of `sku`."""
    refused_codes: tuple[str, ...]
    """Codes that are unknown or have expired."""
    address: Mapping[str, str] = field(default_factory=dict)
    """A shipping address that the backend accepts and delivers to."""
    tokens: Mapping[str, str] = field(default_factory=dict)
    """With PAYMENT: what stands for cards that pay ("pays"), decline ("declines") and ask first ("challenges")."""

    def __str__(self) -> str:
        return self.name

    def context(self, *, tenant: str = "acme") -> request_context_pb2.RequestContext:
        return request_context_pb2.RequestContext(
            tenant=tenant,
            store=self.store,
            country=self.country,
            currency_code=self.currency,
            locale=self.locale,
        )


REFERENCE = Shop(
    name="reference",
    factory="legato_adapters.reference:create",
    effect_class=identity_service_pb2.EFFECT_CLASS_KEYED,
    intents=ALL_INTENTS,
    capabilities=ALL_CAPABILITIES,
    store="outdoor",
    country="DE",
    currency="EUR",
    locale="en",
    tax_included=True,
    unserved=("JP", "JPY"),
    products=48,
    slug="enamel-mug",
    product_skus=frozenset({"MUG-WHT", "MUG-BLU", "MUG-RED"}),
    search_word="enamel",
    category="cooking",
    sku="SOCK-3941",
    other_sku="BAR-APPLE",
    abundant_sku="PEG-ALU",
    abundance=8192,
    low_sku="STOVE-TI",
    low_stock=5,
    empty_sku="LAMP-400-RED",
    locations=frozenset({"berlin-mitte", "hamburg-hafen"}),
    discount_code="WELCOME10",
    refused_codes=("SUMMER19", "NO-SUCH-CODE"),
    address={
        "first_name": "Ada",
        "last_name": "Berg",
        "street": "Torstraße 1",
        "postal_code": "10119",
        "city": "Berlin",
        "country": "DE",
    },
    tokens={"pays": "tok_visa", "declines": "tok_declined", "challenges": "tok_challenge"},
)

VENDURE = Shop(
    name="vendure",
    factory="legato_adapters.vendure:create",
    effect_class=identity_service_pb2.EFFECT_CLASS_ABSOLUTE,
    intents=ALL_INTENTS,
    capabilities=frozenset({"CATALOG", "SEARCH", "PRICING", "INVENTORY", "CART"}),
    store="roastery",
    country="DE",
    currency="EUR",
    locale="en",
    tax_included=True,
    unserved=("US", "USD"),
    products=16,
    slug="ethiopia-yirgacheffe",
    product_skus=frozenset({"YIR-250-BEAN", "YIR-250-FILT", "YIR-1000-BEAN", "YIR-1000-FILT"}),
    search_word="yirgacheffe",
    category="filter-coffee",
    sku="HUI-250-BEAN",
    other_sku="LIN-250-BEAN",
    abundant_sku="BRA-1000-BEAN",
    abundance=512,  # An order of Vendure's has at most 999 pieces.
    low_sku="KEN-250-BEAN",
    low_stock=5,
    empty_sku="SCALE-01",
    locations=frozenset(),  # Shoppers are not told what lies where.
    discount_code="ROAST10",
    refused_codes=("SPRING2024", "NO-SUCH-CODE"),
    address={
        "first_name": "Ada",
        "last_name": "Berg",
        "street": "Lindenweg 1",
        "postal_code": "10115",
        "city": "Berlin",
        "country": "DE",
    },
)

COMMERCETOOLS = Shop(
    name="commercetools",
    factory="legato_adapters.commercetools:create",
    effect_class=identity_service_pb2.EFFECT_CLASS_MARKED,
    intents=ALL_INTENTS,
    capabilities=frozenset({"CATALOG", "SEARCH", "PRICING", "INVENTORY", "CART", "ORDER", "CUSTOMER", "CREDENTIALS"}),
    store="bicycles",
    country="DE",
    currency="EUR",
    locale="en",
    tax_included=True,
    unserved=("JP", "JPY"),
    products=12,
    slug="city-tyre",
    product_skus=frozenset({"TYRE-28-BLK", "TYRE-28-CRM", "TYRE-26-BLK"}),
    search_word="tyre",
    category="tyres",
    sku="BELL-BRASS",
    other_sku="GRIP-CORK",
    abundant_sku="SPOKE-STEEL",
    abundance=8192,
    low_sku="LAMP-DYNAMO",
    low_stock=5,
    empty_sku="SADDLE-LEATHER",
    locations=frozenset({"berlin", "hamburg"}),
    discount_code="SPRING10",
    refused_codes=("WINTER19", "NO-SUCH-CODE"),
    address={
        "first_name": "Ada",
        "last_name": "Berg",
        "street": "Torstraße 1",
        "postal_code": "10119",
        "city": "Berlin",
        "country": "DE",
    },
)

SHOPS = [REFERENCE, VENDURE, COMMERCETOOLS]
