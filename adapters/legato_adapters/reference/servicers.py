"""The servicers for orders, payments, customers, content, fulfilment and events."""

import asyncio
import functools
from typing import Any

import grpc

from legato.adapter.v1 import (
    content_service_pb2,
    content_service_pb2_grpc,
    customer_service_pb2,
    customer_service_pb2_grpc,
    event_service_pb2,
    event_service_pb2_grpc,
    fulfilment_service_pb2,
    fulfilment_service_pb2_grpc,
    order_service_pb2,
    order_service_pb2_grpc,
    payment_service_pb2,
    payment_service_pb2_grpc,
)
from legato.commerce.v1 import content_pb2
from legato_adapters.reference import customers, events, orders, payments, shipments
from legato_adapters.reference.catalog import Catalog
from legato_adapters.reference.content import PUBLISHED, Content
from legato_adapters.reference.database import Database
from legato_adapters.reference.ledger import Ledger
from legato_adapters.reference.search import page_token
from legato_adapters.reference.servicing import check_id, deadline_of, invalid, market_of, offset_of, refuse, run
from legato_adapters.reference.shared import Malformed, NotFound

_MAX_CHANGES = 1_000


class _CommandServicer:
    """What the services that take commands have in common."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def _apply(self, ledger: Ledger[Any], request: Any, context: Any) -> Any:
        await check_id(context, "command_id", request.command_id)
        work = functools.partial(ledger.apply, request=request, deadline=deadline_of(context))
        return await run(context, self._database, work, writes=True)

    async def _resolve(self, ledger: Ledger[Any], request: Any, context: Any) -> dict[str, Any]:
        """The fields of the answer."""
        call = request.call
        await check_id(context, "command_id", call.command_id)
        if call.command.WhichOneof("command") is None:
            await invalid(context, "command must be set")
        work = functools.partial(ledger.resolve, call=call)
        resolution, response = await run(context, self._database, work, writes=False)
        return {"resolution": resolution, "response": response}


class OrderServicer(_CommandServicer, order_service_pb2_grpc.OrderServiceServicer):
    orders: orders.Orders

    async def GetOrder(
        self, request: order_service_pb2.GetOrderRequest, context: Any
    ) -> order_service_pb2.GetOrderResponse:
        work = functools.partial(self.orders.get, request=request)
        return await run(context, self._database, work, writes=False)

    async def ListOrders(
        self, request: order_service_pb2.ListOrdersRequest, context: Any
    ) -> order_service_pb2.ListOrdersResponse:
        tenant, customer_id = request.context.tenant, request.customer_id
        if not customer_id:
            await invalid(context, "customer_id must be set")
        listing = ("orders", tenant, customer_id)
        before = await offset_of(request, listing, context)
        size = request.page_size
        work = functools.partial(
            self.orders.list, tenant=tenant, customer_id=customer_id, before=before, limit=size + 1
        )
        found = await run(context, self._database, work, writes=False)
        token = page_token(int(found[size - 1].id), listing) if len(found) > size else ""
        return order_service_pb2.ListOrdersResponse(orders=found[:size], next_page_token=token)

    async def ApplyOrderCommand(
        self, request: order_service_pb2.ApplyOrderCommandRequest, context: Any
    ) -> order_service_pb2.ApplyOrderCommandResponse:
        if request.command.HasField("place"):
            await check_id(context, "place.cart_id", request.command.place.cart_id)
        answer: order_service_pb2.ApplyOrderCommandResponse = await self._apply(self.orders.ledger, request, context)
        return answer

    async def ResolveOrderCommand(
        self, request: order_service_pb2.ResolveOrderCommandRequest, context: Any
    ) -> order_service_pb2.ResolveOrderCommandResponse:
        fields = await self._resolve(self.orders.ledger, request, context)
        return order_service_pb2.ResolveOrderCommandResponse(**fields)


class PaymentServicer(_CommandServicer, payment_service_pb2_grpc.PaymentServiceServicer):
    payments: payments.Payments

    async def GetPayment(
        self, request: payment_service_pb2.GetPaymentRequest, context: Any
    ) -> payment_service_pb2.GetPaymentResponse:
        work = functools.partial(payments.get, tenant=request.context.tenant, payment_id=request.payment_id)
        return await run(context, self._database, work, writes=False)

    async def ApplyPaymentCommand(
        self, request: payment_service_pb2.ApplyPaymentCommandRequest, context: Any
    ) -> payment_service_pb2.ApplyPaymentCommandResponse:
        answer: payment_service_pb2.ApplyPaymentCommandResponse = await self._apply(
            self.payments.ledger, request, context
        )
        return answer

    async def ResolvePaymentCommand(
        self, request: payment_service_pb2.ResolvePaymentCommandRequest, context: Any
    ) -> payment_service_pb2.ResolvePaymentCommandResponse:
        fields = await self._resolve(self.payments.ledger, request, context)
        return payment_service_pb2.ResolvePaymentCommandResponse(**fields)


class CustomerServicer(_CommandServicer, customer_service_pb2_grpc.CustomerServiceServicer):
    async def GetCustomer(
        self, request: customer_service_pb2.GetCustomerRequest, context: Any
    ) -> customer_service_pb2.GetCustomerResponse:
        work = functools.partial(customers.get, request=request)
        return await run(context, self._database, work, writes=False)

    async def AuthenticateCustomer(
        self, request: customer_service_pb2.AuthenticateCustomerRequest, context: Any
    ) -> customer_service_pb2.AuthenticateCustomerResponse:
        if not request.email or not request.password:
            await invalid(context, "email and password must be set")
        work = functools.partial(customers.credentials, tenant=request.context.tenant, email=request.email)
        kept, customer = await run(context, self._database, work, writes=False)
        if not await asyncio.to_thread(customers.is_digest_of, kept, request.password) or customer is None:
            await refuse(context, grpc.StatusCode.UNAUTHENTICATED, "no customer has these credentials")
        return customer_service_pb2.AuthenticateCustomerResponse(customer=customer)

    async def ApplyCustomerCommand(
        self, request: customer_service_pb2.ApplyCustomerCommandRequest, context: Any
    ) -> customer_service_pb2.ApplyCustomerCommandResponse:
        if request.command.create.password:
            request = await asyncio.to_thread(customers.sealed, request)
        answer: customer_service_pb2.ApplyCustomerCommandResponse = await self._apply(
            customers.LEDGER, request, context
        )
        return answer

    async def ResolveCustomerCommand(
        self, request: customer_service_pb2.ResolveCustomerCommandRequest, context: Any
    ) -> customer_service_pb2.ResolveCustomerCommandResponse:
        fields = await self._resolve(customers.LEDGER, request, context)
        return customer_service_pb2.ResolveCustomerCommandResponse(**fields)


class ContentServicer(content_service_pb2_grpc.ContentServiceServicer):
    content: Content

    async def GetEntry(
        self, request: content_service_pb2.GetEntryRequest, context: Any
    ) -> content_service_pb2.GetEntryResponse:
        key = request.WhichOneof("key")
        if key is None:
            await invalid(context, "an entry is needed")
        for entry in await self._entries(request, context):
            if (entry.id if key == "entry_id" else entry.slug) == getattr(request, key):
                return content_service_pb2.GetEntryResponse(entry=entry)
        return await refuse(context, grpc.StatusCode.NOT_FOUND, "no such entry in this locale and state")

    async def ListEntries(
        self, request: content_service_pb2.ListEntriesRequest, context: Any
    ) -> content_service_pb2.ListEntriesResponse:
        entries = await self._entries(request, context)
        listing = (request.type, self.content.locale(request.context.locale), str(request.state))
        offset = await offset_of(request, listing, context)
        end = offset + request.page_size
        token = page_token(end, listing) if end < len(entries) else ""
        return content_service_pb2.ListEntriesResponse(entries=entries[offset:end], next_page_token=token)

    async def _entries(
        self, request: content_service_pb2.GetEntryRequest | content_service_pb2.ListEntriesRequest, context: Any
    ) -> list[content_pb2.ContentEntry]:
        if not request.type:
            await invalid(context, "type must be set")
        try:
            return self.content.entries(request.type, request.context.locale, request.state or PUBLISHED)
        except NotFound as error:
            await refuse(context, grpc.StatusCode.NOT_FOUND, str(error))


class FulfilmentServicer(_CommandServicer, fulfilment_service_pb2_grpc.FulfilmentServiceServicer):
    _catalog: Catalog
    _shipments: shipments.Shipments

    def use(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._shipments = shipments.Shipments(catalog)

    async def ListDeliveryOptions(
        self, request: fulfilment_service_pb2.ListDeliveryOptionsRequest, context: Any
    ) -> fulfilment_service_pb2.ListDeliveryOptionsResponse:
        await check_id(context, "cart_id", request.cart_id)
        if not request.address.country:
            await invalid(context, "address.country must be set")
        work = functools.partial(
            self._shipments.options,
            tenant=request.context.tenant,
            cart_id=request.cart_id,
            country=request.address.country,
        )
        options = await run(context, self._database, work, writes=False)
        return fulfilment_service_pb2.ListDeliveryOptionsResponse(options=options)

    async def ListPickupLocations(
        self, request: fulfilment_service_pb2.ListPickupLocationsRequest, context: Any
    ) -> fulfilment_service_pb2.ListPickupLocationsResponse:
        market = await market_of(self._catalog, request.context, context)
        locations = self._shipments.pickup_locations(market)
        listing = ("locations", market.country)
        offset = await offset_of(request, listing, context)
        end = offset + request.page_size
        token = page_token(end, listing) if end < len(locations) else ""
        return fulfilment_service_pb2.ListPickupLocationsResponse(
            locations=locations[offset:end], next_page_token=token
        )

    async def ListShipments(
        self, request: fulfilment_service_pb2.ListShipmentsRequest, context: Any
    ) -> fulfilment_service_pb2.ListShipmentsResponse:
        work = functools.partial(self._shipments.list, tenant=request.context.tenant, order_id=request.order_id)
        found = await run(context, self._database, work, writes=False)
        return fulfilment_service_pb2.ListShipmentsResponse(shipments=found)

    async def ApplyFulfilmentCommand(
        self, request: fulfilment_service_pb2.ApplyFulfilmentCommandRequest, context: Any
    ) -> fulfilment_service_pb2.ApplyFulfilmentCommandResponse:
        answer: fulfilment_service_pb2.ApplyFulfilmentCommandResponse = await self._apply(
            self._shipments.ledger, request, context
        )
        return answer

    async def ResolveFulfilmentCommand(
        self, request: fulfilment_service_pb2.ResolveFulfilmentCommandRequest, context: Any
    ) -> fulfilment_service_pb2.ResolveFulfilmentCommandResponse:
        fields = await self._resolve(self._shipments.ledger, request, context)
        return fulfilment_service_pb2.ResolveFulfilmentCommandResponse(**fields)


class EventServicer(event_service_pb2_grpc.EventServiceServicer):
    def __init__(self, database: Database, webhook_secret: str) -> None:
        self._database = database
        self._secret = webhook_secret

    async def ListChanges(
        self, request: event_service_pb2.ListChangesRequest, context: Any
    ) -> event_service_pb2.ListChangesResponse:
        if not 1 <= request.limit <= _MAX_CHANGES:
            await invalid(context, f"limit must be 1 to {_MAX_CHANGES}")
        work = functools.partial(
            events.list_changes, tenant=request.context.tenant, cursor=request.cursor, limit=request.limit
        )
        return await run(context, self._database, work, writes=False)

    async def ParseWebhook(
        self, request: event_service_pb2.ParseWebhookRequest, context: Any
    ) -> event_service_pb2.ParseWebhookResponse:
        if not self._secret:
            await refuse(context, grpc.StatusCode.FAILED_PRECONDITION, "there is no secret to check webhooks with")
        headers = {header.name: header.value for header in request.headers}
        try:
            return events.parse_webhook(self._secret, headers, request.body)
        except events.BadSignature as error:
            await refuse(context, grpc.StatusCode.UNAUTHENTICATED, str(error))
        except Malformed as error:
            await invalid(context, str(error))
