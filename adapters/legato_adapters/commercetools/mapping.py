"""From commercetools' JSON to the canonical model. Pure; raises LookupError, TypeError or ValueError for another form.

What has no home here: variants' attributes that are neither text nor number nor a label, custom line items beyond their
price, shipping mode Multiple, and tax portions of single lines. `docs` says so field by field.

Longer than 400 lines because products, carts, orders and customers share most of their parts.
"""

from collections.abc import Mapping, Sequence
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
    provenance_pb2,
    ref_pb2,
    total_pb2,
)
from legato_adapters.commercetools import marks
from legato_adapters.commercetools.api import SYSTEM, Json
from legato_adapters.commercetools.project import Project

__all__ = ["CartMapping", "address", "ct_address", "localized", "money", "now", "timestamp"]

CANCELED = "CANCELED"

_STATES = {
    "Active": cart_pb2.CART_STATE_ACTIVE,
    "Frozen": cart_pb2.CART_STATE_FROZEN,
    "Merged": cart_pb2.CART_STATE_MERGED,
    "Ordered": cart_pb2.CART_STATE_ORDERED,
}
_CODE_STATES = {"MatchesCart": discount_pb2.DISCOUNT_CODE_STATE_APPLIED}
_ADDRESS = {
    "first_name": "firstName",
    "last_name": "lastName",
    "company": "company",
    "street": "streetName",
    "street_extra": "additionalStreetInfo",
    "postal_code": "postalCode",
    "city": "city",
    "region": "region",
    "country": "country",
    "phone": "phone",
}


def money(value: Json, currency: str) -> money_pb2.Money:
    """An amount in exactly the currency that was asked for: another one here would be a wrong price."""
    if value["currencyCode"] != currency:
        raise ValueError("an amount is in another currency than was asked for")
    precise = value.get("type") == "highPrecision"
    units, scale = value["preciseAmount" if precise else "centAmount"], value["fractionDigits"]
    if type(units) is not int or type(scale) is not int:
        raise TypeError("an amount is no integer")
    return money_pb2.Money(currency_code=currency, units=units, scale=scale)


def localized(text: Json | None, language: str) -> str:
    """The text in a language, one of the same tongue, or whichever there is."""
    if not text:
        return ""
    tongue = language.partition("-")[0]
    related = (value for known, value in text.items() if known.partition("-")[0] == tongue)
    return str(text[language] if language in text else next(related, next(iter(text.values()))))


def timestamp(text: str) -> Timestamp:
    moment = Timestamp()
    moment.FromJsonString(text)
    return moment


def now() -> provenance_pb2.Provenance:
    observed_at = Timestamp()
    observed_at.GetCurrentTime()
    return provenance_pb2.Provenance(source=SYSTEM, observed_at=observed_at)


def address(value: Json) -> address_pb2.Address:
    """An address; a house number that others keep apart joins its street."""
    known = {ours: str(value.get(theirs) or "") for ours, theirs in _ADDRESS.items()}
    known["street"] = f"{known['street']} {value.get('streetNumber') or ''}".strip()
    known["phone"] = known["phone"] or str(value.get("mobile") or "")
    return address_pb2.Address(**known)


def ct_address(value: address_pb2.Address) -> dict[str, str]:
    return {theirs: text for ours, theirs in _ADDRESS.items() if (text := getattr(value, ours))}


def options(attributes: Sequence[Json], language: str) -> list[line_item_pb2.VariantOption]:
    """What of a variant's attributes people can read."""
    found = []
    for attribute in attributes:
        text = _readable(attribute["value"], language)
        if text:
            found.append(line_item_pb2.VariantOption(name=attribute["name"], value=text))
    return found


def _readable(value: Any, language: str) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case str() | int() | float():
            return str(value)
        case {"label": label}:
            return _readable(label, language)
        case dict() if value and all(isinstance(text, str) for text in value.values()) and "typeId" not in value:
            return localized(value, language)
    return ""


# Carts


