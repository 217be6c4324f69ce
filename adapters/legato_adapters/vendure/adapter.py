"""The servicers of the Vendure adapter: they check requests, call the logic, turn its errors into status codes."""

import importlib.metadata
import logging
import time
from collections.abc import Awaitable
from typing import Any, Never, TypeVar

import grpc
import grpc.aio

from legato.adapter.v1 import (
    cart_service_pb2,
    cart_service_pb2_grpc,
    catalog_service_pb2,
    catalog_service_pb2_grpc,
    identity_service_pb2,
    identity_service_pb2_grpc,
    inventory_service_pb2,
    inventory_service_pb2_grpc,
    order_service_pb2,
    order_service_pb2_grpc,
)
from legato.commerce.v1 import cart_intent_pb2
from legato.contract import agree_on_version
from legato.protocol.ids import is_uuid7
from legato_adapters.http.errors import Failure
from legato_adapters.vendure import queries
from legato_adapters.vendure.api import READ_TIMEOUT_S, ApiError, Refused, VendureApi, endpoint, left
from legato_adapters.vendure.back_office import BackOffice
from legato_adapters.vendure.carts import Carts
from legato_adapters.vendure.catalog import Catalog
from legato_adapters.vendure.channel import Channels
from legato_adapters.vendure.mapping import SYSTEM
from legato_adapters.vendure.orders import COMMANDS, Orders
from legato_adapters.vendure.skus import Skus

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")
Code = grpc.StatusCode

_ALL_INTENTS = [field.name for field in cart_intent_pb2.CartIntent.DESCRIPTOR.fields]
_START_TIMEOUT_S = 5.0
# Who the adapter is must be told also while the backend is down.
_CLAIM_TIMEOUT_S = 2.0


class VendureAdapter:
    """The translator to one Vendure; made by `create`."""

    def __init__(
        self, url: str, *, language: str, currency_code: str, office: BackOffice | None, payment_method: str
    ) -> None:
        self._api = VendureApi(endpoint(url))
        self._channels = Channels(self._api, language=language, currency_code=currency_code)
        skus = Skus(self._api)
        self._carts = Carts(self._api, self._channels, skus)
        self._catalog = Catalog(self._api, self._channels, skus)
        self._office = office
        self._orders: Orders | None = None
        if office is not None and payment_method:
            self._orders = Orders(office, self._channels, self._carts, payment_method=payment_method)

    def add_to(self, server: grpc.aio.Server) -> None:
        identity = _IdentityServicer(self._api, self._channels, self._office, self._orders)
        identity_service_pb2_grpc.add_IdentityServiceServicer_to_server(identity, server)
        catalog_service_pb2_grpc.add_CatalogServiceServicer_to_server(_CatalogServicer(self._catalog), server)
        inventory_service_pb2_grpc.add_InventoryServiceServicer_to_server(_InventoryServicer(self._catalog), server)
        cart_service_pb2_grpc.add_CartServiceServicer_to_server(_CartServicer(self._carts, self._channels), server)
        if self._orders is not None:
            order_service_pb2_grpc.add_OrderServiceServicer_to_server(_OrderServicer(self._orders), server)

    async def start(self) -> None:
        """Open the pool and learn what the server is set up for, if it answers."""
        await self._api.open()
        if self._office is not None:
            await self._office.open()
        try:
            await self._channels.get(time.monotonic() + _START_TIMEOUT_S)
        except ApiError as error:
            _log.warning("Vendure is not there yet: %s", error)

    async def close(self) -> None:
        await self._carts.close()
        if self._orders is not None:
            await self._orders.close()
        await self._api.close()
        if self._office is not None:
            await self._office.close()


async def _claimed(channels: Channels) -> list[str]:
    """The intents that can be executed. A note only where orders have a field for it.

    While Vendure has never answered, a note is claimed: a hub asks once, and would go without for as long as it runs.
    The other way round a note is UNIMPLEMENTED when it comes, which means the same to whoever wanted it.
    """
    known = channels.known
    if known is None:
        try:
            known = await channels.get(time.monotonic() + _CLAIM_TIMEOUT_S)
        except ApiError as error:
            _log.warning("Vendure is not there yet: %s", error)
            return _ALL_INTENTS
    return [name for name in _ALL_INTENTS if name != "set_note" or known.note]


