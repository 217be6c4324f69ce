"""Development tokens for the demo's till and customer."""

import time

from legato_hub.auth import Customer, DevelopmentCredentials, TokenAuthority
from legato_hub.core.identity import Identity, IdentityKind
from legato_hub.secret import Secret

TENANT = "demo"
HOURS_MS = 8 * 3_600_000


class Identities:
    """Issues what a hub with this secret accepts."""

    def __init__(self, secret: str) -> None:
        self._secret = Secret(secret)

    def customer(self, customer_id: str, name: str) -> str:
        """A credential to sign in with."""
        return DevelopmentCredentials(self._secret).issue(TENANT, Customer(customer_id, name), _expiry())

    def terminal(self, terminal_id: str, store: str) -> str:
        """A till's token."""
        identity = Identity(IdentityKind.TERMINAL, TENANT, terminal_id, store, expires_at=_expiry())
        return TokenAuthority(self._secret).issue(identity)


def _expiry() -> int:
    return time.time_ns() // 1_000_000 + HOURS_MS
