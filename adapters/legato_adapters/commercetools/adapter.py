"""The servicers of the commercetools adapter: they check requests and call the logic; errors become statuses."""

import importlib.metadata
import logging
from typing import Any

import grpc
import grpc.aio

from legato.adapter.v1 import (
    cart_service_pb2,
    cart_service_pb2_grpc,
    catalog_service_pb2,
    catalog_service_pb2_grpc,
    customer_service_pb2,
    customer_service_pb2_grpc,
    identity_service_pb2,
    identity_service_pb2_grpc,
    inventory_service_pb2,
    inventory_service_pb2_grpc,
    order_service_pb2,
    order_service_pb2_grpc,
)
from legato.commerce.v1 import cart_intent_pb2
from legato.contract import agree_on_version
from legato_adapters.commercetools.api import SYSTEM, Api
from legato_adapters.commercetools.carts import Carts
from legato_adapters.commercetools.catalog import Catalog
from legato_adapters.commercetools.customers import Customers
from legato_adapters.commercetools.orders import Orders
from legato_adapters.commercetools.project import Projects
from legato_adapters.http import ApiError, Call, Denied, Failure, Refused, answer_command, answer_read, check_uuid7

_log = logging.getLogger(__name__)

Code = grpc.StatusCode
_START_TIMEOUT_S = 5.0
_MARKED = identity_service_pb2.EFFECT_CLASS_MARKED


class CommercetoolsAdapter:
    """The translator to one project; made by `create`."""

    def __init__(self, api: Api, *, type_key: str, inventory_mode: str) -> None:
        self._api = api
        self._type_key = type_key
        self._projects = Projects(api)
        self._catalog = Catalog(api, self._projects)
        self._carts = Carts(api, self._projects, self._catalog, type_key=type_key, inventory_mode=inventory_mode)
        restocks = inventory_mode != "None"
        self._orders = Orders(api, self._projects, self._carts, type_key=type_key, restocks=restocks)
        self._customers = Customers(api, self._carts.lanes, type_key=type_key)

    def add_to(self, server: grpc.aio.Server) -> None:
        identity = _Identity(self._api, self._type_key)
        identity_service_pb2_grpc.add_IdentityServiceServicer_to_server(identity, server)
        catalog_service_pb2_grpc.add_CatalogServiceServicer_to_server(_Catalog(self._catalog), server)
        inventory_service_pb2_grpc.add_InventoryServiceServicer_to_server(_Inventory(self._catalog), server)
        cart_service_pb2_grpc.add_CartServiceServicer_to_server(_Cart(self._carts), server)
        order_service_pb2_grpc.add_OrderServiceServicer_to_server(_Order(self._orders), server)
        customer_service_pb2_grpc.add_CustomerServiceServicer_to_server(_Customer(self._customers), server)

    async def start(self) -> None:
        """Open the pool and learn what the project is set up for, if it answers."""
        await self._api.open()
        try:
            await self._projects.get(Call.within(_START_TIMEOUT_S))
        except ApiError as error:
            _log.warning("commercetools is not there yet: %s", error)

    async def close(self) -> None:
        await self._carts.lanes.close()
        await self._api.close()


class _Identity(identity_service_pb2_grpc.IdentityServiceServicer):
    def __init__(self, api: Api, type_key: str) -> None:
        self._api = api
        self._type_key = type_key

    async def GetInfo(
        self, request: identity_service_pb2.GetInfoRequest, context: Any
    ) -> identity_service_pb2.GetInfoResponse:
        return identity_service_pb2.GetInfoResponse(
            name=SYSTEM,
            version=importlib.metadata.version("legato"),
            contract_version=await agree_on_version(request, context),
            capabilities=[
                identity_service_pb2.CAPABILITY_CATALOG,
                identity_service_pb2.CAPABILITY_SEARCH,
                identity_service_pb2.CAPABILITY_PRICING,
                identity_service_pb2.CAPABILITY_INVENTORY,
                identity_service_pb2.CAPABILITY_CART,
                identity_service_pb2.CAPABILITY_ORDER,
                identity_service_pb2.CAPABILITY_CUSTOMER,
                identity_service_pb2.CAPABILITY_CREDENTIALS,
            ],
            effect_class=_MARKED,
            cart_intents=[field.name for field in cart_intent_pb2.CartIntent.DESCRIPTOR.fields],
            command_claims=[
                identity_service_pb2.CommandClaim(
                    capability=capability,
                    effect_class=_MARKED,
                    commands=[field.name for field in message.DESCRIPTOR.fields],
                )
                for capability, message in (
                    (identity_service_pb2.CAPABILITY_ORDER, order_service_pb2.OrderCommand),
                    (identity_service_pb2.CAPABILITY_CUSTOMER, customer_service_pb2.CustomerCommand),
                )
            ],
        )

    async def Probe(
        self, request: identity_service_pb2.ProbeRequest, context: Any
    ) -> identity_service_pb2.ProbeResponse:
        async def work(call: Call) -> identity_service_pb2.ProbeResponse:
            try:
                found = await self._api.find(call, "/types/key={key}", key=self._type_key)
            except (Denied, Refused) as error:
                raise Failure(Code.FAILED_PRECONDITION, str(error)) from error
            if found is None:
                details = f"the project has no Type with key {self._type_key!r}, where the adapter keeps its marks"
                raise Failure(Code.FAILED_PRECONDITION, details)
            return identity_service_pb2.ProbeResponse()

        return await answer_read(context, work)


