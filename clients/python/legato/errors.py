"""What can go wrong, as exceptions. `error_table` makes them from what the hub and gRPC say.

LegatoError
├─ InvalidRequest ─ UnknownCurrency, MessageTooLarge, CommandIdReused
├─ Unauthenticated ─ TokenExpired
├─ NotAllowed ─ ClientIdTaken
├─ NotFound ─ ShareCodeInvalid
├─ Rejected ─ UnknownSku, InsufficientStock, LineNotFound, CartNotActive, … (the shop said no; nothing is broken)
├─ Conflict ─ RevisionMismatch, EpochMismatch, CursorAhead
├─ Unavailable ─ Busy, Throttled, BackendUnavailable, StorageUnavailable, Draining, DeadlineExceeded (send again)
├─ TimedOut ─ OutcomePending (it may have been done: repeat it)
├─ OutcomeUnknown (it may have been done, and nobody can tell)
├─ AlreadyProcessed, DedupeExpired
├─ CapabilityMissing, ConnectionReplaced, ProtocolViolation, SeqGap, HubFault
└─ OutboxError, ReplicaDiverged, Closed (raised on this side only)
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import grpc

from legato.orchestrator.v1 import error_pb2
from legato.orchestrator.v1.error_pb2 import ErrorReason, FieldViolation


def reason_name(reason: int) -> str:
    """For example INSUFFICIENT_STOCK; the number of a reason that this client does not know."""
    value = error_pb2.ErrorReason.DESCRIPTOR.values_by_number.get(reason)
    return str(reason) if value is None else value.name.removeprefix("ERROR_REASON_")


class LegatoError(Exception):
    """Something was refused or failed. `str(error)` says what, why and what to do."""

    advice: ClassVar[str] = ""
    """What the caller does about it."""

    retryable: ClassVar[bool] = False
    """The same request (a command with the same id) may be sent again, after `retry_delay` or growing delays."""

    def __init__(
        self,
        message: str = "",
        *,
        reason: ErrorReason.ValueType = error_pb2.ERROR_REASON_UNSPECIFIED,
        code: grpc.StatusCode = grpc.StatusCode.UNKNOWN,
        field_violations: Sequence[FieldViolation] = (),
        retry_delay: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        """Text for developers."""
        self.reason = reason
        """Machine-readable reason; UNSPECIFIED where the hub gave none."""
        self.code = code
        """The gRPC status that belongs to it."""
        self.field_violations = tuple(field_violations)
        """The fields at fault, for invalid input."""
        self.retry_delay = retry_delay
        """Seconds to wait before trying again; None where the hub named none."""
        self.metadata: Mapping[str, str] = dict(metadata or {})
        """Facts for machines."""

    def __str__(self) -> str:
        name = reason_name(self.reason) if self.reason else self.code.name
        parts = [self.message or name.lower().replace("_", " ")]
        if self.reason or self.code is not grpc.StatusCode.UNKNOWN:
            parts[0] += f" [{name}]"
        parts += [f"{v.field}: {v.description}" for v in self.field_violations]
        if self.retry_delay is not None:
            parts.append(f"retry after {self.retry_delay:g} s")
        return "; ".join(parts) + (f". {self.advice}" if self.advice else "")


class InvalidRequest(LegatoError):
    """A field breaks its documented range or form."""

    advice = "Correct the named fields and send a new command."


class UnknownCurrency(InvalidRequest):
    """ISO 4217 does not know the currency, or the store does not sell in it."""

    advice = "Choose a currency that the store sells in."


class MessageTooLarge(InvalidRequest):
    """A message is larger than the hub accepts."""

    advice = "Send less at once."


class CommandIdReused(InvalidRequest):
    """The command id, or its seq, was used with another body."""

    advice = "Use a new command id; if several processes share one client id, give each its own."


class Unauthenticated(LegatoError):
    """There is no token, or none that can be verified."""

    advice = "Get a token (StartSession, or the channel's own), then connect or call `authenticate`."


class TokenExpired(Unauthenticated):
    """The token is past its time."""

    advice = "Renew the token, then call `authenticate`."


class NotAllowed(LegatoError):
    """This kind of identity may not make this call."""

    advice = "Use an identity of the right kind."


class ClientIdTaken(NotAllowed):
    """The client id is bound to another identity."""

    advice = (
        "Keep the access token (`hub.access_token`) beside the outbox and connect with it, "
        "or begin a new outbox with a new client id."
    )


class NotFound(LegatoError):
    """It does not exist, or not for this identity."""

    advice = "Check the id; a cart of somebody else must be shared first (ShareCart, LookUpCart)."


class ShareCodeInvalid(NotFound):
    """The share code is wrong, used up or past its time."""

    advice = "Ask for a new code."


class Rejected(LegatoError):
    """The shop said no, finally. Nothing is broken and nothing was changed."""


class UnknownSku(Rejected):
    """The catalog has no such sku, or not in this market."""

    advice = "Search the catalog for a sku of this market."


class InsufficientStock(Rejected):
    """There is not enough stock."""

    advice = "Ask for less; `available` tells what is left, where the backend says."

    @property
    def available(self) -> int | None:
        """Steps that are left; None where the backend does not tell."""
        value = self.metadata.get("available", "")
        return int(value) if value.isdecimal() else None


class LineNotFound(Rejected):
    """The cart has no such line."""

    advice = "Look at the cart again: another channel may have removed the line."


class QuantityLimit(Rejected):
    """The line would become larger than the backend or the hub allows."""

    advice = "Ask for less."


class LineLimit(Rejected):
    """The cart has as many lines as it may have."""

    advice = "Remove a line, or start another cart."


class ClientLineKeyTaken(Rejected):
    """The client line key stands for a line of this cart already."""

    advice = "Use another key."


class CartNotActive(Rejected):
    """The cart accepts no changes any more."""

    advice = "Start another cart."


class CartExists(Rejected):
    """The cart id is taken."""

    advice = "Mint a new id for a new cart."


class DiscountCodeInvalid(Rejected):
    """The discount code does not exist, has expired or was used up."""


class DeliveryOptionInvalid(Rejected):
    """The delivery option is not available for this cart."""

    advice = "Choose one of the cart's `fulfilment.available`."


class RejectedByBackend(Rejected):
    """The backend refused for a reason of its own."""

    @property
    def native_code(self) -> str:
        """The backend's own word; may be empty."""
        return self.metadata.get("native_code", "")


