"""The services of an adapter, as stubs on one channel."""

from typing import Any, TypeAlias

from legato.adapter.v1 import (
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
)

# Known to the type checker alone: a generated module has one stub class for both kinds of channel.
CartStub: TypeAlias = "cart_service_pb2_grpc.CartServiceAsyncStub"
CatalogStub: TypeAlias = "catalog_service_pb2_grpc.CatalogServiceAsyncStub"
ContentStub: TypeAlias = "content_service_pb2_grpc.ContentServiceAsyncStub"
CustomerStub: TypeAlias = "customer_service_pb2_grpc.CustomerServiceAsyncStub"
EventStub: TypeAlias = "event_service_pb2_grpc.EventServiceAsyncStub"
FulfilmentStub: TypeAlias = "fulfilment_service_pb2_grpc.FulfilmentServiceAsyncStub"
IdentityStub: TypeAlias = "identity_service_pb2_grpc.IdentityServiceAsyncStub"
InventoryStub: TypeAlias = "inventory_service_pb2_grpc.InventoryServiceAsyncStub"
OrderStub: TypeAlias = "order_service_pb2_grpc.OrderServiceAsyncStub"
PaymentStub: TypeAlias = "payment_service_pb2_grpc.PaymentServiceAsyncStub"


class Stubs:
    """All services of one adapter, claimed or not."""

    def __init__(self, channel: Any) -> None:
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
