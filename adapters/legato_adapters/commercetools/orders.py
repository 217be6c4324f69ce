"""Orders, made of carts. An order's number is made of the command's id: commercetools lets each number be used once."""

import hashlib
from collections.abc import Sequence
from typing import Any

import grpc

from legato.adapter.v1 import cart_service_pb2, order_service_pb2, request_context_pb2
from legato.commerce.v1 import money_pb2, order_pb2
from legato_adapters.commercetools import marks
from legato_adapters.commercetools.api import Api, Json, codes
from legato_adapters.commercetools.carts import EXPAND, Carts
from legato_adapters.commercetools.mapping import CANCELED, CartMapping
from legato_adapters.commercetools.order_mapping import order as mapped_order
from legato_adapters.commercetools.payments import Payments, cents
from legato_adapters.commercetools.project import Projects
from legato_adapters.http import (
    Call,
    Failure,
    Lanes,
    Refused,
    check_page_size,
    check_uuid7,
    page_position,
    page_token,
)

__all__ = ["Orders", "order_number"]

Code = grpc.StatusCode
Reason = order_service_pb2.OrderRejectionReason
ORDER_EXPAND = (*EXPAND, ("expand", "paymentInfo.payments[*]"))
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class OrderRefusal(Exception):
    """Refused for a reason of business; nothing has changed."""

    def __init__(self, reason: str, message: str, native_code: str = "", paths: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.rejection = order_service_pb2.OrderRejection(
            reason=Reason.Value(f"ORDER_REJECTION_REASON_{reason}"),
            message=message,
            native_code=native_code,
            paths=paths,
        )


def order_number(tenant: str, command_id: str) -> str:
    """The number of the order that a tenant's command places: 60 bits of a digest, readable aloud."""
    value = int.from_bytes(hashlib.sha256(f"{command_id} {tenant}".encode()).digest()[:8]) >> 4
    text = "".join(_CROCKFORD[value >> shift & 31] for shift in range(55, -1, -5))
    return f"{text[:4]}-{text[4:8]}-{text[8:]}"


class Orders:
    """The order service without its transport. Raises Failure and ApiError."""

    def __init__(self, api: Api, projects: Projects, carts: Carts, *, type_key: str, restocks: bool) -> None:
        self._api = api
        self._projects = projects
        self._carts = carts
        self._payments = Payments(api)
        self._type_key = type_key
        self._restocks = restocks
        self._lanes: Lanes = carts.lanes

    async def get(self, call: Call, request: order_service_pb2.GetOrderRequest) -> order_service_pb2.GetOrderResponse:
        order: Json | None
        match request.WhichOneof("key"):
            case "order_id":
                order = await self._by_id(call, request.order_id)
            case "number":
                order = await self._by_number(call, request.number)
            case "cart_id":
                order = await self._by_cart(call, request.context, request.cart_id)
            case _:
                raise Failure(Code.INVALID_ARGUMENT, "an order is named by its id, number or cart")
        found = self._own(order, request.context)
        return order_service_pb2.GetOrderResponse(order=await self._mapped(call, found, request.context))

    async def list(
        self, call: Call, request: order_service_pb2.ListOrdersRequest
    ) -> order_service_pb2.ListOrdersResponse:
        """Newest first. A page begins after the order that the one before ended with: new ones move nothing."""
        check_page_size(request.page_size)
        if not request.customer_id:
            raise Failure(Code.INVALID_ARGUMENT, "customer_id must be set")
        after = page_position(request.page_token, request.customer_id)
        where = (
            f"custom(fields({marks.TENANT} = :tenant)) and (customerId = :id or custom(fields({marks.CUSTOMER} = :id)))"
        )
        variables = {"tenant": request.context.tenant, "id": request.customer_id}
        if after:
            moment, _, last_id = after.partition(" ")
            where += " and (createdAt < :moment or (createdAt = :moment and id < :last))"
            variables |= {"moment": moment, "last": last_id}
        found = await self._api.query(
            call,
            "/orders",
            where,
            variables=variables,
            expand=[path for _, path in ORDER_EXPAND],
            more=[("sort", "createdAt desc"), ("sort", "id desc")],
            limit=request.page_size + 1,
        )
        page = found[: request.page_size]
        response = order_service_pb2.ListOrdersResponse()
        for order in page:
            response.orders.append(await self._mapped(call, order, request.context))
        if len(found) > len(page):
            response.next_page_token = page_token(f"{page[-1]['createdAt']} {page[-1]['id']}", request.customer_id)
        return response

    async def apply(
        self, call: Call, request: order_service_pb2.ApplyOrderCommandRequest
    ) -> order_service_pb2.ApplyOrderCommandResponse:
        command = request.command
        lane = command.place.cart_id if command.HasField("place") else command.cancel.order_id

        async def work() -> order_service_pb2.ApplyOrderCommandResponse:
            try:
                if command.HasField("place"):
                    return await self._place(call, request)
                return await self._cancel(call, request)
            except OrderRefusal as refusal:
                return order_service_pb2.ApplyOrderCommandResponse(
                    adapter_state=request.adapter_state, rejection=refusal.rejection
                )

        return await self._lanes.change(lane, work)

    async def resolve(
        self, call: Call, request: order_service_pb2.ApplyOrderCommandRequest
    ) -> order_service_pb2.ResolveOrderCommandResponse:
        command = request.command
        lane = command.place.cart_id if command.HasField("place") else command.cancel.order_id

        async def work() -> order_service_pb2.ResolveOrderCommandResponse:
            order = await self._done(call, request)
            if order is None:
                return order_service_pb2.ResolveOrderCommandResponse(resolution=cart_service_pb2.RESOLUTION_NOT_APPLIED)
            return order_service_pb2.ResolveOrderCommandResponse(
                resolution=cart_service_pb2.RESOLUTION_APPLIED, response=await self._response(call, request, order)
            )

        return await self._lanes.read(lane, work)

    async def _done(self, call: Call, request: order_service_pb2.ApplyOrderCommandRequest) -> Json | None:
        """The order that this command has already placed or cancelled; Failure where its id did something else."""
        placed = await self._by_number(call, order_number(request.context.tenant, request.command_id))
        if placed is not None:
            made_of = marks.fields(placed).get(marks.CART)
            if not request.command.HasField("place") or made_of != request.command.place.cart_id:
                raise Failure(Code.ABORTED, "the command id was used with another body")
            return self._own(placed, request.context)
        if request.command.HasField("cancel"):
            order = self._own(await self._by_id(call, request.command.cancel.order_id), request.context)
            if marks.Marks.of(order).body(request.command_id) is not None:
                return order
        return None

    async def _place(
        self, call: Call, request: order_service_pb2.ApplyOrderCommandRequest
    ) -> order_service_pb2.ApplyOrderCommandResponse:
        wish, context = request.command.place, request.context
        check_uuid7(cart_id=wish.cart_id)
        done = await self._done(call, request)
        if done is not None:
            return await self._response(call, request, done)
        cart = await self._carts.existing(call, context, wish.cart_id, request.adapter_state)
        if request.expected_version and request.expected_version != str(cart["version"]):
            raise Failure(Code.FAILED_PRECONDITION, "the cart has another version")
        if cart["cartState"] != "Active" or marks.fields(cart).get(marks.STATE) == CANCELED:
            raise OrderRefusal("CART_NOT_ACTIVE", "the cart was ordered or given up", cart["cartState"])
        if await self._by_cart(call, context, wish.cart_id) is not None:
            raise OrderRefusal("CART_NOT_ACTIVE", "the cart was ordered by another command")
        if not cart["lineItems"]:
            raise OrderRefusal("CART_EMPTY", "the cart has no lines")
        self._check_complete(cart)
        total = await self._check_payments(call, cart, wish.payments, context)
        if wish.payments:
            cart = await self._payments.attach(call, cart, wish.payments, total.scale, EXPAND)
            # Somebody may have changed it meanwhile.
            await self._check_payments(call, cart, wish.payments, context)
        draft: dict[str, Any] = {
            "cart": {"typeId": "cart", "id": cart["id"]},
            "version": cart["version"],
            "orderNumber": order_number(request.context.tenant, request.command_id),
        }
        try:
            order = await self._api.post(call, "/orders", draft, ORDER_EXPAND)
        except Refused as refused:
            raise await self._unplaced(call, request, refused) from refused
        return await self._response(call, request, order)

    async def _unplaced(
        self, call: Call, request: order_service_pb2.ApplyOrderCommandRequest, refused: Refused
    ) -> Exception:
        """Why commercetools made no order."""
        if refused.status == 409:
            if request.expected_version:
                return Failure(Code.FAILED_PRECONDITION, "the cart has another version")
            # The cart that was looked at is not the one that would be bought.
            return Failure(Code.UNAVAILABLE, "the cart changed at this moment", without_effect=True)
        first = next(iter(codes(refused)), "")
        match first:
            case "OutOfStock":
                skus = set()
                for error in refused.said.get("errors") or ():
                    skus |= set(error.get("skus") or ())
                cart = await self._carts.existing(
                    call, request.context, request.command.place.cart_id, request.adapter_state
                )
                paths = [f"line/{line['id']}" for line in cart["lineItems"] if line["variant"].get("sku") in skus]
                return OrderRefusal("INSUFFICIENT_STOCK", "not enough in stock", first, paths)
            case "ShippingMethodDoesNotMatchCart":
                return OrderRefusal("CART_INCOMPLETE", "it cannot be delivered this way", first, ["fulfilment"])
            case "MissingTaxRateForCountry" | "MissingShippingAddress":
                return OrderRefusal("CART_INCOMPLETE", "no address to deliver to", first, ["address/shipping"])
        return OrderRefusal("UNSPECIFIED", "commercetools makes no order of it", first) if first else refused

    def _check_complete(self, cart: Json) -> None:
        """What an order must have that commercetools itself may do without: somebody has to send it."""
        missing = []
        if not cart.get("customerEmail"):
            missing.append("email")
        if not cart.get("shippingAddress"):
            missing.append("address/shipping")
        if not cart.get("shippingInfo"):
            missing.append("fulfilment")
        if missing:
            raise OrderRefusal("CART_INCOMPLETE", "something is missing", paths=missing)

    async def _check_payments(
        self,
        call: Call,
        cart: Json,
        payments: Sequence[order_pb2.OrderPayment],
        context: request_context_pb2.RequestContext,
    ) -> money_pb2.Money:
        """What the cart costs; OrderRefusal where there are payments, and they hold something else."""
        project = await self._projects.get(call)
        total = CartMapping(cart, project, context).totals().items[-1].amount
        if not payments:
            return total
        paid, seen = 0, set()
        for payment in payments:
            amount = payment.authorized
            name = (payment.system, payment.payment_id)
            if amount.currency_code != total.currency_code or name in seen or not payment.payment_id:
                raise OrderRefusal("PAYMENT_MISMATCH", "a payment is in another currency, or counted twice")
            if cents(amount, total.scale) is None:
                raise OrderRefusal("PAYMENT_MISMATCH", "a payment is no amount of its currency")
            seen.add(name)
            paid += amount.units * 10 ** (9 - amount.scale)
        if paid != total.units * 10 ** (9 - total.scale):
            raise OrderRefusal("PAYMENT_MISMATCH", "the payments are not what the cart costs")
        return total

    async def _cancel(
        self, call: Call, request: order_service_pb2.ApplyOrderCommandRequest
    ) -> order_service_pb2.ApplyOrderCommandResponse:
        context = request.context
        order = self._own(await self._by_id(call, request.command.cancel.order_id), context)
        done = await self._done(call, request)
        if done is not None:
            return await self._response(call, request, done)
        body = marks.digest(request.command)

        async def decide(current: Json) -> list[Json]:
            if current["orderState"] not in {"Open", "Confirmed"} or current.get("shipmentState") not in {
                None,
                "Pending",
                "Ready",
            }:
                raise OrderRefusal("NOT_CANCELABLE", "it is too late", current["orderState"])
            mark = str(marks.Marks.of(current).add(request.command_id, body))
            return [
                {"action": "changeOrderState", "orderState": "Cancelled"},
                *marks.writing(current, self._type_key, {marks.COMMANDS: mark}),
            ]

        try:
            after = await self._api.revise(call, "/orders/{id}", order, decide, ORDER_EXPAND)
        except OrderRefusal as refusal:
            response = await self._response(call, request, order)
            response.rejection.CopyFrom(refusal.rejection)
            return response
        if self._restocks:
            await self._restock(call, after)
        return await self._response(call, request, after)

    async def _restock(self, call: Call, order: Json) -> None:
        """commercetools leaves the stock as it is; and tells of no order whose goods came back already."""
        skus = [line["variant"]["sku"] for line in order["lineItems"]]
        entries = await self._api.query(call, "/inventory", "sku in (:skus)", variables={"skus": skus})
        for entry in (entry for entry in entries if not entry.get("supplyChannel")):
            back = sum(line["quantity"] for line in order["lineItems"] if line["variant"]["sku"] == entry["sku"])

            async def decide(current: Json, back: int = back) -> list[Json]:
                return [{"action": "changeQuantity", "quantity": current["quantityOnStock"] + back}]

            await self._api.revise(call, "/inventory/{id}", entry, decide)

    async def _response(
        self, call: Call, request: order_service_pb2.ApplyOrderCommandRequest, order: Json
    ) -> order_service_pb2.ApplyOrderCommandResponse:
        return order_service_pb2.ApplyOrderCommandResponse(
            order=await self._mapped(call, order, request.context), adapter_state=request.adapter_state
        )

    async def _mapped(self, call: Call, order: Json, context: request_context_pb2.RequestContext) -> order_pb2.Order:
        return mapped_order(order, await self._projects.get(call), context)

    def _own(self, order: Json | None, context: request_context_pb2.RequestContext) -> Json:
        if order is None or marks.fields(order).get(marks.TENANT) != context.tenant:
            raise Failure(Code.NOT_FOUND, "there is no such order")
        return order

    async def _by_id(self, call: Call, order_id: str) -> Json | None:
        return await self._api.find(call, "/orders/{id}", ORDER_EXPAND, id=order_id)

    async def _by_number(self, call: Call, number: str) -> Json | None:
        return await self._api.find(call, "/orders/order-number={number}", ORDER_EXPAND, number=number)

    async def _by_cart(self, call: Call, context: request_context_pb2.RequestContext, cart_id: str) -> Json | None:
        found = await self._api.query(
            call,
            "/orders",
            f"custom(fields({marks.CART} = :cart and {marks.TENANT} = :tenant))",
            variables={"cart": cart_id, "tenant": context.tenant},
            expand=[path for _, path in ORDER_EXPAND],
            limit=1,
        )
        return found[0] if found else None
