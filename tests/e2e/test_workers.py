"""Several processes on one port and one Valkey: one hub to everybody who connects, whatever happens to one of them."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc.aio
import pytest

import legato
from legato import intents
from legato.client import CHANNEL_OPTIONS
from legato_adapters.reference import read_cart
from tests.storage import valkey_servers
from tests.support.served import Served, serve, workers
from tests.support.shop import SKU

CLIENTS = 12
"""With two workers, all of these land on one of them once in two thousand runs; then the test connects more."""


@pytest.fixture
def storage() -> Iterator[str]:
    with valkey_servers.own_server() as server:
        yield f"valkey://127.0.0.1:{server.port}"


def connections(served: Served) -> dict[int, int]:
    """Established connections of each worker's process, as the kernel counts them."""
    port = f":{int(served.target.rpartition(':')[2]):04X}"
    tables = [Path(f"/proc/net/{table}").read_text() for table in ("tcp", "tcp6")]
    rows = [row.split() for table in tables for row in table.splitlines()[1:]]
    inodes = {row[9] for row in rows if row[1].endswith(port) and row[3] == "01"}
    counted = {}
    for number, pid in served.pids.items():
        links = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.exists()]
        counted[number] = sum(link.removeprefix("socket:[").removesuffix("]") in inodes for link in links)
    return counted


async def spread(served: Served, stack: AsyncExitStack) -> list[legato.Hub]:
    """Clients of one session, on every worker."""
    own = [*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1)]  # else they would share one connection
    clients: list[legato.Hub] = []
    while len(clients) < CLIENTS or 0 in connections(served).values():
        rpc_channel = await stack.enter_async_context(grpc.aio.insecure_channel(served.target, own))
        token, key = (clients[0].access_token, None) if clients else (None, "dev-web")
        connecting = legato.connect(rpc_channel=rpc_channel, access_token=token, channel_key=key)
        clients.append(await stack.enter_async_context(connecting))
        assert len(clients) < 10 * CLIENTS, connections(served)
    return clients


async def all_show(carts: list[legato.CartHandle], steps: int) -> None:
    async with asyncio.timeout(45):
        for cart in carts:
            async for view in cart.watch():
                if [line.quantity.steps for line in view.confirmed.lines] == [steps] and not view.pending:
                    break


@pytest.mark.timeout(120)
async def test_workers_are_one_hub_and_outlive_each_other(tmp_path: Path, storage: str) -> None:
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(workers(tmp_path, storage, 2))
        async with AsyncExitStack() as open_clients:
            clients = await spread(served, open_clients)
            assert set(served.pids) == {0, 1}
            assert all(connections(served).values()), "streams on both"
            made = await clients[0].create_cart()
            carts = [made, *(client.cart(made.id) for client in clients[1:])]
            for cart in carts:
                await cart.add(SKU, 1)
            await all_show(carts, len(carts))
            snapshots = [cart.replica.snapshots for cart in carts]

            # One is killed, with commands of everybody on their way.
            pending = [cart.submit(intents.add(SKU, 1)) for cart in carts]
            os.kill(served.pids[1], signal.SIGKILL)
            assert (await served.log("SIGKILL", worker=1))["level"] == "error"
            for command in pending:
                await command.result(45)
            await served.log("a worker serves", worker=1)
            for cart in carts:
                await cart.add(SKU, 1)
            await all_show(carts, 3 * len(carts))
            assert [cart.replica.snapshots for cart in carts] == snapshots, "they resumed by deltas"
            shop = str(tmp_path / "legato-data" / "reference.sqlite3")
            assert read_cart(shop, made.id) == {SKU: 3 * len(carts)}

            # One is told to end: it drains, and is replaced.
            os.kill(served.pids[0], signal.SIGTERM)
            await served.log("a worker drained; another one takes its place", worker=0)
            await served.log("a worker serves", worker=0)
            for cart in carts:
                await cart.add(SKU, 1)
            await all_show(carts, 4 * len(carts))

        # The end of its standard error, which is the workers' too, is the end of the last of them.
        assert await served.stop() == 0
        assert {entry.get("worker") for entry in served.logs if entry["message"] == "stopped"} == {0, 1}


async def test_workers_end_with_the_process_that_started_them(tmp_path: Path, storage: str) -> None:
    async with workers(tmp_path, storage, 2) as served:
        served.process.kill()
        # Its standard error is the workers' too, and ends with the last of them.
        assert await served.ended() == -signal.SIGKILL
        assert {entry.get("worker") for entry in served.logs if entry["message"] == "stopped"} == {0, 1}


async def test_a_port_is_one_hubs(tmp_path: Path, storage: str) -> None:
    async with workers(tmp_path, storage, 2) as served:
        for more in ((), ("--workers", "2")):
            async with serve(tmp_path, "--listen", served.target, "--storage", storage, *more) as second:
                assert await second.ended() == 1
                assert f"cannot listen on {served.target}" in second.logs[-1]["message"]


async def test_a_port_that_somebody_else_has_is_told(tmp_path: Path, storage: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        target = f"127.0.0.1:{other.getsockname()[1]}"
        async with serve(tmp_path, "--listen", target, "--storage", storage, "--workers", "2") as served:
            assert await served.ended() == 1
            assert served.logs == [{"message": f"legato: cannot listen on {target}: Address already in use"}]


async def test_what_one_worker_cannot_do_is_said_once_and_ends_all(tmp_path: Path) -> None:
    port = valkey_servers.free_port()
    given = ("--listen", "127.0.0.1:0", "--storage", f"valkey://:hidden@127.0.0.1:{port}", "--workers", "3")
    async with serve(tmp_path, *given) as served:
        assert await served.ended() == 1
        said = [entry["message"] for entry in served.logs]
        assert len(said) == 2, said
        assert f"127.0.0.1:{port}" in said[0]
        assert said[1] == "legato: worker 0 does not start: it ended with status 1"
        assert "hidden" not in str(said)


@pytest.mark.parametrize(
    ("arguments", "environ", "reason"),
    [
        (("--workers", "2"), {}, "--workers 2 needs a storage that processes can share"),
        (("--workers", "0"), {}, "Invalid value for '--workers'"),
        (("--workers", "2", "--storage", "valkey://h"), {"LEGATO_WORKER": "1"}, "LEGATO_WORKER is set by --workers"),
        ((), {"LEGATO_WORKER": "1"}, "not by hand"),
        ((), {"LEGATO_WORKER": "one"}, "not to be set by hand"),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], environ: dict[str, str], reason: str
) -> None:
    async with serve(tmp_path, *arguments, **environ) as served:
        assert await served.ended() == 2
        assert reason in " ".join(entry["message"] for entry in served.logs)


async def test_workers_do_not_share_a_shop_in_memory(tmp_path: Path, storage: str) -> None:
    given = ("--listen", "127.0.0.1:0", "--storage", storage, "--workers", "2")
    options = '{"path" = ":memory:"}'
    async with serve(tmp_path, *given, LEGATO_BACKENDS__REFERENCE__OPTIONS=options) as served:
        assert await served.ended() == 1
        assert "workers cannot share a shop in memory" in served.logs[0]["message"]
