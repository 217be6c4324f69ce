"""Adapters that break their contract: the command ends in time, the cart stays usable, the notebook is kept."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest

from legato.adapter.v1 import cart_service_pb2 as pb
from legato.commerce.v1 import cart_intent_pb2, cart_pb2, quantity_pb2
from legato.orchestrator.v1 import command_pb2, error_pb2
from legato.protocol.entities import assemble_cart
from legato.protocol.ids import new_id
from legato_hub.core.identity import IdentityKind
from tests.support import wayward
from tests.support.hub import RunningHub, hub_config, running_hub
from tests.support.ledger import Ledger
from tests.support.stream import Stream

SKU = "ANY"
CLASSES = ["KEYED", "MARKED", "ABSOLUTE", "NONE"]


def put_in(cart: str, seq: int, steps: int, timeout_ms: int = 10_000) -> command_pb2.Command:
    command = command_pb2.Command(command_id=new_id(), resource=cart, seq=seq)
    command.timeout.FromMilliseconds(timeout_ms)
    command.cart.add_line.CopyFrom(cart_intent_pb2.AddLine(sku=SKU, quantity=quantity_pb2.Quantity(steps=steps)))
    return command


def config_of(folder: Path, effect_class: str, **server: Any) -> Any:
    backend = wayward.backend(str(folder / "ledger.sqlite3"), effect_class)
    return hub_config(folder, backends={"wayward": backend}, cart="wayward", **server)


def till_of(hub: RunningHub) -> Stream:
    return Stream(hub, hub.token(IdentityKind.TERMINAL, "till-1", "berlin"), channel="pos")


def ending_in(code: grpc.StatusCode) -> wayward.Hook:
    async def fail(_: Any, context: Any) -> None:
        await context.abort(code, "as told")

    return fail


@pytest.mark.parametrize("effect_class", CLASSES)
async def test_a_backend_that_always_finds_the_version_old(tmp_path: Path, effect_class: str) -> None:
    async with running_hub(config_of(tmp_path, effect_class)) as hub, till_of(hub) as till:
        cart = await till.create_cart()
        adapter = wayward.of(hub)
        adapter.instead["ApplyCommand"] = ending_in(grpc.StatusCode.FAILED_PRECONDITION)
        command = put_in(cart, 2, 1, timeout_ms=300)
        result = await till.execute(command)
        assert result.outcome == command_pb2.OUTCOME_NOT_ACCEPTED
        assert result.error.reason == error_pb2.ERROR_REASON_RESOURCE_BUSY
        # Not as fast as it can: the backend is in trouble already.
        assert adapter.calls.count("ApplyCommand") < 20
        del adapter.instead["ApplyCommand"]
        command.timeout.FromMilliseconds(10_000)
        assert (await till.execute(command)).outcome == command_pb2.OUTCOME_APPLIED


@pytest.mark.parametrize("effect_class", CLASSES)
async def test_a_backend_that_cannot_be_read_after_an_old_version(tmp_path: Path, effect_class: str) -> None:
    async with running_hub(config_of(tmp_path, effect_class)) as hub, till_of(hub) as till:
        cart = await till.create_cart()
        adapter = wayward.of(hub)
        adapter.instead["ApplyCommand"] = ending_in(grpc.StatusCode.FAILED_PRECONDITION)
        adapter.instead["GetCart"] = ending_in(grpc.StatusCode.UNAVAILABLE)
        command = put_in(cart, 2, 1)
        result = await till.execute(command)
        assert result.outcome == command_pb2.OUTCOME_NOT_ACCEPTED
        assert result.error.reason == error_pb2.ERROR_REASON_BACKEND_UNAVAILABLE
        adapter.instead.clear()
        # No slot was left behind: nothing had to be resolved.
        assert (await till.execute(command)).outcome == command_pb2.OUTCOME_APPLIED
        assert "ResolveCommand" not in adapter.calls


@pytest.mark.parametrize("effect_class", ["MARKED", "ABSOLUTE", "NONE"])
async def test_a_bare_answer_does_not_empty_the_notebook(tmp_path: Path, effect_class: str) -> None:
    async with running_hub(config_of(tmp_path, effect_class)) as hub, till_of(hub) as till:
        cart = await till.create_cart()
        adapter = wayward.of(hub)
        notebooks: list[bytes] = []

        async def with_notebook(request: pb.ApplyCommandRequest, context: Any) -> pb.ApplyCommandResponse:
            notebooks.append(request.adapter_state)
            answer = await Ledger.ApplyCommand(adapter, request, context)
            answer.adapter_state = b"the backend's session"
            return answer

        async def rejected(request: pb.ApplyCommandRequest, context: Any) -> pb.ApplyCommandResponse:
            return pb.ApplyCommandResponse(rejection=pb.Rejection(message="no"))

        async def nobody_knows(request: pb.ResolveCommandRequest, context: Any) -> pb.ResolveCommandResponse:
            return pb.ResolveCommandResponse(resolution=pb.RESOLUTION_UNKNOWN)

        adapter.instead["ApplyCommand"] = with_notebook
        await till.execute(put_in(cart, 2, 1))
        adapter.instead["ApplyCommand"] = rejected
        assert (await till.execute(put_in(cart, 3, 2))).outcome == command_pb2.OUTCOME_REJECTED
        adapter.instead["ApplyCommand"] = ending_in(grpc.StatusCode.INTERNAL)
        adapter.instead["ResolveCommand"] = nobody_knows
        assert (await till.execute(put_in(cart, 4, 4))).outcome == command_pb2.OUTCOME_UNKNOWN
        adapter.instead["ApplyCommand"] = with_notebook
        assert (await till.execute(put_in(cart, 5, 8))).outcome == command_pb2.OUTCOME_APPLIED
        assert notebooks == [b"", b"the backend's session"]


@pytest.mark.parametrize("effect_class", ["MARKED", "ABSOLUTE"])
async def test_a_refresh_does_not_take_back_what_was_resolved_meanwhile(tmp_path: Path, effect_class: str) -> None:
    async with running_hub(config_of(tmp_path, effect_class)) as hub, till_of(hub) as till:
        cart = await till.create_cart()
        await till.execute(put_in(cart, 2, 1))
        await till.subscribe(cart)
        adapter = wayward.of(hub)
        reading, go_on, resolving, resolve = (asyncio.Event() for _ in range(4))

        async def applied_and_lost(request: pb.ApplyCommandRequest, context: Any) -> None:
            await Ledger.ApplyCommand(adapter, request, context)
            await context.abort(grpc.StatusCode.INTERNAL, "the answer is lost")

        async def slow_read(request: pb.GetCartRequest, context: Any) -> pb.GetCartResponse:
            before = cart_pb2.Cart(id=request.cart_id, state=cart_pb2.CART_STATE_ACTIVE)
            before.lines.add(id=f"line-{SKU}", sku=SKU).quantity.steps = 1  # and no version that would tell
            reading.set()
            await go_on.wait()
            return pb.GetCartResponse(cart=before)

        async def slow_resolve(request: pb.ResolveCommandRequest, context: Any) -> pb.ResolveCommandResponse:
            resolving.set()
            await resolve.wait()
            return await Ledger.ResolveCommand(adapter, request, context)

        adapter.instead.update(ApplyCommand=applied_and_lost, GetCart=slow_read, ResolveCommand=slow_resolve)
        # The command gives up while it is being resolved, and leaves the lane to the refresh.
        result = await till.execute(put_in(cart, 3, 2, timeout_ms=50))
        assert result.error.reason == error_pb2.ERROR_REASON_OUTCOME_PENDING
        live = await hub.hub._resources.get(cart)
        live.observed_at = 0
        hub.hub._refresher.refresh(live)
        await reading.wait()
        resolve.set()
        await till.until_revision(3)
        assert till.lines() == {SKU: 3}
        refreshes = list(hub.hub._refresher._running.values())
        go_on.set()
        await asyncio.gather(*refreshes)
        assert live.revision == 3
        assert till.lines() == {SKU: 3}


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
@pytest.mark.parametrize("effect_class", ["KEYED", "ABSOLUTE", "NONE"])
async def test_every_code_leaves_the_cart_usable(tmp_path: Path, effect_class: str, code: grpc.StatusCode) -> None:
    async with running_hub(config_of(tmp_path, effect_class)) as hub, till_of(hub) as till:
        cart = await till.create_cart()
        adapter = wayward.of(hub)
        adapter.instead["ApplyCommand"] = ending_in(code)
        command = put_in(cart, 2, 1, timeout_ms=250)
        result = await till.execute(command)
        assert result.outcome not in (command_pb2.OUTCOME_UNSPECIFIED, command_pb2.OUTCOME_APPLIED)
        assert result.error.reason != error_pb2.ERROR_REASON_UNSPECIFIED
        adapter.instead.clear()
        consumed = result.outcome == command_pb2.OUTCOME_REJECTED or (
            result.error.reason == error_pb2.ERROR_REASON_OUTCOME_UNKNOWN
        )
        after = await till.execute(put_in(cart, 3 if consumed else 2, 2))
        assert after.outcome == command_pb2.OUTCOME_APPLIED


async def test_one_millisecond_is_a_timeout_like_any_other(tmp_path: Path) -> None:
    async with running_hub(config_of(tmp_path, "MARKED")) as hub, till_of(hub) as till:
        cart = await till.create_cart()
        adapter = wayward.of(hub)
        never = asyncio.Event()

        async def wait(_: Any, context: Any) -> None:
            await never.wait()

        adapter.instead["ApplyCommand"] = wait
        command = put_in(cart, 2, 1, timeout_ms=1)
        result = await till.execute(command)
        assert result.outcome in (command_pb2.OUTCOME_UNKNOWN, command_pb2.OUTCOME_NOT_ACCEPTED)
        adapter.instead.clear()
        command.timeout.FromMilliseconds(10_000)
        assert (await till.execute(command)).outcome == command_pb2.OUTCOME_APPLIED
        await till.subscribe(cart)
        assert till.lines() == {SKU: 1}


@pytest.mark.parametrize("copies", [1, 2])
async def test_what_the_hub_goes_on_with_is_what_its_clients_have(tmp_path: Path, copies: int) -> None:
    """Even if a backend gives two lines the same name: one of them is lost, to the hub as well."""
    async with running_hub(config_of(tmp_path, "KEYED")) as hub, till_of(hub) as till:
        cart = await till.create_cart()

        async def answer(request: pb.ApplyCommandRequest, _: Any) -> pb.ApplyCommandResponse:
            made = pb.ApplyCommandResponse(version="2", line_id="a")
            made.cart.state = cart_pb2.CART_STATE_ACTIVE
            for number in range(copies):
                made.cart.lines.add(id="a", sku=f"SKU-{number}").quantity.steps = 1
            return made

        wayward.of(hub).instead["ApplyCommand"] = answer
        assert (await till.execute(put_in(cart, 2, 1))).outcome == command_pb2.OUTCOME_APPLIED
        live = await hub.hub._resources.get(cart)
        assert live.cart() == assemble_cart(live.entries)
        assert [line.sku for line in live.cart().lines] == [f"SKU-{copies - 1}"]
