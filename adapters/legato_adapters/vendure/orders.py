"""Orders on Vendure: placed in the shopper's session, read and cancelled by an administrator.

To place an order twice is to find it placed: a cart's order is the one that it has become. Vendure wants a payment with
every order, so one of the configured method is noted on it; what payment backends hold stands in its metadata.
"""

import contextlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import grpc

from legato.adapter.v1 import cart_service_pb2, order_service_pb2, request_context_pb2
from legato.commerce.v1 import cart_pb2, money_pb2, order_pb2, total_pb2
from legato_adapters.http.errors import Failure
from legato_adapters.http.lanes import Lanes
from legato_adapters.http.pages import check_page_size, page_position, page_token
from legato_adapters.vendure import queries
from legato_adapters.vendure.api import ApiError, Busy, NotSent, Refused, left
from legato_adapters.vendure.back_office import BackOffice
from legato_adapters.vendure.carts import CartCall, Carts, notebook_of, undone
from legato_adapters.vendure.channel import Channels
from legato_adapters.vendure.conversation import Inactive
from legato_adapters.vendure.mapping import OPEN_STATES, SYSTEM
from legato_adapters.vendure.order_mapping import held_elsewhere, order_message

__all__ = ["COMMANDS", "Orders"]

COMMANDS = ("place", "cancel")

Json = Mapping[str, Any]
Code = grpc.StatusCode
Context = request_context_pb2.RequestContext
Response = order_service_pb2.ApplyOrderCommandResponse
Reason = order_service_pb2.OrderRejectionReason

_PAYING = "ArrangingPayment"
_CANCELABLE = frozenset({"PaymentAuthorized", "PaymentSettled"})
_SETTLE_S = 3.0


class Rejected(Exception):
    """A reason of business; nothing has changed."""

    def __init__(self, reason: "Reason.ValueType", message: str, *, native_code: str = "", paths: tuple[str, ...] = ()):
        super().__init__(message)
        self.rejection = order_service_pb2.OrderRejection(
            reason=reason, message=message[:300], native_code=native_code, paths=paths
        )


