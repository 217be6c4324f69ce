"""What a channel sees of a cart and of a session at one moment. Messages in a view are to be read, not changed."""

from dataclasses import dataclass

from legato.commerce.v1.cart_pb2 import Cart
from legato.commerce.v1.session_pb2 import Session
from legato.orchestrator.v1.cursor_pb2 import Cursor
from legato.orchestrator.v1.stream_pb2 import PresentChannel


@dataclass(frozen=True, slots=True)
class CartView:
    """A cart at one moment."""

    cart: Cart
    """What it will probably be once the hub has done what is pending: lines and quantities are predicted, prices and
    totals are those that the backend said last. Empty (no id) while a session has no active cart."""
    confirmed: Cart
    """What the hub said last."""
    pending: int
    """Own commands whose effect is not in `confirmed` yet."""
    cursor: Cursor | None
    """Where `confirmed` is in history; for `expected` and `min_cursor`."""
    connected: bool
    """Whether changes arrive as they happen. If not, `confirmed` is what was known last."""
    stale: bool
    """Whether the backend could not be asked again in time, so that its values are the last ones known."""
    channels: tuple[PresentChannel, ...]
    """Who else looks at it, oldest first."""


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session at one moment."""

    session: Session
    """What the hub said last."""
    pending: int
    """Own commands whose effect is not in `session` yet."""
    cursor: Cursor | None
    """Where `session` is in history."""
    connected: bool
    """Whether changes arrive as they happen."""
    channels: tuple[PresentChannel, ...]
    """Who else looks at it, oldest first."""
