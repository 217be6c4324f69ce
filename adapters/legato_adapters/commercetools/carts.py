"""Carts: each one of commercetools' own, under the canonical id as its key."""

import json
from collections.abc import Sequence
from typing import Any

import grpc

from legato.adapter.v1 import cart_service_pb2, request_context_pb2
from legato.commerce.v1 import cart_pb2
from legato_adapters.commercetools import intents, marks
from legato_adapters.commercetools.api import Api, Json, codes
from legato_adapters.commercetools.catalog import Catalog
from legato_adapters.commercetools.codes import Codes
from legato_adapters.commercetools.intents import Refusal
from legato_adapters.commercetools.mapping import CANCELED, CartMapping
from legato_adapters.commercetools.project import Projects
from legato_adapters.http import ApiError, Call, Failure, Lanes, Malformed, NoAnswer, Refused

__all__ = ["Carts"]

Code = grpc.StatusCode
EXPAND = (("expand", "discountCodes[*].discountCode"),)
_SETTLE_S = 3.0
_VERSION = 1


class Carts:
    """The cart service without its transport. Raises Failure and ApiError."""

    def __init__(self, api: Api, projects: Projects, catalog: Catalog, *, type_key: str, inventory_mode: str) -> None:
        self._api = api
        self._projects = projects
        self._catalog = catalog
        self._codes = Codes(api)
        self._type_key = type_key
        self._inventory_mode = inventory_mode
        self.lanes = Lanes(_SETTLE_S)

    async def get(self, call: Call, request: cart_service_pb2.GetCartRequest) -> cart_service_pb2.GetCartResponse:
        async def work() -> cart_service_pb2.GetCartResponse:
            cart = await self.existing(call, request.context, request.cart_id, request.adapter_state)
            return cart_service_pb2.GetCartResponse(
                cart=await self.mapped(call, cart, request.cart_id, request.context),
                adapter_state=_notebook(cart),
                version=str(cart["version"]),
            )

        return await self.lanes.read(request.cart_id, work)

    async def apply(
        self, call: Call, request: cart_service_pb2.ApplyCommandRequest
    ) -> cart_service_pb2.ApplyCommandResponse:
        async def work() -> cart_service_pb2.ApplyCommandResponse:
            try:
                return await (self._create if request.intent.HasField("create_cart") else self._change)(call, request)
            except ApiError as error:
                if call.touched and isinstance(error, NoAnswer):
                    self.lanes.unsettle(request.cart_id)
                raise

        return await self.lanes.change(request.cart_id, work)

    async def resolve(
        self, call: Call, request: cart_service_pb2.ApplyCommandRequest
    ) -> cart_service_pb2.ResolveCommandResponse:
        async def work() -> cart_service_pb2.ResolveCommandResponse:
            return await self._resolve(call, request)

        return await self.lanes.read(request.cart_id, work)

    async def find(
        self, call: Call, context: request_context_pb2.RequestContext, cart_id: str, state: bytes
    ) -> Json | None:
        """The tenant's cart, by the id in the notebook or else by its key; None where there is none."""
        native_id = _native_id(state)
        if native_id:
            cart = await self._api.find(call, "/carts/{id}", EXPAND, id=native_id)
        else:
            cart = await self._api.find(call, "/carts/key={key}", EXPAND, key=cart_id)
        if cart is None:
            return None
        if type(cart["version"]) is not int or not isinstance(cart["cartState"], str):
            raise Malformed("commercetools answered with a cart that is none")
        kept = marks.fields(cart)
        return cart if (kept.get(marks.TENANT), kept.get(marks.CART)) == (context.tenant, cart_id) else None

    async def existing(
        self, call: Call, context: request_context_pb2.RequestContext, cart_id: str, state: bytes
    ) -> Json:
        cart = await self.find(call, context, cart_id, state)
        if cart is None:
            raise Failure(Code.NOT_FOUND, "there is no such cart")
        return cart

    async def mapped(
        self, call: Call, cart: Json, cart_id: str, context: request_context_pb2.RequestContext
    ) -> cart_pb2.Cart:
        project = await self._projects.get(call)
        return CartMapping(cart, project, context).cart(cart_id, await self._methods(call, cart))

    async def _create(
        self, call: Call, request: cart_service_pb2.ApplyCommandRequest
    ) -> cart_service_pb2.ApplyCommandResponse:
        context = request.context
        project = await self._projects.get(call)
        if not project.serves(context):
            return _rejected(Refusal("UNKNOWN_CURRENCY", "the project does not serve this market"))
        owner = request.owner.WhichOneof("owner") or ""
        values = {
            marks.COMMANDS: str(marks.Marks().add(request.command_id, _digest(request))),
            marks.CART: request.cart_id,
            marks.TENANT: context.tenant,
            marks.STORE: context.store,
            marks.OWNER: f"{owner}:{getattr(request.owner, owner)}" if owner else "",
            marks.CUSTOMER: request.owner.customer_id,
        }
        draft: dict[str, Any] = {
            "key": request.cart_id,
            "currency": context.currency_code,
            "inventoryMode": self._inventory_mode,
            "custom": {
                "type": {"typeId": "type", "key": self._type_key},
                "fields": {name: value for name, value in values.items() if value},
            },
        }
        if context.country:
            draft["country"] = context.country
        if context.locale:
            draft["locale"] = project.language(context.locale)
        if request.owner.customer_id and await self._api.find(call, "/customers/{id}", id=request.owner.customer_id):
            # Else a customer of another system, whom commercetools does not know.
            draft["customerId"] = request.owner.customer_id
        elif request.owner.anonymous_id:
            draft["anonymousId"] = request.owner.anonymous_id
        existing = await self.find(call, context, request.cart_id, request.adapter_state)
        if existing is None:
            try:
                cart = await self._api.post(call, "/carts", draft, EXPAND)
                return await self._response(call, request, cart)
            except Refused as refused:
                if "DuplicateField" not in codes(refused):
                    raise
            existing = await self.find(call, context, request.cart_id, b"")
        if existing is None:
            return _rejected(Refusal("CART_EXISTS", "the cart id is taken"))
        if self._executed(request, existing):
            return await self._response(call, request, existing)
        exists = Refusal("CART_EXISTS", "the cart exists")
        return await self._response(call, request, existing, exists)

    async def _change(
        self, call: Call, request: cart_service_pb2.ApplyCommandRequest
    ) -> cart_service_pb2.ApplyCommandResponse:
        cart = await self.existing(call, request.context, request.cart_id, request.adapter_state)
        latest = cart
        added_code = request.intent.add_discount_code.code

        async def decide(current: Json) -> list[Json]:
            nonlocal latest
            latest = current
            if self._executed(request, current):
                return []
            if request.expected_version and request.expected_version != str(current["version"]):
                raise Failure(Code.FAILED_PRECONDITION, "the cart has another version")
            return await self._actions(call, request, current)

        try:
            after = await self._api.revise(call, "/carts/{id}", cart, decide, EXPAND)
            if added_code and after is not latest:
                after = await self._counted(call, request, after, added_code)
        except Refusal as refusal:
            return await self._response(call, request, latest, refusal)
        except Refused as refused:
            if refused.status not in {400, 404}:
                raise
            intent = request.intent
            known = not intent.HasField("add_line") or await self._catalog.exists(call, intent.add_line.sku)
            return await self._response(call, request, latest, intents.refusal(refused, intent, sku_exists=known))
        return await self._response(call, request, after)

    async def _actions(self, call: Call, request: cart_service_pb2.ApplyCommandRequest, cart: Json) -> list[Json]:
        if _canceled(cart) and request.intent.HasField("cancel_cart"):
            return []
        if cart["cartState"] != "Active" or _canceled(cart):
            raise Refusal("CART_NOT_ACTIVE", "the cart accepts no changes any more")
        change = intents.Change(request, self._type_key)
        wanted = intents.actions(change, cart)
        if not wanted:
            return []
        await self._check(call, request, cart)
        mark = str(marks.Marks.of(cart).add(request.command_id, _digest(request)))
        return [*wanted, *marks.writing(cart, self._type_key, {marks.COMMANDS: mark})]

    async def _check(self, call: Call, request: cart_service_pb2.ApplyCommandRequest, cart: Json) -> None:
        """What commercetools looks at only when it is too late for the shopper, or cannot undo. Raises Refusal."""
        more = intents.wanted_stock(request, cart)
        if more is not None and self._inventory_mode != "None":
            sku, steps = more
            available = await self._catalog.sellable(call, sku)
            if available is not None and steps > available:
                raise Refusal("INSUFFICIENT_STOCK", "not enough in stock", available=available)
        if request.intent.HasField("add_discount_code"):
            await self._codes.check(call, request.intent.add_discount_code.code)
        if request.intent.HasField("set_delivery_option"):
            option_id = request.intent.set_delivery_option.option_id
            if option_id not in {method["id"] for method in await self._methods(call, cart)}:
                raise Refusal("DELIVERY_OPTION_INVALID", "the cart cannot be delivered this way")

    async def _counted(self, call: Call, request: cart_service_pb2.ApplyCommandRequest, cart: Json, code: str) -> Json:
        """The cart, unless the code turns out to be worth nothing ever: then it is taken off again, and Refusal."""
        entry = next((c for c in cart["discountCodes"] if c["discountCode"]["obj"]["code"] == code), None)
        if entry is None or entry["state"] not in {"NotActive", "NotValid", "MaxApplicationReached"}:
            return cart

        async def undo(current: Json) -> list[Json]:
            return [{"action": "removeDiscountCode", "discountCode": entry["discountCode"]}]

        after = await self._api.revise(call, "/carts/{id}", cart, undo, EXPAND)
        raise _CodeRefusal(after, entry["state"])

    async def _resolve(
        self, call: Call, request: cart_service_pb2.ApplyCommandRequest
    ) -> cart_service_pb2.ResolveCommandResponse:
        cart = await self.find(call, request.context, request.cart_id, request.adapter_state)
        resolved = cart_service_pb2.ResolveCommandResponse(resolution=cart_service_pb2.RESOLUTION_NOT_APPLIED)
        if cart is not None:
            resolved.response.CopyFrom(await self._response(call, request, cart))
            if self._executed(request, cart):
                resolved.resolution = cart_service_pb2.RESOLUTION_APPLIED
                return resolved
            resolved.response.line_id = ""
            if marks.Marks.of(cart).may_have_forgotten(request.command_id):
                resolved.resolution = cart_service_pb2.RESOLUTION_UNKNOWN
        if self.lanes.unsettled(request.cart_id):
            raise Failure(Code.UNAVAILABLE, "commercetools may still be executing the command")
        return resolved

    def _executed(self, request: cart_service_pb2.ApplyCommandRequest, cart: Json) -> bool:
        body = marks.Marks.of(cart).body(request.command_id)
        if body is not None and body != _digest(request):
            raise Failure(Code.ABORTED, "the command id was used with another body")
        return body is not None

    async def _methods(self, call: Call, cart: Json) -> Sequence[Json]:
        """The shipping methods that match a cart; none before it has an address."""
        if not cart.get("shippingAddress") or cart["cartState"] == "Ordered":
            return []
        try:
            answer = await self._api.get(call, "/shipping-methods/matching-cart", [("cartId", cart["id"])])
        except Refused:
            return []
        results: Sequence[Json] = answer["results"]
        return results

    async def _response(
        self,
        call: Call,
        request: cart_service_pb2.ApplyCommandRequest,
        cart: Json,
        refusal: Refusal | None = None,
    ) -> cart_service_pb2.ApplyCommandResponse:
        if isinstance(refusal, _CodeRefusal):
            cart = refusal.cart
        return cart_service_pb2.ApplyCommandResponse(
            cart=await self.mapped(call, cart, request.cart_id, request.context),
            adapter_state=_notebook(cart),
            version=str(cart["version"]),
            line_id="" if refusal else intents.changed_line(request, cart),
            rejection=refusal.rejection if refusal else None,
        )


class _CodeRefusal(Refusal):
    """A code that was entered and taken off again; `cart` is as it is then."""

    def __init__(self, cart: Json, state: str) -> None:
        super().__init__("DISCOUNT_CODE_INVALID", "the code does not count", state)
        self.cart = cart


def _digest(request: cart_service_pb2.ApplyCommandRequest) -> str:
    return marks.digest(request.cart_id, request.intent)


def _canceled(cart: Json) -> bool:
    return marks.fields(cart).get(marks.STATE) == CANCELED


def _rejected(refusal: Refusal) -> cart_service_pb2.ApplyCommandResponse:
    return cart_service_pb2.ApplyCommandResponse(rejection=refusal.rejection)


def _notebook(cart: Json) -> bytes:
    return json.dumps({"v": _VERSION, "id": cart["id"]}, separators=(",", ":")).encode()


def _native_id(state: bytes) -> str:
    if not state:
        return ""
    try:
        notebook = json.loads(state)
        if notebook["v"] == _VERSION and isinstance(notebook["id"], str):
            return notebook["id"]
    except (ValueError, LookupError, TypeError, RecursionError):
        pass
    raise Failure(Code.INVALID_ARGUMENT, "adapter_state is none that this adapter wrote")
