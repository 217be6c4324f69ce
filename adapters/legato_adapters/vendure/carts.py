"""Carts on Vendure: each is an order in an anonymous session of its own.

The order is made with the cart, so that its id is known from the beginning: an answer about another order always means
that the cart's own is gone. What a lost creation leaves behind is an empty order that nobody can reach.
"""

from collections.abc import Sequence

import grpc

from legato.adapter.v1 import cart_service_pb2, request_context_pb2
from legato.commerce.v1 import cart_pb2, ref_pb2
from legato_adapters.http.errors import Failure
from legato_adapters.http.lanes import Lanes
from legato_adapters.vendure import intents, queries
from legato_adapters.vendure.api import MUTATION_TIMEOUT_S, ApiError, Busy, NoAnswer, Refused, VendureApi, left
from legato_adapters.vendure.channel import Channel, Channels
from legato_adapters.vendure.conversation import Conversation, Inactive, Json
from legato_adapters.vendure.mapping import OPEN_STATES, SYSTEM, CartMapping
from legato_adapters.vendure.notebook import Notebook
from legato_adapters.vendure.skus import Skus

__all__ = ["CartCall", "Carts", "notebook_of", "undone"]

Code = grpc.StatusCode
NOT_APPLIED = cart_service_pb2.RESOLUTION_NOT_APPLIED
APPLIED = cart_service_pb2.RESOLUTION_APPLIED

_SETTLE_S = 3.0


