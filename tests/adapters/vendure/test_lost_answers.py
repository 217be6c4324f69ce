"""Answers that never come: what became of the command is found out, and nothing happens twice."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import cart_service_pb2
from legato.commerce.v1 import cart_pb2
from legato_adapters.conformance.cart_user import CartUser, comparable
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.vendure import carts
from legato_adapters.vendure.admin import VendureAdmin
from tests.adapters.tried import VENDURE
from tests.support.http_proxy import Forward, HttpProxy, Reply, lose_answer, lose_request

Code = grpc.StatusCode
APPLIED = cart_service_pb2.RESOLUTION_APPLIED
NOT_APPLIED = cart_service_pb2.RESOLUTION_NOT_APPLIED

ADDRESS = {"first_name": "Ada", "last_name": "Berg", "street": "Lindenweg 1", "city": "Graz", "country": "AT"}


@pytest.fixture(autouse=True)
def _settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carts, "_SETTLE_S", 1.0)  # Longer than a busy machine takes to ask too early.


async def lost(user: CartUser, request: cart_service_pb2.ApplyCommandRequest, timeout: float = 20.0) -> Code:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await user.send(request, timeout=timeout)
    assert ("legato-effect", "none") not in tuple(caught.value.trailing_metadata() or ())
    return caught.value.code()


async def resolved(
    user: CartUser, request: cart_service_pb2.ApplyCommandRequest
) -> cart_service_pb2.ResolveCommandResponse:
    """Ask as the hub does: again when the adapter cannot tell yet."""
    while True:
        try:
            return await user.resolve(request)
        except grpc.aio.AioRpcError as error:
            if error.code() is not Code.UNAVAILABLE:
                raise


LINES: dict[str, tuple[str, dict[str, Any]]] = {
    "new line": ("addItemToOrder", {"add_line": {"sku": "PAPER-01", "quantity": {"steps": 4}}}),
    "more": ("adjustOrderLine", {"add_line": {"sku": "PAPER-02", "quantity": {"steps": 4}}}),
    "set": ("adjustOrderLine", {"set_line_quantity": {"line": {"line_id": "?"}, "quantity": {"steps": 1}}}),
    "remove": ("removeOrderLine", {"remove_line": {"line": {"line_id": "?"}}}),
}
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "code": ("applyCouponCode", {"add_discount_code": {"code": "ROAST10"}}),
    "code withdrawn": ("removeCouponCode", {"remove_discount_code": {"code": "espresso20"}}),
    "email": ("setCustomerForOrder", {"set_email": {"email": "Ada@Example.com"}}),
    "shipping": ("setOrderShippingAddress", {"set_address": {"purpose": 1, "address": ADDRESS}}),
    "billing": ("setOrderBillingAddress", {"set_address": {"purpose": 2, "address": ADDRESS}}),
    "delivery": ("setOrderShippingMethod", {"set_delivery_option": {"option_id": "2"}}),
    "note": ("setOrderCustomFields", {"set_note": {"note": "Ring twice"}}),
}
BOTH = {**LINES, **OTHERS}


async def begun(user: CartUser, name: str) -> tuple[str, cart_service_pb2.ApplyCommandRequest]:
    """A cart with something in it, and the command."""
    line = (await user.add("PAPER-02", 2)).line_id
    await user.apply(add_discount_code={"code": "ESPRESSO20"})
    operation, intent = BOTH[name]
    if name in {"set", "remove"}:
        intent = {kind: {**wish, "line": {"line_id": line}} for kind, wish in intent.items()}
    return operation, user.call(**intent)


@pytest.mark.parametrize("name", BOTH)
async def test_an_answer_lost_behind_a_committed_change(
    user: CartUser, proxy: HttpProxy, admin: VendureAdmin, name: str
) -> None:
    operation, request = await begun(user, name)
    order = user.cart.refs[0].key
    before = comparable(user.cart)
    proxy.on(operation, lose_answer)
    assert await lost(user, request) is Code.UNKNOWN
    found = await resolved(user, request)
    assert found.resolution == APPLIED
    assert comparable(found.response.cart) != before
    in_vendure = await admin.quantities(order)

    # A hub that would go on all the same does no harm: the answer is the one that was lost.
    user.adapter_state = found.response.adapter_state
    request.adapter_state = found.response.adapter_state
    again = await user.send(request)
    assert not again.HasField("rejection")
    assert comparable(again.cart) == comparable(found.response.cart)
    assert again.line_id == found.response.line_id
    assert await admin.quantities(order) == in_vendure
    expected = {
        "new line": {"PAPER-02": 2, "PAPER-01": 4},
        "more": {"PAPER-02": 6},
        "set": {"PAPER-02": 1},
        "remove": {},
    }
    assert in_vendure == expected.get(name, {"PAPER-02": 2})


@pytest.mark.parametrize("name", BOTH)
async def test_a_request_that_was_lost_before_vendure_saw_it(user: CartUser, proxy: HttpProxy, name: str) -> None:
    operation, request = await begun(user, name)
    before = comparable(user.cart)
    proxy.on(operation, lose_request)
    assert await lost(user, request) is Code.UNKNOWN
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await user.resolve(request)
    assert caught.value.code() is Code.UNAVAILABLE, "Vendure might still be executing it"
    found = await resolved(user, request)
    assert found.resolution == NOT_APPLIED
    assert comparable(found.response.cart) == before
    response = await user.send(request)
    assert not response.HasField("rejection")
    assert comparable(response.cart) != before


async def test_an_answer_lost_behind_the_last_read(user: CartUser, proxy: HttpProxy, admin: VendureAdmin) -> None:
    """The change itself was confirmed, the cart after it could not be read."""
    request = user.call(add_line={"sku": "PAPER-01", "quantity": {"steps": 4}})
    proxy.on("activeOrder", _through, lose_answer)
    assert await lost(user, request) is Code.UNKNOWN
    found = await resolved(user, request)
    assert found.resolution == APPLIED
    assert await admin.quantities(user.cart.refs[0].key) == {"PAPER-01": 4}


async def test_a_lost_cancellation(user: CartUser, proxy: HttpProxy) -> None:
    await user.add("PAPER-02", 2)
    request = user.call(cancel_cart={})
    proxy.on("transitionOrderToState", lose_answer)
    assert await lost(user, request) is Code.UNKNOWN
    found = await resolved(user, request)
    assert found.resolution == APPLIED
    assert found.response.cart.state == cart_pb2.CART_STATE_CANCELED
    again = await user.send(request)
    assert not again.HasField("rejection")
    assert again.cart.state == cart_pb2.CART_STATE_CANCELED
    assert proxy.seen.count("transitionOrderToState") == 1
    user.adapter_state = found.response.adapter_state
    assert (await user.read())[0].state == cart_pb2.CART_STATE_CANCELED
    rejection = await user.refused(add_line={"sku": "PAPER-02", "quantity": {"steps": 1}})
    assert rejection.reason == cart_service_pb2.REJECTION_REASON_CART_NOT_ACTIVE


async def test_a_lost_creation_is_simply_made_again(stubs: Stubs, proxy: HttpProxy) -> None:
    user = CartUser(stubs.cart, VENDURE.context())
    request = user.call(create_cart={})
    proxy.on("removeAllOrderLines", lose_answer)
    assert await lost(user, request) is Code.UNKNOWN
    found = await resolved(user, request)
    assert found.resolution == NOT_APPLIED
    assert not found.response.HasField("cart")
    await user.send(request)
    await user.add("PAPER-01", 4)
    assert await user.steps() == {"PAPER-01": 4}


async def _through(forward: Forward) -> Reply:
    return await forward()


class Held:
    """A rule that keeps a request until it is released, and tells when it has come."""

    def __init__(self, *, answer: bool = False) -> None:
        self.come = asyncio.Event()
        self.released = asyncio.Event()
        self._answer = answer

    async def __call__(self, forward: Forward) -> Reply:
        reply = await forward() if self._answer else None
        self.come.set()
        await self.released.wait()
        return reply or await forward()


async def test_a_deadline_ends_the_waiting_and_not_the_work(user: CartUser, proxy: HttpProxy) -> None:
    await user.add("PAPER-02", 2)
    request = user.call(add_line={"sku": "PAPER-01", "quantity": {"steps": 4}})
    held = Held()
    proxy.on("addItemToOrder", held)
    assert await lost(user, request, timeout=0.5) is Code.DEADLINE_EXCEEDED
    await held.come.wait()
    resolving = asyncio.create_task(user.resolve(request))
    await asyncio.wait([resolving], timeout=0.1)
    assert not resolving.done(), "the change is still under way"
    held.released.set()
    assert (await resolving).resolution == APPLIED
    assert await user.steps() == {"PAPER-02": 2, "PAPER-01": 4}


async def test_a_deadline_in_the_middle_of_a_refusal_leaves_no_half_of_it(
    user: CartUser, proxy: HttpProxy, admin: VendureAdmin
) -> None:
    """Vendure has put in what is left, and the caller is gone before that is undone."""
    await user.add("PAPER-02", 2)
    before, order = comparable(user.cart), user.cart.refs[0].key
    request = user.call(add_line={"sku": "KEN-250-BEAN", "quantity": {"steps": 7}})
    held = Held(answer=True)
    proxy.on("addItemToOrder", held)
    assert await lost(user, request, timeout=0.5) is Code.DEADLINE_EXCEEDED
    await held.come.wait()
    assert await admin.quantities(order) == {"PAPER-02": 2, "KEN-250-BEAN": 5}
    resolving = asyncio.create_task(user.resolve(request))
    held.released.set()
    found = await resolving
    assert found.resolution == NOT_APPLIED
    assert comparable(found.response.cart) == before
    assert await admin.quantities(order) == {"PAPER-02": 2}


async def test_a_change_is_not_begun_after_the_deadline(user: CartUser, proxy: HttpProxy) -> None:
    request = user.call(add_line={"sku": "PAPER-01", "quantity": {"steps": 4}})
    held = Held()
    proxy.on("activeOrder", held)
    assert await lost(user, request, timeout=0.3) is Code.DEADLINE_EXCEEDED
    held.released.set()
    assert (await resolved(user, request)).resolution == NOT_APPLIED
    assert "addItemToOrder" not in proxy.seen


async def test_an_earlier_try_that_comes_late_is_not_added_to_the_next(
    user: CartUser, proxy: HttpProxy, admin: VendureAdmin
) -> None:
    """Putting in something new is the one change that would count twice."""
    request = user.call(add_line={"sku": "PAPER-01", "quantity": {"steps": 4}})
    late: list[Forward] = []

    async def keep(forward: Forward) -> None:
        late.append(forward)

    async def overtaken(forward: Forward) -> Reply:
        await late[0]()
        return await forward()

    proxy.on("addItemToOrder", keep, overtaken)
    assert await lost(user, request) is Code.UNKNOWN
    assert (await resolved(user, request)).resolution == NOT_APPLIED
    response = await user.send(request)
    (line,) = response.cart.lines
    assert (line.id, line.quantity.steps) == (response.line_id, 4)
    assert await admin.quantities(response.cart.refs[0].key) == {"PAPER-01": 4}
