"""Customers, their addresses and their passwords. Every function here runs on the database's thread, save `digest`.

E-mail addresses are compared without regard to capitals. A password is kept as a scrypt digest with its salt before it.
"""

import hashlib
import hmac
import secrets
import sqlite3
from typing import NamedTuple

from legato.adapter.v1 import customer_service_pb2, event_service_pb2
from legato.commerce.v1 import customer_pb2, ref_pb2
from legato_adapters.reference import events
from legato_adapters.reference.intents import COUNTRY, EMAIL
from legato_adapters.reference.ledger import Ledger, Outcome, Refused
from legato_adapters.reference.shared import SYSTEM, Malformed, NotFound, observed, row_id

COMMANDS = ("create", "update", "set_address", "remove_address")
LEAST_PASSWORD = 8

_SALT = 16
_MOST, _MOST_EMAIL = 200, 254

_Reason = customer_service_pb2.CustomerRejectionReason
_SELECT = "SELECT id, tenant, password, next_address, body FROM customers"


class _Row(NamedTuple):
    id: int
    tenant: str
    password: bytes
    next_address: int
    body: bytes

    def message(self) -> customer_pb2.Customer:
        customer = customer_pb2.Customer.FromString(self.body)
        customer.provenance.CopyFrom(observed())
        return customer


def digest(password: str, salt: bytes = b"") -> bytes:
    """What is kept of a password. Takes a while, on purpose: not for the database's thread."""
    salt = salt or secrets.token_bytes(_SALT)
    return salt + hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


def is_digest_of(kept: bytes, password: str) -> bool:
    """Whether this is the password; takes as long as `digest`, also where there is none."""
    return hmac.compare_digest(digest(password, kept[:_SALT]), kept)


def meaning(request: customer_service_pb2.ApplyCustomerCommandRequest) -> bytes:
    """What must not differ in a repeat. Not the password: a quick hash of it would give it away."""
    command = customer_service_pb2.CustomerCommand()
    command.CopyFrom(request.command)
    if command.create.password:
        command.create.password = "*"
    return command.SerializeToString(deterministic=True)


def sealed(
    request: customer_service_pb2.ApplyCustomerCommandRequest,
) -> customer_service_pb2.ApplyCustomerCommandRequest:
    """The request with the digest of its password in the password's place, as `LEDGER` takes it.

    A password that is too short stays: it is refused.
    """
    password = request.command.create.password
    if len(password) < LEAST_PASSWORD:
        return request
    copy = customer_service_pb2.ApplyCustomerCommandRequest()
    copy.CopyFrom(request)
    copy.command.create.password = digest(password).hex()
    return copy


def get(
    connection: sqlite3.Connection, request: customer_service_pb2.GetCustomerRequest
) -> customer_service_pb2.GetCustomerResponse:
    """One customer; raises NotFound or Malformed."""
    tenant = request.context.tenant
    match request.WhichOneof("key"):
        case "customer_id":
            row = _load(connection, tenant, request.customer_id)
        case "email":
            found = _by_email(connection, tenant, request.email)
            if found is None:
                raise NotFound("no such customer")
            row = found
        case _:
            raise Malformed("a customer is needed")
    return customer_service_pb2.GetCustomerResponse(customer=row.message())


def credentials(connection: sqlite3.Connection, tenant: str, email: str) -> tuple[bytes, customer_pb2.Customer | None]:
    """What is kept of a customer's password, empty where there is none, and whose it is."""
    row = _by_email(connection, tenant, email)
    return (b"", None) if row is None else (row.password, row.message())


def _execute(connection: sqlite3.Connection, request: customer_service_pb2.ApplyCustomerCommandRequest) -> Outcome:
    tenant, command = request.context.tenant, request.command
    match command.WhichOneof("command"):
        case "create":
            return _create(connection, tenant, command.create)
        case "update":
            return _update(connection, _load(connection, tenant, command.update.customer_id), command.update)
        case "set_address":
            row = _load(connection, tenant, command.set_address.customer_id)
            return _set_address(connection, row, command.set_address)
        case "remove_address":
            row = _load(connection, tenant, command.remove_address.customer_id)
            customer = row.message()
            address_id = command.remove_address.address_id
            customer.addresses.remove(_address(customer, address_id))
            _save(connection, row, customer, "customer.changed")
            return Outcome(customer.id, address_id)
        case None:
            raise Malformed("command must be set")


def _create(connection: sqlite3.Connection, tenant: str, wish: customer_service_pb2.CreateCustomer) -> Outcome:
    _check_texts(wish)
    _check_email(connection, tenant, wish.email, "")
    if wish.password and len(wish.password) < LEAST_PASSWORD:
        reason = _Reason.CUSTOMER_REJECTION_REASON_PASSWORD_REFUSED
        raise _refuse(reason, f"a password has at least {LEAST_PASSWORD} characters")
    made = connection.execute(
        "INSERT INTO customers (tenant, email, password, next_address, body) VALUES (?, ?, ?, 1, x'')",
        (tenant, _folded(wish.email), bytes.fromhex(wish.password)),
    )
    customer_id = str(made.lastrowid)
    customer = customer_pb2.Customer(
        id=customer_id,
        email=wish.email,
        first_name=wish.first_name,
        last_name=wish.last_name,
        phone=wish.phone,
        refs=[ref_pb2.Ref(system=SYSTEM, type="customer", id=customer_id, version="0")],
    )
    _save(connection, _Row(made.lastrowid or 0, tenant, b"", 1, b""), customer, "customer.created")
    return Outcome(customer_id)


