"""Plays the hub towards an adapter, for one cart: keeps the notebook and resolves intents into line targets."""

from typing import Any

from google.protobuf.message import Message

from legato.adapter.v1 import cart_service_pb2, request_context_pb2
from legato.commerce.v1 import cart_intent_pb2, cart_pb2, total_pb2
from legato.protocol.ids import new_id
from legato_adapters.conformance.check import expect, same, shown
from legato_adapters.conformance.stubs import CartStub
from legato_adapters.conformance.wire import TIMEOUT_S


class CartUser:
    """One cart. `cart`, `version` and `adapter_state` are those of the last answer."""

    def __init__(self, stub: CartStub, context: request_context_pb2.RequestContext) -> None:
        self.stub = stub
        self.context = context
        self.cart_id = new_id()
        self.cart = cart_pb2.Cart()
        self.version = ""
        self.adapter_state = b""
        self.owner = cart_service_pb2.Owner(anonymous_id="shopper")
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
            owner=self.owner if "create_cart" in intent else None,
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
        what = request_name(intent)
        expect(not response.HasField("rejection"), f"{what} was refused: {shown(response.rejection)}")
        return response

    async def refused(self, **intent: Any) -> cart_service_pb2.Rejection:
        """Send a new command that the backend is expected to refuse; the cart must be as it was."""
        before, version = await self.read()
        response = await self.send(self.call(**intent))
        what = request_name(intent)
        expect(response.HasField("rejection"), f"{what} was executed and not refused")
        after, version_after = await self.read()
        same(f"the cart after a refused {what}", comparable(after), comparable(before))
        same(f"the cart in the answer to a refused {what}", comparable(response.cart), comparable(before))
        same(f"the version after a refused {what}", version_after, version)
        same(f"the version in the answer to a refused {what}", response.version, version)
        return response.rejection

    async def add(self, sku: str, steps: int, key: str = "") -> cart_service_pb2.ApplyCommandResponse:
        return await self.apply(add_line={"sku": sku, "quantity": {"steps": steps}, "client_line_key": key})

    async def read(self) -> tuple[cart_pb2.Cart, str]:
        """The cart as the backend has it, and its version."""
        request = cart_service_pb2.GetCartRequest(
            context=self.context, cart_id=self.cart_id, adapter_state=self.adapter_state
        )
        response = await self.stub.GetCart(request, timeout=TIMEOUT_S)
        self.adapter_state = response.adapter_state or self.adapter_state
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


def request_name(intent: dict[str, Any]) -> str:
    """The name of the one intent given."""
    return next(iter(intent))


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
