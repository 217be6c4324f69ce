"""A client that knows several hubs: its hub dies, hangs or drains, and it goes on at another one by deltas, with every
command done once. The hubs share one Valkey, and one backend that is a process of its own."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import legato
from legato import intents
from legato_adapters.reference import read_cart
from legato_hub.failpoints import Failpoints
from legato_hub.server import Hub
from tests.storage import valkey_servers
from tests.support.adapter_process import running_adapter
from tests.support.hub import hub_config
from tests.support.served import Served, hub
from tests.support.shop import SKU

pytestmark = pytest.mark.timeout(120)


@dataclass
class TwoHubs:
    """Both, and where the backend keeps its carts."""

    first: Served
    second: Served
    shop: str

    @property
    def targets(self) -> str:
        return f"{self.first.target},{self.second.target}"


@asynccontextmanager
async def two_hubs(folder: Path, *, failpoints: str = "") -> AsyncIterator[TwoHubs]:
    """`failpoints` are the first one's."""
    shop = str(folder / "shop.sqlite3")
    with (
        valkey_servers.own_server() as server,
        running_adapter("legato_adapters.reference:create", {"path": shop}) as adapter,
    ):
        told = {
            "LEGATO_BACKENDS__REFERENCE__ADAPTER": f"grpc://{adapter.address}",
            "LEGATO_SERVER__SLOT_SECONDS": "1.0",
            "LEGATO_SERVER__GRACE_SECONDS": "20.0",
        }
        storage = f"valkey://127.0.0.1:{server.port}"
        async with (
            hub(folder, storage, **told, LEGATO_FAILPOINTS=failpoints) as first,
            hub(folder, storage, **told) as second,
        ):
            yield TwoHubs(first, second, shop)


async def shows(cart: legato.CartHandle, steps: int) -> None:
    async for view in cart.watch():
        if [line.quantity.steps for line in view.confirmed.lines] == [steps] and not view.pending:
            return


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what tells nobody, as a file."""

    def wait() -> None:
        while not holds():
            time.sleep(0.01)

    await asyncio.to_thread(wait)


# Where the hub dies with the third command: before the backend has it, before the hub has it, before anybody is told.
@pytest.mark.parametrize("point", ["write.after_begin", "write.after_adapter", "write.after_commit"])
async def test_a_killed_hub_is_replaced_by_the_next_one(tmp_path: Path, point: str) -> None:
    async with two_hubs(tmp_path, failpoints=f"{point}=kill@3") as hubs, AsyncExitStack() as stack:
        web = await stack.enter_async_context(legato.connect(hubs.targets, channel_key="dev-web"))
        cart = await web.create_cart()
        other = await stack.enter_async_context(legato.connect(hubs.second.target, access_token=web.access_token))
        elsewhere = other.cart(cart.id)
        await cart.add(SKU, 1)
        await shows(elsewhere, 1)
        snapshots = cart.replica.snapshots, elsewhere.replica.snapshots
        lost = [cart.submit(intents.add(SKU, 2)), cart.submit(intents.add(SKU, 4))]
        assert await hubs.first.ended() == -signal.SIGKILL
        for command in lost:
            await command.result(45)
        await cart.add(SKU, 8)
        for seen in (cart, elsewhere):
            await shows(seen, 15)
        assert (cart.replica.snapshots, elsewhere.replica.snapshots) == snapshots
        assert read_cart(hubs.shop, cart.id) == {SKU: 15}


async def test_a_hub_that_hangs_is_left(tmp_path: Path) -> None:
    async with two_hubs(tmp_path) as hubs:
        async with legato.connect(hubs.targets, channel_key="dev-web") as web:
            cart = await web.create_cart()
            await cart.add(SKU, 1)
            snapshots = cart.replica.snapshots
            hubs.first.process.send_signal(signal.SIGSTOP)
            await cart.submit(intents.add(SKU, 2)).result(60)
            await shows(cart, 3)
            assert cart.replica.snapshots == snapshots
            # Who comes only now gets to the other one as well.
            async with legato.connect(hubs.targets, channel_key="dev-app") as app:
                assert app.identity.session_id
        hubs.first.process.send_signal(signal.SIGCONT)
        assert read_cart(hubs.shop, cart.id) == {SKU: 3}


async def test_a_draining_hub_is_left_at_once_and_ends_what_it_began(tmp_path: Path) -> None:
    """The slow command keeps the first hub up; nobody else waits for it."""
    async with two_hubs(tmp_path, failpoints="write.after_adapter=sleep:8@3") as hubs, AsyncExitStack() as stack:
        slow, web = [
            await stack.enter_async_context(legato.connect(hubs.targets, channel_key="dev-web")) for _ in range(2)
        ]
        carts = [await client.create_cart() for client in (slow, web)]
        waiting = carts[0].submit(intents.add(SKU, 1))
        await until(lambda: read_cart(hubs.shop, carts[0].id) == {SKU: 1})
        hubs.first.process.send_signal(signal.SIGTERM)
        async for view in carts[1].watch():
            if not view.connected:
                break
        await carts[1].add(SKU, 2)
        assert not waiting.done(), "the first hub is still busy"
        assert (await waiting.result(45)).cursor.revision == 2
        assert await hubs.first.ended() == 0


class Held(Failpoints):
    """A place where a passage waits until it is released."""

    def __init__(self, point: str, at: int) -> None:
        super().__init__()
        self.reached, self.released = asyncio.Event(), asyncio.Event()
        self._point, self._left = point, at

    async def passed(self, point: str) -> None:
        self._left -= point == self._point
        if point == self._point and not self._left:
            self.reached.set()
            await self.released.wait()


async def test_a_draining_hub_takes_no_more_connections_while_a_command_runs(tmp_path: Path) -> None:
    """So that the other workers of its port, or the others behind a balancer, get them."""
    draining, held = Hub(hub_config(tmp_path, grace_seconds=20.0)), Held("write.after_adapter", 2)
    draining._failpoints = held
    await draining.start()
    target = f"127.0.0.1:{draining.port}"
    async with legato.connect(target, channel_key="dev-web") as web:
        cart = await web.create_cart()
        waiting = cart.submit(intents.add(SKU, 1))
        await held.reached.wait()
        stopping = asyncio.create_task(draining.stop())
        await until(lambda: draining.connections.draining)
        with pytest.raises(legato.Unavailable):
            async with legato.connect(target, access_token=web.access_token, connect_timeout=0.5):
                raise AssertionError("it must not begin")
        async with grpc.aio.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)  # its published types have no methods
            with pytest.raises(grpc.aio.AioRpcError, match="Connection refused"):
                await stub.Check(health_pb2.HealthCheckRequest())
        held.released.set()
        assert (await waiting.result(45)).cursor.revision == 2
        await stopping
