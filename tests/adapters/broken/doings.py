"""What the faults do, each in place of one method."""

import asyncio
from typing import Any, Never

import grpc
import grpc.aio

from legato.adapter.v1 import cart_service_pb2, identity_service_pb2
from legato.commerce.v1 import content_pb2
from legato.protocol.ids import is_uuid7, new_id
from tests.adapters.broken import Answer, Fault

Code = grpc.StatusCode


class Elsewhere:
    """A context whose caller gets another status than the one that was meant."""

    def __init__(self, context: Any, instead: dict[grpc.StatusCode, grpc.StatusCode]) -> None:
        self._context = context
        self._instead = instead

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing: Any = ()) -> Never:
        await self._context.abort(self._instead.get(code, code), details, trailing)
        raise AssertionError("abort does not return")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


class Refused(Exception):
    """The right method ended with a status."""


class Caught:
    """A context that turns an abort into `Refused`."""

    def __init__(self, context: Any) -> None:
        self._context = context

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing: Any = ()) -> Never:
        raise Refused(code)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


def status(code: grpc.StatusCode, instead: grpc.StatusCode) -> Fault:
    async def fault(right: Answer, request: Any, context: Any) -> Any:
        return await right(request, Elsewhere(context, {code: instead}))

    return fault


def changed(change: Any) -> Fault:
    """The right answer, changed."""

    async def fault(right: Answer, request: Any, context: Any) -> Any:
        answer = await right(request, context)
        change(request, answer)
        return answer

    return fault


def executes_repeats() -> Fault:
    """A command is executed under an id of its own whenever it comes again. Resolve finds the first one."""
    known: set[tuple[str, str]] = set()

    async def fault(right: Answer, request: Any, context: Any) -> Any:
        name = (request.context.tenant, request.command_id)
        if name in known:
            request.command_id = new_id()
        elif is_uuid7(request.command_id):
            known.add(name)
        return await right(request, context)

    return fault


def refuses(intent: str, code: grpc.StatusCode | None = None) -> Fault:
    """A claimed intent is not executed: with a status, or as a matter of business."""

    async def fault(right: Answer, request: Any, context: Any) -> Any:
        if request.intent.WhichOneof("intent") != intent:
            return await right(request, context)
        if code is not None:
            await context.abort(code, "not here")
        # Something that the right adapter refuses in any case.
        request.intent.remove_line.line.line_id = "no-such-line"
        answer = await right(request, context)
        answer.rejection.reason = cart_service_pb2.REJECTION_REASON_UNSPECIFIED
        return answer

    return fault


async def forgets_client_keys(right: Answer, request: Any, context: Any) -> Any:
    if request.intent.HasField("add_line"):
        request.intent.add_line.client_line_key = ""
    return await right(request, context)


async def forgets_the_email(right: Answer, request: Any, context: Any) -> Any:
    if "@" not in request.intent.set_email.email:
        return await right(request, context)
    email = request.intent.set_email.email
    request.intent.set_note.note = ""
    answer = await right(request, context)
    answer.cart.email = email
    return answer


async def sells_what_is_left(right: Answer, request: Any, context: Any) -> Any:
    answer = await right(request, context)
    if answer.rejection.reason == cart_service_pb2.REJECTION_REASON_INSUFFICIENT_STOCK:
        line = next((line for line in answer.cart.lines if line.sku == request.intent.add_line.sku), None)
        left = answer.rejection.available_steps - (line.quantity.steps if line is not None else 0)
        if request.intent.HasField("add_line") and left > 0:
            request.intent.add_line.quantity.steps = left
            request.command_id = new_id()
            await right(request, context)
    return answer


async def works_on_after_the_deadline(right: Answer, request: Any, context: Any) -> Any:
    class Patient:
        def time_remaining(self) -> None:
            return None

        def __getattr__(self, name: str) -> Any:
            return getattr(context, name)

    async def later() -> Any:
        if request.intent.HasField("add_line"):
            await asyncio.sleep(0.06)
        return await right(request, Patient())

    work = asyncio.ensure_future(later())
    _working.add(work)
    work.add_done_callback(_working.discard)
    return await asyncio.shield(work)


_working: set[asyncio.Future[Any]] = set()


