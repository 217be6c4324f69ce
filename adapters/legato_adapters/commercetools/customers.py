"""Customers. Sign-in is commercetools' own; its refusals never tell which of the two was wrong."""

from collections.abc import Sequence
from typing import Any

import grpc

from legato.adapter.v1 import cart_service_pb2, customer_service_pb2, request_context_pb2
from legato.commerce.v1 import address_pb2, customer_pb2, ref_pb2
from legato_adapters.commercetools import marks
from legato_adapters.commercetools.api import SYSTEM, Api, Json, codes
from legato_adapters.commercetools.mapping import address, ct_address, now
from legato_adapters.http import Call, Failure, Lanes, Refused

__all__ = ["Customers", "customer"]

Code = grpc.StatusCode
Reason = customer_service_pb2.CustomerRejectionReason
_MAX_EMAIL = 254
_MAX_TEXT = 200
_MIN_PASSWORD = 8
_NAMES = {"first_name": "setFirstName", "last_name": "setLastName"}
_FIELDS = {"first_name": "firstName", "last_name": "lastName"}


class CustomerRefusal(Exception):
    """Refused for a reason of business; nothing has changed."""

    def __init__(self, reason: str, message: str, native_code: str = "") -> None:
        super().__init__(message)
        number = Reason.Value(f"CUSTOMER_REJECTION_REASON_{reason}")
        self.rejection = customer_service_pb2.CustomerRejection(reason=number, message=message, native_code=native_code)


class Customers:
    """The customer service without its transport. Raises Failure and ApiError."""

    def __init__(self, api: Api, lanes: Lanes, *, type_key: str) -> None:
        self._api = api
        self._lanes = lanes
        self._type_key = type_key

    async def get(
        self, call: Call, request: customer_service_pb2.GetCustomerRequest
    ) -> customer_service_pb2.GetCustomerResponse:
        match request.WhichOneof("key"):
            case "customer_id":
                found = await self._api.find(call, "/customers/{id}", id=request.customer_id)
            case "email":
                found = await self._by_email(call, request.email)
            case _:
                raise Failure(Code.INVALID_ARGUMENT, "a customer is named by id or e-mail address")
        return customer_service_pb2.GetCustomerResponse(customer=customer(_own(found, request.context)))

    async def authenticate(
        self, call: Call, request: customer_service_pb2.AuthenticateCustomerRequest
    ) -> customer_service_pb2.AuthenticateCustomerResponse:
        if not request.email or not request.password:
            raise Failure(Code.INVALID_ARGUMENT, "e-mail address and password must be set")
        wrong = Failure(Code.UNAUTHENTICATED, "e-mail address or password is wrong")
        try:
            found = (await self._api.search(call, "/login", {"email": request.email, "password": request.password}))[
                "customer"
            ]
        except Refused as refused:
            if refused.status in {400, 404}:
                raise wrong from None
            raise
        if marks.fields(found).get(marks.TENANT, request.context.tenant) != request.context.tenant:
            raise wrong
        return customer_service_pb2.AuthenticateCustomerResponse(customer=customer(found))

    async def apply(
        self, call: Call, request: customer_service_pb2.ApplyCustomerCommandRequest
    ) -> customer_service_pb2.ApplyCustomerCommandResponse:
        async def work() -> customer_service_pb2.ApplyCustomerCommandResponse:
            if request.command.HasField("create"):
                return await self._create(call, request)
            return await self._change(call, request)

        return await self._lanes.change(_lane(request), work)

    async def resolve(
        self, call: Call, request: customer_service_pb2.ApplyCustomerCommandRequest
    ) -> customer_service_pb2.ResolveCustomerCommandResponse:
        async def work() -> customer_service_pb2.ResolveCustomerCommandResponse:
            response = customer_service_pb2.ResolveCustomerCommandResponse(
                resolution=cart_service_pb2.RESOLUTION_NOT_APPLIED
            )
            if request.command.HasField("create"):
                found = await self._by_key(call, request)
            else:
                found = await self._api.find(call, "/customers/{id}", id=_customer_id(request))
            if found is None or marks.fields(found).get(marks.TENANT) != request.context.tenant:
                return response
            if _executed(request, found):
                response.resolution = cart_service_pb2.RESOLUTION_APPLIED
                response.response.CopyFrom(_response(request, found))
            elif marks.Marks.of(found).may_have_forgotten(request.command_id):
                response.resolution = cart_service_pb2.RESOLUTION_UNKNOWN
            return response

        return await self._lanes.read(_lane(request), work)

    async def _create(
        self, call: Call, request: customer_service_pb2.ApplyCustomerCommandRequest
    ) -> customer_service_pb2.ApplyCustomerCommandResponse:
        wish = request.command.create
        existing = await self._by_key(call, request)
        if existing is not None:
            if not _executed(request, existing):
                raise Failure(Code.ABORTED, "the command id was used with another body")
            return _response(request, _own(existing, request.context))
        values = {
            marks.COMMANDS: str(marks.Marks().add(request.command_id, _digest(request))),
            marks.TENANT: request.context.tenant,
            marks.PHONE: wish.phone,
        }
        draft: dict[str, Any] = {
            "key": request.command_id,
            "email": wish.email,
            "authenticationMode": "Password" if wish.password else "ExternalAuth",
            "custom": {
                "type": {"typeId": "type", "key": self._type_key},
                "fields": {name: value for name, value in values.items() if value},
            },
        }
        draft |= {theirs: text for ours, theirs in _FIELDS.items() if (text := getattr(wish, ours))}
        if wish.password:
            draft["password"] = wish.password
        try:
            _check_text(email=wish.email, first_name=wish.first_name, last_name=wish.last_name, phone=wish.phone)
            if wish.password and len(wish.password) < _MIN_PASSWORD:
                # commercetools takes any password; that is nothing to open an account to.
                raise CustomerRefusal("PASSWORD_REFUSED", f"password: at least {_MIN_PASSWORD} characters")
            made = (await self._api.post(call, "/customers", draft))["customer"]
        except CustomerRefusal as refusal:
            return customer_service_pb2.ApplyCustomerCommandResponse(rejection=refusal.rejection)
        except Refused as refused:
            return customer_service_pb2.ApplyCustomerCommandResponse(rejection=_refusal(refused).rejection)
        return _response(request, made)

    async def _change(
        self, call: Call, request: customer_service_pb2.ApplyCustomerCommandRequest
    ) -> customer_service_pb2.ApplyCustomerCommandResponse:
        found = _own(await self._api.find(call, "/customers/{id}", id=_customer_id(request)), request.context)
        latest = found

        async def decide(current: Json) -> list[Json]:
            nonlocal latest
            latest = current
            if _executed(request, current):
                return []
            mark = str(marks.Marks.of(current).add(request.command_id, _digest(request)))
            values = {marks.COMMANDS: mark}
            if request.command.update.HasField("phone"):
                values[marks.PHONE] = request.command.update.phone
            return [*_actions(request, current), *marks.writing(current, self._type_key, values)]

        try:
            after = await self._api.revise(call, "/customers/{id}", found, decide)
        except CustomerRefusal as refusal:
            return _response(request, latest, refusal)
        except Refused as refused:
            if refused.status != 400:
                raise
            return _response(request, latest, _refusal(refused))
        return _response(request, after)

    async def _by_email(self, call: Call, email: str) -> Json | None:
        found = await self._api.query(
            call, "/customers", "lowercaseEmail = :email", variables={"email": email.lower()}, limit=1
        )
        return found[0] if found else None

    async def _by_key(self, call: Call, request: customer_service_pb2.ApplyCustomerCommandRequest) -> Json | None:
        return await self._api.find(call, "/customers/key={key}", key=request.command_id)


