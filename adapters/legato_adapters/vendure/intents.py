"""What each intent is in Vendure, and whether it is fulfilled.

About lines Vendure has traps: where it has too little stock it refuses *and* puts what is left into the cart, and where
it has none at all it takes a line out that is only to become smaller. A refusal here leaves the cart as it was.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import grpc

from legato.adapter.v1 import cart_service_pb2
from legato.commerce.v1 import address_pb2, cart_intent_pb2, quantity_pb2
from legato_adapters.http.errors import Failure
from legato_adapters.vendure.api import Refused
from legato_adapters.vendure.conversation import Conversation, Json
from legato_adapters.vendure.mapping import BILLING, SHIPPING, address_input, delivery_ids, stock_word
from legato_adapters.vendure.notebook import Notebook
from legato_adapters.vendure.skus import Skus

_ADDRESS_CHANGES = {SHIPPING: "setOrderShippingAddress", BILLING: "setOrderBillingAddress"}
_ADDRESS_FIELDS = {SHIPPING: "shippingAddress", BILLING: "billingAddress"}

_REASONS = {
    "ORDER_MODIFICATION_ERROR": cart_service_pb2.REJECTION_REASON_CART_NOT_ACTIVE,
    "INELIGIBLE_SHIPPING_METHOD_ERROR": cart_service_pb2.REJECTION_REASON_DELIVERY_OPTION_INVALID,
    "COUPON_CODE_INVALID_ERROR": cart_service_pb2.REJECTION_REASON_DISCOUNT_CODE_INVALID,
    "COUPON_CODE_EXPIRED_ERROR": cart_service_pb2.REJECTION_REASON_DISCOUNT_CODE_INVALID,
    "COUPON_CODE_LIMIT_ERROR": cart_service_pb2.REJECTION_REASON_DISCOUNT_CODE_INVALID,
    "EMAIL_ADDRESS_CONFLICT_ERROR": cart_service_pb2.REJECTION_REASON_INVALID_FIELD,
}


class Refusal(Exception):
    """Vendure says no, for a reason of business; the cart is as it was."""

    def __init__(
        self,
        reason: "cart_service_pb2.RejectionReason.ValueType",
        message: str,
        *,
        native_code: str = "",
        available: int | None = None,
    ) -> None:
        super().__init__(message)
        self.rejection = cart_service_pb2.Rejection(
            reason=reason, message=message, native_code=native_code, available_steps=available
        )


def lines_of(order: Json) -> dict[str, int]:
    """Quantities by line."""
    return {line["id"]: line["quantity"] for line in order["lines"]}


def line_with(order: Json, sku: str) -> Json | None:
    return next((line for line in order["lines"] if line["productVariant"]["sku"] == sku), None)


def find_code(order: Json, code: str) -> str | None:
    """A code as the order spells it; case does not count."""
    return next((known for known in order["couponCodes"] if known.casefold() == code.casefold()), None)


class Change:
    """One command on its way into an order that was read as `before`."""

    def __init__(
        self, talk: Conversation, skus: Skus, deadline: float | None, notebook: Notebook, before: Json
    ) -> None:
        self._talk = talk
        self._skus = skus
        self._deadline = deadline
        self._notebook = notebook
        self._before = before

    async def execute(self, request: cart_service_pb2.ApplyCommandRequest) -> str:
        """The line that was made or changed, if any; raises Refusal, Failure, Inactive, ApiError."""
        intent = request.intent
        match intent.WhichOneof("intent"):
            case "add_line":
                return await self._add(intent.add_line, request.line_target)
            case "set_line_quantity":
                _check_unit(intent.set_line_quantity.quantity)
                return await self._set(request.line_target)
            case "remove_line":
                return await self._set(request.line_target)
            case "add_discount_code":
                if find_code(self._before, intent.add_discount_code.code) is None:
                    await self._simply("applyCouponCode", code=intent.add_discount_code.code)
            case "remove_discount_code":
                known = find_code(self._before, intent.remove_discount_code.code)
                if known is not None:
                    await self._simply("removeCouponCode", code=known)
            case "set_email":
                await self._set_email(intent.set_email.email)
            case "set_address":
                await self._set_address(intent.set_address)
            case "set_delivery_option":
                await self._set_delivery_option(intent.set_delivery_option.option_id)
            case "set_note":
                note = intent.set_note.note or None
                await self._simply("setOrderCustomFields", input={"customFields": {"note": note}})
        return ""

    async def _simply(self, field: str, **variables: Any) -> Json:
        result = await self._talk.change(field, **variables)
        if "errorCode" in result:
            raise _refusal(result)
        return result

    async def _add(self, add: cart_intent_pb2.AddLine, target: cart_service_pb2.LineTarget) -> str:
        _check_unit(add.quantity)
        present = line_with(self._before, target.sku)
        has = present["quantity"] if present is not None else 0
        if not target.sku or add.quantity.steps < 1 or target.steps < add.quantity.steps:
            raise Failure(grpc.StatusCode.INVALID_ARGUMENT, "add_line needs a line_target with sku and steps")
        if has not in {target.steps, target.steps - add.quantity.steps}:
            # Whoever made the target saw another cart; obeyed, it would take back what came since.
            raise Failure(grpc.StatusCode.FAILED_PRECONDITION, "the line's quantity in Vendure is another")
        if present is not None:
            return await self._adjust(present, target.steps)
        return await self._new_line(target.sku, target.steps)

    async def _new_line(self, sku: str, steps: int) -> str:
        result = await self._put_in(sku, steps)
        after = await self._accepted(result, sku, steps)
        line = line_with(after, sku)
        if line is None:
            # The sku names another variant now than it did when it was looked up.
            self._skus.forget(sku)
            await self._restore(after)
            raise _unknown_sku()
        if line["quantity"] != steps:
            # Only an earlier try that was believed lost can have come in between.
            await self._accepted(
                await self._talk.change("adjustOrderLine", line=line["id"], quantity=steps), sku, steps
            )
        line_id: str = line["id"]
        return line_id

    async def _put_in(self, sku: str, steps: int) -> Json:
        for _ in range(2):
            found = (await self._skus.find([sku], self._deadline)).get(sku)
            if found is None:
                break
            try:
                return await self._talk.change("addItemToOrder", variant=found.variant_id, quantity=steps)
            except Refused as error:
                if error.code != "ENTITY_NOT_FOUND":
                    raise
                self._skus.forget(sku)
        raise _unknown_sku()

    async def _set(self, target: cart_service_pb2.LineTarget) -> str:
        if not target.line_id or target.steps < 0:
            raise Failure(grpc.StatusCode.INVALID_ARGUMENT, "a line_target with line_id and steps is needed")
        line = next((line for line in self._before["lines"] if line["id"] == target.line_id), None)
        if line is not None:
            return await self._adjust(line, target.steps)
        if target.sku and target.steps == 0:
            return ""  # It was there once and is gone, as is wished.
        raise Refusal(cart_service_pb2.REJECTION_REASON_LINE_NOT_FOUND, "the cart has no such line")

    async def _adjust(self, line: Json, steps: int) -> str:
        line_id: str = line["id"]
        sku = line["productVariant"]["sku"]
        if steps == line["quantity"]:
            return line_id
        try:
            if steps == 0:
                await self._simply("removeOrderLine", line=line_id)
                return ""
            if stock_word(line["productVariant"]["stockLevel"]) == "OUT_OF_STOCK":
                # Vendure would take the line out, and not take it in again.
                reason = cart_service_pb2.REJECTION_REASON_INSUFFICIENT_STOCK
                raise Refusal(reason, "nothing of it is in stock", available=0)
            result = await self._talk.change("adjustOrderLine", line=line_id, quantity=steps)
        except Refused as error:
            if error.code != "USER_INPUT_ERROR":
                raise
            reason = cart_service_pb2.REJECTION_REASON_LINE_NOT_FOUND
            raise Refusal(reason, "the cart has no such line", native_code=error.code) from error
        await self._accepted(result, sku, steps)
        return line_id

    async def _accepted(self, result: Json, sku: str, steps: int) -> Json:
        """The order after a change of quantity; raises Refusal once whatever Vendure did of it is undone."""
        code = result.get("errorCode")
        if code is None:
            return result
        if code == "ORDER_LIMIT_ERROR":
            line = line_with(self._before, sku)
            others = sum(lines_of(self._before).values()) - (line["quantity"] if line is not None else 0)
            reason = cart_service_pb2.REJECTION_REASON_QUANTITY_LIMIT
            available = max(result["maxItems"] - others, 0)
            raise Refusal(reason, result["message"], native_code=code, available=available)
        after = result.get("order") or await self._talk.order()
        await self._restore(after)
        if code != "INSUFFICIENT_STOCK_ERROR":
            raise _refusal(result)
        # The whole line has what could be had of it, whichever way it was asked for.
        line = line_with(after, sku)
        raise Refusal(
            cart_service_pb2.REJECTION_REASON_INSUFFICIENT_STOCK,
            f"{steps} are not in stock",
            native_code=code,
            available=line["quantity"] if line is not None else 0,
        )

    async def _restore(self, after: Json) -> None:
        """Bring the order back from `after` to what it was before; Failure with an unknown effect if it will not go."""
        was, delivery = lines_of(self._before), delivery_ids(self._before)
        for line_id in lines_of(after).keys() - was.keys():
            after = await self._undo("removeOrderLine", line=line_id)
        for line_id, quantity in was.items():
            if lines_of(after).get(line_id) != quantity:
                after = await self._undo("adjustOrderLine", line=line_id, quantity=quantity)
        if delivery and delivery_ids(after) != delivery:
            # On the way the order may have been one that the chosen option is not for.
            after = await self._undo("setOrderShippingMethod", methods=delivery)
        if lines_of(after) != was or delivery_ids(after) != delivery:
            raise _not_undone()

    async def _undo(self, field: str, **variables: Any) -> Json:
        try:
            result = await self._talk.change(field, **variables)
        except Refused as error:
            raise _not_undone() from error
        if "errorCode" in result:
            raise _not_undone()
        return result

    async def _set_email(self, email: str) -> None:
        if "@" not in email:
            # Vendure itself would take any text.
            raise Refusal(cart_service_pb2.REJECTION_REASON_INVALID_FIELD, "email: is no address")
        # Vendure needs names, and gives them to every guest with this address.
        first, last = next(iter(self._notebook.names.values()), ("", ""))
        await self._simply("setCustomerForOrder", input={"emailAddress": email, "firstName": first, "lastName": last})

    async def _set_address(self, wanted: cart_intent_pb2.SetAddress) -> None:
        address = wanted.address
        field = _ADDRESS_CHANGES.get(wanted.purpose)
        if field is None:
            raise Failure(grpc.StatusCode.INVALID_ARGUMENT, "set_address.purpose must be SHIPPING or BILLING")
        reason = cart_service_pb2.REJECTION_REASON_INVALID_FIELD
        if not address.street or not address.city or not address.country:
            # Vendure itself would take an address without.
            raise Refusal(reason, "address: street, city and country are required")
        try:
            await self._simply(field, input=address_input(address))
        except Refused as error:
            if error.code != "USER_INPUT_ERROR":
                raise
            message = "address.country: is none that Vendure serves"
            raise Refusal(reason, message, native_code=error.code) from error

    async def _set_delivery_option(self, option_id: str) -> None:
        after = await self._simply("setOrderShippingMethod", methods=[option_id])
        if option_id not in delivery_ids(after):
            # An order without lines takes any option and keeps none.
            reason = cart_service_pb2.REJECTION_REASON_DELIVERY_OPTION_INVALID
            raise Refusal(reason, "Vendure does not keep a delivery option for this cart")


def fulfilled(order: Json, request: cart_service_pb2.ApplyCommandRequest) -> tuple[bool, str]:
    """Whether the whole order is as the command wants it, and the line concerned."""
    intent, target = request.intent, request.line_target
    match intent.WhichOneof("intent"):
        case "add_line":
            line = line_with(order, target.sku)
            return (line is not None and line["quantity"] == target.steps), line["id"] if line is not None else ""
        case "set_line_quantity" | "remove_line":
            steps = lines_of(order).get(target.line_id, 0)
            return steps == target.steps, target.line_id if steps else ""
        case "add_discount_code":
            return find_code(order, intent.add_discount_code.code) is not None, ""
        case "remove_discount_code":
            return find_code(order, intent.remove_discount_code.code) is None, ""
        case "set_email":
            customer = order["customer"] or {}
            return customer.get("emailAddress", "").casefold() == intent.set_email.email.casefold(), ""
        case "set_address":
            return _has_address(order, intent.set_address), ""
        case "set_delivery_option":
            return intent.set_delivery_option.option_id in delivery_ids(order), ""
        case "set_note":
            note = (order.get("customFields") or {}).get("note") or ""
            return note == intent.set_note.note, ""
    return False, ""


def remember(notebook: Notebook, intent: cart_intent_pb2.CartIntent) -> None:
    """Write down what Vendure will not tell of a wish that was fulfilled."""
    if intent.HasField("set_address"):
        notebook.keep_names(intent.set_address.purpose, intent.set_address.address)
    elif intent.HasField("set_delivery_option"):
        notebook.delivery = intent.set_delivery_option.option_id


def _has_address(order: Json, wanted: cart_intent_pb2.SetAddress) -> bool:
    present: Mapping[str, Any] = order[_ADDRESS_FIELDS[wanted.purpose]] or {}
    return all((present.get(field) or "") == text for field, text in _address_items(wanted.address))


def _address_items(address: address_pb2.Address) -> Iterable[tuple[str, str]]:
    return address_input(address).items()


def _check_unit(quantity: quantity_pb2.Quantity) -> None:
    if quantity.unit or quantity.scale:
        raise Refusal(cart_service_pb2.REJECTION_REASON_INVALID_FIELD, "quantity: everything is sold by the piece")


def _refusal(result: Json) -> Refusal:
    code = result["errorCode"]
    reason = _REASONS.get(code, cart_service_pb2.REJECTION_REASON_UNSPECIFIED)
    return Refusal(reason, str(result.get("message", ""))[:300], native_code=code)


def _unknown_sku() -> Refusal:
    return Refusal(cart_service_pb2.REJECTION_REASON_UNKNOWN_SKU, "the catalog has no such sku")


def _not_undone() -> Failure:
    return Failure(grpc.StatusCode.UNKNOWN, "Vendure refused, changed the cart all the same, and it cannot be undone")