class Conflict(LegatoError):
    """The state is not the one the caller named."""


class RevisionMismatch(Conflict):
    """The state has moved on, and the command said to fail then."""

    advice = "Look at the state again, then decide."


class EpochMismatch(Conflict):
    """The cursor belongs to another epoch: history may have been lost in between."""

    advice = "Drop the cursor and look at the state again."


class CursorAhead(Conflict):
    """The cursor is ahead of the hub."""

    advice = "Drop the cursor and look at the state again."


class Unavailable(LegatoError):
    """It cannot be done now."""

    advice = "Send it again with growing delays, a command with the same command id."
    retryable = True


class Busy(Unavailable):
    """An earlier command of this resource is still running or being resolved."""


class Throttled(Unavailable):
    """Too much at once."""

    advice = "Wait `retry_delay`, then send it again."


class BackendUnavailable(Unavailable):
    """The backend could not be reached."""


class StorageUnavailable(Unavailable):
    """The hub's own storage failed."""


class Draining(Unavailable):
    """The hub is going down."""

    advice = "Connect again."


class DeadlineExceeded(Unavailable):
    """The deadline passed before anything was done."""

    advice = "Send it again, or allow more time."


class TimedOut(LegatoError):
    """There was no answer in time; a command may have been executed."""

    advice = "Ask again; repeat a command with the same command id."
    retryable = True


class OutcomePending(TimedOut):
    """There is no result of a command yet; it may have been executed."""

    advice = "Repeat the same command id to learn the outcome; a Legato client does so by itself."


class OutcomeUnknown(LegatoError):
    """It cannot be found out whether the backend did it."""

    advice = "Look at the cart, then decide with a new command."


class AlreadyProcessed(LegatoError):
    """The command was processed so long ago that its result is gone."""

    advice = "Look at the resource."


class DedupeExpired(LegatoError):
    """The command id is too old or too far ahead to be told from a repeat; it was not executed."""

    advice = "Decide again with a new command, and check this machine's clock."


class CapabilityMissing(LegatoError):
    """No configured backend can do this."""

    advice = "Configure a backend with this capability."


class ConnectionReplaced(LegatoError):
    """A newer connection with the same client id took over; this one stays down."""

    advice = "Give each running process its own client id (its own outbox)."


class ProtocolViolation(LegatoError):
    """The stream was not opened with hello, or hello was sent twice. A fault of the client library."""

    advice = "Report it."


class SeqGap(LegatoError):
    """A seq was skipped. A Legato client repairs it by itself."""

    advice = "Send from `expected_seq`."


class HubFault(LegatoError):
    """A fault of the hub, or of what lies between."""

    advice = "Report it; the same command id may be sent again."
    retryable = True


class OutboxError(LegatoError):
    """The outbox cannot be used: damaged, in use by another process, of another kind, or full."""


class ReplicaDiverged(LegatoError):
    """Twice in a row the state did not have the digest that the hub gave for it."""

    advice = "Report it: hub and client disagree on the state. Reading the cart with GetCart still works."


class Closed(LegatoError):
    """The client was closed before there was a result."""

    advice = "A command in a durable outbox is sent by the next client that opens it."
