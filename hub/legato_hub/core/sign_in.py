"""What signing in does to sessions and carts. Pure, as `sessions.py` is.

The shopper goes on in one session, the customer's live one. A session that is not it gives up its guest carts and its
history to it and is JOINED. Each function may be applied again to what it made: that changes nothing.
"""

from collections.abc import Iterable

from legato.commerce.v1 import cart_pb2, session_pb2
from legato.protocol.state import Entries
from legato_hub.core.access import customer_of
from legato_hub.core.sessions import head_of, serialised, timestamp, trim_carts, trim_views, views_of, without


def signed_in(
    entries: Entries,
    *,
    customer_id: str,
    display_name: str,
    channel: str,
    carts: Iterable[session_pb2.SessionCart],
    views: Iterable[session_pb2.ProductView],
    active: str,
    now: int,
) -> Entries:
    """The session signed in as a customer, with carts and views added, and one of the listed carts active.

    A cart that is listed keeps the time it was added; one that comes as the customer's is no guest's from now on.
    """
    result = dict(entries)
    if customer_of(entries) != customer_id:
        status = session_pb2.LOGIN_STATUS_SIGNED_IN
        login = session_pb2.Login(status=status, customer_id=customer_id, display_name=display_name, channel=channel)
        login.changed_at.CopyFrom(timestamp(now))
        result["login"] = serialised(login)
    for cart in carts:
        listed = session_pb2.SessionCart(cart_id=cart.cart_id, guest=cart.guest, added_at=timestamp(now))
        key = f"cart/{cart.cart_id}"
        if key in result:
            listed = session_pb2.SessionCart.FromString(result[key])
            listed.guest = listed.guest and cart.guest
        result[key] = serialised(listed)
    newest = {view.product_id: view.viewed_at.ToNanoseconds() for view in views_of(entries)}
    for view in views:
        if view.viewed_at.ToNanoseconds() > newest.get(view.product_id, -1):
            result[f"view/{view.product_id}"] = serialised(view)
    head = head_of(entries)
    head.active_cart_id = active if f"cart/{active}" in result else ""
    result["session"] = serialised(head)
    return trim_carts(trim_views(result), active)


def joined(entries: Entries, target: str, now: int) -> Entries:
    """The session once its shopper goes on in session `target`. What it had is still there, for `target` to take."""
    head = head_of(entries)
    head.state, head.joined_session_id = session_pb2.SESSION_STATE_JOINED, target
    result = {**entries, "session": serialised(head)}
    if customer_of(entries):
        anonymous = session_pb2.LOGIN_STATUS_ANONYMOUS
        result["login"] = serialised(session_pb2.Login(status=anonymous, changed_at=timestamp(now)))
    return result


def emptied(entries: Entries) -> Entries:
    """The session after another has taken its carts and views."""
    head = head_of(entries)
    head.active_cart_id = ""
    return {**without(entries, "cart/", "view/"), "session": serialised(head)}


def assigned(entries: Entries, customer_id: str) -> Entries:
    """A guest's cart as the customer's. A cart that is not a guest's stays whose it is."""
    cart = cart_pb2.Cart.FromString(entries.get("cart", b""))
    if cart.WhichOneof("owner") != "anonymous_id":
        return entries
    cart.customer_id = customer_id
    return {**entries, "cart": serialised(cart)}
