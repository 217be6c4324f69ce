"""A world to break: hubs behind proxies, a backend with a ledger, clients that record, all made from a seed."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio

from legato_hub.auth import TokenAuthority
from legato_hub.config import DEVELOPMENT_SECRET
from legato_hub.core.identity import Identity, IdentityKind
from legato_hub.storage.base import LOG_LENGTH
from tests.robustness.client import SILENCE_MS, Client
from tests.robustness.ending import Ending
from tests.robustness.history import Recorder
from tests.robustness.ids import uuid7
from tests.robustness.processes import Hub, config
from tests.robustness.proxy import Proxy
from tests.robustness.sdk import SdkClient
from tests.robustness.setting import Setting
from tests.robustness.valkey import Valkey
from tests.support.adapter_process import AdapterProcess

DAY_MS = 24 * 3_600_000


class World:
    """Everything that runs. Made by `running`; the faults use its parts."""

    def __init__(self, setting: Setting, folder: Path, *, progress_s: float) -> None:
        self.setting = setting
        self._progress_s = progress_s
        self.patience_s = setting.patience_s
        self.log_length = LOG_LENGTH
        self.folder = folder
        self.rng = random.Random(f"{setting.fault}/{setting.variant}/{setting.seed}")
        self.recorder = Recorder(folder / "history.jsonl")
        self.ledger = str(folder / "ledger.sqlite3")
        self.carts = [f"carts/{uuid7(self.rng)}" for _ in range(2)]
        self.clients: list[Client] = []
        """All that are there now."""
        self.served: list[Client | SdkClient] = []
        """Those of them that must have their results in the end."""
        self._is_healed = False
        count = 1 if setting.engine == "sqlite" else 2
        self.hubs = [Hub(f"hub-{n + 1}", folder, self.recorder, mutant=setting.mutant) for n in range(count)]
        self.valkey: Valkey | None = None
        self.backend: AdapterProcess | None = None
        self.backend_proxy = Proxy()
        self._authority = TokenAuthority(DEVELOPMENT_SECRET)
        self.ending = Ending(self)
        self._tasks: dict[Client, asyncio.Task[None]] = {}

    # Parts.

    @property
    def config(self) -> str:
        """The configuration of every hub."""
        storage = f"sqlite:{self.folder / 'hub.sqlite3'}" if self.valkey is None else self.valkey.url
        backend = f"127.0.0.1:{self.backend_proxy.port}"
        return config(storage, backend, progress_s=self._progress_s)

    async def start(self, hub: Hub, *, failpoints: str = "") -> None:
        """Start a hub that does not run."""
        await hub.start(self.config, failpoints=failpoints)

    def token(self, subject: str, store: str) -> str:
        """A terminal's."""
        expires_at = int(time.time() * 1000) + DAY_MS
        return self._authority.issue(Identity(IdentityKind.TERMINAL, "demo", subject, store, expires_at=expires_at))

    def client(
        self,
        name: str,
        *,
        hubs: Sequence[Hub] | None = None,
        proxy: Proxy | None = None,
        store: str = "berlin",
        role: str = "member",
        channel: grpc.aio.Channel | None = None,
        acknowledges: bool = True,
        silence_ms: int = SILENCE_MS,
    ) -> Client:
        """A terminal that begins to live. One of another store is an intruder, and may see nothing.

        `role`: a `member` comes back after everything, a `neighbour` has no part in the fault, an `intruder` may see
        nothing, a `stranger` does what no client should.
        """
        wanted = self.hubs if hubs is None else hubs
        targets = [(hub.name, hub.proxy.port if proxy is None else proxy.port) for hub in wanted]
        first = len(self.clients) % len(targets)
        targets = targets[first:] + targets[:first]
        rng = random.Random(self.rng.random())
        made = Client(
            name,
            self.token(name, store),
            targets,
            self.recorder,
            rng,
            channel=channel,
            acknowledges=acknowledges,
            silence_ms=silence_ms,
        )
        self.introduce(name, role=role, may_see=self.carts if store == "berlin" else [])
        self.clients.append(made)
        if role in ("member", "neighbour"):
            self.served.append(made)
        self._tasks[made] = asyncio.create_task(made.run(), name=name)
        return made

    def introduce(self, name: str, *, role: str = "member", may_see: Sequence[str] | None = None) -> None:
        """Tell the history who takes part."""
        may_see = self.carts if may_see is None else may_see
        self.recorder.record("client", name, role=role, may_see=list(may_see))

    def also_served(self, clients: Sequence[SdkClient]) -> None:
        """These must have their results in the end, too."""
        self.served += clients

    def cursors(self) -> dict[str, list[Any]]:
        """Where the first client is in each cart."""
        at = {cart: self.served[0].replicas[cart].cursor for cart in self.carts}
        return {cart: [cursor.epoch, cursor.revision] for cart, cursor in at.items() if cursor is not None}

    async def dismiss(self, client: Client, *, forever: bool = False) -> None:
        """Let a client leave. One that leaves forever may have commands without a result."""
        client.leave()
        await self._tasks[client]
        self.clients.remove(client)
        self.served = [one for one in self.served if one is not client]
        if forever:
            self.recorder.record("gone", client.name)

    # What is done to them.

    async def settled(self, clients: Sequence[Client | SdkClient]) -> bool:
        """Wait until clients have all their results; whether they had in time."""
        return await self.until(lambda: not any(client.unsettled for client in clients))

    async def results(self, client: Client, count: int) -> bool:
        """Wait until a client has so many results; whether it had in time."""
        return await self.until(lambda: len(client.results) >= count)

    def measure(self) -> None:
        """Tell the history what hubs hold now."""
        for hub in self.hubs:
            self.recorder.record("memory", hub.name, bytes=hub.memory())

    def fault(self, deed: str, *affects: str) -> None:
        """Tell the history what is done now, and to whom: names of hubs and clients, whose streams
        may end of it, or of something that is neither; no name for everybody."""
        self.recorder.record("fault", deed=deed, affects=list(affects))

    def healed(self) -> None:
        """The fault is over. Only the first time counts."""
        if not self._is_healed:
            self._is_healed = True
            self.recorder.record("healed")

    async def until(self, holds: Callable[[], bool | Awaitable[bool]], timeout_s: float | None = None) -> bool:
        """Wait for something that nobody tells of; whether it came in time."""
        give_up_at = time.monotonic() + (self.patience_s if timeout_s is None else timeout_s)
        while True:
            answer = holds()
            if answer if isinstance(answer, bool) else await answer:
                return True
            if time.monotonic() > give_up_at:
                return False
            await asyncio.sleep(0.05)

    # The end.

    async def settle(self, *work: "asyncio.Task[None]") -> None:
        """After the fault: let `work` come to its end, then wait until all is as it should be, or time is up."""
        self.healed()
        done, late = await asyncio.wait(work, timeout=self.patience_s) if work else (set(), set())
        for task in late:
            task.cancel()
        await asyncio.gather(*done)
        finished = not late and await self.settled(self.served)
        agreed = finished and await self.until(self.ending.agrees)
        quiet = await self.until(lambda: not self.ending.slots(), None if agreed else 1.0)
        self.recorder.record("settled", finished=finished, agreed=agreed, quiet=quiet)

    async def close(self) -> None:
        """End every client, as clients end."""
        for client in self.clients:
            client.leave("end")
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


