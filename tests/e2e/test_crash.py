"""A hub that dies anywhere on the write path: nothing acknowledged is lost, and no backend does anything twice.

What counts is the backend's own ledger, read past the hub.
"""

from pathlib import Path

import pytest

from legato.commerce.v1 import cart_intent_pb2, quantity_pb2
from legato.orchestrator.v1 import command_pb2, error_pb2, reads_pb2
from legato.protocol.ids import new_id
from legato_hub.core.identity import IdentityKind
from tests.support import ledger
from tests.support.hub import bearer
from tests.support.hub_process import hub_process
from tests.support.stream import Stream

SKU = "ANY"
POINTS = ["write.after_begin", "write.after_adapter", "write.after_commit"]


def add(steps: int) -> cart_intent_pb2.AddLine:
    return cart_intent_pb2.AddLine(sku=SKU, quantity=quantity_pb2.Quantity(steps=steps))


def command(cart: str, seq: int, steps: int) -> command_pb2.Command:
    made = command_pb2.Command(command_id=new_id(), resource=cart, seq=seq)
    made.cart.add_line.CopyFrom(add(steps))
    return made


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("effect_class", ["KEYED", "MARKED", "ABSOLUTE", "NONE"])
async def test_a_hub_killed_on_the_write_path(tmp_path: Path, effect_class: str, point: str) -> None:
    path = str(tmp_path / "ledger.sqlite3")
    backend = {"adapter": "tests.support.ledger:create", "options": {"path": path, "effect_class": effect_class}}
    # The third command dies: the first created the cart.
    async with hub_process(tmp_path, failpoints=f"{point}=kill@3", backend=backend) as (process, hub):
        token = hub.token(IdentityKind.TERMINAL, "till-1", "berlin")
        async with Stream(hub, token, channel="pos") as till:
            cart = await till.create_cart()
            await till.subscribe(cart)
            await till.command(cart, add_line=add(1))
            await till.until_revision(2)
            lost = command(cart, 3, 2)
            await till.send(command=lost)
            assert await process.died() == -9
            await till.end()
    async with (
        hub_process(tmp_path, backend=backend) as (_, hub),
        Stream(hub, token, client_id=till.client_id, channel="pos") as again,
    ):
        again.adopt(till)
        start = len(again.received)
        await again.subscribe(cart, since=till.cursors["s"])
        result = await again.execute(lost)
        unknown = effect_class == "NONE" and point != "write.after_commit"
        if unknown:
            assert result.outcome == command_pb2.OUTCOME_UNKNOWN
            assert result.error.reason == error_pb2.ERROR_REASON_OUTCOME_UNKNOWN
            repeat = await again.execute(lost)
            assert repeat.replayed
        else:
            assert result.outcome == command_pb2.OUTCOME_APPLIED
        # The next one goes on, and the replica, the hub and the backend agree.
        last = await again.execute(command(cart, 4, 4))
        assert last.outcome == command_pb2.OUTCOME_APPLIED
        await again.until_revision(last.cursor.revision)
        assert "snapshot" not in again.kinds(start)
        in_backend = ledger.steps(path, cart.removeprefix("carts/"))
        assert again.lines() == in_backend
        assert in_backend[SKU] & 5 == 5
        if not unknown:
            assert in_backend == {SKU: 7}
        assert set(ledger.effects(path).values()) == {1}
        assert (lost.command_id in ledger.effects(path)) == (not unknown or point != "write.after_begin")


@pytest.mark.parametrize("effect_class", ["MARKED", "ABSOLUTE"])
async def test_a_client_that_never_comes_back_after_the_crash(tmp_path: Path, effect_class: str) -> None:
    """Nobody repeats the command: the hub finds its slot by itself, and everybody else sees the effect."""
    path = str(tmp_path / "ledger.sqlite3")
    backend = {"adapter": "tests.support.ledger:create", "options": {"path": path, "effect_class": effect_class}}
    async with hub_process(tmp_path, failpoints="write.after_adapter=kill@2", backend=backend) as (process, hub):
        token = hub.token(IdentityKind.TERMINAL, "till-1", "berlin")
        async with Stream(hub, token, channel="pos") as till:
            cart = await till.create_cart()
            await till.send(command=command(cart, 2, 8))
            assert await process.died() == -9
    async with hub_process(tmp_path, backend=backend) as (_, hub), Stream(hub, token, channel="pos") as other:
        await other.subscribe(cart)
        await other.until_revision(2)
        assert other.lines() == ledger.steps(path, cart.removeprefix("carts/")) == {SKU: 8}


async def test_a_repeat_is_not_refused_because_of_its_own_effect(tmp_path: Path) -> None:
    """The hub that died had called the backend, and the next one has read the effect before the repeat comes."""
    path = str(tmp_path / "ledger.sqlite3")
    backend = {"adapter": "tests.support.ledger:create", "options": {"path": path, "effect_class": "KEYED"}}
    async with hub_process(tmp_path, failpoints="write.after_adapter=kill@2", backend=backend) as (process, hub):
        token = hub.token(IdentityKind.TERMINAL, "till-1", "berlin")
        async with Stream(hub, token, channel="pos") as till:
            cart = await till.create_cart()
            await till.subscribe(cart)
            lost = command(cart, 2, 8)
            lost.expected.CopyFrom(till.cursors["s"])
            lost.on_conflict = command_pb2.CONFLICT_POLICY_FAIL
            await till.send(command=lost)
            assert await process.died() == -9
    async with (
        hub_process(tmp_path, backend=backend) as (_, hub),
        Stream(hub, token, client_id=till.client_id, channel="pos") as again,
    ):
        await again.subscribe(cart)
        await again.until_revision(2)
        assert again.lines() == {SKU: 8}
        lost.resent = True
        assert (await again.execute(lost)).outcome == command_pb2.OUTCOME_APPLIED
        # One that the backend has never seen is refused all the same, repeat or not.
        other = command(cart, 3, 1)
        other.expected.CopyFrom(lost.expected)
        other.on_conflict, other.resent = command_pb2.CONFLICT_POLICY_FAIL, True
        assert (await again.execute(other)).error.reason == error_pb2.ERROR_REASON_REVISION_MISMATCH
        assert set(ledger.effects(path).values()) == {1}
        assert again.lines() == ledger.steps(path, cart.removeprefix("carts/")) == {SKU: 8}


async def test_a_killed_hub_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    """On the reference adapter, with the hub killed between one command and the next."""
    async with hub_process(tmp_path) as (process, hub):
        token = hub.token(IdentityKind.TERMINAL, "till-1", "berlin")
        async with Stream(hub, token, channel="pos") as till:
            cart = await till.create_cart()
            acknowledged = 0
            for power in range(8):
                result = await till.command(
                    cart,
                    add_line=cart_intent_pb2.AddLine(sku="PEG-ALU", quantity=quantity_pb2.Quantity(steps=1 << power)),
                )
                assert result.outcome == command_pb2.OUTCOME_APPLIED
                acknowledged |= 1 << power
            process.process.kill()
            await process.died()
    async with hub_process(tmp_path) as (_, hub):
        answer = await hub.stub.GetCart(reads_pb2.GetCartRequest(resource=cart), metadata=bearer(token))
        assert [line.quantity.steps for line in answer.cart.lines] == [acknowledged]
