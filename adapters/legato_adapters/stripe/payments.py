"""Payments: what the contract asks for, as requests of Stripe's."""

import re
import time

import grpc

from legato.adapter.v1 import cart_service_pb2, payment_service_pb2
from legato.commerce.v1 import money_pb2, payment_pb2
from legato_adapters.http import Call, Failure, NoAnswer, Refused, check_uuid7
from legato_adapters.stripe.api import MOST_LISTED, StripeApi
from legato_adapters.stripe.mapping import CAPTURED_BY, CART, COMMAND, SYSTEM, payment_of
from legato_adapters.stripe.money import to_minor
from legato_adapters.stripe.refusals import AMOUNT, DECLINED, STATE, Rejected, error_of, in_use, rejection_of

__all__ = ["Payments"]

Code = grpc.StatusCode
_Response = payment_service_pb2.ApplyPaymentCommandResponse
_Resolved = payment_service_pb2.ResolvePaymentCommandResponse

# Clocks of whoever made the command id and of Stripe may differ by this.
_CLOCK_SKEW_S = 300
# So long Stripe may still be at a request whose answer was not waited for.
_UNDER_WAY_S = 30.0
_REMEMBERED = 1_000
_CURRENCY = re.compile(r"[A-Z]{3}")


class Payments:
    """The payments of one account."""

    def __init__(self, api: StripeApi) -> None:
        self._api = api
        self._under_way: dict[str, float] = {}
        """Commands that Stripe may still be at, and until when on the monotonic clock."""

    async def get(
        self, call: Call, request: payment_service_pb2.GetPaymentRequest
    ) -> payment_service_pb2.GetPaymentResponse:
        return payment_service_pb2.GetPaymentResponse(payment=await self._read(call, request.payment_id))

    async def apply(self, call: Call, request: payment_service_pb2.ApplyPaymentCommandRequest) -> _Response:
        check_command(request)
        if not request.command.HasField("authorize"):
            _check_payment_id(_payment_id(request.command))
        payment_id = ""
        try:
            payment_id = await self._send(call, request)
            return _Response(payment=await self._read(call, payment_id))
        except Rejected as rejected:
            rejection = rejected.rejection
        except Refused as refused:
            if in_use(refused):
                self._remember(request.command_id)
                raise Failure(Code.UNKNOWN, "Stripe is executing this command just now") from None
            if call.touched:
                raise
            rejection = rejection_of(refused)
            payment_id = _failed_intent(refused)
        except NoAnswer as lost:
            if call.touched and lost.timed_out:
                self._remember(request.command_id)
            raise
        response = _Response(rejection=rejection)
        payment_id = payment_id or _payment_id(request.command)
        if payment_id:
            response.payment.CopyFrom(await self._read(call, payment_id))
        return response

    async def resolve(self, call: Call, request: payment_service_pb2.ApplyPaymentCommandRequest) -> _Resolved:
        check_command(request)
        answer = await self._find(call, request)
        if answer is not None:
            return _Resolved(resolution=cart_service_pb2.RESOLUTION_APPLIED, response=answer)
        if self._under_way.get(request.command_id, 0.0) > time.monotonic():
            raise Failure(Code.UNAVAILABLE, "Stripe may still be executing it")
        return _Resolved(resolution=cart_service_pb2.RESOLUTION_NOT_APPLIED)

    async def _send(self, call: Call, request: payment_service_pb2.ApplyPaymentCommandRequest) -> str:
        """Have the command executed; the id of its payment."""
        command, key = request.command, request.command_id
        match command.WhichOneof("command"):
            case "authorize":
                intent = await self._api.create(call, key, _authorization(key, command.authorize))
                return str(intent["id"])
            case "capture":
                form = [(f"metadata[{CAPTURED_BY}]", key)]
                if command.capture.HasField("amount"):
                    payment = await self._read(call, command.capture.payment_id)
                    form.append(("amount_to_capture", _part(command.capture.amount, payment)))
                await self._api.capture(call, key, command.capture.payment_id, form)
            case "void":
                await self._api.cancel(call, key, command.void.payment_id)
            case "refund":
                payment = await self._read(call, command.refund.payment_id)
                if not payment.HasField("captured"):
                    # Stripe might take it for a wish to let go of what is held.
                    raise Rejected(STATE)
                form = [("payment_intent", payment.id), (f"metadata[{COMMAND}]", key)]
                if command.refund.HasField("amount"):
                    form.append(("amount", _part(command.refund.amount, payment)))
                await self._api.refund(call, key, form)
        return _payment_id(command)

    async def _read(self, call: Call, payment_id: str) -> payment_pb2.Payment:
        _check_payment_id(payment_id)
        try:
            intent = await self._api.intent(call, payment_id)
        except Refused as refused:
            if refused.status == 404 and not call.touched:
                raise Failure(Code.NOT_FOUND, "there is no such payment") from None
            raise
        refunds = await self._api.refunds(call, payment_id) if intent["amount_received"] else []
        payment = payment_of(intent, refunds)
        payment.provenance.source = SYSTEM
        payment.provenance.observed_at.GetCurrentTime()
        return payment

    async def _find(self, call: Call, request: payment_service_pb2.ApplyPaymentCommandRequest) -> _Response | None:
        """What the command would have answered, if it was executed."""
        if request.command.HasField("authorize"):
            return await self._find_authorization(call, request.command_id)
        payment = await self._read(call, _payment_id(request.command))
        if request.command.HasField("void"):
            # Stripe takes no mark with a cancellation; whoever made it, nothing is held any more.
            found = payment.state == payment_pb2.PAYMENT_STATE_VOIDED
        else:
            found = any(step.command_id == request.command_id for step in payment.transactions[1:])
        return _Response(payment=payment) if found else None

    async def _find_authorization(self, call: Call, command_id: str) -> _Response | None:
        made = int(command_id.replace("-", "")[:12], 16) // 1000
        looked_at = 0
        async for intent in self._api.intents_since(call, made - _CLOCK_SKEW_S):
            looked_at += 1
            if intent["metadata"].get(COMMAND) == command_id:
                payment = await self._read(call, intent["id"])
                response = _Response(payment=payment)
                if payment.state == payment_pb2.PAYMENT_STATE_FAILED:
                    response.rejection.CopyFrom(Rejected(DECLINED).rejection)
                    response.rejection.native_code = payment.failure.native_code
                return response
        if looked_at >= MOST_LISTED:
            raise Failure(Code.UNAVAILABLE, "too many payments were made since to find this one")
        return None

    def _remember(self, command_id: str) -> None:
        self._under_way.pop(command_id, None)
        self._under_way[command_id] = time.monotonic() + _UNDER_WAY_S
        while len(self._under_way) > _REMEMBERED:
            del self._under_way[next(iter(self._under_way))]


