"""All checks, in the order in which they run."""

from legato_adapters.conformance.check import Check, checks_of
from legato_adapters.conformance.checks import (
    cart_commands,
    cart_fields,
    cart_stock,
    carts,
    catalog,
    content,
    customers,
    events,
    fulfilment,
    identity,
    inventory,
    order_lists,
    orders,
    payments,
    pricing,
    search,
)

_MODULES = (
    identity,
    catalog,
    search,
    pricing,
    inventory,
    carts,
    cart_stock,
    cart_fields,
    cart_commands,
    orders,
    order_lists,
    payments,
    customers,
    content,
    fulfilment,
    events,
)


def _suite() -> tuple[Check, ...]:
    checks = [check for module in _MODULES for check in checks_of(module)]
    ids = [check.id for check in checks]
    if twice := sorted({id for id in ids if ids.count(id) > 1}):
        raise ValueError(f"two checks are called {twice[0]}")
    return tuple(checks)


SUITE = _suite()
