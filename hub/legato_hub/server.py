"""The hub as a whole: what it is made of, how it starts, and how it goes down without losing a command."""

import asyncio
import gc
import logging
import os
import random
import secrets
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from legato.contract import CONTRACT_VERSIONS
from legato.orchestrator.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    orchestrator_service_pb2,
    orchestrator_service_pb2_grpc,
    stream_pb2,
)
from legato_hub.access import Access
from legato_hub.admin import AdminService
from legato_hub.amend import Amender
from legato_hub.auth import TokenAuthority, credential_verifier
from legato_hub.backends import Backends
from legato_hub.cart_backend import CartBackend
from legato_hub.cart_commands import CartCommands
from legato_hub.cart_commit import CartCommitter
from legato_hub.catalog import Catalog
from legato_hub.clock import now_ms
from legato_hub.commands import Commands
from legato_hub.config import Config
from legato_hub.connection import StreamLimits
from legato_hub.connections import Connections
from legato_hub.core.identity import Identity
from legato_hub.core.market import Store, Stores
from legato_hub.core.outbox import Outbox
from legato_hub.downstream import Downstream
from legato_hub.erasure import Erasure
from legato_hub.failpoints import Failpoints
from legato_hub.live_resources import LiveResources
from legato_hub.pacer import Pacer
from legato_hub.peers import Peers
from legato_hub.presence import Gossip
from legato_hub.readiness import Readiness
from legato_hub.reads import Reads
from legato_hub.refresher import Refresher
from legato_hub.resolver import Resolver
from legato_hub.retention import Retention
from legato_hub.serialised import add_answering_in_bytes
from legato_hub.services import OrchestratorService
from legato_hub.session_commands import SessionCommands
from legato_hub.sessions import Sessions
from legato_hub.sharing import Sharing
from legato_hub.storage.base import Storage, StorageError
from legato_hub.storage.sqlite import SQLiteStorage
from legato_hub.telemetry.interceptors import server_interceptors
from legato_hub.telemetry.logs import unhandled
from legato_hub.telemetry.measured import measured
from legato_hub.telemetry.metrics import registry
from legato_hub.telemetry.readings import hub_readings, measure_lag
from legato_hub.worker import say_serving, worker_number

_log = logging.getLogger(__name__)

DAY_MS = 24 * 3_600_000
SLOTS_S = 2.0
"""About how often slots are looked at: what a dead hub left behind waits so long, and a slot's time, for its end."""

ADMIN_SERVICE = admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name
SERVICE = orchestrator_service_pb2.DESCRIPTOR.services_by_name["OrchestratorService"].full_name