class Orders:
    """The order service without its transport. Deadlines are on the monotonic clock; raises Failure and ApiError."""

    def __init__(self, office: BackOffice, channels: Channels, carts: Carts, *, payment_method: str) -> None:
        self._office = office
        self._channels = channels
        self._carts = carts
        self._payment_method = payment_method
        self._lanes = Lanes(_SETTLE_S)

    async def close(self) -> None:
        await self._lanes.close()

    async def get(
        self, request: order_service_pb2.GetOrderRequest, deadline: float | None
    ) -> order_service_pb2.GetOrderResponse:
        match request.WhichOneof("key"):
            case "order_id":
                order = await self._by_id(request.order_id, request.context, deadline)
            case "number":
                order = await self._by("code", request.number, request.context, deadline)
            case "cart_id":
                order = await self._by("cartId", request.cart_id, request.context, deadline)
            case _:
                raise Failure(Code.INVALID_ARGUMENT, "key must be set")
        if order is None:
            raise Failure(Code.NOT_FOUND, "there is no such order")
        return order_service_pb2.GetOrderResponse(order=order)

    async def list(
        self, request: order_service_pb2.ListOrdersRequest, deadline: float | None
    ) -> order_service_pb2.ListOrdersResponse:
        check_page_size(request.page_size)
        if not request.customer_id:
            raise Failure(Code.INVALID_ARGUMENT, "customer_id must be set")
        listing = ("orders", request.context.tenant, request.customer_id)
        offset = int(page_position(request.page_token, *listing) or 0)
        options = {
            "skip": offset,
            "take": request.page_size,
            # A cart that was given up is neither active nor an order.
            "filter": {"active": {"eq": False}, "orderPlacedAt": {"isNull": False}},
            "sort": {"orderPlacedAt": "DESC", "id": "DESC"},
        }
        channel = await self._channels.get(deadline)
        document = queries.customer_orders(note=channel.note)
        data = await self._read(document, {"id": request.customer_id, "options": options}, request.context, deadline)
        response = order_service_pb2.ListOrdersResponse()
        if data["customer"] is None:
            return response
        found = data["customer"]["orders"]
        for source in found["items"]:
            response.orders.append(_read_now(source, request.context, tax_included=channel.tax_included))
        end = offset + len(found["items"])
        if found["items"] and end < found["totalItems"]:
            response.next_page_token = page_token(str(end), *listing)
        return response

    async def apply(self, request: order_service_pb2.ApplyOrderCommandRequest, deadline: float | None) -> Response:
        match request.command.WhichOneof("command"):
            case "place":
                cart_id = request.command.place.cart_id
                return await self._carts.lanes.change(cart_id, lambda: self._place(request, deadline))
            case "cancel":
                order_id = request.command.cancel.order_id
                return await self._lanes.change(order_id, lambda: self._cancel(request, deadline))
        raise Failure(Code.INVALID_ARGUMENT, "command must be set")

    async def resolve(
        self, request: order_service_pb2.ApplyOrderCommandRequest, deadline: float | None
    ) -> order_service_pb2.ResolveOrderCommandResponse:
        """Look whether the state that is wanted has been reached."""
        resolved = order_service_pb2.ResolveOrderCommandResponse(resolution=cart_service_pb2.RESOLUTION_NOT_APPLIED)
        command = request.command.WhichOneof("command")
        if command == "place":
            lanes, name = self._carts.lanes, request.command.place.cart_id
            notebook = notebook_of(request.context, name, request.adapter_state)
            order_id = notebook.order_id
        elif command == "cancel":
            lanes = self._lanes
            name = order_id = request.command.cancel.order_id
        else:
            raise Failure(Code.INVALID_ARGUMENT, "command must be set")

        async def look() -> order_pb2.Order | None:
            order = await self._by_id(order_id, request.context, deadline)
            reached = order is not None and (command == "place" or order.state == order_pb2.ORDER_STATE_CANCELED)
            if not reached and lanes.unsettled(name):
                raise Failure(Code.UNAVAILABLE, "Vendure may still be executing the command")
            return order if reached else None

        order = await lanes.read(name, look)
        if order is not None:
            resolved.resolution = cart_service_pb2.RESOLUTION_APPLIED
            resolved.response.order.CopyFrom(order)
            resolved.response.adapter_state = request.adapter_state
        return resolved

    async def _place(self, request: order_service_pb2.ApplyOrderCommandRequest, deadline: float | None) -> Response:
        place = request.command.place
        notebook = notebook_of(request.context, place.cart_id, request.adapter_state)
        response = Response(adapter_state=request.adapter_state)
        if request.expected_version:
            raise Failure(Code.FAILED_PRECONDITION, "carts of Vendure have no version")
        try:
            # Whether it can be read afterwards is found out before anything is bought.
            await self._office.sign_in(deadline)
            if notebook.canceled:
                raise _not_active()
            call = await self._carts.call(notebook, request.context, deadline)
        except Rejected as refusal:
            response.rejection.CopyFrom(refusal.rejection)
            return response
        except ApiError as error:
            raise undone(error, sent=False) from error
        try:
            with contextlib.suppress(Inactive):
                # Inactive: bought already, perhaps by this very command; otherwise there is nothing to find.
                await self._buy(call, place)
            order = await self._by_id(notebook.order_id, request.context, None if call.talk.sent else deadline)
            if order is None:
                raise _not_active()
            response.order.CopyFrom(order)
        except Rejected as refusal:
            response.rejection.CopyFrom(refusal.rejection)
        except ApiError as error:
            if call.talk.sent:
                self._carts.lanes.unsettle(place.cart_id)
            raise undone(error, sent=call.talk.sent) from error
        return response

    async def _buy(self, call: CartCall, place: order_service_pb2.PlaceOrder) -> None:
        source, methods = await call.talk.whole_order()
        state = source["state"]
        if state not in OPEN_STATES and state != _PAYING:
            raise _not_active()
        cart = call.mapped(source, methods)
        _check(cart, place)
        if state != _PAYING:
            done = await call.talk.change("setOrderCustomFields", input={"customFields": {"cartId": place.cart_id}})
            _accepted(done, cart)
            _accepted(await call.talk.change("transitionOrderToState", state=_PAYING), cart)
        metadata = {"legato": held_elsewhere(place.payments)} if place.payments else {}
        try:
            paid = await call.talk.change(
                "addPaymentToOrder", input={"method": self._payment_method, "metadata": metadata}
            )
        except Refused as refused:
            # Such as a payment method that it does not have.
            paid = {"errorCode": refused.code, "message": "Vendure does not take the configured payment method"}
        if "errorCode" in paid:
            # Otherwise the cart would stay frozen for want of an order.
            _accepted(await call.talk.change("transitionOrderToState", state="AddingItems"), cart)
            _accepted(paid, cart)

    async def _cancel(self, request: order_service_pb2.ApplyOrderCommandRequest, deadline: float | None) -> Response:
        order_id, context = request.command.cancel.order_id, request.context
        response = Response()
        try:
            order = await self._by_id(order_id, context, deadline)
            if order is None:
                raise Failure(Code.NOT_FOUND, "there is no such order")
            response.order.CopyFrom(order)
            if order.state == order_pb2.ORDER_STATE_CANCELED:
                return response
            if order.native_status not in _CANCELABLE:
                response.rejection.reason = order_service_pb2.ORDER_REJECTION_REASON_NOT_CANCELABLE
                response.rejection.message = "the order is on its way"
                response.rejection.native_code = order.native_status
                return response
            left(deadline, _SETTLE_S)
        except ApiError as error:
            raise undone(error, sent=False) from error
        try:
            wanted = {"orderId": order_id, "cancelShipping": True, "reason": f"legato {request.command_id}"}
            result = (await self._office.change(queries.CANCEL_PLACED, {"input": wanted}))["cancelOrder"]
            if "errorCode" in result:
                response.rejection.reason = order_service_pb2.ORDER_REJECTION_REASON_NOT_CANCELABLE
                response.rejection.message = result["message"][:300]
                response.rejection.native_code = result["errorCode"]
                return response
        except ApiError as error:
            sent = not isinstance(error, NotSent | Refused | Busy)
            if sent:
                self._lanes.unsettle(order_id)
            raise undone(error, sent=sent) from error
        try:
            canceled = await self._by_id(order_id, context, None)
        except ApiError as error:
            raise undone(error, sent=True) from error
        if canceled is None:
            raise Failure(Code.UNKNOWN, "Vendure no longer shows the order")
        response.order.CopyFrom(canceled)
        return response

    async def _by_id(self, order_id: str, context: Context, deadline: float | None) -> order_pb2.Order | None:
        channel = await self._channels.get(deadline)
        try:
            data = await self._read(queries.placed_order(note=channel.note), {"id": order_id}, context, deadline)
        except Refused:
            # What is no id of Vendure's.
            return None
        source = data["order"]
        if source is None or not source["orderPlacedAt"]:
            return None
        return _read_now(source, context, tax_included=channel.tax_included)

    async def _by(self, field: str, value: str, context: Context, deadline: float | None) -> order_pb2.Order | None:
        channel = await self._channels.get(deadline)
        variables = {"options": {"take": 1, "filter": {field: {"eq": value}, "orderPlacedAt": {"isNull": False}}}}
        data = await self._read(queries.find_order(note=channel.note), variables, context, deadline)
        for source in data["orders"]["items"]:
            return _read_now(source, context, tax_included=channel.tax_included)
        return None

    async def _read(self, document: str, variables: Json, context: Context, deadline: float | None) -> Json:
        channel = await self._channels.get(deadline)
        return await self._office.read(document, variables, self._channels.parameters(channel, context), deadline)