def customer(source: Json) -> customer_pb2.Customer:
    """From commercetools' customer, which never holds a password, to the canonical one. Pure."""
    shipping, billing = source.get("defaultShippingAddressId"), source.get("defaultBillingAddressId")
    return customer_pb2.Customer(
        id=source["id"],
        email=source["email"],
        first_name=source.get("firstName") or "",
        last_name=source.get("lastName") or "",
        phone=marks.fields(source).get(marks.PHONE) or "",
        addresses=[
            customer_pb2.CustomerAddress(
                id=entry["id"],
                address=address(entry),
                default_shipping=entry["id"] == shipping,
                default_billing=entry["id"] == billing,
            )
            for entry in source["addresses"]
        ],
        refs=[ref_pb2.Ref(system=SYSTEM, type="Customer", id=source["id"], version=str(source["version"]))],
        provenance=now(),
    )


def _actions(request: customer_service_pb2.ApplyCustomerCommandRequest, current: Json) -> list[Json]:
    command = request.command
    match command.WhichOneof("command"):
        case "update":
            return _update(command.update)
        case "set_address":
            return _set_address(command.set_address, _entry_key(request), current)
        case "remove_address":
            _find_entry(current, command.remove_address.address_id)
            return [{"action": "removeAddress", "addressId": command.remove_address.address_id}]
    raise AssertionError("create makes no actions")


def _update(wish: customer_service_pb2.UpdateCustomer) -> list[Json]:
    present = {name: getattr(wish, name) for name in ("email", *_NAMES, "phone") if wish.HasField(name)}  # type: ignore[arg-type]
    _check_text(**present)
    actions: list[Json] = []
    if "email" in present:
        actions.append({"action": "changeEmail", "email": present["email"]})
    for ours, action in _NAMES.items():
        if ours in present:
            value = {_FIELDS[ours]: present[ours]} if present[ours] else {}
            actions.append({"action": action, **value})
    return actions