class Carts:
    """The cart service without its transport. Deadlines are on the monotonic clock; raises Failure."""

    def __init__(self, api: VendureApi, channels: Channels, skus: Skus) -> None:
        self._api = api
        self._channels = channels
        self._skus = skus
        self.lanes = Lanes(_SETTLE_S)

    async def close(self) -> None:
        await self.lanes.close()

    async def get(
        self, request: cart_service_pb2.GetCartRequest, deadline: float | None
    ) -> cart_service_pb2.GetCartResponse:
        notebook = notebook_of(request.context, request.cart_id, request.adapter_state)

        async def work() -> cart_pb2.Cart:
            if notebook.canceled:
                return notebook.final_cart()
            try:
                call = await self.call(notebook, request.context, deadline)
                try:
                    return await call.cart()
                except Inactive:
                    placed = await call.placed_cart()
                    if placed is None:
                        raise Failure(Code.NOT_FOUND, "Vendure no longer has this cart") from None
                    return placed
            except ApiError as error:
                raise _unread(error) from error

        cart = await self.lanes.read(request.cart_id, work)
        return cart_service_pb2.GetCartResponse(cart=cart, adapter_state=request.adapter_state)

    async def apply(
        self, request: cart_service_pb2.ApplyCommandRequest, deadline: float | None
    ) -> cart_service_pb2.ApplyCommandResponse:
        if request.intent.HasField("create_cart") and not request.adapter_state:
            return await self.lanes.change(request.cart_id, lambda: self._create(request, deadline))
        notebook = notebook_of(request.context, request.cart_id, request.adapter_state)
        return await self.lanes.change(request.cart_id, lambda: self._apply(request, notebook, deadline))

    async def resolve(
        self, request: cart_service_pb2.ApplyCommandRequest, deadline: float | None
    ) -> cart_service_pb2.ResolveCommandResponse:
        """Look whether the cart is as the command wants it. Where there is no cart, nothing can come of it any more."""
        try:
            notebook = notebook_of(request.context, request.cart_id, request.adapter_state)
        except Failure:
            # Also a creation: an order that nobody knows the session of is no cart.
            return cart_service_pb2.ResolveCommandResponse(resolution=NOT_APPLIED)
        return await self.lanes.read(request.cart_id, lambda: self._resolve(request, notebook, deadline))

    async def _create(
        self, request: cart_service_pb2.ApplyCommandRequest, deadline: float | None
    ) -> cart_service_pb2.ApplyCommandResponse:
        context = request.context
        talking = False
        try:
            channel = await self._channels.get(deadline)
            if not channel.serves(context.country, context.currency_code):
                reason = cart_service_pb2.REJECTION_REASON_UNKNOWN_CURRENCY
                return _refused(reason, "Vendure does not serve this market")
            left(deadline, MUTATION_TIMEOUT_S)
            talking = True
            answer = await self._api.post(
                queries.create_order(note=channel.note),
                parameters=self._channels.parameters(channel, context),
                timeout=MUTATION_TIMEOUT_S,
            )
        except ApiError as error:
            raise undone(error, sent=talking and isinstance(error, NoAnswer)) from error
        order = answer.data["removeAllOrderLines"]
        if not answer.new_token:
            message = "Vendure gives no session token: `bearer` must be among its authOptions.tokenMethod"
            raise Failure(Code.UNIMPLEMENTED, message)
        if "errorCode" in order:
            return _refused(cart_service_pb2.REJECTION_REASON_UNSPECIFIED, order["message"][:300], order["errorCode"])
        notebook = Notebook(context.tenant, request.cart_id, answer.new_token, order["id"], order["code"])
        cart = CartMapping(order, (), tax_included=channel.tax_included, notebook=notebook).cart(context)
        return cart_service_pb2.ApplyCommandResponse(cart=cart, adapter_state=notebook.to_bytes())

    async def _apply(
        self, request: cart_service_pb2.ApplyCommandRequest, notebook: Notebook, deadline: float | None
    ) -> cart_service_pb2.ApplyCommandResponse:
        response = cart_service_pb2.ApplyCommandResponse(adapter_state=request.adapter_state)
        wants_cancel = request.intent.HasField("cancel_cart")
        if notebook.canceled:
            response.cart.CopyFrom(notebook.final_cart())
            if not wants_cancel:
                response.rejection.CopyFrom(_not_active().rejection)
            return response
        try:
            call = await self.call(notebook, request.context, deadline)
        except ApiError as error:
            raise undone(error, sent=False) from error
        try:
            try:
                if wants_cancel:
                    response.cart.CopyFrom(await call.cancel())
                else:
                    response.line_id = await self._change(call, request, deadline)
                    intents.remember(notebook, request.intent)
                response.adapter_state = notebook.to_bytes()
            except intents.Refusal as refusal:
                response.rejection.CopyFrom(refusal.rejection)
            if not response.HasField("cart"):
                response.cart.CopyFrom(await call.cart())
        except Inactive:
            return await self._inactive(request, notebook, call)
        except ApiError as error:
            if call.talk.sent:
                self.lanes.unsettle(request.cart_id)
            raise undone(error, sent=call.talk.sent) from error
        return response

    async def _change(
        self, call: "CartCall", request: cart_service_pb2.ApplyCommandRequest, deadline: float | None
    ) -> str:
        before = await call.talk.order()
        if before["state"] not in OPEN_STATES:
            raise _not_active()
        if request.intent.HasField("create_cart"):
            raise intents.Refusal(cart_service_pb2.REJECTION_REASON_CART_EXISTS, "the cart exists")
        return await intents.Change(call.talk, self._skus, deadline, call.notebook, before).execute(request)

    async def _inactive(
        self, request: cart_service_pb2.ApplyCommandRequest, notebook: Notebook, call: "CartCall"
    ) -> cart_service_pb2.ApplyCommandResponse:
        """The order was placed or canceled past us, or an earlier try to cancel it has succeeded."""
        response = cart_service_pb2.ApplyCommandResponse(adapter_state=request.adapter_state)
        try:
            placed = await call.placed_cart()
        except ApiError as error:
            raise undone(error, sent=call.talk.sent) from error
        if placed is not None:
            response.cart.CopyFrom(placed)
        elif request.intent.HasField("cancel_cart"):
            response.cart.CopyFrom(_gone(request.context, notebook))
            notebook.close(response.cart)
            response.adapter_state = notebook.to_bytes()
            return response
        response.rejection.CopyFrom(_not_active().rejection)
        return response

    async def _resolve(
        self, request: cart_service_pb2.ApplyCommandRequest, notebook: Notebook, deadline: float | None
    ) -> cart_service_pb2.ResolveCommandResponse:
        resolved = cart_service_pb2.ResolveCommandResponse(resolution=NOT_APPLIED)
        resolved.response.adapter_state = request.adapter_state
        wants_cancel = request.intent.HasField("cancel_cart")
        if notebook.canceled:
            resolved.response.cart.CopyFrom(notebook.final_cart())
            resolved.resolution = APPLIED if wants_cancel else NOT_APPLIED
            return resolved
        try:
            call = await self.call(notebook, request.context, deadline)
            try:
                order, methods = await call.talk.whole_order()
            except Inactive:
                placed = await call.placed_cart()
                if placed is not None:
                    resolved.response.cart.CopyFrom(placed)
                elif wants_cancel:
                    resolved.resolution = APPLIED
                    resolved.response.cart.CopyFrom(_gone(request.context, notebook))
                    notebook.close(resolved.response.cart)
                    resolved.response.adapter_state = notebook.to_bytes()
                return resolved
        except ApiError as error:
            raise _unread(error) from error
        except Failure as failure:
            if failure.code is Code.NOT_FOUND:
                return cart_service_pb2.ResolveCommandResponse(resolution=NOT_APPLIED)
            raise
        done, line_id = intents.fulfilled(order, request)
        if done:
            resolved.resolution = APPLIED
            resolved.response.line_id = line_id
            intents.remember(notebook, request.intent)
            resolved.response.adapter_state = notebook.to_bytes()
        elif self.lanes.unsettled(request.cart_id):
            raise Failure(Code.UNAVAILABLE, "Vendure may still be executing the command")
        resolved.response.cart.CopyFrom(call.mapped(order, methods))
        return resolved

    async def call(
        self, notebook: Notebook, context: request_context_pb2.RequestContext, deadline: float | None
    ) -> "CartCall":
        channel = await self._channels.get(deadline)
        parameters = self._channels.parameters(channel, context)
        talk = Conversation(self._api, notebook, parameters, deadline, note=channel.note)
        return CartCall(talk, notebook, channel, context)


