"""The backend that owns the carts, as the write path needs it."""

from typing import Protocol

from legato.adapter.v1 import cart_service_pb2, identity_service_pb2


class CartBackend(Protocol):
    """Calls raise grpc.aio.AioRpcError with the codes of the tables in cart_service.proto. `timeout` is in seconds."""

    @property
    def name(self) -> str:
        """As configured."""

    async def claims(self) -> identity_service_pb2.GetInfoResponse:
        """Effect class and intents. Raise Problem BACKEND_UNAVAILABLE while a remote adapter has not answered yet."""

    async def get_cart(
        self, request: cart_service_pb2.GetCartRequest, timeout: float
    ) -> cart_service_pb2.GetCartResponse:
        """CartService.GetCart."""

    async def apply_command(
        self, request: cart_service_pb2.ApplyCommandRequest, timeout: float
    ) -> cart_service_pb2.ApplyCommandResponse:
        """CartService.ApplyCommand."""

    async def resolve_command(
        self, request: cart_service_pb2.ResolveCommandRequest, timeout: float
    ) -> cart_service_pb2.ResolveCommandResponse:
        """CartService.ResolveCommand."""
