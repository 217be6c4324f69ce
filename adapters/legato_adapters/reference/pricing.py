"""What a cart costs: pure integer arithmetic in a currency's smallest unit.

Whatever is divided is rounded once and then shared out so that the parts add up to the whole again (largest remainder).
The rules:

* A promotion on goods lowers the lines in proportion to what they still cost; percentages count before fixed amounts.
* Tax is computed on the sum of everything with one rate, delivery included, after discounts, and shared out.
* Half a unit is rounded up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Goods:
    """One line: its quantity times its unit price, and its tax rate in millionths."""

    amount: int
    rate_ppm: int


@dataclass(frozen=True, slots=True)
class Promotion:
    """One of three effects: `percent_ppm` of the goods, a fixed `amount` off them, or `free_delivery`.

    It counts where the goods cost `least` or more before all discounts.
    """

    percent_ppm: int = 0
    amount: int = 0
    free_delivery: bool = False
    least: int = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """The price of the chosen way of delivery and its tax rate in millionths."""

    amount: int
    rate_ppm: int


@dataclass(slots=True)
class LineResult:
    """`total` is the line's amount minus its `discounts` (positive, by index of the promotion), `tax` the tax on it."""

    total: int
    discounts: dict[int, int] = field(default_factory=dict)
    tax: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """What everything costs. Discounts are positive here.

    `goods` is before discounts; `discounts` has the whole effect of each promotion, 0 where it does not count;
    `taxes` by rate; `total` is what is paid: goods - discounts + delivery, and + tax where prices do not include it.
    """

    lines: list[LineResult]
    goods: int
    discounts: list[int]
    delivery: int
    taxes: dict[int, int]
    tax: int
    total: int


def half_up(numerator: int, denominator: int) -> int:
    """The quotient of two numbers that are not negative, rounded to the nearest, a half upwards."""
    return (2 * numerator + denominator) // (2 * denominator)


def allocate(amount: int, weights: Sequence[int]) -> list[int]:
    """Share `amount` out in proportion to `weights`, so that the parts add up to it.

    What rounding down leaves goes, one unit each, to the largest remainders, the first of equals first. No part exceeds
    its weight unless `amount` exceeds their sum.
    """
    whole = sum(weights)
    if amount == 0:
        return [0] * len(weights)
    parts = [amount * weight // whole for weight in weights]
    left = amount - sum(parts)
    if left:
        by_remainder = sorted(range(len(weights)), key=lambda i: -(amount * weights[i] % whole))
        for i in by_remainder[:left]:
            parts[i] += 1
    return parts


def price(
    goods: Sequence[Goods],
    promotions: Sequence[Promotion],
    delivery: Delivery | None,
    *,
    tax_included: bool,
) -> Result:
    """What the cart costs. All amounts and rates are 0 or more."""
    lines = [LineResult(line.amount) for line in goods]
    goods_amount = sum(line.amount for line in goods)
    discounts = [0] * len(promotions)
    for index in sorted(range(len(promotions)), key=lambda i: promotions[i].percent_ppm == 0):
        if goods_amount >= promotions[index].least:
            discounts[index] = _discount_goods(lines, index, promotions[index])
    delivery_paid = delivery.amount if delivery is not None else 0
    for index, promotion in enumerate(promotions):
        if promotion.free_delivery and goods_amount >= promotion.least:
            discounts[index] += delivery_paid
            delivery_paid = 0

    bases = [(lines[i].total, line.rate_ppm) for i, line in enumerate(goods)]
    if delivery is not None:
        bases.append((delivery_paid, delivery.rate_ppm))
    taxes: dict[int, int] = {}
    for rate in sorted({rate for _, rate in bases if rate}):
        weights = [base if its_rate == rate else 0 for base, its_rate in bases]
        taxes[rate] = half_up(sum(weights) * rate, _MILLION + rate if tax_included else _MILLION)
        for line, part in zip(lines, allocate(taxes[rate], weights), strict=False):
            line.tax += part

    tax = sum(taxes.values())
    delivery_amount = delivery.amount if delivery is not None else 0
    total = goods_amount - sum(discounts) + delivery_amount + (0 if tax_included else tax)
    return Result(lines, goods_amount, discounts, delivery_amount, taxes, tax, total)


def _discount_goods(lines: Sequence[LineResult], index: int, promotion: Promotion) -> int:
    """Lower the lines; the whole effect is returned."""
    remaining = [line.total for line in lines]
    whole = sum(remaining)
    effect = min(whole, half_up(whole * promotion.percent_ppm, _MILLION) + promotion.amount)
    for line, part in zip(lines, allocate(effect, remaining), strict=True):
        if part:
            line.total -= part
            line.discounts[index] = part
    return effect