class CartCall:
    """A conversation whose orders come back as carts."""

    def __init__(
        self,
        talk: Conversation,
        notebook: Notebook,
        channel: Channel,
        context: request_context_pb2.RequestContext,
    ) -> None:
        self.talk = talk
        self.notebook = notebook
        self.channel = channel
        self._context = context

    def mapped(self, order: Json, methods: Sequence[Json]) -> cart_pb2.Cart:
        mapping = CartMapping(order, methods, tax_included=self.channel.tax_included, notebook=self.notebook)
        return mapping.cart(self._context)

    async def cart(self) -> cart_pb2.Cart:
        return self.mapped(*await self.talk.whole_order())

    async def placed_cart(self) -> cart_pb2.Cart | None:
        order = await self.talk.placed_order()
        return None if order is None else self.mapped(order, ())

    async def cancel(self) -> cart_pb2.Cart:
        """Cancel the cart and write down how it was; raises Refusal."""
        # Without an active order this would make one, to cancel that.
        await self.talk.order()
        result = await self.talk.cancel()
        if "errorCode" in result:
            raise intents.Refusal(
                cart_service_pb2.REJECTION_REASON_UNSPECIFIED,
                result["message"][:300],
                native_code=result["errorCode"],
            )
        cart = self.mapped(result, ())
        self.notebook.close(cart)
        return cart


def notebook_of(context: request_context_pb2.RequestContext, cart_id: str, state: bytes) -> Notebook:
    """The cart's notebook. Whoever has none, or another's, has no cart."""
    missing = Failure(Code.NOT_FOUND, "there is no such cart")
    if not state:
        raise missing
    try:
        notebook = Notebook.from_bytes(state)
    except ValueError as error:
        raise Failure(Code.INVALID_ARGUMENT, "adapter_state is none that this adapter wrote") from error
    if (notebook.tenant, notebook.cart_id) != (context.tenant, cart_id):
        raise missing
    return notebook


def _gone(context: request_context_pb2.RequestContext, notebook: Notebook) -> cart_pb2.Cart:
    """All that can be said of a canceled cart when the answer to canceling it was lost."""
    return cart_pb2.Cart(
        id=notebook.cart_id,
        tenant=context.tenant,
        store=context.store,
        country=context.country,
        currency_code=context.currency_code,
        locale=context.locale,
        state=cart_pb2.CART_STATE_CANCELED,
        refs=[ref_pb2.Ref(system=SYSTEM, type="Order", id=notebook.order_id, key=notebook.order_code)],
    )


def _not_active() -> intents.Refusal:
    reason = cart_service_pb2.REJECTION_REASON_CART_NOT_ACTIVE
    return intents.Refusal(reason, "the order accepts no changes any more")


def _refused(
    reason: "cart_service_pb2.RejectionReason.ValueType", message: str, native_code: str = ""
) -> cart_service_pb2.ApplyCommandResponse:
    rejection = cart_service_pb2.Rejection(reason=reason, message=message, native_code=native_code)
    return cart_service_pb2.ApplyCommandResponse(rejection=rejection)


def _unread(error: ApiError) -> Failure:
    """What a failed read means."""
    if isinstance(error, Refused):
        return Failure(Code.FAILED_PRECONDITION, str(error))
    return Failure(Code.UNAVAILABLE, str(error))


def undone(error: ApiError, *, sent: bool) -> Failure:
    """What an error means for a command. `sent`: something went out before it that may have changed the cart."""
    if sent:
        timed_out = isinstance(error, NoAnswer) and error.timed_out
        return Failure(Code.DEADLINE_EXCEEDED if timed_out else Code.UNKNOWN, str(error))
    if isinstance(error, Refused):
        return Failure(Code.INVALID_ARGUMENT, str(error))
    if isinstance(error, Busy):
        return Failure(Code.RESOURCE_EXHAUSTED, str(error))
    return Failure(Code.UNAVAILABLE, str(error), without_effect=True)
