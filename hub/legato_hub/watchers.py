"""What stands between a resource and a client that follows it: who is told of a change, and what follows from it."""

from collections.abc import Callable

from legato.commerce.v1 import session_pb2
from legato.protocol import resources
from legato_hub.core.outbox import Outbox, Subscription
from legato_hub.line import Line
from legato_hub.live import Live


class Watcher:
    """One subscription on the resource that feeds it."""

    def __init__(
        self,
        outbox: Outbox,
        line: Line,
        subscription: Subscription,
        *,
        restarted: Callable[["Watcher"], None],
        gone: Callable[["Watcher"], None],
    ) -> None:
        self._outbox = outbox
        self._restarted = restarted
        self._line = line
        self._gone = gone
        self.subscription = subscription
        self.target = ""
        """Name of the resource that it is to show; empty for an active cart while there is none."""
        self.live: Live | None = None
        """The resource that it does show; another than the target only while that is being read."""
        self.session: SessionWatch | None = None
        """For an active cart: what tells that another cart became it."""

    def revised(self) -> None:
        if self.live is None:
            return  # closed by what an earlier one of those that are told has done
        if self.live.tombstone:
            self._gone(self)
        elif self._outbox.due(self.subscription):
            self._line.wake()

    def restarted(self) -> None:
        self.subscription.paused = True
        self._restarted(self)

    def presence_changed(self) -> None:
        self.subscription.presence_due = True
        self.revised()


class SessionWatch:
    """Calls back when a session changes in what matters to whoever holds it."""

    def __init__(self, live: Live, what: Callable[[Live], object], changed: Callable[[], None]) -> None:
        self.live = live
        self._what = what
        self._last = what(live)
        self._changed = changed

    def revised(self) -> None:
        present = self._what(self.live)
        if present != self._last:
            self._last = present
            self._changed()

    def restarted(self) -> None:
        """What matters is looked at when the state is there, which is at once."""


def active_cart_of(session: Live) -> str:
    """The name of a session's active cart; empty for none."""
    cart_id = session_pb2.Session.FromString(session.entries.get("session", b"")).active_cart_id
    return resources.cart(cart_id) if cart_id else ""


def rights_of(session: Live) -> object:
    """What decides which carts the holder of a session may see; compares."""
    carts = frozenset(key for key in session.entries if key.startswith("cart/"))
    return session.entries.get("login"), carts
