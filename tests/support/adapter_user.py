"""Plays the hub towards an adapter, for one cart: keeps the notebook and resolves intents into line targets."""

from typing import Any, TypeAlias

import grpc.aio
from google.protobuf.message import Message

from legato.adapter.v1 import (
    cart_service_pb2,
    cart_service_pb2_grpc,
    catalog_service_pb2_grpc,
    content_service_pb2_grpc,
    customer_service_pb2_grpc,
    event_service_pb2_grpc,
    fulfilment_service_pb2_grpc,
    identity_service_pb2_grpc,
    inventory_service_pb2_grpc,
    order_service_pb2_grpc,
    payment_service_pb2_grpc,
    request_context_pb2,
)
from legato.commerce.v1 import cart_intent_pb2, cart_pb2, total_pb2
from legato.protocol.ids import new_id

# Known to the type checker alone: a generated module has one stub class for both kinds of channel.
CartStub: TypeAlias = "cart_service_pb2_grpc.CartServiceAsyncStub"
CatalogStub: TypeAlias = "catalog_service_pb2_grpc.CatalogServiceAsyncStub"
IdentityStub: TypeAlias = "identity_service_pb2_grpc.IdentityServiceAsyncStub"
InventoryStub: TypeAlias = "inventory_service_pb2_grpc.InventoryServiceAsyncStub"
OrderStub: TypeAlias = "order_service_pb2_grpc.OrderServiceAsyncStub"
PaymentStub: TypeAlias = "payment_service_pb2_grpc.PaymentServiceAsyncStub"
CustomerStub: TypeAlias = "customer_service_pb2_grpc.CustomerServiceAsyncStub"
ContentStub: TypeAlias = "content_service_pb2_grpc.ContentServiceAsyncStub"
FulfilmentStub: TypeAlias = "fulfilment_service_pb2_grpc.FulfilmentServiceAsyncStub"
EventStub: TypeAlias = "event_service_pb2_grpc.EventServiceAsyncStub"

TIMEOUT_S = 20.0