def check_command(request: payment_service_pb2.ApplyPaymentCommandRequest) -> None:
    """Raises Failure for a request that is malformed."""
    check_uuid7(command_id=request.command_id)
    kind = request.command.WhichOneof("command")
    if kind is None:
        raise Failure(Code.INVALID_ARGUMENT, "command must be set")
    command = getattr(request.command, kind)
    if kind == "authorize":
        if not 1 <= len(command.method_token) <= 255:
            raise Failure(Code.INVALID_ARGUMENT, "method_token must have 1 to 255 characters")
        if not command.HasField("amount"):
            raise Failure(Code.INVALID_ARGUMENT, "amount must be set")
        if command.return_url and not command.return_url.startswith(("https://", "http://")):
            raise Failure(Code.INVALID_ARGUMENT, "return_url must be an http(s) address")
    if kind != "void" and command.HasField("amount"):
        amount = command.amount
        if amount.units <= 0 or not 0 <= amount.scale <= 9 or not _CURRENCY.fullmatch(amount.currency_code):
            raise Failure(Code.INVALID_ARGUMENT, "amount must be more than 0, in a currency")


def _authorization(key: str, wish: payment_service_pb2.AuthorizePayment) -> list[tuple[str, str]]:
    amount = to_minor(wish.amount)
    if amount is None:
        raise Rejected(AMOUNT)
    form = [
        ("amount", str(amount)),
        ("currency", wish.amount.currency_code.lower()),
        ("payment_method", wish.method_token),
        ("capture_method", "manual"),
        ("confirm", "true"),
        ("automatic_payment_methods[enabled]", "true"),
        (f"metadata[{COMMAND}]", key),
    ]
    if wish.cart_id:
        form.append((f"metadata[{CART}]", wish.cart_id))
    if wish.return_url:
        form.append(("return_url", wish.return_url))
    else:
        form.append(("automatic_payment_methods[allow_redirects]", "never"))
        form.append(("error_on_requires_action", "true"))
    return form


def _part(amount: money_pb2.Money, payment: payment_pb2.Payment) -> str:
    """An amount in the payment's own currency, as Stripe counts it; raises Rejected for another one."""
    minor = to_minor(amount)
    if minor is None or amount.currency_code != payment.amount.currency_code:
        raise Rejected(AMOUNT)
    return str(minor)


def _payment_id(command: payment_service_pb2.PaymentCommand) -> str:
    """The payment that a command is about; empty for one that begins a payment."""
    kind = command.WhichOneof("command")
    return "" if kind in {None, "authorize"} else str(getattr(command, str(kind)).payment_id)


def _check_payment_id(id: str) -> None:
    # Other objects of Stripe's are no payments.
    if not id.startswith("pi_"):
        raise Failure(Code.NOT_FOUND, "there is no such payment")


def _failed_intent(refused: Refused) -> str:
    intent = error_of(refused).get("payment_intent")
    return str(intent["id"]) if isinstance(intent, dict) else ""
