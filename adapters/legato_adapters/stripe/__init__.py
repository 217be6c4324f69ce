"""Stripe as a payment backend: PaymentIntents that are captured by hand, refunds, and signed webhooks.

Effect class KEYED: the command id is the Idempotency-Key, which Stripe keeps for a day and longer, and stands in the
metadata of what the command made, where Resolve finds it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from legato_adapters.stripe.adapter import StripeAdapter

__all__ = ["create"]


def create(
    *, secret_key: str, webhook_secrets: Sequence[str] = (), url: str = "https://api.stripe.com"
) -> "StripeAdapter":
    """The adapter to the Stripe account of `secret_key` (a secret or a restricted key).

    `webhook_secrets` check what comes to the webhook; while one is exchanged there are two. Without any, webhooks are
    not claimed. Needs extra `http`. Raises ValueError for a key or a URL that is none, never quoting it.
    """
    from legato_adapters.stripe.adapter import StripeAdapter

    return StripeAdapter(secret_key, webhook_secrets, url)
