"""Who may see what. Pure: the facts come in as arguments.

    identity            carts                                                           sessions
    channel             none                                                            none
    shopper             its session's, its customer's while signed in, the listed       its own
                        ones, and those it was granted
    terminal            its store's, and those it was granted                           none
    service, operator   the tenant's                                                    the tenant's

Another tenant's things do not exist for anybody.
"""

from legato.commerce.v1 import cart_pb2, session_pb2
from legato.protocol.state import Entries
from legato_hub.core.identity import Identity, IdentityKind


def sees_cart(identity: Identity, cart: cart_pb2.Cart, own_session: Entries, *, granted: bool) -> bool:
    """Whether `cart` (its head is enough) exists for this identity.

    `own_session` holds the entities of a shopper's session as it is at present, `granted` says that somebody shared
    the cart with this identity and the grant lives.
    """
    if cart.tenant != identity.tenant:
        return False
    match identity.kind:
        case IdentityKind.SERVICE | IdentityKind.OPERATOR:
            return True
        case IdentityKind.TERMINAL:
            return granted or (identity.store != "" and cart.store == identity.store)
        case IdentityKind.SHOPPER:
            return granted or _is_of_session(cart, identity.subject, own_session)
    return False


def _is_of_session(cart: cart_pb2.Cart, session_id: str, session: Entries) -> bool:
    if cart.anonymous_id == session_id or f"cart/{cart.id}" in session:
        return True
    # The login, not the token, says whose carts these are: signing out ends it for every holder of the token.
    return cart.customer_id != "" and cart.customer_id == customer_of(session)


def sees_session(identity: Identity, session: session_pb2.Session) -> bool:
    """Whether `session` (its head is enough) exists for this identity."""
    if session.tenant != identity.tenant:
        return False
    if identity.kind is IdentityKind.SHOPPER:
        return session.id == identity.subject
    return identity.kind in (IdentityKind.SERVICE, IdentityKind.OPERATOR)


def customer_of(session: Entries) -> str:
    """The customer that a session is signed in as; empty for nobody."""
    login = session_pb2.Login.FromString(session.get("login", b""))
    return login.customer_id if login.status == session_pb2.LOGIN_STATUS_SIGNED_IN else ""
