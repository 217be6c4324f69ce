"""The tables of a shop file, each a dataclass: what is in it, and what may be left out (whatever has a default)."""

from collections.abc import Mapping
from dataclasses import dataclass, field


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
    """"module:function": from a secret, the bytes of a body and the time of sending (seconds since 1970) to the headers
    of the signed request, a mapping from name to value."""
    secret: str
    """What the adapter under test was told to check signatures with."""
    body: str
    """A file beside the shop file: the body of a request that reports a change."""
    entity: str
    """What it reports, as in ChangedEntity, for example "PAYMENT"."""
    entity_id: str
    tolerance_s: int = 0
    """For how long after it was signed a request is believed; 0 where signatures do not age."""
    boring_body: str = ""
    """A file: the body of a request of no interest."""


@dataclass(frozen=True)
class KnownFailure:
    """`[[known_failure]]`: this check fails, and must. What passes again is no known failure any more."""

    check: str
    reason: str
    payload: str
    """A file beside the shop file: what the backend really answered."""
    tested: str = ""
    """Which test of the adapter's own shows what it does when the backend is right."""
