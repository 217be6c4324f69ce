"""A hub as a channel sees it: handles of what it follows, and calls."""

from typing import TYPE_CHECKING, TypeVar, Unpack

import grpc.aio

from legato import errors, intents
from legato.carts import CartHandle
from legato.commerce.v1.session_pb2 import Session
from legato.intents import MarketOptions
from legato.link import Link
from legato.orchestrator.v1 import reads_pb2
from legato.orchestrator.v1.stream_pb2 import IdentitySummary
from legato.pending import PendingCommand
from legato.protocol import ids, resources
from legato.sessions import SessionHandle
from legato.subscription import State

if TYPE_CHECKING:
    # Known to type checkers only: at run time there is one stub class.
    from legato.orchestrator.v1.orchestrator_service_pb2_grpc import OrchestratorServiceAsyncStub

_Handle = TypeVar("_Handle", CartHandle, SessionHandle)
_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class Hub:
    """A channel's connection to a hub; made by `connect`. To be used in the event loop that made it."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._handles: dict[str, CartHandle | SessionHandle] = {}
        self._session_id = ""
        link.on_identity = self._identified

    @property
    def identity(self) -> IdentitySummary:
        """Who the hub takes this client for: kind, tenant, session, end. Empty before the first connection."""
        return self._link.identity

    @property
    def connected(self) -> bool:
        """Whether there is a stream that the hub has welcomed."""
        return self._link.core.welcome

    @property
    def error(self) -> errors.LegatoError | None:
        """Why there is no connection, as far as is known."""
        return self._link.token_error or self._link.core.error

    @property
    def access_token(self) -> str:
        """The present token. A shopper's may be kept to come back to the same session with; it is a secret."""
        return self._link.token

    @property
    def pending(self) -> tuple[PendingCommand, ...]:
        """All commands without a result, those that a former process left in the outbox included."""
        return tuple(self._link.pending.values())

    @property
    def session(self) -> SessionHandle:
        """The shopper's own session. It follows the shopper: after sign-in it may be another one."""
        return self.session_handle(self._own_session())

    def session_handle(self, session_id: str) -> SessionHandle:
        """A session by id, for services and operators."""
        return self._follow(resources.session(session_id), SessionHandle)

    def cart(self, cart_id: str) -> CartHandle:
        """A cart by id; followed from now on, until its `close`. The same handle each time."""
        return self._follow(resources.cart(cart_id), CartHandle)

    def active_cart(self) -> CartHandle:
        """Whatever cart is the active one of the shopper's own session."""
        return self._follow(resources.active_cart(self._own_session()), CartHandle)

    def start_cart(self, **market: Unpack[MarketOptions]) -> CartHandle:
        """Begin a cart without waiting for the hub: it can be filled at once, also without a network."""
        cart = self.cart(ids.new_id())
        cart.submit(intents.create_cart(**market))
        return cart

    async def create_cart(self, *, timeout: float = 10.0, **market: Unpack[MarketOptions]) -> CartHandle:
        """Make a cart. Raises why the hub refuses it (UnknownCurrency, …), or OutcomePending."""
        cart = self.cart(ids.new_id())
        try:
            await cart.submit(intents.create_cart(**market), timeout=timeout).result(timeout)
        except errors.LegatoError:
            cart.close()
            raise
        await cart.live(timeout)
        return cart

    async def sign_in(self, credential: str, *, timeout: float = 10.0) -> Session:
        """Sign the shopper in with what the hub's verifier understands. Raises Unauthenticated if it is not accepted.

        The customer's session, which `session` and `active_cart()` follow from now on.
        """
        request = reads_pb2.SignInRequest(credential=credential)
        response = await self.call(self.stub.SignIn, request, timeout)
        former = self._session_id
        # The hub ends what follows the former session before it says that the identity has changed.
        self._move(response.session.id, State.NEEDS_TOKEN)
        try:
            await self.authenticate(response.access_token, timeout=timeout)
        finally:
            if self._link.token != response.access_token:
                self._move(former, State.WANTED)
        return response.session

    async def authenticate(self, access_token: str, *, timeout: float = 10.0) -> None:
        """Go on under another token. Raises what the hub says against it; then the former one stays."""
        await self._link.authenticate(access_token, timeout)

    async def share_cart(self, cart_id: str, *, timeout: float = 10.0) -> reads_pb2.ShareCartResponse:
        """A short-lived code that lets another channel of the tenant at a cart (phone to till)."""
        return await self.call(self.stub.ShareCart, reads_pb2.ShareCartRequest(cart_id=cart_id), timeout)

    async def look_up_cart(self, code: str, *, timeout: float = 10.0) -> CartHandle:
        """The cart behind a code. Raises ShareCodeInvalid, or Throttled after five wrong ones."""
        request = reads_pb2.LookUpCartRequest(code=code)
        response = await self.call(self.stub.LookUpCart, request, timeout)
        return self.cart(response.cart.id)

    async def search(
        self,
        query: str = "",
        *,
        category: str = "",
        page_size: int = 0,
        page_token: str = "",
        timeout: float = 10.0,
        **market: Unpack[MarketOptions],
    ) -> reads_pb2.SearchProductsResponse:
        """A page of products, best first; an empty query lists all."""
        request = reads_pb2.SearchProductsRequest(
            query=query,
            category=category,
            page_size=page_size,
            page_token=page_token,
            market=reads_pb2.Market(**market),
        )
        return await self.call(self.stub.SearchProducts, request, timeout)

    async def product_page(
        self, product_id: str = "", *, slug: str = "", timeout: float = 10.0, **market: Unpack[MarketOptions]
    ) -> reads_pb2.GetProductPageResponse:
        """Everything a product page shows, by product id or slug. What a late backend left out stands in `gaps`."""
        request = reads_pb2.GetProductPageRequest(market=reads_pb2.Market(**market))
        if slug:
            request.slug = slug
        else:
            request.product_id = product_id
        return await self.call(self.stub.GetProductPage, request, timeout)

    async def availability(
        self, *skus: str, location_id: str = "", timeout: float = 10.0, **market: Unpack[MarketOptions]
    ) -> reads_pb2.GetAvailabilityResponse:
        """Stock of 1 to 100 variants, by location."""
        request = reads_pb2.GetAvailabilityRequest(
            skus=skus, location_id=location_id, market=reads_pb2.Market(**market)
        )
        return await self.call(self.stub.GetAvailability, request, timeout)

    @property
    def stub(self) -> "OrchestratorServiceAsyncStub":
        """The generated stub, for what has no method here; see `call`."""
        return self._link.stub

    async def call(
        self, method: "grpc.aio.UnaryUnaryMultiCallable[_Request, _Response]", request: _Request, timeout: float = 10.0
    ) -> _Response:
        """Any unary call under the present token: `await hub.call(hub.stub.ListCarts, ListCartsRequest())`."""
        return await self._link.call(method, request, timeout)

    def _own_session(self) -> str:
        if not self._session_id:
            kind = self.identity.kind or "client that never was connected"
            raise errors.NotFound(f"a {kind} has no session of its own")
        return self._session_id

    def _follow(self, resource: str, kind: type[_Handle]) -> _Handle:
        resources.parse(resource)
        known = self._handles.get(resource)
        if not isinstance(known, kind) or known.closed:
            known = kind(self._link, resource)
            self._handles = {name: handle for name, handle in self._handles.items() if not handle.closed}
            self._handles[resource] = known
        else:
            known.revive()
        return known

    def _identified(self, identity: IdentitySummary) -> None:
        if identity.session_id:
            self._move(identity.session_id, State.WANTED)

    def _move(self, session_id: str, state: State) -> None:
        """The shopper's own session is (or will be, under the next identity) another one: follow that."""
        former, self._session_id = self._session_id, session_id
        if not former or former == session_id:
            return
        for name in (resources.session, resources.active_cart):
            handle = self._handles.pop(name(former), None)
            if handle is not None and not handle.closed and name(session_id) not in self._handles:
                handle.rebind(name(session_id), state)
                self._handles[handle.resource] = handle