@asynccontextmanager
async def running(
    setting: Setting,
    folder: Path,
    *,
    failpoints: Callable[[random.Random], str] = lambda _: "",
    others: str = "",
    progress_s: float = 0.5,
    replicated: bool = False,
) -> AsyncIterator[World]:
    """A world whose hubs serve, with its carts not made yet.

    `failpoints` are those of the first hub, `others` of any other.
    """
    world = World(setting, folder, progress_s=progress_s)
    facts = {name: getattr(setting, name) for name in ("fault", "seed", "engine", "effect_class", "variant", "mutant")}
    wall_ms = int(time.time() * 1000)
    world.recorder.record("run", wall_ms=wall_ms, log_length=LOG_LENGTH, window=64, carts=world.carts, **facts)
    async with AsyncExitStack() as stack:
        stack.callback(world.recorder.close)
        options = {"path": world.ledger, "effect_class": setting.effect_class}
        world.backend = await asyncio.to_thread(AdapterProcess, "tests.robustness.backend:create", options)
        stack.callback(world.backend.kill)
        world.backend_proxy.target = int(world.backend.address.rpartition(":")[2])
        await stack.enter_async_context(world.backend_proxy)
        if setting.engine == "valkey":
            world.valkey = await stack.enter_async_context(Valkey(replicated=replicated))
        for number, hub in enumerate(world.hubs):
            await stack.enter_async_context(hub.proxy)
            stack.push_async_callback(_end, hub)
            await world.start(hub, failpoints=failpoints(world.rng) if number == 0 else others)
        stack.push_async_callback(world.close)
        stack.push_async_callback(world.ending.record)
        yield world


async def _end(hub: Hub) -> None:
    if hub.runs:
        await hub.kill()
