"""Reads watched carts again: a backend may be edited elsewhere, and what is stored may be older than this process."""

import asyncio
import logging
import time

import grpc

from legato.adapter.v1 import cart_service_pb2, request_context_pb2
from legato.commerce.v1 import cart_pb2
from legato_hub.cart_backend import CartBackend
from legato_hub.cart_commit import CartCommitter
from legato_hub.clock import now_ms
from legato_hub.core.problem import Problem
from legato_hub.lane import Lane
from legato_hub.live import Live
from legato_hub.live_resources import LiveResources
from legato_hub.storage.base import StorageError
from legato_hub.telemetry.tracing import tracer

_log = logging.getLogger(__name__)

CONCURRENT = 16
"""Reads under way at once: refreshing must not crowd out what shoppers wait for."""


class Refresher:
    """Refreshes carts in the background, each once at a time."""

    def __init__(
        self,
        resources: LiveResources,
        backend: CartBackend,
        committer: CartCommitter,
        *,
        interval_s: float,
        call_timeout_s: float,
    ) -> None:
        self._resources = resources
        self._backend = backend
        self._committer = committer
        self._interval_ms = int(interval_s * 1000)
        self._call_timeout_s = call_timeout_s
        self._running: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(CONCURRENT)

    def refresh(self, live: Live) -> None:
        """Read a cart again soon, unless that was done a moment ago, is under way, or makes no sense."""
        fresh = 0 <= now_ms() - live.observed_at < self._interval_ms  # A clock that went back makes nothing fresh.
        if fresh or live.name in self._running or not live.exists or not live.name.startswith("carts/"):
            return
        task = self._running[live.name] = asyncio.create_task(self._refresh(live.name), name=f"refresh {live.name}")
        task.add_done_callback(lambda _: self._running.pop(live.name, None))

    async def run(self) -> None:
        """Refresh every watched cart again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._interval_ms / 1000)
            for live in self._resources.watched():
                self.refresh(live)

    async def close(self) -> None:
        """Stop."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _refresh(self, name: str) -> None:
        try:
            async with self._places:
                live = await self._resources.pin(name)
                try:
                    with tracer.span("refresh"):
                        await self._read(live)
                finally:
                    self._resources.unpin(live)
        except (grpc.aio.AioRpcError, StorageError, Problem) as error:
            # The last known cart stays; the next round tries again.
            what = error.code().name if isinstance(error, grpc.aio.AioRpcError) else type(error).__name__
            _log.warning("cannot refresh a cart", extra={"resource": name, "error": what})

    async def _read(self, live: Live) -> None:
        async with Lane(live, time.monotonic() + self._call_timeout_s):
            head = cart_pb2.Cart.FromString(live.entries.get("cart", b""))
            if head.state != cart_pb2.CART_STATE_ACTIVE:
                live.observed_at = now_ms()
                return
            context = request_context_pb2.RequestContext(
                tenant=head.tenant,
                store=head.store,
                country=head.country,
                currency_code=head.currency_code,
                locale=head.locale,
            )
            await self._resources.complete(live)
            request = cart_service_pb2.GetCartRequest(
                context=context, cart_id=head.id, adapter_state=live.adapter_state
            )
            base = live.revision
            answer = await self._backend.get_cart(request, self._call_timeout_s)
            await self._committer.refresh(live, answer, base, now_ms())
