"""Finds what an identity asks for, if it exists for it."""

from legato.commerce.v1 import session_pb2
from legato.protocol import resources as names
from legato.protocol.resources import Kind, Resource
from legato_hub import directory
from legato_hub.clock import now_ms
from legato_hub.core.access import sees_cart, sees_session
from legato_hub.core.identity import Identity, IdentityKind
from legato_hub.core.problem import invalid, not_found
from legato_hub.live import Live
from legato_hub.live_resources import LiveResources
from legato_hub.storage.base import Storage


class Access:
    """What is not visible is answered as what does not exist. All methods may raise StorageError."""

    def __init__(self, storage: Storage, resources: LiveResources) -> None:
        self._storage = storage
        self._resources = resources

    async def cart(self, identity: Identity, cart_id: str) -> Live:
        """Raise Problem (NOT_FOUND) unless the cart exists for this identity."""
        live = await self._resources.get(names.cart(cart_id))
        if not await self.sees(identity, live):
            raise not_found(live.name)
        return live

    async def session(self, identity: Identity, session_id: str) -> Live:
        """Raise Problem (NOT_FOUND) unless the session exists for this identity."""
        live = await self._resources.get(names.session(session_id))
        if not (live.exists and sees_session(identity, session_pb2.Session.FromString(live.entries["session"]))):
            raise not_found(live.name)
        return live

    async def resource(self, identity: Identity, name: str, path: str = "resource") -> tuple[Resource, Live]:
        """The parsed name and what it stands for; for an active cart the session, which knows the cart.

        Raise Problem: INVALID_FIELD at `path` for what is no name, NOT_FOUND as above.
        """
        try:
            resource = names.parse(name)
        except ValueError as error:
            raise invalid(path, str(error)) from None
        if resource.kind is Kind.CART:
            return resource, await self.cart(identity, resource.id)
        return resource, await self.session(identity, resource.id)

    async def sees(self, identity: Identity, cart: Live) -> bool:
        """Whether a loaded cart exists for this identity."""
        if not cart.exists:
            return False
        head = cart.head()
        own_session = {}
        if identity.kind is IdentityKind.SHOPPER:
            own_session = (await self._resources.get(names.session(identity.subject))).entries
        if sees_cart(identity, head, own_session, granted=False):
            return True
        # Asked last and only where it would help: it is the one fact that is not in memory.
        return sees_cart(identity, head, own_session, granted=True) and await self._granted(identity, head.id)

    async def grant(self, identity: Identity, cart_id: str, until: int) -> None:
        """Let an identity see a cart until a time (milliseconds since 1970), and list it."""
        await self._storage.put(directory.grant_record(identity, cart_id), b"", until=until, now=now_ms())
        await self._storage.add(directory.carts_of(identity), cart_id)

    async def _granted(self, identity: Identity, cart_id: str) -> bool:
        return await self._storage.get(directory.grant_record(identity, cart_id), now_ms()) is not None
