"""The faults. Each is one that an author could make in good faith."""

import asyncio
from typing import Any, Never

import grpc
import grpc.aio

from legato.adapter.v1 import cart_service_pb2, identity_service_pb2
from legato.commerce.v1 import content_pb2
from legato.protocol.ids import is_uuid7, new_id
from tests.adapters.broken import Answer, Broken, Fault

Code = grpc.StatusCode
APPLY = "CartService/ApplyCommand"


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


def repeats(capability: str) -> frozenset[str]:
    """The checks that find that a repeat is executed again."""
    return frozenset(f"{capability}.{name}" for name in ("repeat", "at_once", "other_body", "lost_answer"))


def broken(methods: dict[str, Fault], *finds: str, may_find: tuple[str, ...] = ()) -> Broken:
    return Broken(methods, frozenset(finds), frozenset(may_find))


CUTS = ("cart.cut_off", "cart.deadline")

FAULTS: dict[str, Broken] = {
    "a repeated cart command is executed again": broken(
        {APPLY: executes_repeats()},
        *repeats("cart"),
        *("cart.repeat_create", "cart.late_repeat", "cart.reordered", "cart.expected_version", "cart.lost_creation"),
        may_find=CUTS,
    ),
    "a claimed intent is UNIMPLEMENTED": broken(
        {APPLY: refuses("add_discount_code", Code.UNIMPLEMENTED)},
        *("cart.claimed_commands", "cart.discount", "cart.refused_codes"),
    ),
    "a claimed intent is refused": broken({APPLY: refuses("set_note")}, "cart.note"),
    "a product that does not exist is UNKNOWN": broken(
        {"CatalogService/GetProduct": status(Code.NOT_FOUND, Code.UNKNOWN)}, "catalog.unknown"
    ),
    "a cart that does not exist is INTERNAL": broken(
        {"CartService/GetCart": status(Code.NOT_FOUND, Code.INTERNAL)}, "cart.unknown", "cart.tenants"
    ),
    "the clients' keys are lost": broken({APPLY: forgets_client_keys}, "cart.client_keys"),
    "the e-mail address is answered and not kept": broken({APPLY: forgets_the_email}, "cart.email"),
    "what is left is sold though more was refused": broken({APPLY: sells_what_is_left}, "cart.oversell"),
    "the deadline is ignored": broken({APPLY: works_on_after_the_deadline}, *CUTS),
    "Resolve always says NOT_APPLIED": broken(
        {"CartService/ResolveCommand": resolves(cart_service_pb2.RESOLUTION_NOT_APPLIED)},
        *("cart.resolve_executed", "cart.lost_answer", "cart.lost_creation"),
        may_find=CUTS,
    ),
    "Resolve never knows, though KEYED": broken(
        {"CartService/ResolveCommand": resolves(cart_service_pb2.RESOLUTION_UNKNOWN)},
        *("cart.resolve_executed", "cart.resolve_never_sent", "cart.lost_answer", "cart.lost_creation"),
    ),
    "Resolve always says APPLIED": broken(
        {"CartService/ResolveCommand": resolves(cart_service_pb2.RESOLUTION_APPLIED)},
        *("cart.resolve_never_sent", "cart.resolve_creation"),
        may_find=CUTS,
    ),
    "a command id is not checked against its body": broken(
        {APPLY: status(Code.ABORTED, Code.FAILED_PRECONDITION)}, "cart.other_body"
    ),
    "a page token repeats": broken({"CatalogService/SearchProducts": changed(same_token)}, "search.pages"),
    "a price is in another currency": broken(
        {"CatalogService/GetPrices": changed(another_currency)}, "pricing.product"
    ),
    "a price is cut to whole euros": broken({"CatalogService/GetPrices": changed(whole_euros)}, "pricing.product"),
    "every tenant sees all carts": broken({"CartService/GetCart": one_tenant}, "cart.tenants"),
    "a version is chosen that nobody offered": broken(
        {"IdentityService/GetInfo": any_version}, "identity.no_common_version"
    ),
    "the newest version is chosen whatever the hub prefers": broken(
        {"IdentityService/GetInfo": always_newest_version}, "identity.versions"
    ),
    "a capability is claimed twice": broken({"IdentityService/GetInfo": changed(claims_twice)}, "identity.claims"),
    "less is claimed than promised": broken({"IdentityService/GetInfo": changed(claims_no_note)}, "identity.minimum"),
    "passwords are checked though it is not claimed": broken(
        {"IdentityService/GetInfo": changed(hides_credentials)}, "identity.unclaimed", "identity.minimum"
    ),
    "the backend is called dead": broken(
        {"IdentityService/Probe": lambda right, request, context: context.abort(Code.UNAVAILABLE, "no")},
        "identity.probe",
    ),
    "stock is told too high": broken({"InventoryService/GetAvailability": changed(invents_stock)}, "inventory.levels"),
    "a repeated order command is executed again": broken(
        {"OrderService/ApplyOrderCommand": executes_repeats()},
        *(f"order.{name}" for name in ("repeat", "at_once", "other_body", "lost_answer")),
        may_find=("order.cut_off", "order.deadline"),
    ),
    "orders are listed oldest first": broken({"OrderService/ListOrders": changed(oldest_first)}, "order.list"),
    "a repeated refund is executed again": broken(
        {"PaymentService/ApplyPaymentCommand": executes_repeats()},
        *repeats("payment"),
        may_find=("payment.cut_off", "payment.deadline"),
    ),
    "what can be captured is not told": broken(
        {"PaymentService/GetPayment": changed(capturable_forgotten)}, "payment.authorize", "payment.too_much"
    ),
    "a repeated customer command is executed again": broken(
        {"CustomerService/ApplyCustomerCommand": executes_repeats()},
        *repeats("customer"),
        may_find=("customer.cut_off", "customer.deadline"),
    ),
    "somebody else's account is shown": broken(
        {"CustomerService/ApplyCustomerCommand": changed(shows_a_stranger)}, "customer.email_taken"
    ),
    "a wrong password is told from an unknown address": broken(
        {"CustomerService/AuthenticateCustomer": says_who}, "credentials.refused"
    ),
    "drafts are shown to everybody": broken({"ContentService/GetEntry": shows_drafts}, "content.draft"),
    "a repeated parcel is sent again": broken(
        {"FulfilmentService/ApplyFulfilmentCommand": executes_repeats()},
        *repeats("fulfilment"),
        may_find=("fulfilment.cut_off", "fulfilment.deadline"),
    ),
    "everything goes everywhere": broken({"FulfilmentService/ListDeliveryOptions": goes_anywhere}, "delivery.options"),
    "locations have no names": broken({"FulfilmentService/ListPickupLocations": changed(nameless)}, "pickup.locations"),
    "the limit of changes is ignored": broken(
        {"EventService/ListChanges": no_limit}, "changes.bounds", "changes.pages"
    ),
    "every webhook is believed": broken({"EventService/ParseWebhook": believes_everything}, "webhooks.unsigned"),
}
