"""Where the emulator is wrong against the real API: each with what it answered, and where the right one is tested.

Strict: a test that is named here and passes is a failure too. The adapter follows commercetools' documentation.
"""

from typing import NamedTuple

__all__ = ["KNOWN_FAILURES", "KnownFailure"]


class KnownFailure(NamedTuple):
    """`payload` is a recorded answer, in the adapter's folder `emulator`; `tested` is our own test of what is right."""

    why: str
    payload: str
    tested: str


KNOWN_FAILURES = {
    "test_discount_code": KnownFailure(
        "a discount code changes no price", "discount_code", "test_mapping.py::test_discounts"
    ),
    "test_delivery_option": KnownFailure(
        "totals are without shipping, the gross total is of shipping alone, and EUR has no fraction digits",
        "shipping_in_totals",
        "test_mapping.py::test_totals_with_shipping_and_tax",
    ),
    "test_an_order_is_what_the_cart_was": KnownFailure(
        "a cart stays Active when it was ordered",
        "cart_after_ordering",
        "test_documented.py::test_an_ordered_cart",
    ),
    "test_a_customers_orders_newest_first_page_by_page": KnownFailure(
        "`sort` is ignored", "orders_not_sorted", "test_documented.py::test_orders_are_asked_for_newest_first"
    ),
    "test_an_address_of_another_is_taken": KnownFailure(
        "changeEmail gives an address to two customers", "email_taken", "test_documented.py::test_a_taken_email"
    ),
    "test_the_address_book": KnownFailure(
        "a default address cannot be unset",
        "default_address_unset",
        "test_documented.py::test_a_default_address_is_unset",
    ),
    "test_a_customer_signs_in": KnownFailure("there is no /login", "login", "test_documented.py::test_a_sign_in"),
}
