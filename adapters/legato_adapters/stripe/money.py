"""Amounts as Stripe counts them: integers of a minor unit that is Stripe's own for some currencies. Pure."""

from legato.commerce.v1 import money_pb2

__all__ = ["from_minor", "scale_of", "to_minor"]

# ISK and UGX have no minor unit any more, and Stripe counts them in hundredths all the same.
_NO_DECIMALS = frozenset(
    ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"]
)
_THREE_DECIMALS = frozenset(["BHD", "JOD", "KWD", "OMR", "TND"])


def scale_of(currency: str) -> int:
    """Decimal places of Stripe's amounts in a currency, by its code in capital letters."""
    if currency in _NO_DECIMALS:
        return 0
    return 3 if currency in _THREE_DECIMALS else 2


def from_minor(currency: str, amount: int) -> money_pb2.Money:
    """The money that Stripe calls `amount`; `currency` in either case. TypeError for what is no integer."""
    if isinstance(amount, bool) or not isinstance(amount, int):
        raise TypeError("an amount is an integer")
    code = currency.upper()
    return money_pb2.Money(currency_code=code, units=amount, scale=scale_of(code))


def to_minor(money: money_pb2.Money) -> int | None:
    """What Stripe calls it; None where it has more decimal places than Stripe counts."""
    shift = scale_of(money.currency_code) - money.scale
    if shift >= 0:
        return int(money.units * 10**shift)
    units, rest = divmod(money.units, 10**-shift)
    return None if rest else int(units)
