"""Legato client: one cart and one session on every channel.

    async with legato.connect(channel_key="dev-web") as hub:
        cart = await hub.create_cart()
        await cart.add("sku", 2)
        async for view in cart.watch():
            print(view.cart)

The messages are those of `legato.commerce.v1` and `legato.orchestrator.v1`; the generated stubs, sync and async, are in
`legato.orchestrator.v1.orchestrator_service_pb2_grpc`. Everything raised on purpose is a `LegatoError`.
"""

from legato import intents
from legato.carts import CartHandle
from legato.client import CHANNEL_OPTIONS, __version__, connect
from legato.commerce.v1.address_pb2 import Address
from legato.commerce.v1.cart_pb2 import Cart
from legato.commerce.v1.line_item_pb2 import LineItem
from legato.commerce.v1.quantity_pb2 import Quantity
from legato.error_table import from_error, from_rpc_error, translated
from legato.errors import (
    AlreadyProcessed,
    BackendUnavailable,
    Busy,
    CapabilityMissing,
    CartExists,
    CartNotActive,
    ClientIdTaken,
    ClientLineKeyTaken,
    Closed,
    CommandIdReused,
    Conflict,
    ConnectionReplaced,
    CursorAhead,
    DeadlineExceeded,
    DedupeExpired,
    DeliveryOptionInvalid,
    DiscountCodeInvalid,
    Draining,
    EpochMismatch,
    HubFault,
    InsufficientStock,
    InvalidRequest,
    LegatoError,
    LineLimit,
    LineNotFound,
    MessageTooLarge,
    NotAllowed,
    NotFound,
    OutboxError,
    OutcomePending,
    OutcomeUnknown,
    ProtocolViolation,
    QuantityLimit,
    Rejected,
    RejectedByBackend,
    ReplicaDiverged,
    RevisionMismatch,
    SeqGap,
    ShareCodeInvalid,
    StorageUnavailable,
    Throttled,
    TimedOut,
    TokenExpired,
    Unauthenticated,
    Unavailable,
    UnknownCurrency,
    UnknownSku,
)
from legato.handles import CommandOptions
from legato.hub import Hub
from legato.intents import Line, MarketOptions
from legato.orchestrator.v1.cursor_pb2 import Cursor
from legato.outbox import MemoryOutbox, Outbox
from legato.pending import PendingCommand
from legato.protocol.ids import new_id
from legato.sessions import SessionHandle
from legato.sqlite_outbox import SQLiteOutbox
from legato.views import CartView, SessionView

__all__ = [
    "CHANNEL_OPTIONS",
    "Address",
    "AlreadyProcessed",
    "BackendUnavailable",
    "Busy",
    "CapabilityMissing",
    "Cart",
    "CartExists",
    "CartHandle",
    "CartNotActive",
    "CartView",
    "ClientIdTaken",
    "ClientLineKeyTaken",
    "Closed",
    "CommandIdReused",
    "CommandOptions",
    "Conflict",
    "ConnectionReplaced",
    "Cursor",
    "CursorAhead",
    "DeadlineExceeded",
    "DedupeExpired",
    "DeliveryOptionInvalid",
    "DiscountCodeInvalid",
    "Draining",
    "EpochMismatch",
    "Hub",
    "HubFault",
    "InsufficientStock",
    "InvalidRequest",
    "LegatoError",
    "Line",
    "LineItem",
    "LineLimit",
    "LineNotFound",
    "MarketOptions",
    "MemoryOutbox",
    "MessageTooLarge",
    "NotAllowed",
    "NotFound",
    "Outbox",
    "OutboxError",
    "OutcomePending",
    "OutcomeUnknown",
    "PendingCommand",
    "ProtocolViolation",
    "Quantity",
    "QuantityLimit",
    "Rejected",
    "RejectedByBackend",
    "ReplicaDiverged",
    "RevisionMismatch",
    "SQLiteOutbox",
    "SeqGap",
    "SessionHandle",
    "SessionView",
    "ShareCodeInvalid",
    "StorageUnavailable",
    "Throttled",
    "TimedOut",
    "TokenExpired",
    "Unauthenticated",
    "Unavailable",
    "UnknownCurrency",
    "UnknownSku",
    "__version__",
    "connect",
    "from_error",
    "from_rpc_error",
    "intents",
    "new_id",
    "translated",
]
