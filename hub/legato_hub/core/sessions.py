"""What becomes of a session. Pure: from the present entities to the wished ones.

A function that has nothing to change returns entities equal to those it got, so that no revision comes of it. Times are
milliseconds since 1970. Signing in has a file of its own, `sign_in.py`.
"""

from collections.abc import Iterable

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from legato.commerce.v1 import session_pb2
from legato.orchestrator.v1 import session_intent_pb2
from legato.protocol.entities import split_session
from legato.protocol.state import Entries
from legato_hub.core.access import customer_of
from legato_hub.core.market import Market
from legato_hub.core.problem import invalid, not_found

MAX_VIEWS = 50
"""Products in the browsing history."""

MAX_CONSENTS = 32
"""Purposes that a session has a word on."""

MAX_CARTS = 50
"""Carts that a session lists. Older ones leave the list; they stay whose they are."""


def new(session_id: str, tenant: str, market: Market, now: int) -> Entries:
    """An anonymous session."""
    session = session_pb2.Session(id=session_id, tenant=tenant, state=session_pb2.SESSION_STATE_ACTIVE)
    session.store, session.country, session.currency_code, session.locale = market
    session.created_at.CopyFrom(timestamp(now))
    session.login.status = session_pb2.LOGIN_STATUS_ANONYMOUS
    session.login.changed_at.CopyFrom(timestamp(now))
    return split_session(session)


def reduce(
    entries: Entries, intent: session_intent_pb2.SessionIntent, *, channel: str, now: int, path: str = "command"
) -> Entries:
    """The session after a wish whose form was checked, sent from a sales channel such as "web".

    Raise Problem: INVALID_FIELD for what the session's state does not allow, NOT_FOUND if there is no session.
    """
    if head_of(entries).state == session_pb2.SESSION_STATE_JOINED:
        raise invalid(f"{path}.resource", "is a session that joined another and takes no more commands")
    match intent.WhichOneof("intent"):
        case "view_product":
            return _view(entries, intent.view_product, channel, now)
        case "clear_history":
            return without(entries, "view/")
        case "set_consent":
            return _consent(entries, intent.set_consent, now, f"{path}.session.set_consent.purpose")
        case "activate_cart":
            return _activate(entries, intent.activate_cart.cart_id, f"{path}.session.activate_cart.cart_id")
        case "sign_out":
            return _sign_out(entries, channel, now)
    raise invalid(f"{path}.session", "must have an intent")


def attach_cart(entries: Entries, cart_id: str, *, customer_id: str, closed: str, now: int) -> Entries:
    """List a cart. It becomes the active one if there is none, or if that is `closed`.

    `customer_id` is the cart's owner, empty for a guest's: a session that is not signed in as its owner does not
    get it. Nor does one that joined another, which is to get it instead.
    """
    head = head_of(entries)
    foreign = customer_id != "" and customer_id != customer_of(entries)
    if f"cart/{cart_id}" in entries or foreign or head.state == session_pb2.SESSION_STATE_JOINED:
        return entries
    cart = session_pb2.SessionCart(cart_id=cart_id, guest=not customer_id, added_at=timestamp(now))
    if head.active_cart_id in ("", closed):
        head.active_cart_id = cart_id
    return trim_carts(
        {**entries, "session": serialised(head), f"cart/{cart_id}": serialised(cart)}, head.active_cart_id
    )


def head_of(entries: Entries) -> session_pb2.Session:
    """The head of a session. Raise Problem (NOT_FOUND) if there is none: it never was, or it was forgotten."""
    if "session" not in entries:
        raise not_found("the session")
    return session_pb2.Session.FromString(entries["session"])


def carts_of(entries: Entries) -> list[session_pb2.SessionCart]:
    """The listed carts, in no order."""
    return [session_pb2.SessionCart.FromString(value) for key, value in entries.items() if key.startswith("cart/")]


def views_of(entries: Entries) -> list[session_pb2.ProductView]:
    """The browsing history, newest first."""
    views = (session_pb2.ProductView.FromString(value) for key, value in entries.items() if key.startswith("view/"))
    return sorted(views, key=lambda view: view.viewed_at.ToNanoseconds(), reverse=True)


def without(entries: Entries, *prefixes: str) -> dict[str, bytes]:
    """The entities whose keys begin otherwise."""
    return {key: value for key, value in entries.items() if not key.startswith(prefixes)}


def trim_views(entries: Entries) -> Entries:
    """The newest of the browsing history only."""
    evicted = {f"view/{view.product_id}" for view in views_of(entries)[MAX_VIEWS:]}
    return {key: value for key, value in entries.items() if key not in evicted}


def trim_carts(entries: Entries, active: str) -> Entries:
    """The newest of the carts and the active one only."""
    others = sorted((key for key in entries if key.startswith("cart/") and key != f"cart/{active}"), reverse=True)
    evicted = set(others[MAX_CARTS - 1 :])
    return {key: value for key, value in entries.items() if key not in evicted}


def newest(cart_ids: Iterable[str]) -> str:
    """The newest of some carts; empty for none."""
    return max(cart_ids, default="")


def serialised(message: Message) -> bytes:
    """As `legato.protocol.entities` does it: an entity that did not change keeps its bytes."""
    return message.SerializeToString(deterministic=True)


def timestamp(milliseconds: int) -> Timestamp:
    """As protobuf has it."""
    result = Timestamp()
    result.FromMilliseconds(milliseconds)
    return result


def _view(entries: Entries, wish: session_intent_pb2.ViewProduct, channel: str, now: int) -> Entries:
    earlier = views_of(entries)
    view = session_pb2.ProductView(product_id=wish.product_id, sku=wish.sku, channel=channel)
    # Later than all others even if two came within a millisecond, or a clock went back: their order is the history.
    last = earlier[0].viewed_at.ToNanoseconds() if earlier else 0
    view.viewed_at.FromNanoseconds(max(now * 1_000_000, last + 1))
    return trim_views({**entries, f"view/{wish.product_id}": serialised(view)})


def _consent(entries: Entries, wish: session_intent_pb2.SetConsent, now: int, path: str) -> Entries:
    key = f"consent/{wish.purpose}"
    if key in entries and session_pb2.Consent.FromString(entries[key]).granted == wish.granted:
        return entries
    if key not in entries and sum(name.startswith("consent/") for name in entries) >= MAX_CONSENTS:
        raise invalid(path, f"is one purpose too many: a session has at most {MAX_CONSENTS}")
    consent = session_pb2.Consent(purpose=wish.purpose, granted=wish.granted, changed_at=timestamp(now))
    return {**entries, key: serialised(consent)}


def _activate(entries: Entries, cart_id: str, path: str) -> Entries:
    # Not NOT_FOUND: that consumes no seq, and repeating this command would never help.
    if cart_id and f"cart/{cart_id}" not in entries:
        raise invalid(path, "is no cart that the session lists")
    head = head_of(entries)
    head.active_cart_id = cart_id
    return {**entries, "session": serialised(head)}


def _sign_out(entries: Entries, channel: str, now: int) -> Entries:
    if not customer_of(entries):
        return entries
    guests = [cart.cart_id for cart in carts_of(entries) if cart.guest]
    head = head_of(entries)
    if head.active_cart_id not in guests:
        head.active_cart_id = newest(guests)
    login = session_pb2.Login(status=session_pb2.LOGIN_STATUS_ANONYMOUS, channel=channel, changed_at=timestamp(now))
    left = without(entries, "view/", "cart/")
    left.update((f"cart/{cart_id}", entries[f"cart/{cart_id}"]) for cart_id in guests)
    return {**left, "session": serialised(head), "login": serialised(login)}
