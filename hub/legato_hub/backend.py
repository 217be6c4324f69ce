"""One backend: the stubs of its adapter, what the adapter claims, and how calls to it fail.

A channel to an adapter is a `LocalChannel` or a network's; it is wrapped once for tracing, and nothing after that can
tell where the adapter runs.
"""

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from legato.adapter.v1 import cart_service_pb2, identity_service_pb2
from legato.adapter.v1.cart_service_pb2_grpc import CartServiceStub
from legato.adapter.v1.catalog_service_pb2_grpc import CatalogServiceStub
from legato.adapter.v1.content_service_pb2_grpc import ContentServiceStub
from legato.adapter.v1.customer_service_pb2_grpc import CustomerServiceStub
from legato.adapter.v1.event_service_pb2_grpc import EventServiceStub
from legato.adapter.v1.fulfilment_service_pb2_grpc import FulfilmentServiceStub
from legato.adapter.v1.identity_service_pb2_grpc import IdentityServiceStub
from legato.adapter.v1.inventory_service_pb2_grpc import InventoryServiceStub
from legato.adapter.v1.order_service_pb2_grpc import OrderServiceStub
from legato.adapter.v1.payment_service_pb2_grpc import PaymentServiceStub
from legato.hosting import Adapter, AdapterLoadError, load_adapter
from legato.local_channel import LocalChannel
from legato.orchestrator.v1 import error_pb2
from legato_hub.backend_errors import read_problem
from legato_hub.config import BackendConfig
from legato_hub.core.problem import Problem
from legato_hub.introduction import (
    CART,
    CATALOG,
    INVENTORY,
    PRICING,
    SEARCH,
    UnusableAdapter,
    introduced,
    introduction,
    word_of,
)
from legato_hub.telemetry.interceptors import traced
from legato_hub.telemetry.metrics import ADAPTER_CALLS

if TYPE_CHECKING:
    from legato.adapter.v1.cart_service_pb2_grpc import CartServiceAsyncStub
    from legato.adapter.v1.catalog_service_pb2_grpc import CatalogServiceAsyncStub
    from legato.adapter.v1.content_service_pb2_grpc import ContentServiceAsyncStub
    from legato.adapter.v1.customer_service_pb2_grpc import CustomerServiceAsyncStub
    from legato.adapter.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from legato.adapter.v1.fulfilment_service_pb2_grpc import FulfilmentServiceAsyncStub
    from legato.adapter.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub
    from legato.adapter.v1.inventory_service_pb2_grpc import InventoryServiceAsyncStub
    from legato.adapter.v1.order_service_pb2_grpc import OrderServiceAsyncStub
    from legato.adapter.v1.payment_service_pb2_grpc import PaymentServiceAsyncStub

__all__ = ["CART", "CATALOG", "INVENTORY", "PRICING", "SEARCH", "Backend", "EmbeddedBackend", "text_of"]

_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response", bound=Message)


