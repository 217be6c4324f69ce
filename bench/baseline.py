"""Bare grpc.aio doing the hub's work: the least code that answers, fans out and stores. It sends serialised bytes."""

import asyncio
import hashlib
import sys
from typing import Any

import grpc.aio

from bench import control, workload
from bench.no_storage import NoStorage
from legato.orchestrator.v1 import command_pb2, stream_pb2
from legato_hub.cli_serve import event_loop_runner
from legato_hub.clock import now_ms
from legato_hub.config import default_config
from legato_hub.server import channel_options, open_storage, settle_collector
from legato_hub.storage.base import Claim, CommandKey, Commit, Committed, Fresh

TICK_S = default_config().server.flush_tick_ms / 1000
DELTAS = [(workload.delta(revision), workload.delta_message(revision)) for revision in range(1, 1_000)]


class Bare:
    """GetCart, `Connect` with subscriptions and commands, and injected revisions."""

    def __init__(self, storage_url: str) -> None:
        self.storage: Any = open_storage(storage_url) if storage_url else NoStorage()
        self._streams: dict[str, list[Any]] = {}
        self._revisions: dict[str, int] = {}

    async def get_cart(self, request: bytes, context: Any) -> bytes:
        return workload.ANSWER

    async def connect(self, requests: Any, context: Any) -> None:
        client_id = stream_pb2.ConnectRequest.FromString(await context.read()).hello.client_id
        await context.write(workload.WELCOME)
        while (data := await context.read()) is not grpc.aio.EOF:
            request = stream_pb2.ConnectRequest.FromString(data)
            if request.HasField("subscribe"):
                await self._subscribe(request.subscribe.resource, context)
            elif request.HasField("command"):
                await self._execute(request.command, hashlib.sha256(data).digest(), client_id, context)

    async def _subscribe(self, resource: str, context: Any) -> None:
        if resource not in self._revisions:
            self._revisions[resource] = 1
            self.storage.follow(resource, lambda _: None)  # As the hub does: each commit is heard of.
            await self.storage.commit(Commit(resource, 0, workload.first_delta(), now_ms()))
        await context.write(workload.snapshot_message(self._revisions[resource]))
        self._streams.setdefault(resource, []).append(context)
        context.add_done_callback(lambda _: self._streams[resource].remove(context))

    async def _execute(self, command: command_pb2.Command, body_hash: bytes, client_id: str, context: Any) -> None:
        key = CommandKey(command.command_id, body_hash, client_id, command.seq)
        resource, base, now = command.resource, self._revisions[command.resource], now_ms()
        delta, message = DELTAS[base]
        begun = await self.storage.begin(Claim(resource, key, base, now))
        stored = await self.storage.commit(Commit(resource, base, delta, now, key, workload.RESULT, 0, b"1", str(base)))
        assert (type(begun), type(stored)) == (Fresh, Committed), (begun, stored)
        self._revisions[resource] = base + 1
        messages = (stream.write(message) for stream in self._streams[resource])
        await asyncio.gather(context.write(workload.RESULT_MESSAGE), *messages)

    async def prepare(self, resource: str, count: int) -> int:
        base = self._revisions[resource]
        self._prepared = resource, [workload.delta_message(base + number + 1) for number in range(count)]
        return base

    async def inject(self, rate: float, *, committed: bool) -> list[int]:
        """The newest revision goes out: at once, and then once in a tick."""
        resource, messages = self._prepared
        times, sent = list[int](), 0
        happening = asyncio.create_task(control.happen(len(messages), rate, times))
        while sent < len(messages):
            await asyncio.sleep(TICK_S if sent else 0)
            sent = len(times)
            await asyncio.gather(*(stream.write(messages[sent - 1]) for stream in self._streams[resource]))
        await happening
        self._revisions[resource] += len(messages)
        return times


async def main(storage_url: str) -> None:
    bare = Bare(storage_url)
    await bare.storage.open()
    server = grpc.aio.server(options=channel_options(default_config()))
    methods: Any = {"GetCart": grpc.unary_unary_rpc_method_handler(bare.get_cart)}
    methods["Connect"] = grpc.stream_stream_rpc_method_handler(bare.connect)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(workload.SERVICE, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    settle_collector()
    await control.obey(bare, port)
    await server.stop(1.0)
    await bare.storage.close()


if __name__ == "__main__":
    event_loop_runner()(main("".join(sys.argv[1:])))
