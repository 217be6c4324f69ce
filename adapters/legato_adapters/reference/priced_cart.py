"""From the cart as a message to what it costs, and back."""

from legato.commerce.v1 import cart_pb2, discount_pb2, line_item_pb2, total_pb2
from legato_adapters.reference.catalog import LOW_STOCK, Catalog, Market, in_language
from legato_adapters.reference.pricing import Delivery, Goods, LineResult, Result, price
from legato_adapters.reference.stock import Stock

_LOW_STOCK_TEXT = {"en": "Only {} in stock.", "de": "Nur noch {} auf Lager."}


def reprice(catalog: Catalog, stock: Stock, market: Market, cart: cart_pb2.Cart) -> None:
    """Bring everything in the cart that is computed up to date: prices, taxes, totals, delivery options, messages."""
    variants = [catalog.by_sku[line.sku] for line in cart.lines]
    goods = [
        Goods(
            line.quantity.steps * variant.prices[market.currency],
            market.tax_rates[variant.product.tax_class],
        )
        for line, variant in zip(cart.lines, variants, strict=True)
    ]
    codes = [catalog.codes[code.code] for code in cart.discount_codes]
    cart.fulfilment.CopyFrom(catalog.fulfilment(market, cart.locale, cart.fulfilment.selected.id))
    delivery = None
    if cart.fulfilment.HasField("selected"):
        delivery = Delivery(cart.fulfilment.selected.price.units, market.tax_rates["standard"])

    promotions = [code.promotion for code in codes]
    result = price(goods, promotions, delivery, tax_included=market.tax_included)
    sources = [(code.code, in_language(code.labels, cart.locale)) for code in codes]
    tax_label = in_language(market.tax_label, cart.locale)
    for line, line_goods, line_result in zip(cart.lines, goods, result.lines, strict=True):
        _write_line(market, line, line_goods, line_result, sources, tax_label)
    for shown, (_, label), effect in zip(cart.discount_codes, sources, result.discounts, strict=True):
        shown.label = label
        shown.state = (
            discount_pb2.DISCOUNT_CODE_STATE_APPLIED if effect else discount_pb2.DISCOUNT_CODE_STATE_NOT_APPLICABLE
        )
    _write_totals(market, cart.totals, result, sources, tax_label, has_delivery=delivery is not None)

    cart.ClearField("messages")
    for line, left in zip(cart.lines, stock.left_of(variants), strict=True):
        if left <= LOW_STOCK:
            cart.messages.items.add(
                severity=cart_pb2.MESSAGE_SEVERITY_INFO,
                code="LOW_STOCK",
                path=f"line/{line.id}",
                text=in_language(_LOW_STOCK_TEXT, cart.locale).format(left),
            )


def _write_line(
    market: Market,
    line: line_item_pb2.LineItem,
    goods: Goods,
    result: LineResult,
    sources: list[tuple[str, str]],
    tax_label: str,
) -> None:
    market.write(line.unit_price, goods.amount // line.quantity.steps)
    line.tax_included = market.tax_included
    market.write(line.total, result.total)
    line.ClearField("adjustments")
    for index, amount in result.discounts.items():
        code, label = sources[index]
        adjustment = line.adjustments.add(source_id=code, label=label, code=code)
        market.write(adjustment.amount, -amount)
    line.ClearField("tax_lines")
    if goods.rate_ppm:
        tax = line.tax_lines.add(label=tax_label, rate_ppm=goods.rate_ppm)
        market.write(tax.amount, result.tax)


def _write_totals(
    market: Market,
    totals: total_pb2.Totals,
    result: Result,
    sources: list[tuple[str, str]],
    tax_label: str,
    *,
    has_delivery: bool,
) -> None:
    """The subtotal is before all discounts: a promotion is shown once as a whole, and its shares on the lines."""
    totals.Clear()

    def add(total_type: "total_pb2.TotalType.ValueType", units: int) -> None:
        market.write(totals.items.add(type=total_type).amount, units)

    add(total_pb2.TOTAL_TYPE_SUBTOTAL, result.goods)
    if any(result.discounts):
        add(total_pb2.TOTAL_TYPE_DISCOUNT, -sum(result.discounts))
    if has_delivery:
        add(total_pb2.TOTAL_TYPE_DELIVERY, result.delivery)
    add(total_pb2.TOTAL_TYPE_TAX, result.tax)
    add(total_pb2.TOTAL_TYPE_GRAND_TOTAL, result.total)
    for rate, amount in result.taxes.items():
        market.write(totals.tax_lines.add(label=tax_label, rate_ppm=rate).amount, amount)
    for (code, label), effect in zip(sources, result.discounts, strict=True):
        if effect:
            market.write(totals.adjustments.add(source_id=code, label=label, code=code).amount, -effect)