class Backend:
    """One adapter and what it claims. The stubs and `get_cart` to `resolve_command` raise grpc.aio.AioRpcError."""

    def __init__(self, name: str, config: BackendConfig, channel: grpc.aio.Channel) -> None:
        self.name = name
        self.timeout_s = config.timeout_ms / 1000
        """The longest that a call may take."""
        self.channel = channel
        wrapped = traced(channel)
        # Not traced: nobody's request leads to these calls.
        self.identity: IdentityServiceAsyncStub = IdentityServiceStub(channel)
        self.catalog: CatalogServiceAsyncStub = CatalogServiceStub(wrapped)
        self.inventory: InventoryServiceAsyncStub = InventoryServiceStub(wrapped)
        self.cart: CartServiceAsyncStub = CartServiceStub(wrapped)
        self.order: OrderServiceAsyncStub = OrderServiceStub(wrapped)
        self.payment: PaymentServiceAsyncStub = PaymentServiceStub(wrapped)
        self.customer: CustomerServiceAsyncStub = CustomerServiceStub(wrapped)
        self.content: ContentServiceAsyncStub = ContentServiceStub(wrapped)
        self.fulfilment: FulfilmentServiceAsyncStub = FulfilmentServiceStub(wrapped)
        self.event: EventServiceAsyncStub = EventServiceStub(wrapped)
        self.info: identity_service_pb2.GetInfoResponse | None = None
        """What the adapter claims; None while it has not said so."""

    async def start(self) -> None:
        """Get to know the adapter. Raise AdapterLoadError."""
        raise NotImplementedError

    async def close(self) -> None:
        """End what runs, then let go."""
        raise NotImplementedError

    def require(self, capability: identity_service_pb2.Capability.ValueType) -> identity_service_pb2.GetInfoResponse:
        """What the adapter claims. Raise Problem: BACKEND_UNAVAILABLE while that is unknown, CAPABILITY_MISSING."""
        if self.info is None:
            message = f"backend {self.name} has not answered yet"
            raise Problem(error_pb2.ERROR_REASON_BACKEND_UNAVAILABLE, message, retry_ms=1_000)
        if capability not in self.info.capabilities:
            word = word_of(capability)
            raise Problem(error_pb2.ERROR_REASON_CAPABILITY_MISSING, f"backend {self.name} has no {word}")
        return self.info

    def failed(self, code: grpc.StatusCode) -> None:
        """Told of each call that failed."""

    async def read(
        self, method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response], request: _Request, timeout: float
    ) -> _Response:
        """Call a method that only reads, for at most `timeout` seconds. Raise Problem as `read_problem` says."""
        try:
            return await self._call(method, request, min(timeout, self.timeout_s))
        except grpc.aio.AioRpcError as error:
            raise read_problem(error, self.name, type(request).DESCRIPTOR.name) from None

    async def claims(self) -> identity_service_pb2.GetInfoResponse:
        """See `CartBackend`."""
        return self.require(CART)

    async def get_cart(
        self, request: cart_service_pb2.GetCartRequest, timeout: float
    ) -> cart_service_pb2.GetCartResponse:
        """See `CartBackend`."""
        return await self._call(self.cart.GetCart, request, timeout)

    async def apply_command(
        self, request: cart_service_pb2.ApplyCommandRequest, timeout: float
    ) -> cart_service_pb2.ApplyCommandResponse:
        """See `CartBackend`."""
        return await self._call(self.cart.ApplyCommand, request, timeout)

    async def resolve_command(
        self, request: cart_service_pb2.ResolveCommandRequest, timeout: float
    ) -> cart_service_pb2.ResolveCommandResponse:
        """See `CartBackend`."""
        return await self._call(self.cart.ResolveCommand, request, timeout)

    async def _call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response], request: _Request, timeout: float
    ) -> _Response:
        start, code = time.monotonic(), "OK"
        try:
            return await method(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            self.failed(error.code())
            raise
        except asyncio.CancelledError:
            code = "CANCELLED"
            raise
        finally:
            name = type(request).__name__.removesuffix("Request")
            ADAPTER_CALLS.record(time.monotonic() - start, self.name, name, code)


class EmbeddedBackend(Backend):
    """An adapter in this process. The hub does not start without it."""

    def __init__(self, name: str, config: BackendConfig) -> None:
        self._local = LocalChannel()
        super().__init__(name, config, self._local)
        self._config = config
        self._adapter: Adapter | None = None

    async def start(self) -> None:
        try:
            config = self._config
            self._adapter = load_adapter(config.adapter, config.plain_options(), config.plain_tenants())
            self._adapter.add_to(self._local)
            await self._adapter.start()
            self.info = introduced(await self.identity.GetInfo(introduction(), timeout=self.timeout_s))
        except UnusableAdapter as error:
            raise AdapterLoadError(f"backend {self.name!r}: {error}") from error
        except Exception as error:
            # Whatever an adapter raises, the operator is to learn which backend it was.
            raise AdapterLoadError(f"backend {self.name!r} cannot start: {text_of(error)}") from error

    async def close(self) -> None:
        await self._local.close()
        if self._adapter is not None:
            await self._adapter.close()


def text_of(error: Exception) -> str:
    """What went wrong, for the log and whoever configured the adapter."""
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return str(error) or type(error).__name__
