"""Names of the records and sorted sets that stand beside the resources in storage.

    record                                   value                            until
    grant/{principal}/{cart id}              empty                            12 h after the look-up
    share/{tenant}/{code}                    cart id                          10 min after sharing
    live-session/{tenant}/{customer id}      session id                       sign-out
    session-customer/{session id}            the first customer signed in     a year after the latest sign-in
    retention                                empty                            minutes after a hub swept the storage

    set                                      members
    carts-of/{tenant}/all                    every cart of the tenant
    carts-of/{tenant}/store/{store}          a selling entity's carts
    carts-of/{tenant}/customer/{id}          a customer's carts
    carts-of/{principal}                     a shopper's or terminal's own carts, and those it was granted
    sessions-of/{tenant}/{customer id}       every session that was ever claimed for a customer

Members are ids of carts, or of sessions. They are put in before what they stand for is committed, so readers pass over
members that do not exist (yet), and they look at the thing itself before they show it: a set is where to look, not who
may see.
"""

from legato.commerce.v1 import cart_pb2
from legato_hub.core.identity import Identity, IdentityKind


def grant_record(identity: Identity, cart_id: str) -> str:
    """That a cart was shared with an identity."""
    return f"grant/{identity.principal}/{cart_id}"


def share_record(tenant: str, code: str) -> str:
    """The cart that a share code stands for."""
    return f"share/{tenant}/{code}"


def live_session_record(tenant: str, customer_id: str) -> str:
    """The session that a customer is signed in to."""
    return f"live-session/{tenant}/{customer_id}"


def session_customer_record(session_id: str) -> str:
    """The customer that a session was signed in as first."""
    return f"session-customer/{session_id}"


def sessions_of(tenant: str, customer_id: str) -> str:
    """The sessions that were a customer's."""
    return f"sessions-of/{tenant}/{customer_id}"


def carts_of_tenant(tenant: str) -> str:
    """Every cart of a tenant."""
    return f"carts-of/{tenant}/all"


def carts_of_store(tenant: str, store: str) -> str:
    """The carts of a selling entity."""
    return f"carts-of/{tenant}/store/{store}"


def carts_of_customer(tenant: str, customer_id: str) -> str:
    """A customer's carts."""
    return f"carts-of/{tenant}/customer/{customer_id}"


def carts_of(identity: Identity) -> str:
    """An identity's own carts and those it was granted."""
    return f"carts-of/{identity.principal}"


def sets_of(cart: cart_pb2.Cart) -> list[str]:
    """Every set that a new cart belongs to."""
    sets = [carts_of_tenant(cart.tenant), carts_of_store(cart.tenant, cart.store)]
    match cart.WhichOneof("owner"):
        case "customer_id":
            sets.append(carts_of_customer(cart.tenant, cart.customer_id))
        case "anonymous_id":
            sets.append(carts_of(Identity(IdentityKind.SHOPPER, cart.tenant, cart.anonymous_id)))
        case "terminal_id":
            sets.append(carts_of(Identity(IdentityKind.TERMINAL, cart.tenant, cart.terminal_id)))
    return sets