def _set_address(wish: customer_service_pb2.SetCustomerAddress, key: str, current: Json) -> list[Json]:
    _check_address(wish.address)
    draft = ct_address(wish.address)
    actions: list[Json]
    if wish.address_id:
        _find_entry(current, wish.address_id)
        actions = [{"action": "changeAddress", "addressId": wish.address_id, "address": draft}]
        named = {"addressId": wish.address_id}
    else:
        actions = [{"action": "addAddress", "address": {**draft, "key": key}}]
        named = {"addressKey": key}
    for wanted, action, default in (
        (wish.default_shipping, "setDefaultShippingAddress", "defaultShippingAddressId"),
        (wish.default_billing, "setDefaultBillingAddress", "defaultBillingAddressId"),
    ):
        if wanted:
            actions.append({"action": action, **named})
        elif wish.address_id and current.get(default) == wish.address_id:
            actions.append({"action": action})
    return actions


def _find_entry(current: Json, address_id: str) -> Json:
    for entry in current["addresses"]:
        if entry["id"] == address_id:
            found: Json = entry
            return found
    raise CustomerRefusal("ADDRESS_NOT_FOUND", "the address book has no such entry")


def _check_address(wish: address_pb2.Address) -> None:
    for name in ("street", "city"):
        if not getattr(wish, name):
            raise CustomerRefusal("INVALID_FIELD", f"{name}: must be set")
    if len(wish.country) != 2 or not wish.country.isascii() or not wish.country.isupper():
        raise CustomerRefusal("INVALID_FIELD", "country: two capital letters")
    for field, value in wish.ListFields():
        if len(value) > _MAX_TEXT:
            raise CustomerRefusal("INVALID_FIELD", f"{field.name}: at most {_MAX_TEXT} characters")


def _check_text(**texts: str) -> None:
    for name, text in texts.items():
        if name == "email" and (len(text) > _MAX_EMAIL or "@" not in text[1:-1]):
            raise CustomerRefusal("INVALID_FIELD", "email: is none")
        if name != "email" and len(text) > _MAX_TEXT:
            raise CustomerRefusal("INVALID_FIELD", f"{name}: at most {_MAX_TEXT} characters")


def _refusal(refused: Refused) -> CustomerRefusal:
    first = next(iter(codes(refused)), "")
    errors: Sequence[Json] = refused.said.get("errors") or ()
    fields = {str(error.get("field")) for error in errors if isinstance(error, dict)}
    if first == "DuplicateField" and "email" in fields:
        return CustomerRefusal("EMAIL_TAKEN", "another account has this e-mail address", first)
    return CustomerRefusal("INVALID_FIELD", "a field is not acceptable to commercetools", first)


def _entry_key(request: customer_service_pb2.ApplyCustomerCommandRequest) -> str:
    """The key of a new entry of the address book: by it a repeat finds the entry again."""
    return request.command_id


def _response(
    request: customer_service_pb2.ApplyCustomerCommandRequest, source: Json, refusal: CustomerRefusal | None = None
) -> customer_service_pb2.ApplyCustomerCommandResponse:
    response = customer_service_pb2.ApplyCustomerCommandResponse(customer=customer(source))
    if refusal is not None:
        response.rejection.CopyFrom(refusal.rejection)
    elif request.command.HasField("set_address"):
        key = _entry_key(request)
        made = next((entry["id"] for entry in source["addresses"] if entry.get("key") == key), "")
        response.address_id = request.command.set_address.address_id or made
    return response


def _customer_id(request: customer_service_pb2.ApplyCustomerCommandRequest) -> str:
    command = request.command
    kind = command.WhichOneof("command")
    return str(getattr(command, kind).customer_id) if kind is not None else ""


def _lane(request: customer_service_pb2.ApplyCustomerCommandRequest) -> str:
    return request.command_id if request.command.HasField("create") else _customer_id(request)


def _digest(request: customer_service_pb2.ApplyCustomerCommandRequest) -> str:
    return marks.digest(request.command)


def _executed(request: customer_service_pb2.ApplyCustomerCommandRequest, source: Json) -> bool:
    body = marks.Marks.of(source).body(request.command_id)
    if body is not None and body != _digest(request):
        raise Failure(Code.ABORTED, "the command id was used with another body")
    return body is not None


def _own(found: Json | None, context: request_context_pb2.RequestContext) -> Json:
    """A customer of the tenant. Who was made past us belongs to whoever has the project."""
    if found is None or marks.fields(found).get(marks.TENANT, context.tenant) != context.tenant:
        raise Failure(Code.NOT_FOUND, "there is no such customer")
    return found
