"""Who a caller is. What an identity may see stands in `access.py`."""

import enum
from dataclasses import dataclass


class IdentityKind(enum.Enum):
    """Kinds of identity; the values are the words of tokens and of IdentitySummary."""

    CHANNEL = "channel"
    """Holder of a channel's publishable key: reads the catalog and starts sessions, nothing else."""
    SHOPPER = "shopper"
    """Somebody's session, signed in or not."""
    TERMINAL = "terminal"
    """A store's till: its store's carts, and what was shared with it."""
    SERVICE = "service"
    """An internal service: its tenant."""
    OPERATOR = "operator"
    """Administration."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified identity. The tenant always comes from here, never from a message."""

    kind: IdentityKind
    tenant: str
    subject: str
    """Session id of a shopper, id of a terminal, name of a service or operator, kind of a channel."""
    store: str = ""
    """Selling entity; empty for services and operators of the whole tenant."""
    expires_at: int = 0
    """Milliseconds since 1970; 0 never."""

    @property
    def principal(self) -> str:
        """Stable name of who this is, for bindings and grants."""
        return f"{self.tenant}/{self.kind.value}/{self.subject}"

    def expired(self, now: int) -> bool:
        """Whether it has ended at a time, milliseconds since 1970."""
        return 0 < self.expires_at <= now


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sends a command, and from where."""

    identity: Identity
    channel: str
    """Kind of the sales channel, for example "web"."""
    client_id: str = ""
    """The installation that numbers its commands; empty for stateless callers."""
