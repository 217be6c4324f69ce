"""`legato token`, and the operator's token that `legato watch` makes itself."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from legato.protocol.ids import is_uuid7
from legato_hub.auth import Customer, DevelopmentCredentials, TokenAuthority
from legato_hub.cli import refuse
from legato_hub.config import Config, is_loopback
from legato_hub.core.identity import Identity, IdentityKind


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What was asked for; None for what was left open."""

    kind: str
    subject: str | None = None
    tenant: str | None = None
    store: str | None = None
    name: str = ""
    hours: int = 24


def mint(config: Config, request: TokenRequest) -> str:
    """The token, or leave with what is wrong."""
    if not config.auth.development:
        refuse("auth.development is false: this hub neither makes nor accepts development tokens")
    tenant = _one_of(config.tenants, request.tenant, "tenant")
    until = time.time_ns() // 1_000_000 + request.hours * 3_600_000
    if request.kind == "customer":
        if not request.subject:
            refuse("a customer needs --subject, the customer's id")
        return DevelopmentCredentials(config.auth.secret).issue(tenant, Customer(request.subject, request.name), until)
    kind = IdentityKind(request.kind)
    store = request.store
    if store is not None or kind in (IdentityKind.SHOPPER, IdentityKind.TERMINAL):
        store = _one_of(config.tenants[tenant].stores, store, "store")
    if kind is IdentityKind.SHOPPER and not is_uuid7(request.subject or ""):
        refuse("a shopper needs --subject, the id of the session (a UUIDv7)")
    subject = request.subject or request.kind
    identity = Identity(kind, tenant, subject, store or "", until)
    return TokenAuthority(config.auth.secret).issue(identity)


def operator_token(config: Config, target: str, tenant: str | None) -> str:
    """A token to watch a development hub on this machine with, or leave."""
    if not is_loopback(target):
        refuse(f"a hub at {target} needs --token: tokens are made for hubs on this machine only")
    return mint(config, TokenRequest("operator", "legato watch", tenant, hours=24 * 30))


def _one_of(known: Iterable[str], wanted: str | None, what: str) -> str:
    """The wanted name, or the first."""
    names = list(known)
    if wanted is None:
        return names[0]
    if wanted not in names:
        refuse(f"there is no {what} {wanted!r}; there is {', '.join(names)}")
    return wanted
