"""Clients that do not read, and clients that vanish: nobody else notices, and nothing grows."""

import asyncio
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from legato.orchestrator.v1 import command_pb2, orchestrator_service_pb2_grpc
from legato.protocol.ids import new_id
from legato_hub import downstream
from legato_hub.downstream import Downstream
from tests.support.hub import hub_config, running_hub
from tests.support.network import cut_off
from tests.support.stream import TIMEOUT_S, Stream, request


async def test_a_stream_that_never_reads_slows_nobody_and_costs_no_memory(tmp_path: Path) -> None:
    async with running_hub(hub_config(tmp_path, flush_tick_ms=1)) as hub:
        shopper = await hub.shopper()
        async with Stream(hub, shopper.token) as stream, Stream(hub, shopper.token) as watcher:
            cart = await stream.create_cart()
            call: Any = hub.stub.Connect(metadata=shopper.metadata)
            await call.write(request(hello={"client_id": new_id(), "channel": {"kind": "web"}}))
            await call.write(request(subscribe={"subscription_id": "deaf", "resource": cart}))
            await watcher.subscribe(cart)
            note = "x" * 900
            result = command_pb2.CommandResult()
            for number in range(300):
                result = await stream.command(cart, set_note={"note": f"{number} {note}"})
            await watcher.until_revision(result.cursor.revision)
            outboxes = [stream.outbox for stream in hub.hub.connections if isinstance(stream, Downstream)]
            held = [s for outbox in outboxes for s in outbox.subscriptions.values() if s.id == "deaf"]
            assert len(held) == 1
            assert len(held[0].unacknowledged) <= hub.config.server.max_unacknowledged
            assert held[0].sent < result.cursor.revision
            # When it reads at last, it gets there in a few merged steps.
            seen: list[int] = []
            async for response in call:
                for message in response.messages:
                    kind = message.WhichOneof("message")
                    if kind in ("snapshot", "delta"):
                        cursor = getattr(message, kind).cursor
                        seen.append(cursor.revision)
                        await call.write(request(ack={"subscription_id": "deaf", "cursor": cursor}))
                if seen and seen[-1] == result.cursor.revision:
                    break
            assert len(seen) <= hub.config.server.max_unacknowledged + 2
            call.cancel()


async def test_a_replaced_stream_that_does_not_read_is_gone_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downstream, "LAST_WORDS_S", 0.1)
    async with running_hub(hub_config(tmp_path)) as hub:
        shopper = await hub.shopper()
        async with Stream(hub, shopper.token) as stream:
            cart = await stream.create_cart()
            await stream.subscribe(cart)
            client_id = new_id()
            deaf: Any = hub.stub.Connect(metadata=shopper.metadata)
            await deaf.write(request(hello={"client_id": client_id, "channel": {"kind": "app"}}))
            await deaf.write(request(subscribe={"subscription_id": "s", "resource": cart}))
            await stream.where(lambda m: len(m.presence.channels) == 2)
            (old,) = (s for s in hub.hub.connections if isinstance(s, Downstream) and s.outbox.client_id == client_id)

            async def flood() -> None:
                for number in range(100_000):
                    await deaf.write(request(subscribe={"subscription_id": f"{number:060}", "resource": "nonsense"}))

            async with asyncio.timeout(TIMEOUT_S * 2):
                flooding = asyncio.create_task(flood())
                # No more is answered than the network takes, no more is kept than the bound.
                while old.outbox.backlog < downstream.BACKLOG:  # noqa: ASYNC110 -- it is nothing but memory
                    await asyncio.sleep(0)
            start = len(stream.received)
            async with Stream(hub, shopper.token, client_id=client_id, channel="app"):
                await stream.where(lambda m: [c.channel.kind for c in m.presence.channels] == ["web"], start)
                assert old.outbox.backlog <= downstream.BACKLOG
                assert old not in list(hub.hub.connections)
            flooding.cancel()
            deaf.cancel()


async def test_a_client_that_vanishes_is_noticed_and_leaves_the_presence(tmp_path: Path) -> None:
    config = hub_config(tmp_path, keepalive_ms=200, keepalive_timeout_ms=200)
    async with running_hub(config) as hub:
        shopper = await hub.shopper()
        async with Stream(hub, shopper.token) as stream:
            cart = await stream.create_cart()
            await stream.subscribe(cart)
            async with (
                cut_off(hub.hub.port) as (port, cut),
                grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
            ):
                stub = orchestrator_service_pb2_grpc.OrchestratorServiceStub(channel)
                call: Any = stub.Connect(metadata=shopper.metadata)
                await call.write(request(hello={"client_id": new_id(), "channel": {"kind": "app"}}))
                await call.write(request(subscribe={"subscription_id": "s", "resource": cart}))
                await stream.where(lambda m: len(m.presence.channels) == 2)
                start = len(stream.received)
                cut()
                await stream.where(lambda m: len(m.presence.channels) == 1, start)
                call.cancel()
