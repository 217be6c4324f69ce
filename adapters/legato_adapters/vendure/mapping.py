"""From an order of Vendure to the canonical cart. Pure: nothing here asks anybody, and nothing is priced here.

Amounts are integers of a hundredth of the currency, whichever currency it is; only prices of delivery may come as
fractions, where Vendure derives net from gross. Rates are per cent.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from legato.adapter.v1 import request_context_pb2
from legato.commerce.v1 import (
    address_pb2,
    cart_pb2,
    discount_pb2,
    fulfilment_pb2,
    line_item_pb2,
    money_pb2,
    ref_pb2,
    total_pb2,
)
from legato_adapters.vendure.notebook import Notebook, join_names

SYSTEM = "vendure"
OPEN_STATES = frozenset({"AddingItems", "Created"})
SHIPPING = address_pb2.ADDRESS_PURPOSE_SHIPPING
BILLING = address_pb2.ADDRESS_PURPOSE_BILLING

_SCALE = 2
_Json = Mapping[str, Any]


class CartMapping:
    """Maps one order. `methods` are the ways of delivery it may choose, empty where they no longer matter."""

    def __init__(self, order: _Json, methods: Sequence[_Json], *, tax_included: bool, notebook: Notebook) -> None:
        self._order = order
        self._methods = methods
        self._tax_included = tax_included
        self._notebook = notebook
        self._currency: str = order["currencyCode"]
        self._codes = {
            promotion["id"]: promotion["couponCode"] for promotion in order["promotions"] if promotion["couponCode"]
        }

    def cart(self, context: request_context_pb2.RequestContext) -> cart_pb2.Cart:
        order = self._order
        cart = cart_pb2.Cart(
            id=self._notebook.cart_id,
            tenant=context.tenant,
            store=context.store,
            country=context.country,
            currency_code=self._currency,
            locale=context.locale,
            email=(order["customer"] or {}).get("emailAddress", ""),
            note=(order.get("customFields") or {}).get("note") or "",
            refs=[ref_pb2.Ref(system=SYSTEM, type="Order", id=order["id"], key=order["code"])],
            created_at=timestamp(order["createdAt"]),
            lines=(self._line(line) for line in sorted(order["lines"], key=lambda line: id_order(line["id"]))),
            discount_codes=self._discount_codes(),
            totals=self._totals(),
            fulfilment=self._fulfilment(),
        )
        cart.state, cart.native_status = state_of(order["state"], active=order["active"])
        for purpose, target, source in (
            (SHIPPING, cart.shipping_address, order["shippingAddress"]),
            (BILLING, cart.billing_address, order["billingAddress"]),
        ):
            if source and any(source.values()):
                target.CopyFrom(self._address(purpose, source))
        messages = sorted(self._messages(), key=lambda message: -message.severity)
        if messages:
            cart.messages.items.extend(messages)
        return cart

    def _gross_or_net(self, entity: _Json, name: str) -> money_pb2.Money:
        """The amount as prices are shown here: with tax where they include it."""
        return self._money(entity[f"{name}WithTax" if self._tax_included else name])

    def _money(self, amount: float) -> money_pb2.Money:
        return money(self._currency, amount)

    def _line(self, line: _Json) -> line_item_pb2.LineItem:
        variant = line["productVariant"]
        item = line_item_pb2.LineItem(
            id=line["id"],
            sku=variant["sku"],
            item=line_item_pb2.ItemSnapshot(
                product_id=variant["product"]["id"],
                name=variant["name"],
                image_url=(line["featuredAsset"] or {}).get("preview", ""),
                options=options(variant["options"]),
            ),
            unit_price=self._gross_or_net(line, "unitPrice"),
            tax_included=self._tax_included,
            adjustments=(self._adjustment(discount) for discount in line["discounts"]),
            # After the line's own discounts and its part of the order's.
            total=self._gross_or_net(line, "proratedLinePrice"),
            refs=[
                ref_pb2.Ref(system=SYSTEM, type="OrderLine", id=line["id"]),
                ref_pb2.Ref(system=SYSTEM, type="ProductVariant", id=variant["id"]),
            ],
        )
        item.quantity.steps = line["quantity"]
        if line["taxLines"]:
            # Vendure tells the tax of a line as one amount, also where several taxes are on it.
            item.tax_lines.add(
                label=" + ".join(tax["description"] for tax in line["taxLines"]),
                rate_ppm=rate_ppm(sum(tax["taxRate"] for tax in line["taxLines"])),
                amount=self._money(line["proratedLinePriceWithTax"] - line["proratedLinePrice"]),
            )
        return item

    def _adjustment(self, discount: _Json) -> line_item_pb2.Adjustment:
        source = _promotion_id(discount)
        return line_item_pb2.Adjustment(
            source_id=source,
            label=discount["description"],
            code=self._codes.get(source, ""),
            amount=self._gross_or_net(discount, "amount"),
        )

    def _discount_codes(self) -> Iterable[discount_pb2.DiscountCode]:
        """A code lowers the price if some discount comes from its promotion; being listed says nothing."""
        effective = {_promotion_id(discount) for discount in self._order["discounts"]}
        by_code = {promotion["couponCode"]: promotion for promotion in self._order["promotions"]}
        for code in self._order["couponCodes"]:
            promotion = by_code.get(code)
            applied = promotion is not None and promotion["id"] in effective
            yield discount_pb2.DiscountCode(
                code=code,
                state=discount_pb2.DISCOUNT_CODE_STATE_APPLIED
                if applied
                else discount_pb2.DISCOUNT_CODE_STATE_NOT_APPLICABLE,
                label=promotion["name"] if promotion is not None else "",
            )

    def _totals(self) -> total_pb2.Totals:
        """The subtotal is before all discounts: a promotion is shown once as a whole, and its shares on the lines."""
        order = self._order
        totals = total_pb2.Totals(
            tax_lines=(
                line_item_pb2.TaxLine(
                    label=tax["description"], rate_ppm=rate_ppm(tax["taxRate"]), amount=self._money(tax["taxTotal"])
                )
                for tax in order["taxSummary"]
            ),
            adjustments=(self._adjustment(discount) for discount in order["discounts"]),
        )
        totals.adjustments.extend(
            line_item_pb2.Adjustment(
                source_id=surcharge["id"],
                label=surcharge["description"],
                amount=self._gross_or_net(surcharge, "price"),
            )
            for surcharge in order["surcharges"]
        )

        def add(kind: "total_pb2.TotalType.ValueType", amount: float) -> None:
            totals.items.add(type=kind, amount=self._money(amount))

        suffix = "WithTax" if self._tax_included else ""
        goods = sum(line[f"linePrice{suffix}"] for line in order["lines"])
        add(
            total_pb2.TOTAL_TYPE_SUBTOTAL,
            goods + sum(surcharge[f"price{suffix}"] for surcharge in order["surcharges"]),
        )
        if order["discounts"]:
            add(total_pb2.TOTAL_TYPE_DISCOUNT, sum(discount[f"amount{suffix}"] for discount in order["discounts"]))
        if order["shippingLines"]:
            delivery = sum(shipping[f"price{suffix}"] for shipping in order["shippingLines"])
            add(total_pb2.TOTAL_TYPE_DELIVERY, delivery)
        add(total_pb2.TOTAL_TYPE_TAX, sum(tax["taxTotal"] for tax in order["taxSummary"]))
        add(total_pb2.TOTAL_TYPE_GRAND_TOTAL, order["totalWithTax"])
        return totals

    def _fulfilment(self) -> fulfilment_pb2.Fulfilment:
        fulfilment = fulfilment_pb2.Fulfilment()
        for shipping in self._order["shippingLines"][:1]:
            fulfilment.selected.CopyFrom(self._option(shipping["shippingMethod"], shipping))
        # Vendure offers them on an empty order too, and then drops what is chosen.
        if self._order["lines"]:
            fulfilment.available.extend(self._option(method, method) for method in self._methods)
        return fulfilment

    def _option(self, method: _Json, price: _Json) -> fulfilment_pb2.DeliveryOption:
        return fulfilment_pb2.DeliveryOption(
            id=method["id"],
            name=method["name"],
            price=self._gross_or_net(price, "price"),
            tax_included=self._tax_included,
        )

    def _address(self, purpose: "address_pb2.AddressPurpose.ValueType", source: _Json) -> address_pb2.Address:
        first, last = self._notebook.names_of(purpose, source["fullName"] or "")
        return address_pb2.Address(
            first_name=first,
            last_name=last,
            company=source["company"] or "",
            street=source["streetLine1"] or "",
            street_extra=source["streetLine2"] or "",
            postal_code=source["postalCode"] or "",
            city=source["city"] or "",
            region=source["province"] or "",
            country=source["countryCode"] or "",
            phone=source["phoneNumber"] or "",
        )

    def _messages(self) -> Iterable[cart_pb2.CartMessage]:
        for line in self._order["lines"]:
            path = f"line/{line['id']}"
            stock = stock_word(line["productVariant"]["stockLevel"])
            if stock == "OUT_OF_STOCK":
                yield cart_pb2.CartMessage(
                    severity=cart_pb2.MESSAGE_SEVERITY_ERROR,
                    code="OUT_OF_STOCK",
                    path=path,
                    text="This is out of stock now.",
                )
            elif stock == "LOW_STOCK":
                yield cart_pb2.CartMessage(
                    severity=cart_pb2.MESSAGE_SEVERITY_INFO,
                    code="LOW_STOCK",
                    path=path,
                    text="Only a few are left.",
                )
            change = line["unitPriceWithTaxChangeSinceAdded" if self._tax_included else "unitPriceChangeSinceAdded"]
            if change:
                yield cart_pb2.CartMessage(
                    severity=cart_pb2.MESSAGE_SEVERITY_INFO,
                    code="PRICE_CHANGED",
                    path=path,
                    text="The price has changed since this was added.",
                )
        chosen = self._notebook.delivery
        if chosen and chosen not in delivery_ids(self._order):
            yield cart_pb2.CartMessage(
                severity=cart_pb2.MESSAGE_SEVERITY_WARNING,
                code="DELIVERY_OPTION_CHANGED",
                path="fulfilment",
                text="The chosen way of delivery is not available for this cart any more.",
            )


def money(currency: str, amount: float) -> money_pb2.Money:
    return money_pb2.Money(currency_code=currency, units=round(amount), scale=_SCALE)


def rate_ppm(percent: float) -> int:
    return round(percent * 10_000)


def id_order(entity_id: str) -> tuple[int, str]:
    """Sorts decimal ids by their value and others in some fixed order."""
    return len(entity_id), entity_id


def state_of(state: str, *, active: bool) -> tuple["cart_pb2.CartState.ValueType", str]:
    """The canonical state, and the native one where it says more. An active order on its way to payment is frozen."""
    if state in OPEN_STATES:
        return cart_pb2.CART_STATE_ACTIVE, ""
    if state == "Cancelled":
        return cart_pb2.CART_STATE_CANCELED, ""
    return (cart_pb2.CART_STATE_FROZEN if active else cart_pb2.CART_STATE_ORDERED), state


def stock_word(level: str) -> str:
    """IN_STOCK, LOW_STOCK or OUT_OF_STOCK; an installation may show a number instead. Empty for anything else."""
    if level in {"IN_STOCK", "LOW_STOCK", "OUT_OF_STOCK"}:
        return level
    try:
        return "IN_STOCK" if int(level) > 0 else "OUT_OF_STOCK"
    except ValueError:
        return ""


def options(sources: Sequence[_Json]) -> Iterable[line_item_pb2.VariantOption]:
    """A variant's options, in the order in which the groups were made."""
    for option in sorted(sources, key=lambda option: id_order(option["group"]["id"])):
        yield line_item_pb2.VariantOption(name=option["group"]["name"], value=option["name"])


def delivery_ids(order: _Json) -> list[str]:
    return [shipping["shippingMethod"]["id"] for shipping in order["shippingLines"]]


def address_input(address: address_pb2.Address) -> dict[str, str]:
    """What Vendure is told of an address. It replaces the whole of the former one; `city` and the rest may be empty."""
    return {
        "fullName": join_names(address.first_name, address.last_name),
        "company": address.company,
        "streetLine1": address.street,
        "streetLine2": address.street_extra,
        "city": address.city,
        "province": address.region,
        "postalCode": address.postal_code,
        "countryCode": address.country,
        "phoneNumber": address.phone,
    }


def _promotion_id(discount: _Json) -> str:
    """`PROMOTION:1` is promotion 1; other sources keep their whole name."""
    source: str = discount["adjustmentSource"]
    return source.removeprefix("PROMOTION:")


def timestamp(iso: str) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(datetime.fromisoformat(iso))
    return timestamp