class _Catalog(catalog_service_pb2_grpc.CatalogServiceServicer):
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def GetProduct(
        self, request: catalog_service_pb2.GetProductRequest, context: Any
    ) -> catalog_service_pb2.GetProductResponse:
        return await answer_read(context, lambda call: self._catalog.product(call, request))

    async def SearchProducts(
        self, request: catalog_service_pb2.SearchProductsRequest, context: Any
    ) -> catalog_service_pb2.SearchProductsResponse:
        return await answer_read(context, lambda call: self._catalog.search(call, request))

    async def GetPrices(
        self, request: catalog_service_pb2.GetPricesRequest, context: Any
    ) -> catalog_service_pb2.GetPricesResponse:
        return await answer_read(context, lambda call: self._catalog.prices(call, request))


class _Inventory(inventory_service_pb2_grpc.InventoryServiceServicer):
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def GetAvailability(
        self, request: inventory_service_pb2.GetAvailabilityRequest, context: Any
    ) -> inventory_service_pb2.GetAvailabilityResponse:
        return await answer_read(context, lambda call: self._catalog.availability(call, request))


class _Cart(cart_service_pb2_grpc.CartServiceServicer):
    def __init__(self, carts: Carts) -> None:
        self._carts = carts

    async def GetCart(self, request: cart_service_pb2.GetCartRequest, context: Any) -> cart_service_pb2.GetCartResponse:
        async def work(call: Call) -> cart_service_pb2.GetCartResponse:
            check_uuid7(cart_id=request.cart_id)
            return await self._carts.get(call, request)

        return await answer_read(context, work)

    async def ApplyCommand(
        self, request: cart_service_pb2.ApplyCommandRequest, context: Any
    ) -> cart_service_pb2.ApplyCommandResponse:
        async def work(call: Call) -> cart_service_pb2.ApplyCommandResponse:
            _check_call(request)
            return await self._carts.apply(call, request)

        return await answer_command(context, work)

    async def ResolveCommand(
        self, request: cart_service_pb2.ResolveCommandRequest, context: Any
    ) -> cart_service_pb2.ResolveCommandResponse:
        async def work(call: Call) -> cart_service_pb2.ResolveCommandResponse:
            _check_call(request.call)
            return await self._carts.resolve(call, request.call)

        return await answer_read(context, work)


def _check_call(request: cart_service_pb2.ApplyCommandRequest) -> None:
    check_uuid7(cart_id=request.cart_id, command_id=request.command_id)
    if request.intent.WhichOneof("intent") is None:
        raise Failure(Code.INVALID_ARGUMENT, "intent must be set")


class _Order(order_service_pb2_grpc.OrderServiceServicer):
    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    async def GetOrder(
        self, request: order_service_pb2.GetOrderRequest, context: Any
    ) -> order_service_pb2.GetOrderResponse:
        return await answer_read(context, lambda call: self._orders.get(call, request))

    async def ListOrders(
        self, request: order_service_pb2.ListOrdersRequest, context: Any
    ) -> order_service_pb2.ListOrdersResponse:
        return await answer_read(context, lambda call: self._orders.list(call, request))

    async def ApplyOrderCommand(
        self, request: order_service_pb2.ApplyOrderCommandRequest, context: Any
    ) -> order_service_pb2.ApplyOrderCommandResponse:
        async def work(call: Call) -> order_service_pb2.ApplyOrderCommandResponse:
            _check_command(request)
            return await self._orders.apply(call, request)

        return await answer_command(context, work)

    async def ResolveOrderCommand(
        self, request: order_service_pb2.ResolveOrderCommandRequest, context: Any
    ) -> order_service_pb2.ResolveOrderCommandResponse:
        async def work(call: Call) -> order_service_pb2.ResolveOrderCommandResponse:
            _check_command(request.call)
            return await self._orders.resolve(call, request.call)

        return await answer_read(context, work)


class _Customer(customer_service_pb2_grpc.CustomerServiceServicer):
    def __init__(self, customers: Customers) -> None:
        self._customers = customers

    async def GetCustomer(
        self, request: customer_service_pb2.GetCustomerRequest, context: Any
    ) -> customer_service_pb2.GetCustomerResponse:
        return await answer_read(context, lambda call: self._customers.get(call, request))

    async def AuthenticateCustomer(
        self, request: customer_service_pb2.AuthenticateCustomerRequest, context: Any
    ) -> customer_service_pb2.AuthenticateCustomerResponse:
        return await answer_read(context, lambda call: self._customers.authenticate(call, request))

    async def ApplyCustomerCommand(
        self, request: customer_service_pb2.ApplyCustomerCommandRequest, context: Any
    ) -> customer_service_pb2.ApplyCustomerCommandResponse:
        async def work(call: Call) -> customer_service_pb2.ApplyCustomerCommandResponse:
            _check_command(request)
            return await self._customers.apply(call, request)

        return await answer_command(context, work)

    async def ResolveCustomerCommand(
        self, request: customer_service_pb2.ResolveCustomerCommandRequest, context: Any
    ) -> customer_service_pb2.ResolveCustomerCommandResponse:
        async def work(call: Call) -> customer_service_pb2.ResolveCustomerCommandResponse:
            _check_command(request.call)
            return await self._customers.resolve(call, request.call)

        return await answer_read(context, work)


def _check_command(
    request: order_service_pb2.ApplyOrderCommandRequest | customer_service_pb2.ApplyCustomerCommandRequest,
) -> None:
    check_uuid7(command_id=request.command_id)
    if request.command.WhichOneof("command") is None:
        raise Failure(Code.INVALID_ARGUMENT, "command must be set")
