"""The adapter's parts on their own, where a real server would not play along."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import grpc
import pytest

from legato.adapter.v1 import cart_service_pb2
from legato.commerce.v1 import cart_intent_pb2, cart_pb2, line_item_pb2
from legato_adapters.http.errors import Failure
from legato_adapters.http.lanes import Lanes
from legato_adapters.vendure import notebook as notebook_module
from legato_adapters.vendure import skus as skus_module
from legato_adapters.vendure.api import Answer, Refused, VendureApi
from legato_adapters.vendure.conversation import Conversation, Json
from legato_adapters.vendure.intents import Change, Refusal
from legato_adapters.vendure.notebook import Notebook
from legato_adapters.vendure.skus import Sku, Skus

# Undoing


def order(lines: Mapping[str, int], delivery: str = "", *, sku: str = "") -> dict[str, Any]:
    return {
        "id": "1",
        "state": "AddingItems",
        "couponCodes": [],
        "shippingLines": [{"shippingMethod": {"id": delivery}}] if delivery else [],
        "lines": [
            {
                "id": line_id,
                "quantity": quantity,
                "productVariant": {"sku": sku or f"SKU-{line_id}", "stockLevel": "IN_STOCK"},
            }
            for line_id, quantity in lines.items()
        ],
    }


def refusing(code: str, after: Json | None = None, **more: Any) -> dict[str, Any]:
    return {"errorCode": code, "message": "no", **({"order": after} if after is not None else {}), **more}


class ScriptedTalk:
    """Answers changes as it was told to, in order."""

    def __init__(self, *script: Json | Exception, reads: Json | None = None) -> None:
        self._script = list(script)
        self._reads = reads
        self.changes: list[tuple[str, dict[str, Any]]] = []

    async def order(self) -> Json:
        assert self._reads is not None
        return self._reads

    async def change(self, field: str, **variables: Any) -> Json:
        self.changes.append((field, variables))
        answer = self._script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class KnownSkus:
    """Finds each sku as a variant of its name."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []

    async def find(self, skus: list[str], deadline: float | None) -> dict[str, Sku]:
        return {sku: Sku(f"{sku}/{len(self.forgotten)}", "1") for sku in skus}

    def forget(self, sku: str) -> None:
        self.forgotten.append(sku)


async def execute(
    talk: ScriptedTalk, before: Json, request: cart_service_pb2.ApplyCommandRequest, skus: KnownSkus | None = None
) -> str:
    notes = Notebook("acme", "cart", "token", "1", "CODE")
    change = Change(cast(Conversation, talk), cast(Skus, skus or KnownSkus()), None, notes, before)
    return await change.execute(request)


def setting(line_id: str, steps: int) -> cart_service_pb2.ApplyCommandRequest:
    return cart_service_pb2.ApplyCommandRequest(
        intent=cart_intent_pb2.CartIntent(set_line_quantity=cart_intent_pb2.SetLineQuantity()),
        line_target=cart_service_pb2.LineTarget(line_id=line_id, sku=f"SKU-{line_id}", steps=steps),
    )


def adding(sku: str, steps: int) -> cart_service_pb2.ApplyCommandRequest:
    request = cart_service_pb2.ApplyCommandRequest(
        line_target=cart_service_pb2.LineTarget(sku=sku, steps=steps),
    )
    request.intent.add_line.sku = sku
    request.intent.add_line.quantity.steps = steps
    return request


async def test_a_delivery_option_that_flipped_on_the_way_is_chosen_again() -> None:
    before = order({"7": 5}, "free")
    talk = ScriptedTalk(
        refusing("INSUFFICIENT_STOCK_ERROR", order({"7": 8}, "pickup")),
        order({"7": 5}, "pickup"),
        before,
    )
    with pytest.raises(Refusal) as caught:
        await execute(talk, before, setting("7", 9))
    assert caught.value.rejection.available_steps == 8
    assert talk.changes == [
        ("adjustOrderLine", {"line": "7", "quantity": 9}),
        ("adjustOrderLine", {"line": "7", "quantity": 5}),
        ("setOrderShippingMethod", {"methods": ["free"]}),
    ]


