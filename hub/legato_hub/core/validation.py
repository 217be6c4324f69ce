"""What a command must look like before anything is done about it. The ranges stand in the protos beside each field.

`check_frame` covers what is needed to know a command at all (its id, resource and kind of intent): without it nothing
can be stored about it. `check_body` covers the rest: a body that breaks it consumes the seq, with a stored result.
"""

import re
from collections.abc import Iterator

from legato.commerce.v1 import address_pb2, cart_intent_pb2, quantity_pb2
from legato.orchestrator.v1 import command_pb2, error_pb2, session_intent_pb2
from legato.protocol import resources
from legato.protocol.ids import is_uuid7
from legato_hub.core.currencies import CURRENCIES
from legato_hub.core.problem import Problem
from legato_hub.core.traceparent import parse_traceparent

MAX_STEPS = 1_000_000
MAX_TIMEOUT_MS = 60_000
DEFAULT_TIMEOUT_MS = 10_000

_POLICIES = frozenset(command_pb2.ConflictPolicy.values())
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_WORD = re.compile(r"[a-z0-9_-]+")
_COUNTRY = re.compile(r"[A-Z]{2}")
_LOCALE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")

Violation = tuple[str, str]
Violations = Iterator[Violation]


def raise_for(violations: Violations) -> None:
    """Raise one Problem that names every violation, if there is any."""
    fields = tuple(violations)
    if not fields:
        return
    reason = error_pb2.ERROR_REASON_INVALID_FIELD
    if any(path.endswith("currency_code") for path, _ in fields):
        reason = error_pb2.ERROR_REASON_UNKNOWN_CURRENCY
    raise Problem(reason, "; ".join(f"{path} {what}" for path, what in fields[:5]), fields=fields)


def check_text(path: str, text: str, most: int, *, least: int = 0) -> Violations:
    """A text of `least` to `most` characters without control characters (line ends are fine)."""
    if len(text) < least:
        yield path, "is required" if least == 1 else f"must have at least {least} characters"
    elif len(text) > most:
        yield path, f"must have at most {most} characters, has {len(text)}"
    elif _CONTROL.search(text):
        yield path, "must not contain control characters"


def check_word(path: str, text: str, most: int) -> Violations:
    """A word of 1 to `most` characters of a-z, 0-9, - and _."""
    if not _WORD.fullmatch(text) or len(text) > most:
        yield path, f"must be 1 to {most} characters of a-z, 0-9, - and _"


def check_market(path: str, country: str, currency_code: str, locale: str) -> Violations:
    """The parts of a market; each may be empty, which takes the store's."""
    if country and not _COUNTRY.fullmatch(country):
        yield f"{path}.country", "must be an ISO 3166-1 alpha-2 code in capitals"
    if currency_code and currency_code not in CURRENCIES:
        yield f"{path}.currency_code", "is not a currency code of ISO 4217"
    if locale and (len(locale) > 35 or not _LOCALE.fullmatch(locale)):
        yield f"{path}.locale", "must be a BCP 47 language tag"


def check_frame(command: command_pb2.Command, path: str = "command") -> resources.Resource:
    """Raise Problem unless the command can be known; the parsed resource."""
    raise_for(_frame(command, path))
    return resources.parse(command.resource)


def _frame(command: command_pb2.Command, path: str) -> Violations:
    if not is_uuid7(command.command_id):
        yield f"{path}.command_id", "must be a UUIDv7 in lower-case hyphenated form"
    try:
        kind = resources.parse(command.resource).kind
    except ValueError as error:
        yield f"{path}.resource", str(error)
        return
    intent = command.WhichOneof("intent")
    if intent is None:
        yield path, "must have an intent"
    elif kind is resources.Kind.ACTIVE_CART:
        yield f"{path}.resource", "must name the cart itself: commands have no alias"
    elif (intent == "cart") != (kind is resources.Kind.CART):
        yield f"{path}.{intent}", f"is no intent for {command.resource.partition('/')[0]}"
    if command.seq >= 1 << 63:
        yield f"{path}.seq", "must be below 2^63"


def check_body(command: command_pb2.Command, path: str = "command") -> None:
    """Raise Problem unless every field of the command is in its documented range."""
    raise_for(_body(command, path))


def timeout_ms(command: command_pb2.Command) -> int:
    """How long the caller waits for the outcome."""
    return command.timeout.ToMilliseconds() if command.HasField("timeout") else DEFAULT_TIMEOUT_MS


