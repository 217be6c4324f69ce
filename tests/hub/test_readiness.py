"""Alive and ready are two questions."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from legato_hub.readiness import NOT_SERVING, SERVING, Readiness
from legato_hub.server import SERVICE
from legato_hub.storage.valkey import ValkeyStorage
from tests.storage.valkey_servers import own_server, stopped
from tests.support.hub import hub_config, running_hub

WAIT_S = 20.0


@asynccontextmanager
async def heard(readiness: Readiness, service: str) -> AsyncIterator[Callable[[Any], Awaitable[None]]]:
    """Over a real call of Watch: waits until the health service says a status."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    health_pb2_grpc.add_HealthServicer_to_server(readiness.servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        call = stub.Watch(health_pb2.HealthCheckRequest(service=service))

        async def until(status: Any) -> None:
            async with asyncio.timeout(WAIT_S):
                while (await call.read()).status != status:
                    pass

        yield until
        call.cancel()
    await server.stop(None)


async def test_a_storage_that_is_away_for_long_makes_a_hub_unready_and_leaves_it_alive() -> None:
    with own_server() as server:
        storage = ValkeyStorage.from_url(f"valkey://127.0.0.1:{server.port}", timeout_s=0.3)
        await storage.open()
        readiness = Readiness(storage, SERVICE, lost_s=0.5, every_s=0.1)
        await readiness.serve()
        watching = asyncio.create_task(readiness.watch())
        async with heard(readiness, SERVICE) as until:
            await until(SERVING)
            with stopped(server):
                await until(NOT_SERVING)
                assert not readiness.storage_reachable
                assert not readiness.ready
                nobody: Any = None
                alive = await readiness.servicer.Check(health_pb2.HealthCheckRequest(service=""), nobody)
                assert alive.status == SERVING
            await until(SERVING)
        assert readiness.ready
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await storage.close()


async def test_a_storage_that_is_away_for_a_moment_is_sat_out() -> None:
    class Blinking:
        def __init__(self) -> None:
            self.looks = 0
            self.enough = asyncio.Event()

        async def get(self, key: str, now: int) -> bytes | None:
            self.looks += 1
            assert readiness.ready
            if self.looks == 10:
                self.enough.set()
            if self.looks % 2:
                raise TimeoutError
            return None

    blinking: Any = Blinking()
    readiness = Readiness(blinking, SERVICE, lost_s=WAIT_S, every_s=0.01)
    await readiness.serve()
    watching = asyncio.create_task(readiness.watch())
    async with asyncio.timeout(WAIT_S):
        await blinking.enough.wait()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_a_draining_hub_is_neither_alive_nor_ready(tmp_path: Path) -> None:
    async with running_hub(hub_config(tmp_path)) as hub:
        stub: Any = health_pb2_grpc.HealthStub(hub.channel)
        for service in ("", SERVICE):
            assert (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status == SERVING
        readiness = hub.hub._readiness
        await readiness.drain()
        for service in ("", SERVICE):
            assert (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status == NOT_SERVING
        assert not hub.hub.ready