def resolves(resolution: "cart_service_pb2.Resolution.ValueType") -> Fault:
    def change(request: Any, answer: Any) -> None:
        answer.resolution = resolution

    return changed(change)


def another_currency(request: Any, answer: Any) -> None:
    for price in answer.prices:
        price.amount.currency_code = "CHF"


def whole_euros(request: Any, answer: Any) -> None:
    for price in answer.prices:
        price.amount.units //= 100
        price.amount.scale = 0


def same_token(request: Any, answer: Any) -> None:
    if answer.next_page_token and request.page_token:
        answer.next_page_token = request.page_token


async def one_tenant(right: Answer, request: Any, context: Any) -> Any:
    try:
        return await right(request, Caught(context))
    except Refused:
        request.context.tenant = "acme"
        return await right(request, context)


async def any_version(right: Answer, request: Any, context: Any) -> Any:
    try:
        return await right(request, Caught(context))
    except Refused:
        request.contract_versions[:] = ["1.1"]
        return await right(request, context)


async def always_newest_version(right: Answer, request: Any, context: Any) -> Any:
    if "1.1" in request.contract_versions:
        request.contract_versions[:] = ["1.1"]
    return await right(request, context)


def claims_twice(request: Any, answer: Any) -> None:
    answer.capabilities.append(identity_service_pb2.CAPABILITY_CART)


def claims_no_note(request: Any, answer: Any) -> None:
    answer.cart_intents.remove("set_note")


def hides_credentials(request: Any, answer: Any) -> None:
    answer.capabilities.remove(identity_service_pb2.CAPABILITY_CREDENTIALS)


def invents_stock(request: Any, answer: Any) -> None:
    for entry in answer.availability:
        if entry.HasField("available"):
            entry.available.steps += 1


async def shows_drafts(right: Answer, request: Any, context: Any) -> Any:
    try:
        return await right(request, Caught(context))
    except Refused:
        request.state = content_pb2.CONTENT_STATE_DRAFT
        answer = await right(request, context)
        answer.entry.state = content_pb2.CONTENT_STATE_PUBLISHED
        return answer


async def believes_everything(right: Answer, request: Any, context: Any) -> Any:
    from legato.adapter.v1 import event_service_pb2

    try:
        return await right(request, Caught(context))
    except Refused as refused:
        if refused.args[0] is not Code.UNAUTHENTICATED:
            await context.abort(refused.args[0], "")
        return event_service_pb2.ParseWebhookResponse()


async def no_limit(right: Answer, request: Any, context: Any) -> Any:
    request.limit = 1000
    return await right(request, context)


async def says_who(right: Answer, request: Any, context: Any) -> Any:
    try:
        return await right(request, Caught(context))
    except Refused as refused:
        await context.abort(refused.args[0], f"wrong password for {request.email}")


def shows_a_stranger(request: Any, answer: Any) -> None:
    if answer.HasField("rejection") and request.command.HasField("create"):
        answer.customer.email = request.command.create.email


def capturable_forgotten(request: Any, answer: Any) -> None:
    answer.payment.ClearField("capturable")


async def goes_anywhere(right: Answer, request: Any, context: Any) -> Any:
    if request.address.country:
        request.address.country = "DE"
    return await right(request, context)


def nameless(request: Any, answer: Any) -> None:
    for location in answer.locations:
        location.name = ""


def oldest_first(request: Any, answer: Any) -> None:
    orders = list(answer.orders)
    del answer.orders[:]
    answer.orders.extend(reversed(orders))


def keeps_less(request: Any, answer: Any) -> None:
    """A backend with fewer fields than the model: no fault, but a loss."""
    for name in ("shipping_address", "billing_address"):
        if answer.cart.HasField(name):
            address = getattr(answer.cart, name)
            address.company = ""
            address.region = address.region.lower()
    for line in answer.cart.lines:
        del line.client_line_keys[:]


def no_brands(request: Any, answer: Any) -> None:
    answer.product.brand = ""


def claims_effect(effect: "identity_service_pb2.EffectClass.ValueType") -> Fault:
    """Carts are of another effect class."""

    def change(request: Any, answer: Any) -> None:
        answer.effect_class = effect

    return changed(change)
