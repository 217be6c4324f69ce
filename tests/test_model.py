"""The tables of docs/model.md name every field of the canonical model, and none that is not there."""

import re
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor

from legato.commerce.v1 import (
    address_pb2,
    cart_pb2,
    content_pb2,
    customer_pb2,
    discount_pb2,
    fulfilment_pb2,
    line_item_pb2,
    location_pb2,
    order_pb2,
    payment_pb2,
    product_pb2,
    shipment_pb2,
    total_pb2,
)

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "model.md").read_text("utf-8")

# Fields that are the same everywhere: the page says so once.
EVERYWHERE = {"refs", "provenance"}

# Heading, and the messages whose fields stand under it, alone or after the message's name.
WHOLE: dict[str, Descriptor] = {
    "Cart": cart_pb2.Cart.DESCRIPTOR,
    "LineItem": line_item_pb2.LineItem.DESCRIPTOR,
    "Address": address_pb2.Address.DESCRIPTOR,
    "Order": order_pb2.Order.DESCRIPTOR,
    "Payment": payment_pb2.Payment.DESCRIPTOR,
    "Content": content_pb2.ContentEntry.DESCRIPTOR,
}
PARTS: list[Descriptor] = [
    line_item_pb2.ItemSnapshot.DESCRIPTOR,
    line_item_pb2.Adjustment.DESCRIPTOR,
    line_item_pb2.TaxLine.DESCRIPTOR,
    discount_pb2.DiscountCode.DESCRIPTOR,
    fulfilment_pb2.DeliveryOption.DESCRIPTOR,
    total_pb2.Totals.DESCRIPTOR,
    order_pb2.OrderLine.DESCRIPTOR,
    order_pb2.OrderLinePart.DESCRIPTOR,
    order_pb2.OrderPayment.DESCRIPTOR,
    order_pb2.OrderEvent.DESCRIPTOR,
    order_pb2.OrderAdjustment.DESCRIPTOR,
    shipment_pb2.Shipment.DESCRIPTOR,
    location_pb2.Location.DESCRIPTOR,
    payment_pb2.PaymentMethod.DESCRIPTOR,
    payment_pb2.PaymentAction.DESCRIPTOR,
    payment_pb2.PaymentFailure.DESCRIPTOR,
    payment_pb2.PaymentTransaction.DESCRIPTOR,
    customer_pb2.Customer.DESCRIPTOR,
    customer_pb2.CustomerAddress.DESCRIPTOR,
    product_pb2.Product.DESCRIPTOR,
    product_pb2.Variant.DESCRIPTOR,
    product_pb2.Price.DESCRIPTOR,
    product_pb2.Availability.DESCRIPTOR,
]


def fields(message: Descriptor) -> list[str]:
    return [field.name for field in message.fields if field.name not in EVERYWHERE]


def rows(text: str) -> list[str]:
    """The first cell of each row."""
    return re.findall(r"^\| `([\w.]+)` \|", text, flags=re.MULTILINE)


@pytest.mark.parametrize("heading", WHOLE)
def test_a_message_with_a_table_of_its_own(heading: str) -> None:
    sections = re.split(r"^#+ ", TEXT, flags=re.MULTILINE)
    (section,) = (section for section in sections if section.startswith(f"{heading}\n"))
    assert rows(section) == fields(WHOLE[heading])


def test_the_other_messages() -> None:
    told = [row for row in rows(TEXT) if "." in row]
    assert sorted(told) == sorted(f"{message.name}.{name}" for message in PARTS for name in fields(message))


def test_every_row_has_all_columns() -> None:
    for table in re.findall(r"(?:^\|.*\n)+", TEXT, flags=re.MULTILINE):
        widths = {line.count("|") for line in table.splitlines()}
        assert len(widths) == 1, table
