"""CUSTOMER: accounts and address books. CREDENTIALS: their passwords."""

from typing import Any

import grpc.aio

from legato.adapter.v1 import customer_service_pb2
from legato.commerce.v1 import address_pb2, customer_pb2
from legato.protocol.ids import new_id
from legato_adapters.conformance.cases import customer, customer_command, new_email
from legato_adapters.conformance.check import HIDDEN, Code, check, code_of, ends_with, expect, one_of, same, shown
from legato_adapters.conformance.commands import Case, Port, command_checks
from legato_adapters.conformance.shop import told
from legato_adapters.conformance.subject import Subject

Reason = customer_service_pb2.CustomerRejectionReason
CREATE = ("create",)


async def read(subject: Subject, **key: str) -> customer_pb2.Customer:
    request = customer_service_pb2.GetCustomerRequest(context=subject.context, **key)
    return (await subject.stubs.customer.GetCustomer(request)).customer


async def keep(subject: Subject, **command: Any) -> customer_service_pb2.ApplyCustomerCommandResponse:
    """The answer to a command that is expected to be executed."""
    response = await subject.stubs.customer.ApplyCustomerCommand(customer_command(subject, **command))
    expect(not response.HasField("rejection"), f"{next(iter(command))} was refused: {shown(response.rejection)}")
    return response


async def refused(subject: Subject, **command: Any) -> str:
    """The reason why a command is refused, without its prefix."""
    answer = await subject.stubs.customer.ApplyCustomerCommand(customer_command(subject, **command))
    expect(answer.HasField("rejection"), f"{next(iter(command))} was executed and not refused")
    return Reason.Name(answer.rejection.reason).removeprefix("CUSTOMER_REJECTION_REASON_")


async def _case(subject: Subject) -> Case:
    """A new address, which a repeat would make twice. Where wishes are states, a new account."""
    if subject.effect("CUSTOMER") == "ABSOLUTE" or not subject.claims_command("CUSTOMER", "set_address"):
        return await _account(subject)
    owner = (await customer(subject)).id
    wish = {"customer_id": owner, "address": subject.shop.customer.address}
    request = customer_command(subject, set_address=wish)
    other = customer_command(
        subject, set_address={**wish, "address": {**subject.shop.customer.address, "city": "Kiel"}}
    )
    other.command_id = request.command_id

    async def effects() -> int:
        return len((await read(subject, customer_id=owner)).addresses)

    return Case(request, other, effects)


async def _account(subject: Subject) -> Case:
    email = new_email(subject)
    request = customer_command(subject, create={"email": email, "first_name": "Ada"})
    other = customer_command(subject, create={"email": email, "first_name": "Grace"})
    other.command_id = request.command_id

    async def effects() -> int:
        code = await code_of(read(subject, email=email))
        one_of("the status of reading a customer", code, (Code.OK, Code.NOT_FOUND))
        return int(code is Code.OK)

    return Case(request, other, effects)


async def _refused(subject: Subject) -> Any:
    taken = (await customer(subject)).email
    return customer_command(subject, create={"email": taken, "first_name": "Grace", "last_name": "Hopper"})


async def _empty(subject: Subject, command: str) -> Any:
    request = customer_service_pb2.ApplyCustomerCommandRequest(context=subject.context, command_id=new_id())
    if command:
        getattr(request.command, command).SetInParent()
    return request


COMMAND_CHECKS = command_checks(
    Port(
        capability="CUSTOMER",
        apply_method=lambda stubs: stubs.customer.ApplyCustomerCommand,
        resolve_method=lambda stubs: stubs.customer.ResolveCustomerCommand,
        resolve_request=customer_service_pb2.ResolveCustomerCommandRequest,
        case=_case,
        refused=_refused,
        empty=_empty,
        needs=CREATE,
    )
)


@check(
    "customer.create",
    "CUSTOMER",
    "a new account is the same by id and by e-mail address, whose capitals do not count",
    commands=CREATE,
)
async def create(subject: Subject) -> None:
    made = await customer(subject, first_name="Ada", last_name="Lovelace", phone="+49 30 5550 1234")
    for key in ({"customer_id": made.id}, {"email": made.email}, {"email": made.email.upper()}):
        found = await read(subject, **key)
        same(f"the customer by {next(iter(key))}", (found.id, found.email), (made.id, made.email))
        expect(found.provenance.HasField("observed_at"), "the customer does not say when it was read")
    wanted = customer_pb2.Customer(email=made.email, first_name="Ada", last_name="Lovelace", phone="+49 30 5550 1234")
    subject.losses.compare("CUSTOMER", "Customer", wanted, await read(subject, customer_id=made.id))