class CartMapping:
    """One cart or order as commercetools has it: they share lines, totals, addresses and delivery."""

    def __init__(self, source: Json, project: Project, context: request_context_pb2.RequestContext) -> None:
        self._source = source
        self._project = project
        self._context = context
        self.currency: str = source["totalPrice"]["currencyCode"]
        self.language = project.language(source.get("locale") or context.locale)

    def cart(self, cart_id: str, methods: Sequence[Json]) -> cart_pb2.Cart:
        """The cart; `methods` are the shipping methods that match it."""
        source, fields = self._source, marks.fields(self._source)
        state = source["cartState"]
        canceled = fields.get(marks.STATE) == CANCELED
        cart = cart_pb2.Cart(
            id=cart_id,
            tenant=self._context.tenant,
            store=fields.get(marks.STORE) or "",
            country=source.get("country") or "",
            currency_code=self.currency,
            locale=source.get("locale") or "",
            state=cart_pb2.CART_STATE_CANCELED if canceled else _STATES.get(state, cart_pb2.CART_STATE_FROZEN),
            native_status=state if canceled or state not in _STATES else "",
            email=source.get("customerEmail") or "",
            note=fields.get(marks.NOTE) or "",
            refs=[ref_pb2.Ref(system=SYSTEM, type="Cart", id=source["id"], version=str(source["version"]))],
            created_at=timestamp(source["createdAt"]),
            lines=self.lines(),
            discount_codes=self.discount_codes(),
            totals=self.totals(),
            fulfilment=self.fulfilment(methods),
            provenance=now(),
        )
        owner = owner_of(source)
        if owner:
            setattr(cart, *owner)
        self.put_addresses(cart)
        return cart

    def put_addresses(self, target: Any) -> None:
        for ours, theirs in (("shipping_address", "shippingAddress"), ("billing_address", "billingAddress")):
            if self._source.get(theirs):
                getattr(target, ours).CopyFrom(address(self._source[theirs]))

    def lines(self) -> list[line_item_pb2.LineItem]:
        return [self._line(number, line) for number, line in enumerate(self._source["lineItems"], 1)]

    def _line(self, number: int, line: Json) -> line_item_pb2.LineItem:
        variant, rate, quantity = line["variant"], line.get("taxRate"), line["quantity"]
        taxed = line.get("taxedPrice") or {}
        mapped = line_item_pb2.LineItem(
            id=line["id"],
            position=number,
            sku=variant["sku"],
            item=line_item_pb2.ItemSnapshot(
                product_id=line["productId"],
                name=localized(line["name"], self.language),
                image_url=next((image["url"] for image in variant.get("images") or ()), ""),
                options=options(variant.get("attributes") or (), self.language),
            ),
            unit_price=money(line["price"]["value"], self.currency),
            tax_included=rate["includedInPrice"] if rate else self._project.tax_included(self._country()),
            adjustments=self._adjustments(line),
            total=money(line["totalPrice"], self.currency),
            refs=[ref_pb2.Ref(system=SYSTEM, type="LineItem", id=line["id"], key=line.get("key") or "")],
        )
        mapped.quantity.steps = quantity
        if rate and taxed.get("totalTax"):
            mapped.tax_lines.append(self._tax(rate["name"], rate["amount"], taxed["totalTax"]))
        return mapped

    def _adjustments(self, line: Json) -> list[line_item_pb2.Adjustment]:
        found = []
        discounted = (line["price"].get("discounted") or {}).get("value")
        if discounted:
            less = money(discounted, self.currency)
            before = money(line["price"]["value"], self.currency)
            if less.scale != before.scale:
                raise ValueError("a discounted price has another scale than the price")
            less.units = (less.units - before.units) * line["quantity"]
            rule = line["price"]["discounted"]["discount"]["id"]
            found.append(line_item_pb2.Adjustment(source_id=rule, amount=less))
        for portion in line.get("discountedPricePerQuantity") or ():
            for included in portion["discountedPrice"]["includedDiscounts"]:
                less = money(included["discountedAmount"], self.currency)
                less.units *= -portion["quantity"]
                discount = included["discount"]
                label = localized((discount.get("obj") or {}).get("name"), self.language)
                found.append(line_item_pb2.Adjustment(source_id=discount["id"], label=label, amount=less))
        return found

    def _country(self) -> str:
        shipping = self._source.get("shippingAddress") or {}
        return shipping.get("country") or self._source.get("country") or ""

    def _tax(self, name: str, rate: float, amount: Json) -> line_item_pb2.TaxLine:
        ppm = round(rate * 1_000_000)
        return line_item_pb2.TaxLine(label=name, rate_ppm=ppm, amount=money(amount, self.currency))

    def discount_codes(self) -> list[discount_pb2.DiscountCode]:
        """The codes; each was expanded, for the cart alone knows no more than their ids."""
        return [
            discount_pb2.DiscountCode(
                code=code["discountCode"]["obj"]["code"],
                state=_CODE_STATES.get(code["state"], discount_pb2.DISCOUNT_CODE_STATE_NOT_APPLICABLE),
                label=localized(code["discountCode"]["obj"].get("name"), self.language),
            )
            for code in self._source["discountCodes"]
        ]

    def totals(self) -> total_pb2.Totals:
        """commercetools tells neither a subtotal nor a sum of discounts: these are sums of what it tells."""
        source, taxed = self._source, self._source.get("taxedPrice")
        rows = [*source["lineItems"], *source["customLineItems"]]
        subtotal = _sum([money(row["totalPrice"], self.currency) for row in rows], self.currency)
        grand = money(source["totalPrice"], self.currency)
        adjustments: list[line_item_pb2.Adjustment] = []
        whole = source.get("discountOnTotalPrice")
        if whole:
            for included in whole["includedDiscounts"]:
                less = money(included["discountedAmount"], self.currency)
                less.units = -less.units
                adjustments.append(line_item_pb2.Adjustment(source_id=included["discount"]["id"], amount=less))
        on_lines = [a.amount for row in source["lineItems"] for a in self._adjustments(row)]
        discount = _sum([*on_lines, *(a.amount for a in adjustments)], self.currency)
        totals = total_pb2.Totals(adjustments=adjustments)
        totals.items.add(type=total_pb2.TOTAL_TYPE_SUBTOTAL, amount=subtotal)
        if discount.units:
            label = "" if adjustments else "contained in the subtotal"
            totals.items.add(type=total_pb2.TOTAL_TYPE_DISCOUNT, label=label, amount=discount)
        shipping = source.get("shippingInfo")
        if shipping:
            cost = money(_shipping_price(shipping), self.currency)
            name = shipping["shippingMethodName"]
            totals.items.add(type=total_pb2.TOTAL_TYPE_DELIVERY, label=name, amount=cost)
        if taxed:
            for portion in taxed.get("taxPortions") or ():
                totals.tax_lines.append(self._tax(portion.get("name") or "", portion["rate"], portion["amount"]))
            if taxed.get("totalTax"):
                amount = money(taxed["totalTax"], self.currency)
                totals.items.add(type=total_pb2.TOTAL_TYPE_TAX, amount=amount)
            grand = money(taxed["totalGross"], self.currency)
        totals.items.add(type=total_pb2.TOTAL_TYPE_GRAND_TOTAL, amount=grand)
        return totals

    def fulfilment(self, methods: Sequence[Json]) -> fulfilment_pb2.Fulfilment:
        available = [option for method in methods if (option := self._option(method)) is not None]
        fulfilment = fulfilment_pb2.Fulfilment(available=available)
        selected = self.delivery()
        if selected is not None:
            fulfilment.selected.CopyFrom(selected)
        return fulfilment

    def delivery(self) -> fulfilment_pb2.DeliveryOption | None:
        """What was chosen."""
        shipping = self._source.get("shippingInfo")
        if not shipping:
            return None
        reference, rate = shipping.get("shippingMethod") or {}, shipping.get("taxRate")
        return fulfilment_pb2.DeliveryOption(
            id=reference.get("id") or "",
            name=shipping["shippingMethodName"],
            price=money(_shipping_price(shipping), self.currency),
            tax_included=rate["includedInPrice"] if rate else self._project.tax_included(self._country()),
        )

    def _option(self, method: Json) -> fulfilment_pb2.DeliveryOption | None:
        """A shipping method at the rate that matches the cart."""
        for zone in method["zoneRates"]:
            for rate in zone["shippingRates"]:
                if not rate.get("isMatching"):
                    continue
                tiers = [tier for tier in rate.get("tiers") or () if tier.get("isMatching") and "price" in tier]
                cost = money(tiers[0]["price"] if tiers else rate["price"], self.currency)
                free = rate.get("freeAbove")
                total = self._source["totalPrice"]
                if free and total["centAmount"] >= free["centAmount"]:
                    cost.units = 0
                name = localized(method.get("localizedName"), self.language) or method["name"]
                included = self._project.tax_included(self._country())
                return fulfilment_pb2.DeliveryOption(id=method["id"], name=name, price=cost, tax_included=included)
        return None


def owner_of(source: Json) -> tuple[str, str] | None:
    """Whose cart or order it is: the field of Cart.owner and its value."""
    kept = str(marks.fields(source).get(marks.OWNER) or "")
    field, _, value = kept.partition(":")
    if field in {"customer_id", "anonymous_id", "terminal_id"} and value:
        return field, value
    if source.get("customerId"):
        return "customer_id", source["customerId"]
    if source.get("anonymousId"):
        return "anonymous_id", source["anonymousId"]
    return None


def _shipping_price(shipping: Json) -> Json:
    discounted: Mapping[str, Any] = shipping.get("discountedPrice") or {}
    found: Json = discounted.get("value") or shipping["price"]
    return found


def _sum(amounts: Sequence[money_pb2.Money], currency: str) -> money_pb2.Money:
    """The sum, at the finest scale among the amounts."""
    scale = max((amount.scale for amount in amounts), default=2)
    units = sum(amount.units * 10 ** (scale - amount.scale) for amount in amounts)
    return money_pb2.Money(currency_code=currency, units=units, scale=scale)