def _check(cart: cart_pb2.Cart, place: order_service_pb2.PlaceOrder) -> None:
    """Whether Vendure would make an order of it; it would not say all that is missing at once."""
    if not cart.lines:
        raise Rejected(order_service_pb2.ORDER_REJECTION_REASON_CART_EMPTY, "the cart has no lines")
    missing = [
        path
        for path, there in (
            ("email", bool(cart.email)),
            ("shipping_address", cart.HasField("shipping_address")),
            ("fulfilment", cart.fulfilment.HasField("selected")),
        )
        if not there
    ]
    if missing:
        reason = order_service_pb2.ORDER_REJECTION_REASON_CART_INCOMPLETE
        raise Rejected(reason, "an order needs more than this", paths=tuple(missing))
    costs = next(item.amount for item in cart.totals.items if item.type == total_pb2.TOTAL_TYPE_GRAND_TOTAL)
    if place.payments:
        currencies = {payment.authorized.currency_code for payment in place.payments}
        twice = len({(payment.system, payment.payment_id) for payment in place.payments}) < len(place.payments)
        if twice or currencies != {costs.currency_code} or sum(map(_held, place.payments)) != _decimal(costs):
            reason = order_service_pb2.ORDER_REJECTION_REASON_PAYMENT_MISMATCH
            raise Rejected(reason, "the payments are not what the cart costs")


def _read_now(source: Json, context: Context, *, tax_included: bool) -> order_pb2.Order:
    order = order_message(source, context, tax_included=tax_included)
    order.provenance.source = SYSTEM
    order.provenance.observed_at.GetCurrentTime()
    return order


def _held(payment: order_pb2.OrderPayment) -> Decimal:
    return _decimal(payment.authorized)


def _decimal(amount: money_pb2.Money) -> Decimal:
    return Decimal(amount.units).scaleb(-amount.scale)


def _accepted(result: Json, cart: cart_pb2.Cart) -> None:
    """Raises Rejected for an error result."""
    if "errorCode" not in result:
        return
    gone = tuple(message.path for message in cart.messages.items if message.code == "OUT_OF_STOCK")
    reason = order_service_pb2.ORDER_REJECTION_REASON_UNSPECIFIED
    if gone:
        reason = order_service_pb2.ORDER_REJECTION_REASON_INSUFFICIENT_STOCK
    raise Rejected(reason, result["message"], native_code=result["errorCode"], paths=gone)


def _not_active() -> Rejected:
    reason = order_service_pb2.ORDER_REJECTION_REASON_CART_NOT_ACTIVE
    return Rejected(reason, "the order accepts no changes any more")
