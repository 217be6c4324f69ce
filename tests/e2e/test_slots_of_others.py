"""Whether a slot was abandoned is not a matter of wall clocks: those of two hubs may be hours apart."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from legato.adapter.v1 import cart_service_pb2 as pb
from legato.commerce.v1 import cart_intent_pb2, quantity_pb2
from legato.orchestrator.v1 import command_pb2, error_pb2
from legato.protocol.ids import new_id
from legato_hub import cart_commands
from legato_hub.clock import now_ms
from legato_hub.storage.base import Claim, CommandKey, Fresh
from tests.e2e.test_notebooks import add, till, two_hubs
from tests.support import ledger, wayward

HOURS_MS = 3 * 3_600_000


def wish(cart: str, seq: int, steps: int, timeout_s: int) -> command_pb2.Command:
    made = command_pb2.Command(command_id=new_id(), resource=cart, seq=seq)
    made.cart.add_line.CopyFrom(add(steps))
    made.timeout.FromSeconds(timeout_s)
    return made


async def test_a_command_that_runs_is_not_resolved_by_a_hub_whose_clock_is_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        two_hubs(tmp_path, "ABSOLUTE") as (one, two),
        till(one, "till-1") as first,
        till(two, "till-2") as second,
    ):
        cart = await first.create_cart()
        await second.subscribe(cart)
        adapter = wayward.of(one)
        called, answered = asyncio.Event(), asyncio.Event()

        async def slow(request: pb.ApplyCommandRequest, context: Any) -> pb.ApplyCommandResponse:
            called.set()
            await answered.wait()
            return await super(wayward.Wayward, adapter).ApplyCommand(request, context)

        adapter.instead["ApplyCommand"] = slow
        running = asyncio.create_task(first.execute(wish(cart, 2, 2, 10)))
        await called.wait()
        monkeypatch.setattr(cart_commands, "now_ms", lambda: now_ms() + HOURS_MS)
        waiting = wish(cart, 1, 5, 1)
        assert (await second.execute(waiting)).error.reason == error_pb2.ERROR_REASON_RESOURCE_BUSY
        assert "ResolveCommand" not in wayward.of(two).calls
        answered.set()
        assert (await running).outcome == command_pb2.OUTCOME_APPLIED
        assert (await second.execute(waiting)).outcome == command_pb2.OUTCOME_APPLIED
        assert ledger.steps(str(tmp_path / "ledger.sqlite3"), cart.removeprefix("carts/")) == {"ANY": 7}


async def test_a_slot_of_a_dead_hub_whose_clock_was_ahead_is_resolved(tmp_path: Path) -> None:
    async with (
        two_hubs(tmp_path, "MARKED", timeout_ms=500, slot_seconds=0.5) as (one, two),
        till(two, "till-2") as till_2,
    ):
        cart = await till_2.create_cart()
        intent = cart_intent_pb2.AddLine(sku="ANY", quantity=quantity_pb2.Quantity(steps=9))
        call = pb.ApplyCommandRequest(cart_id=cart.removeprefix("carts/"), command_id=new_id())
        call.intent.add_line.CopyFrom(intent)
        # As a hub claims it that dies before it calls.
        key = CommandKey(call.command_id, b"body", new_id(), 1)
        until = now_ms() + HOURS_MS
        claim = Claim(cart, key, 1, now_ms(), call=call.SerializeToString(), slot_until=until)
        assert isinstance(await one.hub._storage.begin(claim), Fresh)
        assert (await till_2.execute(wish(cart, 2, 1, 20))).outcome == command_pb2.OUTCOME_APPLIED
        assert ledger.steps(str(tmp_path / "ledger.sqlite3"), cart.removeprefix("carts/")) == {"ANY": 1}