class _IdentityServicer(identity_service_pb2_grpc.IdentityServiceServicer):
    def __init__(self, api: VendureApi, channels: Channels, office: BackOffice | None, orders: Orders | None) -> None:
        self._api = api
        self._channels = channels
        self._office = office
        self._orders = orders

    async def GetInfo(
        self, request: identity_service_pb2.GetInfoRequest, context: Any
    ) -> identity_service_pb2.GetInfoResponse:
        info = identity_service_pb2.GetInfoResponse(
            name=SYSTEM,
            version=importlib.metadata.version("legato"),
            contract_version=await agree_on_version(request, context),
            capabilities=[
                identity_service_pb2.CAPABILITY_CATALOG,
                identity_service_pb2.CAPABILITY_SEARCH,
                identity_service_pb2.CAPABILITY_PRICING,
                identity_service_pb2.CAPABILITY_INVENTORY,
                identity_service_pb2.CAPABILITY_CART,
            ],
            effect_class=identity_service_pb2.EFFECT_CLASS_ABSOLUTE,
            cart_intents=await _claimed(self._channels),
        )
        known = self._channels.known
        # An order must be found by its cart. While Vendure has never answered, that is taken for granted, as notes are.
        if self._orders is not None and (known is None or known.cart_id):
            info.capabilities.append(identity_service_pb2.CAPABILITY_ORDER)
            info.command_claims.add(
                capability=identity_service_pb2.CAPABILITY_ORDER,
                effect_class=identity_service_pb2.EFFECT_CLASS_ABSOLUTE,
                commands=COMMANDS,
            )
        return info

    async def Probe(
        self, request: identity_service_pb2.ProbeRequest, context: Any
    ) -> identity_service_pb2.ProbeResponse:
        await _answer(context, self._api.post(queries.PROBE, timeout=left(_deadline(context), READ_TIMEOUT_S)))
        if self._office is not None:
            await _answer(context, self._office.sign_in(_deadline(context)))
        return identity_service_pb2.ProbeResponse()


class _CatalogServicer(catalog_service_pb2_grpc.CatalogServiceServicer):
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def GetProduct(
        self, request: catalog_service_pb2.GetProductRequest, context: Any
    ) -> catalog_service_pb2.GetProductResponse:
        return await _answer(context, self._catalog.product(request, _deadline(context)))

    async def SearchProducts(
        self, request: catalog_service_pb2.SearchProductsRequest, context: Any
    ) -> catalog_service_pb2.SearchProductsResponse:
        return await _answer(context, self._catalog.search(request, _deadline(context)))

    async def GetPrices(
        self, request: catalog_service_pb2.GetPricesRequest, context: Any
    ) -> catalog_service_pb2.GetPricesResponse:
        return await _answer(context, self._catalog.prices(request, _deadline(context)))


class _InventoryServicer(inventory_service_pb2_grpc.InventoryServiceServicer):
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def GetAvailability(
        self, request: inventory_service_pb2.GetAvailabilityRequest, context: Any
    ) -> inventory_service_pb2.GetAvailabilityResponse:
        return await _answer(context, self._catalog.availability(request, _deadline(context)))