class Stubs:
    """All services of one adapter."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.identity: IdentityStub = identity_service_pb2_grpc.IdentityServiceStub(channel)
        self.catalog: CatalogStub = catalog_service_pb2_grpc.CatalogServiceStub(channel)
        self.inventory: InventoryStub = inventory_service_pb2_grpc.InventoryServiceStub(channel)
        self.cart: CartStub = cart_service_pb2_grpc.CartServiceStub(channel)
        self.order: OrderStub = order_service_pb2_grpc.OrderServiceStub(channel)
        self.payment: PaymentStub = payment_service_pb2_grpc.PaymentServiceStub(channel)
        self.customer: CustomerStub = customer_service_pb2_grpc.CustomerServiceStub(channel)
        self.content: ContentStub = content_service_pb2_grpc.ContentServiceStub(channel)
        self.fulfilment: FulfilmentStub = fulfilment_service_pb2_grpc.FulfilmentServiceStub(channel)
        self.event: EventStub = event_service_pb2_grpc.EventServiceStub(channel)


class CartUser:
    """One cart. `cart`, `version` and `adapter_state` are those of the last answer."""

    def __init__(self, stub: CartStub, context: request_context_pb2.RequestContext) -> None:
        self.stub = stub
        self.context = context
        self.cart_id = new_id()
        self.cart = cart_pb2.Cart()
        self.version = ""
        self.adapter_state = b""
        self._shares: dict[str, tuple[str, int]] = {}
        """What each client line key stands for: sku and steps."""

    def call(self, **intent: Any) -> cart_service_pb2.ApplyCommandRequest:
        """A new command, compiled against the cart as it was last seen."""
        return cart_service_pb2.ApplyCommandRequest(
            context=self.context,
            cart_id=self.cart_id,
            command_id=new_id(),
            intent=(wish := cart_intent_pb2.CartIntent(**intent)),
            line_target=self._target(wish),
            owner=cart_service_pb2.Owner(anonymous_id="shopper") if "create_cart" in intent else None,
            adapter_state=self.adapter_state,
            channel="web",
        )

    async def send(
        self, request: cart_service_pb2.ApplyCommandRequest, *, timeout: float = TIMEOUT_S
    ) -> cart_service_pb2.ApplyCommandResponse:
        response = await self.stub.ApplyCommand(request, timeout=timeout)
        self.cart, self.version, self.adapter_state = response.cart, response.version, response.adapter_state
        if not response.HasField("rejection") and request.line_target.client_line_key:
            target = request.line_target
            self._shares[target.client_line_key] = (target.sku, target.client_line_steps)
        return response

    async def apply(self, **intent: Any) -> cart_service_pb2.ApplyCommandResponse:
        """Send a new command that the backend is expected to execute."""
        response = await self.send(self.call(**intent))
        assert not response.HasField("rejection"), response.rejection
        return response

    async def refused(self, **intent: Any) -> cart_service_pb2.Rejection:
        """Send a new command that the backend is expected to refuse; the cart must be as it was."""
        before, version = await self.read()
        response = await self.send(self.call(**intent))
        assert response.HasField("rejection"), "the backend executed it"
        assert comparable(response.cart) == comparable(before)
        after, version_after = await self.read()
        assert comparable(after) == comparable(before)
        assert response.version == version_after == version
        return response.rejection

    async def add(self, sku: str, steps: int, key: str = "") -> cart_service_pb2.ApplyCommandResponse:
        return await self.apply(add_line={"sku": sku, "quantity": {"steps": steps}, "client_line_key": key})

    async def read(self) -> tuple[cart_pb2.Cart, str]:
        """The cart as the backend has it, and its version."""
        request = cart_service_pb2.GetCartRequest(
            context=self.context, cart_id=self.cart_id, adapter_state=self.adapter_state
        )
        response = await self.stub.GetCart(request, timeout=TIMEOUT_S)
        return response.cart, response.version

    async def steps(self) -> dict[str, int]:
        """How much of each sku the backend has in the cart."""
        cart, _ = await self.read()
        return steps_by_sku(cart)

    async def resolve(self, call: cart_service_pb2.ApplyCommandRequest) -> cart_service_pb2.ResolveCommandResponse:
        return await self.stub.ResolveCommand(cart_service_pb2.ResolveCommandRequest(call=call), timeout=TIMEOUT_S)

    def _target(self, intent: cart_intent_pb2.CartIntent) -> cart_service_pb2.LineTarget | None:
        present = steps_by_sku(self.cart)
        ids = {line.sku: line.id for line in self.cart.lines}
        match intent.WhichOneof("intent"):
            case "add_line":
                add = intent.add_line
                steps = present.get(add.sku, 0) + add.quantity.steps
                key = add.client_line_key
                return cart_service_pb2.LineTarget(
                    line_id=ids.get(add.sku, ""),
                    sku=add.sku,
                    steps=steps,
                    client_line_key=key,
                    client_line_steps=add.quantity.steps if key else 0,
                )
            case "set_line_quantity":
                return self._changed(intent.set_line_quantity.line, intent.set_line_quantity.quantity.steps)
            case "remove_line":
                return self._changed(intent.remove_line.line, 0)
        return None

    def _changed(self, selector: cart_intent_pb2.LineSelector, steps: int) -> cart_service_pb2.LineTarget:
        present = steps_by_sku(self.cart)
        if selector.HasField("client_line_key"):
            sku, share = self._shares[selector.client_line_key]
            line_id = next(line.id for line in self.cart.lines if line.sku == sku)
            return cart_service_pb2.LineTarget(
                line_id=line_id,
                sku=sku,
                steps=present[sku] - share + steps,
                client_line_key=selector.client_line_key,
                client_line_steps=steps,
            )
        sku = next((line.sku for line in self.cart.lines if line.id == selector.line_id), "")
        return cart_service_pb2.LineTarget(line_id=selector.line_id, sku=sku, steps=steps)


def comparable(message: Message) -> Any:
    """A copy of a cart without the time of reading."""
    copy = type(message)()
    copy.CopyFrom(message)
    copy.ClearField("provenance")
    return copy


def steps_by_sku(cart: cart_pb2.Cart) -> dict[str, int]:
    steps: dict[str, int] = {}
    for line in cart.lines:
        steps[line.sku] = steps.get(line.sku, 0) + line.quantity.steps
    return steps


def total(cart: cart_pb2.Cart, kind: "total_pb2.TotalType.ValueType") -> int:
    """The units of one total; 0 where the cart has none of this type."""
    return sum(item.amount.units for item in cart.totals.items if item.type == kind)
