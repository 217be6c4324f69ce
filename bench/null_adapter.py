"""A backend that costs next to nothing: carts in memory, of which only the quantity of the first line changes.

KEYED, like the reference adapter: the hub then keeps no slot, and the write path is look-up, call, commit.
"""

from typing import Any

import grpc
import grpc.aio

from bench import workload
from legato.adapter.v1 import cart_service_pb2 as pb
from legato.adapter.v1 import cart_service_pb2_grpc, identity_service_pb2, identity_service_pb2_grpc
from legato.commerce.v1 import cart_pb2

_Context = grpc.aio.ServicerContext[Any, Any]


class NullAdapter(cart_service_pb2_grpc.CartServiceServicer, identity_service_pb2_grpc.IdentityServiceServicer):
    """Executes create_cart and set_line_quantity. Not a model of a backend: it repeats nothing, and what it knows of a
    cart, the quantity, is in the notebook that the hub keeps for it."""

    def __init__(self) -> None:
        self._carts: dict[int, cart_pb2.Cart] = {}
        self._versions: dict[str, int] = {}

    def add_to(self, server: grpc.aio.Server) -> None:
        cart_service_pb2_grpc.add_CartServiceServicer_to_server(self, server)
        identity_service_pb2_grpc.add_IdentityServiceServicer_to_server(self, server)

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def GetInfo(
        self, request: identity_service_pb2.GetInfoRequest, context: _Context
    ) -> identity_service_pb2.GetInfoResponse:
        return identity_service_pb2.GetInfoResponse(
            name="null",
            version="1",
            contract_version="1",
            capabilities=[identity_service_pb2.CAPABILITY_CART],
            effect_class=identity_service_pb2.EFFECT_CLASS_KEYED,
            cart_intents=["create_cart", "set_line_quantity"],
        )

    async def Probe(
        self, request: identity_service_pb2.ProbeRequest, context: _Context
    ) -> identity_service_pb2.ProbeResponse:
        return identity_service_pb2.ProbeResponse()

    async def GetCart(self, request: pb.GetCartRequest, context: _Context) -> pb.GetCartResponse:
        cart = self._cart(request.cart_id, int(request.adapter_state))
        version = str(self._versions.get(request.cart_id, ""))
        return pb.GetCartResponse(cart=cart, version=version, adapter_state=request.adapter_state)

    async def ResolveCommand(self, request: pb.ResolveCommandRequest, context: _Context) -> pb.ResolveCommandResponse:
        raise NotImplementedError("nothing is left unresolved by a KEYED backend")

    async def ApplyCommand(self, request: pb.ApplyCommandRequest, context: _Context) -> pb.ApplyCommandResponse:
        cart_id = request.cart_id
        version = self._versions[cart_id] = self._versions.get(cart_id, 0) + 1
        creates = request.intent.HasField("create_cart")
        quantity = workload.quantity_at(1) if creates else request.intent.set_line_quantity.quantity.steps
        return pb.ApplyCommandResponse(
            cart=self._cart(cart_id, quantity),
            version=str(version),
            line_id="" if creates else "line-1",
            adapter_state=notebook(quantity),
        )

    def _cart(self, cart_id: str, quantity: int) -> cart_pb2.Cart:
        """Good until the next call."""
        cart = self._carts.get(quantity)
        if cart is None:
            cart = self._carts[quantity] = workload.cart(cart_id, quantity)
        cart.id = cart_id
        return cart


def notebook(quantity: int) -> bytes:
    """What the hub keeps for the adapter beside a cart with this quantity in its first line."""
    return b"%d" % quantity


def create() -> NullAdapter:
    """The adapter; it has no options."""
    return NullAdapter()
