"""Nothing is lost or made by rounding, whatever is priced."""

from hypothesis import given
from hypothesis import strategies as st

from legato_adapters.reference.pricing import Delivery, Goods, Promotion, Result, allocate, half_up, price

RATES = st.sampled_from([0, 70_000, 80_000, 190_000])
AMOUNTS = st.integers(0, 10**12)
GOODS = st.lists(st.builds(Goods, AMOUNTS, RATES), max_size=8)
PROMOTIONS = st.lists(
    st.one_of(
        st.builds(Promotion, percent_ppm=st.integers(0, 1_000_000), least=st.integers(0, 10_000)),
        st.builds(Promotion, amount=AMOUNTS, least=st.integers(0, 10_000)),
        st.builds(Promotion, free_delivery=st.just(True), least=st.integers(0, 10_000)),
    ),
    max_size=4,
)
DELIVERY = st.none() | st.builds(Delivery, st.integers(0, 100_000), RATES)
PRICED = st.tuples(GOODS, PROMOTIONS, DELIVERY, st.booleans())


def priced(case: tuple[list[Goods], list[Promotion], Delivery | None, bool]) -> Result:
    goods, promotions, delivery, tax_included = case
    return price(goods, promotions, delivery, tax_included=tax_included)


@given(st.lists(st.integers(0, 10**12), min_size=1).filter(any), st.data())
def test_allocation_adds_up_and_is_fair(weights: list[int], data: st.DataObject) -> None:
    amount = data.draw(st.integers(0, sum(weights)))
    parts = allocate(amount, weights)
    assert sum(parts) == amount
    for part, weight in zip(parts, weights, strict=True):
        assert part in {amount * weight // sum(weights), -(-amount * weight // sum(weights))}
        assert 0 <= part <= weight


def test_the_largest_remainder_gets_what_is_left() -> None:
    assert allocate(100, [1, 1, 1]) == [34, 33, 33]
    assert allocate(10, [333, 333, 334]) == [3, 3, 4]
    assert allocate(0, [0, 0]) == [0, 0]


@given(PRICED)
def test_sums_agree(case: tuple[list[Goods], list[Promotion], Delivery | None, bool]) -> None:
    goods, promotions, _, tax_included = case
    result = priced(case)
    assert result.goods == sum(line.amount for line in goods)
    on_lines = [sum(line.discounts.get(i, 0) for line in result.lines) for i in range(len(promotions))]
    on_delivery = sum(result.discounts) - sum(on_lines)
    assert all(whole >= lines for whole, lines in zip(result.discounts, on_lines, strict=True))
    assert 0 <= on_delivery <= result.delivery
    for line, given_line in zip(result.lines, goods, strict=True):
        assert line.total == given_line.amount - sum(line.discounts.values())
        assert line.total >= 0
    tax = 0 if tax_included else result.tax
    assert result.total == sum(line.total for line in result.lines) + result.delivery - on_delivery + tax
    assert result.total == result.goods - sum(result.discounts) + result.delivery + tax


@given(PRICED)
def test_tax_is_rounded_once_for_each_rate(case: tuple[list[Goods], list[Promotion], Delivery | None, bool]) -> None:
    goods, promotions, delivery, tax_included = case
    result = priced(case)
    on_lines = [sum(line.discounts.get(i, 0) for line in result.lines) for i in range(len(promotions))]
    delivery_paid = result.delivery - (sum(result.discounts) - sum(on_lines))
    assert result.tax == sum(result.taxes.values())
    for rate, tax in result.taxes.items():
        lines = [line for line, its in zip(result.lines, goods, strict=True) if its.rate_ppm == rate]
        base = sum(line.total for line in lines)
        if delivery is not None and delivery.rate_ppm == rate:
            base += delivery_paid
        assert tax == half_up(base * rate, 1_000_000 + (rate if tax_included else 0))
        shared = sum(line.tax for line in lines)
        assert shared <= tax
        if delivery is None or delivery.rate_ppm != rate:
            assert shared == tax
    untaxed = [line for line, its in zip(result.lines, goods, strict=True) if not its.rate_ppm]
    assert all(line.tax == 0 for line in untaxed)


def test_an_example_with_tax_included() -> None:
    goods = [Goods(11_900, 190_000), Goods(2_140, 70_000)]
    promotions = [Promotion(amount=500, least=5_000), Promotion(percent_ppm=100_000), Promotion(free_delivery=True)]
    result = price(goods, promotions, Delivery(490, 190_000), tax_included=True)
    # 10 % of 140.40 counts first, then 5.00 are taken off what is left (107.10 and 19.26).
    assert result.discounts == [500, 1_404, 490]
    assert [line.total for line in result.lines] == [10_286, 1_850]
    assert result.taxes == {70_000: 121, 190_000: 1_642}
    assert result.total == 14_040 - 1_904 == 12_136


def test_an_example_with_tax_on_top() -> None:
    result = price([Goods(999, 80_000)] * 3, [], Delivery(590, 80_000), tax_included=False)
    assert result.taxes == {80_000: half_up(3_587 * 8, 100)}
    assert [line.tax for line in result.lines] == [80, 80, 80]
    assert result.total == 2_997 + 590 + 287


def test_conditions_that_are_not_met() -> None:
    promotions = [Promotion(amount=500, least=5_000), Promotion(free_delivery=True)]
    result = price([Goods(4_999, 0)], promotions, None, tax_included=True)
    assert result.discounts == [0, 0]
    assert result.total == 4_999


def test_a_discount_never_exceeds_the_goods() -> None:
    result = price([Goods(300, 0)], [Promotion(amount=500)], None, tax_included=True)
    assert (result.discounts, result.total) == ([300], 0)


def test_an_empty_cart_costs_nothing() -> None:
    result = price([], [Promotion(percent_ppm=100_000)], None, tax_included=True)
    assert (result.discounts, result.total, result.taxes) == ([0], 0, {})
