"""A real hub in the test's own loop: real gRPC on loopback, real SQLite files, the real reference adapter."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc.aio
import msgspec

from legato.orchestrator.v1 import orchestrator_service_pb2_grpc, reads_pb2
from legato_hub.auth import Customer, DevelopmentCredentials, TokenAuthority
from legato_hub.clock import now_ms
from legato_hub.config import BackendConfig, Config, RoutingConfig, ServerConfig, StorageConfig, default_config
from legato_hub.core.identity import Identity, IdentityKind
from legato_hub.server import Hub

if TYPE_CHECKING:
    from legato.orchestrator.v1.orchestrator_service_pb2_grpc import OrchestratorServiceAsyncStub

HOUR_MS = 3_600_000


@dataclass
class Shopper:
    """An anonymous session and its token."""

    session_id: str
    token: str

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return bearer(self.token)


@dataclass
class RunningHub:
    """A hub that serves, and a channel to it."""

    hub: Hub
    config: Config
    channel: grpc.aio.Channel
    stub: "OrchestratorServiceAsyncStub"
    authority: TokenAuthority = field(init=False)

    def __post_init__(self) -> None:
        self.authority = TokenAuthority(self.config.auth.secret)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.hub.port}"

    async def shopper(self, key: str = "dev-web") -> Shopper:
        answer = await self.stub.StartSession(reads_pb2.StartSessionRequest(), metadata=bearer(key))
        return Shopper(answer.session.id, answer.access_token)

    def token(
        self, kind: IdentityKind, subject: str = "x", store: str = "", tenant: str = "demo", lives_ms: int = HOUR_MS
    ) -> str:
        expires_at = now_ms() + lives_ms
        return self.authority.issue(Identity(kind, tenant, subject, store, expires_at=expires_at))

    def credential(self, customer: str, tenant: str = "demo") -> str:
        issuer = DevelopmentCredentials(self.config.auth.secret)
        return issuer.issue(tenant, Customer(customer, customer.title()), now_ms() + HOUR_MS)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """Metadata that carries a token."""
    return (("authorization", f"Bearer {token}"),)


def hub_config(
    folder: Path, *, backends: Mapping[str, BackendConfig] | None = None, cart: str = "", **server: Any
) -> Config:
    """A development configuration whose files lie in `folder`, on a port that the system chooses."""
    reference = BackendConfig(
        adapter="legato_adapters.reference:create", options={"path": str(folder / "reference.sqlite3")}
    )
    return msgspec.structs.replace(
        default_config(),
        server=ServerConfig(**{"listen": "127.0.0.1:0", "grace_seconds": 1.0, **server}),
        storage=StorageConfig(url=f"sqlite:{folder / 'hub.sqlite3'}"),
        backends={"reference": reference, **(backends or {})},
        routing=RoutingConfig(default="reference", cart=cart),
    )


@asynccontextmanager
async def running_hub(config: Config, *, failpoints: str = "") -> AsyncIterator[RunningHub]:
    """A hub that is stopped on leaving, as an operator would."""
    hub = Hub(config, failpoints=failpoints)
    await hub.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{hub.port}") as channel:
        stub = orchestrator_service_pb2_grpc.OrchestratorServiceStub(channel)
        try:
            yield RunningHub(hub, config, channel, stub)
        finally:
            await hub.stop()
