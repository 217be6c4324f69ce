"""The faults. Each is one that an author could make in good faith."""

import grpc

from legato.adapter.v1 import cart_service_pb2, identity_service_pb2
from tests.adapters.broken import Broken, Fault
from tests.adapters.broken.doings import (
    always_newest_version,
    another_currency,
    any_version,
    believes_everything,
    capturable_forgotten,
    changed,
    claims_effect,
    claims_no_note,
    claims_twice,
    executes_repeats,
    forgets_client_keys,
    forgets_the_email,
    goes_anywhere,
    hides_credentials,
    invents_stock,
    keeps_less,
    nameless,
    no_brands,
    no_limit,
    oldest_first,
    one_tenant,
    refuses,
    resolves,
    same_token,
    says_who,
    sells_what_is_left,
    shows_a_stranger,
    shows_drafts,
    status,
    whole_euros,
    works_on_after_the_deadline,
)

Code = grpc.StatusCode
APPLY = "CartService/ApplyCommand"


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
    "a claimed RPC is UNIMPLEMENTED": broken(
        {"OrderService/ListOrders": lambda right, request, context: context.abort(Code.UNIMPLEMENTED, "later")},
        *("identity.served", "order.list", "order.list_bounds", "order.list_unknown", "order.foreign_token"),
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


_LOSSY: dict[str, Fault] = {
    "CartService/GetCart": changed(keeps_less),
    APPLY: changed(keeps_less),
    "CartService/ResolveCommand": changed(lambda request, answer: keeps_less(request, answer.response)),
    "CatalogService/GetProduct": changed(no_brands),
}

_INFO = "IdentityService/GetInfo"
_UNSURE = resolves(cart_service_pb2.RESOLUTION_UNKNOWN)

VARIANTS: dict[str, dict[str, Fault]] = {
    "LOSSY": _LOSSY,
    "MARKED": {_INFO: claims_effect(identity_service_pb2.EFFECT_CLASS_MARKED)},
    "ABSOLUTE": {_INFO: claims_effect(identity_service_pb2.EFFECT_CLASS_ABSOLUTE)},
    # Nothing is remembered: a repeat has its effect again, and nobody can tell what became of a command.
    "NONE": {
        _INFO: claims_effect(identity_service_pb2.EFFECT_CLASS_NONE),
        APPLY: executes_repeats(),
        "CartService/ResolveCommand": _UNSURE,
    },
}
"""Adapters without a fault, that promise less."""
