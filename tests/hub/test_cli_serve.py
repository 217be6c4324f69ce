"""`legato serve` and `legato watch` as two processes, and raw generated stubs beside them: what one shell does to a
cart, another one shows."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio

from legato.commerce.v1 import cart_intent_pb2, quantity_pb2
from legato.orchestrator.v1 import command_pb2, orchestrator_service_pb2, orchestrator_service_pb2_grpc, reads_pb2
from legato.protocol.ids import new_id
from legato_hub.config import DEVELOPMENT_SECRET
from tests.support.hub import bearer
from tests.support.shop import SKU

if TYPE_CHECKING:
    from legato.orchestrator.v1.orchestrator_service_pb2_grpc import OrchestratorServiceAsyncStub


@asynccontextmanager
async def legato(folder: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command in a process of its own, in a folder of its own."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("LEGATO_", "OTEL_"))}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "legato_hub.cli", *arguments), cwd=folder, env=environ, stdout=pipe, stderr=pipe
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def line_of(process: asyncio.subprocess.Process, word: str) -> str:
    """The next line of output that holds a word."""
    assert process.stdout is not None
    while text := (await process.stdout.readline()).decode():
        if word in text:
            return text.strip()
    raise AssertionError(f"it ended without saying {word!r}")


async def execute(
    stub: "OrchestratorServiceAsyncStub", token: str, cart: str, intent: cart_intent_pb2.CartIntent
) -> command_pb2.CommandResult:
    command = command_pb2.Command(command_id=new_id(), resource=cart, cart=intent)
    request = orchestrator_service_pb2.ExecuteRequest(commands=[command])
    return (await stub.Execute(request, metadata=bearer(token))).results[0]


async def test_watch_shows_live_what_a_raw_stub_does_until_the_hub_is_told_to_stop(tmp_path: Path) -> None:
    async with legato(tmp_path, "serve", "--listen", "127.0.0.1:0") as hub:
        target = (await line_of(hub, "serves on")).split()[-1]
        async with grpc.aio.insecure_channel(target) as channel:
            stub: OrchestratorServiceAsyncStub = orchestrator_service_pb2_grpc.OrchestratorServiceStub(channel)
            started = await stub.StartSession(reads_pb2.StartSessionRequest(), metadata=bearer("dev-web"))
            cart = f"carts/{new_id()}"
            create = cart_intent_pb2.CartIntent(create_cart=cart_intent_pb2.CreateCart())
            assert (await execute(stub, started.access_token, cart, create)).outcome == command_pb2.OUTCOME_APPLIED
            async with legato(tmp_path, "watch", cart, "--target", target) as watch:
                await line_of(watch, "no lines")
                two = cart_intent_pb2.AddLine(sku=SKU, quantity=quantity_pb2.Quantity(steps=2))
                result = await execute(stub, started.access_token, cart, cart_intent_pb2.CartIntent(add_line=two))
                assert await line_of(watch, cart) == f"{cart} revision {result.cursor.revision} (delta)"
                assert (await line_of(watch, SKU)).startswith(f"{SKU} x 2  ")
                await line_of(watch, "grand total")
                hub.send_signal(signal.SIGTERM)
                _, news = await watch.communicate()
                assert (watch.returncode, news) == (0, b"legato: the hub is going down\n")
        _, log = await hub.communicate()
    assert hub.returncode == 0
    for secret in (started.access_token, DEVELOPMENT_SECRET.reveal()):
        assert secret.encode() not in log


async def test_a_second_hub_on_the_same_files_is_told_so(tmp_path: Path) -> None:
    async with legato(tmp_path, "serve", "--listen", "127.0.0.1:0") as first:
        await line_of(first, "serves on")
        async with legato(tmp_path, "serve", "--listen", "127.0.0.1:0") as second:
            output, problem = await second.communicate()
            assert (second.returncode, output) == (1, b"")
            assert b"in use by another hub" in problem
            assert b"Traceback" not in problem
        first.send_signal(signal.SIGINT)
        await first.communicate()
        assert first.returncode == 0