class Hub:
    """One hub process. `start`, then `stop`, once."""

    def __init__(self, config: Config, *, failpoints: str = "", shares_port: bool = False) -> None:
        """`shares_port`: other processes may listen on the same port, as workers do."""
        self._config = config
        self._shares_port = shares_port
        self._failpoints = Failpoints(failpoints)
        self._storage: Storage = measured(open_storage(config.storage.url))
        self._background: list[asyncio.Task[None]] = []
        self._gossip: Gossip | None = None
        self.id = secrets.token_hex(8)
        """Tells this process from every other that shares its storage."""
        self._readiness = Readiness(self._storage, SERVICE)
        self._readings = ExitStack()
        self.port = 0
        """The port it listens on, from `start` on."""

    async def start(self) -> None:
        """Open the storage, start the adapters, serve.

        Raise StorageError, AdapterLoadError, or OSError for an address that cannot be had; then nothing is left open.
        """
        async with AsyncExitStack() as undo:
            await self._start(undo)
            undo.pop_all()

    async def _start(self, undo: AsyncExitStack) -> None:
        config, server = self._config, self._config.server
        await self._storage.open()
        undo.push_async_callback(self._storage.close)
        if not self._storage.exclusive:
            self._gossip = Gossip(self._storage, self.id, renew_s=server.presence_seconds)
        self._resources = LiveResources(self._storage, self._gossip)
        undo.push_async_callback(self._resources.close)
        self._backends = Backends(config.backends, config.routing)
        await self._backends.start()
        undo.push_async_callback(self._backends.close)
        carts = self._backends.carts
        committer = CartCommitter(self._storage, self._resources, carts.name)
        call_timeout_s = carts.timeout_s
        self._resolver = Resolver(
            self._storage,
            self._resources,
            carts,
            committer,
            self._failpoints,
            call_timeout_s=call_timeout_s,
            slot_margin_s=server.slot_seconds,
        )
        self._refresher = Refresher(
            self._resources, carts, committer, interval_s=server.refresh_seconds, call_timeout_s=call_timeout_s
        )
        self._resources.caught_up = self._refresher.refresh
        self._access = Access(self._storage, self._resources)
        self._pacer = Pacer(server.flush_tick_ms / 1000)
        self._peers = Peers(self._storage, self.id)
        self.connections = Connections(self._storage, self._resources, self._peers)
        """Every open stream, from `start` on."""
        self._peers.begin(self.connections.replaced)
        self._server = self._serve(carts, committer, call_timeout_s)
        try:
            self.port = self._server.add_insecure_port(server.listen)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {server.listen}: {error}") from error
        # The last one's commands first: whoever asks for them may ask at once.
        await self._resolver.start()
        await self._server.start()
        if self._gossip is not None:
            self._run(self._gossip.run())
        await self._readiness.serve()
        self._readings.enter_context(registry.source(hub_readings(self)))
        self._run(self._readiness.watch())
        self._run(measure_lag())
        self._run(self._refresher.run())
        self._run(self._progress(server.progress_seconds))
        self._run(self._resolve_abandoned())
        self._run(Retention(self._storage, config.storage).run())
        _log.info("serving", extra={"listen": server.listen, "port": self.port, "epoch": self._storage.epoch})

    def _serve(self, carts: CartBackend, committer: CartCommitter, call_timeout_s: float) -> grpc.aio.Server:
        config, server = self._config, self._config.server
        stores = stores_of(config)
        amender = Amender(self._storage, self._resources)
        authority = TokenAuthority(config.auth.secret, config.channels, config.tenants)

        def issue(tenant: str, store: str, session_id: str) -> tuple[str, int]:
            expires_at = now_ms() + config.auth.shopper_token_days * DAY_MS
            return authority.issue_shopper(tenant, store, session_id, expires_at), expires_at

        sessions = Sessions(
            self._storage, self._resources, amender, self._access, stores, credential_verifier(config.auth), issue
        )
        cart_commands = CartCommands(
            self._storage,
            self._resources,
            carts,
            committer,
            self._resolver,
            self._failpoints,
            slot_margin_ms=int(server.slot_seconds * 1000),
            call_timeout_s=call_timeout_s,
        )
        self._commands = Commands(
            self._resources,
            self._access,
            cart_commands,
            SessionCommands(self._storage, self._resources),
            sessions,
            stores,
            max_bytes=server.max_message_bytes,
        )
        reads = Reads(self._storage, self._resources, self._access)
        service = OrchestratorService(
            authority,
            self._commands,
            self.connections,
            self._downstream,
            sessions,
            Sharing(self._storage, self._access, reads),
            reads,
            Catalog(self._backends, stores),
            StreamLimits(
                server.max_commands_in_flight,
                server.max_message_bytes,
                server.max_subscriptions,
                server.max_unacknowledged,
            ),
        )
        options = channel_options(config, shares_port=self._shares_port)
        result = grpc.aio.server(interceptors=server_interceptors(), options=options)
        add_answering_in_bytes(orchestrator_service_pb2_grpc.add_OrchestratorServiceServicer_to_server, service, result)
        admin_service_pb2_grpc.add_AdminServiceServicer_to_server(
            AdminService(authority, Erasure(self._storage)), result
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._readiness.servicer, result)
        reflection.enable_server_reflection(
            [
                SERVICE,
                ADMIN_SERVICE,
                health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
                reflection.SERVICE_NAME,
            ],
            result,
        )
        return result

    def _downstream(
        self, identity: Identity, connection_id: str, channel: stream_pb2.Channel, client_id: str
    ) -> Downstream:
        server = self._config.server
        return Downstream(
            self._storage,
            self._resources,
            self._access,
            self._refresher.refresh,
            self._pacer,
            identity,
            connection_id=connection_id,
            channel=channel,
            client_id=client_id,
            window=server.max_unacknowledged if client_id else 0,
            max_subscriptions=server.max_subscriptions,
        )

    async def stop(self) -> None:
        """Drain: tell every stream, let commands finish, end the streams, close everything."""
        grace = self._config.server.grace_seconds
        _log.info("draining", extra={"streams": len(self.connections)})
        await self._readiness.drain()
        self.connections.drain(grace)
        # From now on new connections and calls reach whoever else serves here; the streams stand until they are ended.
        # The second grace period is for those that do not read.
        closing = asyncio.create_task(self._server.stop(2 * grace))
        cut_off = await self._commands.finish(grace)
        if cut_off:
            _log.warning("commands were cut off; they are resolved at the next start", extra={"commands": cut_off})
        self.connections.end_all()
        await closing
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if self._gossip is not None:
            await self._gossip.close()
        await self._peers.close()
        await self._refresher.close()
        await self._resolver.close()
        await self._backends.close()
        await self._resources.close()
        await self._storage.close()
        self._readings.close()
        _log.info("stopped")

    # What the metrics ask

    def outboxes(self) -> list[Outbox]:
        """Of every open stream."""
        return [stream.outbox for stream in self.connections if isinstance(stream, Downstream)]

    @property
    def draining(self) -> bool:
        """Whether the hub goes down."""
        return self.connections.draining

    @property
    def ready(self) -> bool:
        """Whether the health service says so."""
        return self._readiness.ready

    @property
    def storage_reachable(self) -> bool:
        """Whether the last look at the storage was answered."""
        return self._readiness.storage_reachable

    def counts(self) -> tuple[int, int, int]:
        """Commands without a result, slots being resolved, resources in memory."""
        return self._commands.running, len(self._resolver), len(self._resources)

    def backends(self) -> list[tuple[str, bool]]:
        """Each backend's name, and whether it has said what it can do."""
        return [(backend.name, backend.info is not None) for backend in self._backends]

    @property
    def build(self) -> tuple[str, str]:
        """Newest version of the adapter contract that is spoken, and the storage's scheme."""
        return CONTRACT_VERSIONS[0], self._config.storage.url.partition(":")[0]

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        self._background.append(asyncio.create_task(work))

    async def _progress(self, interval_s: float) -> None:
        while True:
            await asyncio.sleep(interval_s)
            self.connections.progress()

    async def _resolve_abandoned(self) -> None:
        while True:
            await asyncio.sleep(SLOTS_S * random.uniform(0.75, 1.25))  # Several hubs look, not all at once.
            try:
                await self._resolver.look()
            except StorageError as error:
                _log.warning("cannot look for abandoned commands", extra={"error": str(error)})