SHORT = refusing("INSUFFICIENT_STOCK_ERROR", order({"7": 3}, "pickup"))


@pytest.mark.parametrize(
    "script",
    [
        [SHORT, SHORT],
        [SHORT, order({"7": 5}, "pickup"), refusing("INELIGIBLE_SHIPPING_METHOD_ERROR")],
        [SHORT, order({"7": 5}, "pickup"), order({"7": 5}, "pickup")],
        [SHORT, order({"7": 5, "8": 1}, "free")],
        [refusing("INSUFFICIENT_STOCK_ERROR", order({}, "free")), Refused("USER_INPUT_ERROR", "")],
    ],
)
async def test_an_undo_that_fails_is_an_unknown_effect(script: list[Json | Exception]) -> None:
    with pytest.raises(Failure) as caught:
        await execute(ScriptedTalk(*script), order({"7": 5}, "free"), setting("7", 9))
    assert caught.value.code is grpc.StatusCode.UNKNOWN
    assert not caught.value.trailing


async def test_a_refusal_of_a_kind_that_is_not_known() -> None:
    """An installation may have its own; whether it changed anything is looked up and undone."""
    talk = ScriptedTalk(refusing("ORDER_INTERCEPTOR_ERROR"), order({}), reads=order({"7": 1}))
    with pytest.raises(Refusal) as caught:
        await execute(talk, order({}), adding("SKU-7", 2))
    assert caught.value.rejection.reason == cart_service_pb2.REJECTION_REASON_UNSPECIFIED
    assert caught.value.rejection.native_code == "ORDER_INTERCEPTOR_ERROR"
    assert talk.changes[1:] == [("removeOrderLine", {"line": "7"})]


async def test_a_variant_that_has_another_sku_now() -> None:
    talk = ScriptedTalk(order({"7": 2}, sku="OTHER"), order({}))
    skus = KnownSkus()
    with pytest.raises(Refusal) as caught:
        await execute(talk, order({}), adding("SKU-7", 2), skus)
    assert caught.value.rejection.reason == cart_service_pb2.REJECTION_REASON_UNKNOWN_SKU
    assert talk.changes[1:] == [("removeOrderLine", {"line": "7"})]
    assert skus.forgotten == ["SKU-7"]


async def test_a_variant_that_is_gone_is_looked_up_once_more() -> None:
    gone = Refused("ENTITY_NOT_FOUND", "")
    talk, skus = ScriptedTalk(gone, order({"7": 2})), KnownSkus()
    assert await execute(talk, order({}), adding("SKU-7", 2), skus) == "7"
    assert [variables["variant"] for _, variables in talk.changes] == ["SKU-7/0", "SKU-7/1"]
    with pytest.raises(Refusal) as caught:
        await execute(ScriptedTalk(gone, gone), order({}), adding("SKU-7", 2), skus)
    assert caught.value.rejection.reason == cart_service_pb2.REJECTION_REASON_UNKNOWN_SKU


@pytest.mark.parametrize(
    "target",
    [{"sku": ""}, {"steps": 1}, {"line_id": "7", "sku": "", "steps": 2}],
    ids=["no sku", "fewer than added", "no sku but a line"],
)
async def test_a_target_that_does_not_fit(target: dict[str, Any]) -> None:
    request = adding("SKU-7", 2)
    for name, value in target.items():
        setattr(request.line_target, name, value)
    talk = ScriptedTalk()
    with pytest.raises(Failure) as caught:
        await execute(talk, order({"7": 5}), request)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert not talk.changes


async def test_quantities_that_are_no_pieces() -> None:
    request = adding("SKU-7", 2)
    request.intent.add_line.quantity.unit = "kg"
    with pytest.raises(Refusal) as caught:
        await execute(ScriptedTalk(), order({}), request)
    assert caught.value.rejection.reason == cart_service_pb2.REJECTION_REASON_INVALID_FIELD


