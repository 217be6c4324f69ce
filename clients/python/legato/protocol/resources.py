"""Names of resources: `carts/{id}`, `sessions/{id}`, `sessions/{id}/active_cart`."""

import enum
from functools import lru_cache
from typing import NamedTuple

from legato.protocol.ids import is_uuid7


class Kind(enum.Enum):
    """What a resource is."""

    CART = "carts"
    SESSION = "sessions"
    ACTIVE_CART = "active_cart"


class Resource(NamedTuple):
    """A parsed name. For ACTIVE_CART `id` is the session's."""

    kind: Kind
    id: str

    @property
    def name(self) -> str:
        if self.kind is Kind.ACTIVE_CART:
            return f"sessions/{self.id}/active_cart"
        return f"{self.kind.value}/{self.id}"


def cart(cart_id: str) -> str:
    """Name of a cart."""
    return f"carts/{cart_id}"


def session(session_id: str) -> str:
    """Name of a session."""
    return f"sessions/{session_id}"


def active_cart(session_id: str) -> str:
    """Name of whatever cart is a session's active one."""
    return f"sessions/{session_id}/active_cart"


# A command's name is looked at by each who takes it on, and the same names come again and again.
@lru_cache(4_096)
def parse(name: str) -> Resource:
    """Raise ValueError, with a text for the caller, unless `name` is the name of a resource."""
    match name.split("/"):
        case ["carts", id_] if is_uuid7(id_):
            return Resource(Kind.CART, id_)
        case ["sessions", id_] if is_uuid7(id_):
            return Resource(Kind.SESSION, id_)
        case ["sessions", id_, "active_cart"] if is_uuid7(id_):
            return Resource(Kind.ACTIVE_CART, id_)
    raise ValueError("must be carts/{uuid7}, sessions/{uuid7} or sessions/{uuid7}/active_cart")