@check("customer.unknown", "CUSTOMER", "a customer who does not exist is NOT_FOUND, and no key is INVALID_ARGUMENT")
async def unknown(subject: Subject) -> None:
    for key in ({"customer_id": "nonsense"}, {"customer_id": "999999999"}, {"email": f"nobody-{new_id()}@example.org"}):
        await ends_with(read(subject, **key), f"reading a customer by unknown {next(iter(key))}", Code.NOT_FOUND)
    await ends_with(read(subject), "reading a customer without a key", Code.INVALID_ARGUMENT)
    for command in ("update", "set_address", "remove_address"):
        if subject.claims_command("CUSTOMER", command):
            wish: dict[str, Any] = {"customer_id": "999999999"}
            if command == "set_address":
                wish["address"] = subject.shop.customer.address
            call = subject.stubs.customer.ApplyCustomerCommand(customer_command(subject, **{command: wish}))
            await ends_with(call, f"{command} of a customer who does not exist", Code.NOT_FOUND)


@check("customer.private", "CUSTOMER", "an error does not tell the e-mail address that was asked for")
async def private(subject: Subject) -> None:
    email = f"nobody-{new_id()}@example.org"
    try:
        await read(subject, email=email)
    except grpc.aio.AioRpcError as error:
        expect(email not in (error.details() or ""), "the details of NOT_FOUND tell the e-mail address")


@check("customer.tenants", "CUSTOMER", "another tenant's customer does not exist", commands=CREATE)
async def tenants(subject: Subject) -> None:
    made, stranger = await customer(subject), subject.stranger()
    for key in ({"customer_id": made.id}, {"email": made.email}):
        await ends_with(read(stranger, **key), f"reading another tenant's customer by {next(iter(key))}", *HIDDEN)


@check("customer.update", "CUSTOMER", "an update changes what it names and nothing else", commands=("create", "update"))
async def update(subject: Subject) -> None:
    made = await customer(subject, first_name="Ada", last_name="Berg", phone="+49 30 5550")
    await keep(subject, update={"customer_id": made.id, "last_name": "Lovelace"})
    found = await read(subject, customer_id=made.id)
    same("the names", (found.first_name, found.last_name), ("Ada", "Lovelace"))
    same("the telephone number", found.phone, made.phone)
    moved = new_email(subject)
    await keep(subject, update={"customer_id": made.id, "email": moved})
    same("who has the new e-mail address", (await read(subject, email=moved)).id, made.id)
    await ends_with(read(subject, email=made.email), "reading by the old e-mail address", Code.NOT_FOUND)


@check(
    "customer.email_taken",
    "CUSTOMER",
    "an e-mail address that another has is refused, and the other is not shown: EMAIL_TAKEN",
    commands=CREATE,
)
async def email_taken(subject: Subject) -> None:
    first = await customer(subject)
    request = customer_command(subject, create={"email": first.email, "first_name": "Mallory", "last_name": "M."})
    answer = await subject.stubs.customer.ApplyCustomerCommand(request)
    same("the reason", answer.rejection.reason, Reason.CUSTOMER_REJECTION_REASON_EMAIL_TAKEN)
    expect(not answer.HasField("customer"), "somebody else's account is shown")
    if subject.claims_command("CUSTOMER", "update"):
        second = await customer(subject)
        reason = await refused(subject, update={"customer_id": second.id, "email": first.email})
        same("the reason for an update", reason, "EMAIL_TAKEN")
        same("the e-mail address", (await read(subject, customer_id=second.id)).email, second.email)


@check("customer.invalid", "CUSTOMER", "an e-mail address that is none is refused: INVALID_FIELD", commands=CREATE)
async def invalid(subject: Subject) -> None:
    for email in ("", "nobody", f"{'a' * 64}@{'b' * 200}.example"):
        same(f"the reason for {email[:20]!r}", await refused(subject, create={"email": email}), "INVALID_FIELD")


