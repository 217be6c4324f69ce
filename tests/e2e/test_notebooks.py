"""Several hubs write to one cart: each works with the notebook and the version that the last of them stored."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from legato.adapter.v1 import cart_service_pb2 as pb
from legato.commerce.v1 import cart_intent_pb2, quantity_pb2
from legato.orchestrator.v1 import command_pb2
from legato.protocol.ids import new_id
from legato_hub.config import StorageConfig
from legato_hub.core.identity import IdentityKind
from tests.storage import valkey_servers as servers
from tests.support import wayward
from tests.support.hub import RunningHub, hub_config, running_hub
from tests.support.stream import Stream

SKU = "ANY"


@asynccontextmanager
async def two_hubs(
    folder: Path, effect_class: str, *, timeout_ms: int = 5_000, **server: Any
) -> AsyncIterator[tuple[RunningHub, RunningHub]]:
    """On one Valkey, each with an adapter of its own to one backend."""
    with servers.own_server() as valkey:
        backend = wayward.backend(str(folder / "ledger.sqlite3"), effect_class, timeout_ms=timeout_ms)
        config = hub_config(folder, backends={"ledger": backend}, cart="ledger", **server)
        config = msgspec.structs.replace(config, storage=StorageConfig(url=f"valkey://127.0.0.1:{valkey.port}"))
        async with running_hub(config) as one, running_hub(config) as two:
            yield one, two


def till(hub: RunningHub, name: str) -> Stream:
    return Stream(hub, hub.token(IdentityKind.TERMINAL, name, "berlin"), channel="pos")


def add(steps: int) -> cart_intent_pb2.AddLine:
    return cart_intent_pb2.AddLine(sku=SKU, quantity=quantity_pb2.Quantity(steps=steps))


async def test_an_answer_overtaken_by_another_hub_does_not_lead_back(tmp_path: Path) -> None:
    """KEYED: two hubs may call at once, and the answer that is committed last may be the older one."""
    async with (
        two_hubs(tmp_path, "KEYED") as (one, two),
        till(one, "till-1") as slow,
        till(two, "till-2") as quick,
    ):
        cart = await slow.create_cart()
        await slow.subscribe(cart)
        await quick.subscribe(cart)
        adapter = wayward.of(one)
        executed, answered = asyncio.Event(), asyncio.Event()

        async def late(request: pb.ApplyCommandRequest, context: Any) -> pb.ApplyCommandResponse:
            answer = await super(wayward.Wayward, adapter).ApplyCommand(request, context)
            executed.set()
            await answered.wait()
            return answer

        adapter.instead["ApplyCommand"] = late
        overtaken = asyncio.create_task(slow.command(cart, add_line=add(1)))
        await executed.wait()
        first = await quick.command(cart, add_line=add(2))
        await slow.until_revision(first.cursor.revision)
        start = len(quick.received)
        answered.set()
        assert (await overtaken).outcome == command_pb2.OUTCOME_APPLIED
        last = await quick.command(cart, add_line=add(4))
        await quick.until_revision(last.cursor.revision)
        assert quick.lines() == {SKU: 7}
        # 3 is what the first of the two answers told; the other one, 1, is older.
        assert [m.delta.cursor.revision for m in quick.received[start:] if m.HasField("delta")] == [
            last.cursor.revision
        ]
        assert last.cursor.revision == first.cursor.revision + 1


async def test_a_hub_calls_with_the_notebook_that_another_has_written(tmp_path: Path) -> None:
    async with (
        two_hubs(tmp_path, "MARKED") as (one, two),
        till(one, "till-1") as first,
        till(two, "till-2") as second,
    ):
        cart = f"carts/{new_id()}"
        read: list[bytes] = []
        for hub in (one, two):
            adapter = wayward.of(hub)

            async def noting(
                request: pb.ApplyCommandRequest, context: Any, adapter: wayward.Wayward = adapter
            ) -> pb.ApplyCommandResponse:
                read.append(request.adapter_state)
                answer = await super(wayward.Wayward, adapter).ApplyCommand(request, context)
                answer.adapter_state = b"page %d" % len(read)
                return answer

            adapter.instead["ApplyCommand"] = noting
        made = command_pb2.Command(command_id=new_id(), resource=cart, seq=1)
        made.cart.create_cart.SetInParent()
        assert (await first.execute(made)).outcome == command_pb2.OUTCOME_APPLIED
        # From here on each hub follows the cart, and hears of the other's revisions.
        await first.subscribe(cart)
        await second.subscribe(cart)
        revision, seqs = 1, {first: 1, second: 0}
        for stream in (first, second, first, second):
            await first.until_revision(revision)
            await second.until_revision(revision)
            seqs[stream] += 1
            wish = command_pb2.Command(command_id=new_id(), resource=cart, seq=seqs[stream])
            wish.cart.add_line.CopyFrom(add(1))
            result = await stream.execute(wish)
            assert result.outcome == command_pb2.OUTCOME_APPLIED
            revision = result.cursor.revision
        assert read == [b"", b"page 1", b"page 2", b"page 3", b"page 4"]
