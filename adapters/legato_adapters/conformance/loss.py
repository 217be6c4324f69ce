"""The loss report: canonical fields that a backend does not keep, or never tells.

Checks that write and read back note what did not survive. What is never told comes out of listening: every answer of a
run is looked at, and fields of the canonical model that were in none of them are listed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from legato.adapter.v1 import (
    cart_service_pb2,
    catalog_service_pb2,
    content_service_pb2,
    customer_service_pb2,
    fulfilment_service_pb2,
    inventory_service_pb2,
    order_service_pb2,
    payment_service_pb2,
)

_MODEL = "legato.commerce.v1."

_TELLS: dict[str, tuple[str, Descriptor]] = {
    "CATALOG": ("CatalogService/GetProduct", catalog_service_pb2.GetProductResponse.DESCRIPTOR),
    "SEARCH": ("CatalogService/SearchProducts", catalog_service_pb2.SearchProductsResponse.DESCRIPTOR),
    "PRICING": ("CatalogService/GetPrices", catalog_service_pb2.GetPricesResponse.DESCRIPTOR),
    "INVENTORY": ("InventoryService/", inventory_service_pb2.GetAvailabilityResponse.DESCRIPTOR),
    "CART": ("CartService/", cart_service_pb2.GetCartResponse.DESCRIPTOR),
    "ORDER": ("OrderService/", order_service_pb2.GetOrderResponse.DESCRIPTOR),
    "PAYMENT": ("PaymentService/", payment_service_pb2.GetPaymentResponse.DESCRIPTOR),
    "CUSTOMER": ("CustomerService/", customer_service_pb2.GetCustomerResponse.DESCRIPTOR),
    "CONTENT": ("ContentService/", content_service_pb2.GetEntryResponse.DESCRIPTOR),
    "FULFILMENT": ("FulfilmentService/ListShipments", fulfilment_service_pb2.ListShipmentsResponse.DESCRIPTOR),
    "DELIVERY_OPTIONS": (
        "FulfilmentService/ListDeliveryOptions",
        fulfilment_service_pb2.ListDeliveryOptionsResponse.DESCRIPTOR,
    ),
    "PICKUP_LOCATIONS": (
        "FulfilmentService/ListPickupLocations",
        fulfilment_service_pb2.ListPickupLocationsResponse.DESCRIPTOR,
    ),
}
"""Which methods tell what a capability has to tell, and an answer that has room for all of it."""

_NO_LOSS = frozenset(
    {
        *("Provenance.stale", "Quantity.unit", "Quantity.scale", "Price.regular_amount", "Total.label"),
        *("Ref.key", "Ref.version", "Cart.owner", "Cart.customer_id", "Cart.anonymous_id", "Cart.terminal_id"),
        *("Order.customer_id", "Availability.location_id", "DeliveryOption.location_id"),
    }
)
"""Fields that may well be empty in every answer, though nothing is lost."""

_ONLY_WITH = {
    "OrderLine.fulfilled_steps": "FULFILMENT",
    "OrderEvent.parts": "FULFILMENT",
    "OrderEvent.shipment_id": "FULFILMENT",
    "OrderPayment.captured": "PAYMENT",
    "OrderPayment.refunded": "PAYMENT",
    "OrderAdjustment.payment_id": "PAYMENT",
}
"""Fields that are filled by what the kit does through another capability, where that is claimed."""


def _may_be_empty(field: str) -> bool:
    # What is said in the backend's own words is an addition. Addresses are compared where one is written.
    return field in _NO_LOSS or ".native_" in field or field.startswith("Address.")


@dataclass(frozen=True, order=True)
class Loss:
    """One field that does not survive."""

    capability: str
    field: str
    """For example "Cart.shipping_address.region", or "Product.brand"."""
    what: str


class Losses:
    """Collects them during a run."""

    def __init__(self) -> None:
        self._found: set[Loss] = set()
        self._seen: dict[str, set[str]] = {}
        """Fields of the model that were told, by method."""

    def note(self, capability: str, field: str, what: str) -> None:
        """A check saw that a field did not survive."""
        self._found.add(Loss(capability, field, what))

    def compare(self, capability: str, path: str, wrote: Message, read: Message) -> None:
        """Note each field of `wrote` that is not the same in `read`."""
        for descriptor, value in wrote.ListFields():
            field = f"{path}.{descriptor.name}"
            got = getattr(read, descriptor.name)
            if descriptor.message_type is not None and not descriptor.is_repeated:
                self.compare(capability, field, value, got)
            elif got != value:
                self.note(capability, field, "is written and comes back changed" if got else "is written and lost")

    def observe(self, path: str, request: Message, answer: Message) -> None:
        """See an answer pass."""
        del request
        self._seen.setdefault(path.removeprefix("/legato.adapter.v1."), set()).update(_told(answer))

    def found(self, capabilities: tuple[str, ...]) -> list[Loss]:
        """All losses in the capabilities that are claimed."""
        losses = {loss for loss in self._found if loss.capability in capabilities}
        for name in capabilities:
            written = {loss.field for loss in losses if loss.capability == name}
            losses.update(
                Loss(name, field, "is never told")
                for field in self._never_told(name) - written
                if _ONLY_WITH.get(field, name) in capabilities
            )
        return sorted(losses, key=lambda loss: (capabilities.index(loss.capability), loss.field))

    def _never_told(self, capability: str) -> set[str]:
        methods, answer = _TELLS.get(capability, ("?", None))
        told = {field for path, fields in self._seen.items() if path.startswith(methods) for field in fields}
        if answer is None or not told:
            return set()
        # A message that was never there is named by the fields that would have held it, not field by field.
        kinds = {field.partition(".")[0] for field in told}
        return {
            field for field in _fields(answer) - told if field.partition(".")[0] in kinds and not _may_be_empty(field)
        }


def _told(message: Message) -> Iterator[str]:
    """The fields of the model that are set in it and below, as "Type.field"."""
    for descriptor, value in message.ListFields():
        if message.DESCRIPTOR.full_name.startswith(_MODEL):
            yield f"{message.DESCRIPTOR.name}.{descriptor.name}"
        if descriptor.message_type is not None and not descriptor.message_type.GetOptions().map_entry:
            for inner in value if descriptor.is_repeated else (value,):
                yield from _told(inner)


def _fields(answer: Descriptor) -> set[str]:
    """The fields of the model that could be set in an answer of this type."""
    found: set[str] = set()
    visited: set[str] = set()
    pending = [answer]
    while pending:
        kind = pending.pop()
        if kind.full_name in visited:
            continue
        visited.add(kind.full_name)
        for descriptor in kind.fields:
            if kind.full_name.startswith(_MODEL):
                found.add(f"{kind.name}.{descriptor.name}")
            inner = descriptor.message_type
            if inner is not None and inner.full_name.startswith("legato."):
                pending.append(inner)
    return found