def open_storage(url: str) -> Storage:
    """The engine that a storage URL names, not opened yet. Raise StorageError for one that is not right."""
    scheme, _, path = url.partition(":")
    if scheme != "sqlite":
        # Imported here: a hub on SQLite needs no redis-py.
        try:
            from legato_hub.storage.valkey import ValkeyStorage
        except ModuleNotFoundError as error:
            raise StorageError(
                f"this storage needs the extra `valkey`: pip install 'legato[valkey]' ({error})"
            ) from None
        return ValkeyStorage.from_url(url)
    if path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    return SQLiteStorage(path)


def stores_of(config: Config) -> Stores:
    """The configured stores as the core knows them."""
    return {
        tenant: {
            name: Store(name, store.country, store.currencies, store.locale) for name, store in settings.stores.items()
        }
        for tenant, settings in config.tenants.items()
    }


def channel_options(config: Config, *, shares_port: bool = False) -> list[tuple[str, int]]:
    """Options of the listener. A silent link is noticed within `keepalive_ms` + `keepalive_timeout_ms`."""
    server = config.server
    return [
        # Off but for workers: else a second hub on the same port would silently take half of the calls.
        ("grpc.so_reuseport", int(shares_port)),
        ("grpc.keepalive_time_ms", server.keepalive_ms),
        ("grpc.keepalive_timeout_ms", server.keepalive_timeout_ms),
        ("grpc.http2.ping_timeout_ms", server.keepalive_timeout_ms),
        ("grpc.keepalive_permit_without_calls", 1),
        # Half of what polite clients use, or they are sent away with "too many pings".
        ("grpc.http2.min_ping_interval_without_data_ms", min(server.keepalive_ms, 5_000) // 2),
        ("grpc.http2.max_ping_strikes", 0),
        # Above the hub's own limit, so that what is too large gets a reason and not just a dead stream.
        ("grpc.max_receive_message_length", max(4 * server.max_message_bytes, 4 * 1024 * 1024)),
        ("grpc.max_send_message_length", -1),
        # A storm of new streams waits instead of being refused.
        ("grpc.server.max_pending_requests", 10_000),
        ("grpc.server.max_pending_requests_hard_limit", 20_000),
    ]


def settle_collector() -> None:
    """What exists now stays: the garbage collector need not look at it again and again, and at the rest less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 50)


async def run(config: Config) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    is_worker = worker_number() is not None
    hub = Hub(config, failpoints=os.environ.get("LEGATO_FAILPOINTS", ""), shares_port=is_worker)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(unhandled)
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)
    await hub.start()
    settle_collector()
    if is_worker:
        say_serving()
    else:
        host = config.server.listen.rpartition(":")[0]
        print(f"legato serves on {host}:{hub.port}", flush=True)
    try:
        await stop.wait()
    finally:
        await hub.stop()