class _CartServicer(cart_service_pb2_grpc.CartServiceServicer):
    def __init__(self, carts: Carts, channels: Channels) -> None:
        self._carts = carts
        self._channels = channels

    async def GetCart(self, request: cart_service_pb2.GetCartRequest, context: Any) -> cart_service_pb2.GetCartResponse:
        await _check_id(context, "cart_id", request.cart_id)
        return await _answer(context, self._carts.get(request, _deadline(context)))

    async def ApplyCommand(
        self, request: cart_service_pb2.ApplyCommandRequest, context: Any
    ) -> cart_service_pb2.ApplyCommandResponse:
        await self._check_call(context, request)
        work = self._carts.apply(request, _deadline(context))
        return await _answer(context, work, malformed=Code.UNKNOWN)

    async def ResolveCommand(
        self, request: cart_service_pb2.ResolveCommandRequest, context: Any
    ) -> cart_service_pb2.ResolveCommandResponse:
        await self._check_call(context, request.call)
        return await _answer(context, self._carts.resolve(request.call, _deadline(context)))

    async def _check_call(self, context: Any, request: cart_service_pb2.ApplyCommandRequest) -> None:
        await _check_id(context, "cart_id", request.cart_id)
        await _check_id(context, "command_id", request.command_id)
        intent = request.intent.WhichOneof("intent")
        if intent is None:
            await _abort(context, Failure(Code.INVALID_ARGUMENT, "intent must be set"))
        if intent == "set_note" and intent not in await _claimed(self._channels):
            await _abort(context, Failure(Code.UNIMPLEMENTED, "orders of this Vendure have no field `note`"))


class _OrderServicer(order_service_pb2_grpc.OrderServiceServicer):
    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    async def GetOrder(
        self, request: order_service_pb2.GetOrderRequest, context: Any
    ) -> order_service_pb2.GetOrderResponse:
        return await _answer(context, self._orders.get(request, _deadline(context)))

    async def ListOrders(
        self, request: order_service_pb2.ListOrdersRequest, context: Any
    ) -> order_service_pb2.ListOrdersResponse:
        return await _answer(context, self._orders.list(request, _deadline(context)))

    async def ApplyOrderCommand(
        self, request: order_service_pb2.ApplyOrderCommandRequest, context: Any
    ) -> order_service_pb2.ApplyOrderCommandResponse:
        await self._check(context, request)
        return await _answer(context, self._orders.apply(request, _deadline(context)), malformed=Code.UNKNOWN)

    async def ResolveOrderCommand(
        self, request: order_service_pb2.ResolveOrderCommandRequest, context: Any
    ) -> order_service_pb2.ResolveOrderCommandResponse:
        await self._check(context, request.call)
        return await _answer(context, self._orders.resolve(request.call, _deadline(context)))

    async def _check(self, context: Any, request: order_service_pb2.ApplyOrderCommandRequest) -> None:
        await _check_id(context, "command_id", request.command_id)
        if request.command.HasField("place"):
            await _check_id(context, "cart_id", request.command.place.cart_id)


def _deadline(context: Any) -> float | None:
    remaining = context.time_remaining()
    return None if remaining is None else time.monotonic() + remaining


async def _answer(context: Any, work: Awaitable[_Result], *, malformed: grpc.StatusCode = Code.UNAVAILABLE) -> _Result:
    """The result of `work`, or the status that its error means. `malformed`: for an answer of an unforeseen form."""
    try:
        return await work
    except Failure as error:
        failure = error
    except Refused as error:
        failure = Failure(Code.FAILED_PRECONDITION, str(error))
    except ApiError as error:
        failure = Failure(Code.UNAVAILABLE, str(error))
    except (LookupError, TypeError, ValueError, AttributeError):
        _log.exception("Vendure's answer has not the form that was asked for")
        failure = Failure(malformed, "Vendure's answer has not the form that was asked for")
    if failure.code is Code.UNAVAILABLE and context.time_remaining() == 0:
        # The caller's own deadline is what ended it, whatever it ended.
        failure = Failure(Code.DEADLINE_EXCEEDED, failure.details)
    return await _abort(context, failure)


async def _abort(context: Any, failure: Failure) -> Never:
    await context.abort(failure.code, failure.details, failure.trailing)
    raise AssertionError("abort does not return")


async def _check_id(context: Any, name: str, value: str) -> None:
    if not is_uuid7(value):
        await _abort(context, Failure(Code.INVALID_ARGUMENT, f"{name} must be a UUIDv7 in lower case"))