def _body(command: command_pb2.Command, path: str) -> Violations:
    if command.HasField("timeout"):
        timeout = command.timeout
        if abs(timeout.seconds) > 3_600 or not 1 <= timeout.ToMilliseconds() <= MAX_TIMEOUT_MS:
            yield f"{path}.timeout", "must be 1 ms to 60 s"
    if command.traceparent and parse_traceparent(command.traceparent) is None:
        yield f"{path}.traceparent", "must be a W3C trace context"
    if command.HasField("expected"):
        yield from check_text(f"{path}.expected.epoch", command.expected.epoch, 64, least=1)
    if command.on_conflict not in _POLICIES:
        yield f"{path}.on_conflict", "is not a known policy"
    if command.HasField("cart"):
        yield from _cart_intent(command.cart, f"{path}.cart")
    else:
        yield from _session_intent(command.session, f"{path}.session")


def _cart_intent(intent: cart_intent_pb2.CartIntent, path: str) -> Violations:
    kind = intent.WhichOneof("intent")
    path = f"{path}.{kind}"
    match kind:
        case "create_cart":
            cart = intent.create_cart
            yield from check_text(f"{path}.store", cart.store, 64)
            yield from check_market(path, cart.country, cart.currency_code, cart.locale)
        case "add_line":
            add = intent.add_line
            yield from check_text(f"{path}.sku", add.sku, 128, least=1)
            yield from _quantity(f"{path}.quantity", add.quantity, least=1)
            yield from check_text(f"{path}.client_line_key", add.client_line_key, 64)
        case "set_line_quantity":
            yield from _selector(f"{path}.line", intent.set_line_quantity.line)
            yield from _quantity(f"{path}.quantity", intent.set_line_quantity.quantity, least=0)
        case "remove_line":
            yield from _selector(f"{path}.line", intent.remove_line.line)
        case "add_discount_code":
            yield from check_text(f"{path}.code", intent.add_discount_code.code, 64, least=1)
        case "remove_discount_code":
            yield from check_text(f"{path}.code", intent.remove_discount_code.code, 64, least=1)
        case "set_email":
            yield from _email(f"{path}.email", intent.set_email.email)
        case "set_address":
            yield from _address(path, intent.set_address)
        case "set_delivery_option":
            yield from check_text(f"{path}.option_id", intent.set_delivery_option.option_id, 128, least=1)
        case "set_note":
            yield from check_text(f"{path}.note", intent.set_note.note, 1_000)
        case "cancel_cart":
            pass
        case _:
            yield path.removesuffix(".None"), "must have an intent"


def _session_intent(intent: session_intent_pb2.SessionIntent, path: str) -> Violations:
    kind = intent.WhichOneof("intent")
    path = f"{path}.{kind}"
    match kind:
        case "view_product":
            yield from check_text(f"{path}.product_id", intent.view_product.product_id, 128, least=1)
            yield from check_text(f"{path}.sku", intent.view_product.sku, 128)
        case "set_consent":
            yield from check_word(f"{path}.purpose", intent.set_consent.purpose, 64)
        case "activate_cart":
            if intent.activate_cart.cart_id and not is_uuid7(intent.activate_cart.cart_id):
                yield f"{path}.cart_id", "must be a UUIDv7 in lower-case hyphenated form, or empty"
        case "clear_history" | "sign_out":
            pass
        case _:
            yield path.removesuffix(".None"), "must have an intent"


def _quantity(path: str, quantity: quantity_pb2.Quantity, *, least: int) -> Violations:
    if not least <= quantity.steps <= MAX_STEPS:
        yield f"{path}.steps", f"must be {least} to {MAX_STEPS:,}, is {quantity.steps}"
    if not 0 <= quantity.scale <= 6:
        yield f"{path}.scale", "must be 0 to 6"
    yield from check_text(f"{path}.unit", quantity.unit, 16)


def _selector(path: str, line: cart_intent_pb2.LineSelector) -> Violations:
    named = line.WhichOneof("line")
    if named is None:
        yield path, "must name a line"
    elif named == "line_id":
        yield from check_text(f"{path}.line_id", line.line_id, 128, least=1)
    else:
        yield from check_text(f"{path}.client_line_key", line.client_line_key, 64, least=1)


def _email(path: str, email: str) -> Violations:
    yield from check_text(path, email, 254, least=1)
    local, at, domain = email.rpartition("@")
    if not (at and local and "." in domain.strip(".")) or any(character.isspace() for character in email):
        yield path, "must be an e-mail address"


def _address(path: str, intent: cart_intent_pb2.SetAddress) -> Violations:
    if intent.purpose not in (address_pb2.ADDRESS_PURPOSE_SHIPPING, address_pb2.ADDRESS_PURPOSE_BILLING):
        yield f"{path}.purpose", "must be SHIPPING or BILLING"
    for field, value in intent.address.ListFields():
        yield from check_text(f"{path}.address.{field.name}", value, 200)
    for required in ("street", "city"):
        if not getattr(intent.address, required):
            yield f"{path}.address.{required}", "is required"
    if not _COUNTRY.fullmatch(intent.address.country):
        yield f"{path}.address.country", "must be an ISO 3166-1 alpha-2 code in capitals"