# Looking skus up


class Index:
    """Stands for the search: finds by a part of the sku."""

    def __init__(self, *skus: str) -> None:
        self._skus = skus
        self.asked: list[str] = []

    async def post(self, document: str, variables: Mapping[str, str], *, timeout: float) -> Answer:
        self.asked += variables.values()
        hits = {
            name: {
                "items": [
                    {"sku": sku, "productId": f"P-{sku}", "productVariantId": f"V-{sku}"}
                    for sku in self._skus
                    if term.casefold() in sku.casefold()
                ]
            }
            for name, term in variables.items()
        }
        return Answer(hits, "")


async def test_skus_are_found_exactly_and_remembered() -> None:
    index = Index("MUG", "MUG-BLUE", "mug")
    skus = Skus(cast(VendureApi, index))
    found = await skus.find(["MUG", "MUG-BLUE", "MUG-RED"], None)
    assert found == {"MUG": Sku("V-MUG", "P-MUG"), "MUG-BLUE": Sku("V-MUG-BLUE", "P-MUG-BLUE")}
    assert await skus.find(["MUG-BLUE", "MUG"], None) == found
    assert index.asked == ["MUG", "MUG-BLUE", "MUG-RED"]
    skus.forget("MUG")
    await skus.find(["MUG", "MUG-BLUE"], None)
    assert index.asked[3:] == ["MUG"]


async def test_what_is_remembered_is_bounded_and_grows_old(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"SKU-{number}" for number in range(10, 14)]
    index = Index(*names)
    skus = Skus(cast(VendureApi, index))
    monkeypatch.setattr(skus_module, "_KEPT", 3)
    await skus.find(names, None)
    index.asked.clear()
    await skus.find(names[1:], None)
    assert index.asked == []
    await skus.find(names[:1], None)
    assert index.asked == names[:1]
    monkeypatch.setattr(skus_module, "_FRESH_S", -1.0)
    skus.forget(names[0])
    await skus.find(names[:1], None)
    await skus.find(names[:1], None)
    assert index.asked == names[:1] * 3


# Lanes


async def test_a_change_goes_on_without_its_caller_and_others_wait() -> None:
    lanes, go, done = Lanes(1.0), asyncio.Event(), []

    async def work() -> None:
        await go.wait()
        done.append("changed")

    async def look() -> None:
        done.append("read")

    caller = asyncio.create_task(lanes.change("a", work))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    reader = asyncio.create_task(lanes.read("a", look))
    await lanes.read("b", look)
    assert done == ["read"], "another cart does not wait"
    go.set()
    await reader
    assert done == ["read", "changed", "read"]
    await lanes.close()


async def test_a_change_that_fails_without_its_caller_disturbs_nobody() -> None:
    """Warnings of exceptions that nobody took are errors in these tests."""
    lanes = Lanes(1.0)

    async def work() -> None:
        raise Failure(grpc.StatusCode.UNKNOWN, "no")

    caller = asyncio.create_task(lanes.change("a", work))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await lanes.close()


def test_only_the_cart_concerned_is_unsettled() -> None:
    lanes = Lanes(60.0)
    lanes.unsettle("a")
    assert lanes.unsettled("a")
    assert not lanes.unsettled("b")
    settled = Lanes(-1.0)
    settled.unsettle("a")
    assert not settled.unsettled("a")


# The notebook


def test_a_canceled_cart_that_is_too_large_is_kept_without_its_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    notes = Notebook("acme", "cart", "token", "1", "CODE")
    cart = cart_pb2.Cart(
        id="cart", note="kept", lines=[line_item_pb2.LineItem(id=str(number)) for number in range(999)]
    )
    notes.close(cart)
    assert Notebook.from_bytes(notes.to_bytes()).final_cart() == cart
    monkeypatch.setattr(notebook_module, "_MAX_FINAL", 100)
    notes.close(cart)
    kept = Notebook.from_bytes(notes.to_bytes()).final_cart()
    assert (kept.note, len(kept.lines)) == ("kept", 0)
