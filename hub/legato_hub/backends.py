"""The configured backends: where each runs, and which of them serves what."""

import asyncio
import logging
from collections.abc import Iterator, Mapping

from legato.adapter.v1 import identity_service_pb2
from legato_hub.backend import CART, CATALOG, INVENTORY, PRICING, SEARCH, Backend, EmbeddedBackend
from legato_hub.config import BackendConfig, RoutingConfig
from legato_hub.remote_backend import REMOTE_SCHEME, RemoteBackend

_log = logging.getLogger(__name__)


class Backends:
    """All of them, by name."""

    def __init__(self, backends: Mapping[str, BackendConfig], routing: RoutingConfig) -> None:
        self._backends = {name: _placed(name, config) for name, config in backends.items()}
        chosen = {
            CATALOG: routing.backend("catalog"),
            SEARCH: routing.backend("search"),
            PRICING: routing.backend("pricing"),
            INVENTORY: routing.backend("inventory"),
            CART: routing.backend("cart"),
        }
        self._routes = {capability: self._backends[name] for capability, name in chosen.items()}

    async def start(self) -> None:
        """Start all at once. Raise AdapterLoadError; then none runs."""
        outcomes = await asyncio.gather(*(b.start() for b in self._backends.values()), return_exceptions=True)
        if failed := [outcome for outcome in outcomes if outcome is not None]:
            await self.close()
            raise failed[0]

    async def close(self) -> None:
        """End all; one that fails to is logged and keeps no other from it."""
        outcomes = await asyncio.gather(*(b.close() for b in self._backends.values()), return_exceptions=True)
        for name, outcome in zip(self._backends, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                _log.error("backend %s did not close", name, exc_info=outcome, extra={"backend": name})

    def routed(self, capability: identity_service_pb2.Capability.ValueType) -> Backend:
        """The backend that a capability is to be asked of, whether it has it or not."""
        return self._routes[capability]

    def __iter__(self) -> Iterator[Backend]:
        return iter(list(self._backends.values()))

    @property
    def carts(self) -> Backend:
        """The backend that owns the carts."""
        return self._routes[CART]


def _placed(name: str, config: BackendConfig) -> Backend:
    return RemoteBackend(name, config) if config.adapter.startswith(REMOTE_SCHEME) else EmbeddedBackend(name, config)