def _update(connection: sqlite3.Connection, row: _Row, wish: customer_service_pb2.UpdateCustomer) -> Outcome:
    customer = row.message()
    _check_texts(wish, customer.id)
    if wish.HasField("email"):
        _check_email(connection, row.tenant, wish.email, customer.id)
    for name in ("email", "first_name", "last_name", "phone"):
        if wish.HasField(name):
            setattr(customer, name, getattr(wish, name))
    connection.execute("UPDATE customers SET email = ? WHERE id = ?", (_folded(customer.email), row.id))
    _save(connection, row, customer, "customer.changed")
    return Outcome(customer.id)


def _set_address(connection: sqlite3.Connection, row: _Row, wish: customer_service_pb2.SetCustomerAddress) -> Outcome:
    customer, address = row.message(), wish.address
    invalid = _Reason.CUSTOMER_REJECTION_REASON_INVALID_FIELD
    for field, value in address.ListFields():
        if len(value) > _MOST:
            raise _refuse(invalid, f"address.{field.name}: has more than {_MOST} characters", customer.id)
    if not address.street or not address.city or not COUNTRY.fullmatch(address.country):
        raise _refuse(invalid, "address: street, city and country are required", customer.id)
    if wish.address_id:
        entry = _address(customer, wish.address_id)
    else:
        entry = customer.addresses.add(id=str(row.next_address))
        connection.execute("UPDATE customers SET next_address = next_address + 1 WHERE id = ?", (row.id,))
    entry.address.CopyFrom(address)
    for name in ("default_shipping", "default_billing"):
        if getattr(wish, name):
            for other in customer.addresses:
                setattr(other, name, False)
        setattr(entry, name, getattr(wish, name))
    _save(connection, row, customer, "customer.changed")
    return Outcome(customer.id, entry.id)


def _address(customer: customer_pb2.Customer, address_id: str) -> customer_pb2.CustomerAddress:
    for entry in customer.addresses:
        if entry.id == address_id:
            return entry
    reason = _Reason.CUSTOMER_REJECTION_REASON_ADDRESS_NOT_FOUND
    raise _refuse(reason, "the address book has no such entry", customer.id)


def _check_texts(
    wish: customer_service_pb2.CreateCustomer | customer_service_pb2.UpdateCustomer, customer_id: str = ""
) -> None:
    for name in ("first_name", "last_name", "phone"):
        if len(getattr(wish, name)) > _MOST:
            reason = _Reason.CUSTOMER_REJECTION_REASON_INVALID_FIELD
            raise _refuse(reason, f"{name}: has more than {_MOST} characters", customer_id)


def _check_email(connection: sqlite3.Connection, tenant: str, email: str, customer_id: str) -> None:
    """Of nobody else; `customer_id` is empty for a customer to be."""
    if len(email) > _MOST_EMAIL or not EMAIL.fullmatch(email):
        raise _refuse(_Reason.CUSTOMER_REJECTION_REASON_INVALID_FIELD, "email: is no address", customer_id)
    known = _by_email(connection, tenant, email)
    if known is not None and str(known.id) != customer_id:
        reason = _Reason.CUSTOMER_REJECTION_REASON_EMAIL_TAKEN
        raise _refuse(reason, "email: another account has it", customer_id)


def _folded(email: str) -> str:
    return email.casefold()


def _load(connection: sqlite3.Connection, tenant: str, customer_id: str) -> _Row:
    row = connection.execute(f"{_SELECT} WHERE id = ? AND tenant = ?", (row_id(customer_id), tenant)).fetchone()
    if row is None:
        raise NotFound("no such customer")
    return _Row(*row)


def _by_email(connection: sqlite3.Connection, tenant: str, email: str) -> _Row | None:
    row = connection.execute(f"{_SELECT} WHERE tenant = ? AND email = ?", (tenant, _folded(email))).fetchone()
    return None if row is None else _Row(*row)


def _save(connection: sqlite3.Connection, row: _Row, customer: customer_pb2.Customer, native_type: str) -> None:
    customer.ClearField("provenance")
    customer.refs[0].version = str(int(customer.refs[0].version) + 1)
    connection.execute("UPDATE customers SET body = ? WHERE id = ?", (customer.SerializeToString(), row.id))
    events.record(connection, row.tenant, event_service_pb2.CHANGED_ENTITY_CUSTOMER, customer.id, native_type)


def _answer(
    connection: sqlite3.Connection, tenant: str, outcome: Outcome
) -> customer_service_pb2.ApplyCustomerCommandResponse:
    response = customer_service_pb2.ApplyCustomerCommandResponse(address_id=outcome.part_id)
    if outcome.entity_id:
        response.customer.CopyFrom(_load(connection, tenant, outcome.entity_id).message())
    if outcome.rejection is not None:
        response.rejection.MergeFromString(outcome.rejection)
    return response


def _refuse(reason: "_Reason.ValueType", message: str, customer_id: str = "") -> Refused:
    return Refused(customer_service_pb2.CustomerRejection(reason=reason, message=message), customer_id)


LEDGER = Ledger("customer", _execute, _answer, meaning)
