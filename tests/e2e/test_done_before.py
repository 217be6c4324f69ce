"""A backend that deduplicates has executed a command, and its answer was lost: the repeat is not refused because of
what the command itself, or anybody else, has changed meanwhile."""

from pathlib import Path
from typing import Any

import grpc

from legato.adapter.v1 import cart_service_pb2 as pb
from legato.commerce.v1 import cart_intent_pb2, quantity_pb2
from legato.orchestrator.v1 import command_pb2, error_pb2
from legato.protocol.ids import new_id
from tests.support import ledger, wayward
from tests.support.hub import hub_config, running_hub
from tests.support.stream import Stream


def add(cart: str, seq: int, steps: int, on: Stream) -> command_pb2.Command:
    """Only on the state that the stream shows."""
    made = command_pb2.Command(command_id=new_id(), resource=cart, seq=seq, expected=on.cursors["s"])
    made.on_conflict = command_pb2.CONFLICT_POLICY_FAIL
    intent = cart_intent_pb2.AddLine(sku="ANY", quantity=quantity_pb2.Quantity(steps=steps))
    made.cart.add_line.CopyFrom(intent)
    return made


async def test_the_outcome_of_a_call_whose_answer_was_lost_is_told(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite3")
    backend = wayward.backend(path, "KEYED")
    async with running_hub(hub_config(tmp_path, backends={"ledger": backend}, cart="ledger")) as hub:
        shopper = await hub.shopper()
        async with Stream(hub, shopper.token) as stream, Stream(hub, shopper.token) as other:
            cart = await stream.create_cart()
            await stream.subscribe(cart)
            adapter = wayward.of(hub)

            async def lost(request: pb.ApplyCommandRequest, context: Any) -> pb.ApplyCommandResponse:
                del adapter.instead["ApplyCommand"]
                answer = await super(wayward.Wayward, adapter).ApplyCommand(request, context)
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection is gone")
                return answer

            adapter.instead["ApplyCommand"] = lost
            done, never = add(cart, 2, 5, stream), add(cart, 3, 7, stream)
            first = await stream.execute(done)
            assert first.error.reason == error_pb2.ERROR_REASON_BACKEND_UNAVAILABLE
            later = await other.command(
                cart, add_line=cart_intent_pb2.AddLine(sku="ANY", quantity=quantity_pb2.Quantity(steps=1))
            )
            await stream.until_revision(later.cursor.revision)
            done.resent = never.resent = True
            assert (await stream.execute(done)).outcome == command_pb2.OUTCOME_APPLIED
            # One that says it was sent before, and was not executed, is refused as ever.
            refused = await stream.execute(never)
            assert refused.error.reason == error_pb2.ERROR_REASON_REVISION_MISMATCH
            assert ledger.effects(path)[done.command_id] == 1
            assert never.command_id not in ledger.effects(path)
            assert stream.lines() == {"ANY": 6}