@check(
    "customer.addresses",
    "CUSTOMER",
    "entries of an address book are kept apart; one is the default for delivery",
    commands=("create", "set_address", "remove_address"),
)
async def addresses(subject: Subject) -> None:
    owner, address = (await customer(subject)).id, subject.shop.customer.address
    ids = []
    for street in ("Lindenweg 1", "Hauptstr. 9"):
        wish = {"customer_id": owner, "address": {**address, "street": street}, "default_shipping": True}
        ids.append((await keep(subject, set_address=wish)).address_id)
    expect(all(ids), "an entry has no id")
    book = {entry.id: entry for entry in (await read(subject, customer_id=owner)).addresses}
    same("the entries", [book[id].address.street for id in ids if id in book], ["Lindenweg 1", "Hauptstr. 9"])
    same("which are the default for delivery", [book[id].default_shipping for id in ids], [False, True])
    changed = {"customer_id": owner, "address_id": ids[0], "address": {**address, "street": "Am Hang 5"}}
    same("the entry that was changed", (await keep(subject, set_address=changed)).address_id, ids[0])
    gone = {"customer_id": owner, "address_id": ids[1]}
    await keep(subject, remove_address=gone)
    left = (await read(subject, customer_id=owner)).addresses
    same("the entries", [(entry.id, entry.address.street) for entry in left], [(ids[0], "Am Hang 5")])
    if subject.effect("CUSTOMER") in ("KEYED", "MARKED"):
        same("the reason for removing it again", await refused(subject, remove_address=gone), "ADDRESS_NOT_FOUND")


@check(
    "customer.address_fields",
    "CUSTOMER",
    "every field of an address is kept, or reported as lost",
    commands=("create", "set_address"),
)
async def address_fields(subject: Subject) -> None:
    owner = (await customer(subject)).id
    distinct = {"company": "Hopper GmbH", "street_extra": "2nd floor", "region": "BE", "phone": "+49 30 5550 1234"}
    address = address_pb2.Address(**{**subject.shop.customer.address, **distinct})
    await keep(subject, set_address={"customer_id": owner, "address": address, "default_billing": True})
    kept = (await read(subject, customer_id=owner)).addresses[0]
    for name in ("street", "postal_code", "city", "country"):
        same(name, getattr(kept.address, name), getattr(address, name))
    wanted = customer_pb2.CustomerAddress(address=address, default_billing=True)
    subject.losses.compare("CUSTOMER", "CustomerAddress", wanted, kept)


async def sign_in(subject: Subject, email: str, password: str) -> customer_pb2.Customer:
    request = customer_service_pb2.AuthenticateCustomerRequest(context=subject.context, email=email, password=password)
    return (await subject.stubs.customer.AuthenticateCustomer(request)).customer


@check(
    "credentials.sign_in",
    "CREDENTIALS",
    "whoever knows e-mail address and password is told who it is",
    commands=("CUSTOMER.create",),
)
async def signs_in(subject: Subject) -> None:
    password = told(subject.shop.customer.password, "customer.password")
    made = await customer(subject, password=password)
    for email in (made.email, made.email.upper()):
        same("who signs in", (await sign_in(subject, email, password)).id, made.id)


@check(
    "credentials.refused",
    "CREDENTIALS",
    "a wrong password and an unknown e-mail address are UNAUTHENTICATED, and not told apart",
    commands=("CUSTOMER.create",),
)
async def credentials_refused(subject: Subject) -> None:
    password = told(subject.shop.customer.password, "customer.password")
    made = await customer(subject, password=password)
    details = set()
    for email, typed in ((made.email, f"{password}x"), (new_email(subject), password)):
        try:
            await sign_in(subject, email, typed)
        except grpc.aio.AioRpcError as error:
            same("the status", error.code(), Code.UNAUTHENTICATED)
            details.add(error.details())
        else:
            expect(False, "somebody signs in who may not")
    same("the number of different answers", len(details), 1)


@check("credentials.missing", "CREDENTIALS", "a missing e-mail address or password is INVALID_ARGUMENT")
async def credentials_missing(subject: Subject) -> None:
    await ends_with(sign_in(subject, "", "correct horse"), "no e-mail address", Code.INVALID_ARGUMENT)
    await ends_with(sign_in(subject, "ada@example.org", ""), "no password", Code.INVALID_ARGUMENT)


@check("credentials.weak", "CREDENTIALS", "a weak password is refused: PASSWORD_REFUSED", commands=("CUSTOMER.create",))
async def weak(subject: Subject) -> None:
    wish = {
        "email": new_email(subject),
        "password": told(subject.shop.customer.weak_password, "customer.weak_password"),
    }
    same("the reason", await refused(subject, create=wish), "PASSWORD_REFUSED")
