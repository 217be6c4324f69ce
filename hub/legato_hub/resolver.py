"""Finds out what became of commands whose answer was lost: after a timeout, or when a hub died between call and commit.

While a slot is being resolved its cart waits. Resolving needs no lane: the slot keeps every other command away, and the
commit stands under its fence.
"""

import asyncio
import logging
import time

import grpc

from legato.adapter.v1 import cart_service_pb2
from legato.orchestrator.v1 import command_pb2, error_pb2
from legato_hub.cart_backend import CartBackend
from legato_hub.cart_commit import CartCommitter
from legato_hub.clock import now_ms
from legato_hub.core.problem import Problem
from legato_hub.failpoints import Failpoints
from legato_hub.live_resources import LiveResources
from legato_hub.storage.base import Slot, Storage, StorageError
from legato_hub.telemetry.metrics import RESOLUTIONS
from legato_hub.telemetry.tracing import tracer

_log = logging.getLogger(__name__)

FIRST_DELAY_S = 0.05
LONGEST_DELAY_S = 5.0

EVERYTHING = 1 << 62
"""A time after every slot's."""


class Resolver:
    """Resolves slots, each once at a time, until it is done or the hub goes down."""

    def __init__(
        self,
        storage: Storage,
        resources: LiveResources,
        backend: CartBackend,
        committer: CartCommitter,
        failpoints: Failpoints,
        call_timeout_s: float,
        slot_margin_s: float,
    ) -> None:
        self._storage = storage
        self._resources = resources
        self._backend = backend
        self._committer = committer
        self._failpoints = failpoints
        self._call_timeout_s = call_timeout_s
        self._lifetime_s = call_timeout_s + slot_margin_s
        self._running: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._seen: dict[tuple[str, int], float] = {}
        """Since when slots that others may hold are known here, on the monotonic clock."""

    def begin(self, slot: Slot) -> None:
        """Begin the resolution of a slot, unless it is under way."""
        _ = self._task(slot)

    async def resolve(self, slot: Slot) -> None:
        """Begin, or join, the resolution of a slot, until it is gone. Cancelling this does not cancel it."""
        await asyncio.shield(self._task(slot))

    def _task(self, slot: Slot) -> asyncio.Task[None]:
        key = slot.resource, slot.fence
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._until_resolved(slot), name=f"resolve {slot.resource}")
            task.add_done_callback(lambda _: self._running.pop(key, None))
        return task

    def orphaned(self, slot: Slot) -> bool:
        """Whether a slot that was found by whoever holds its lane belongs to nobody any more."""
        # In a storage that is ours alone it was left behind by a hub that died.
        return self._storage.exclusive or self._outlived(slot)

    async def start(self) -> None:
        """Begin with what a dead hub left behind, before this one claims anything. Raise StorageError."""
        for slot in await self._storage.abandoned(EVERYTHING):
            if self.orphaned(slot):
                self.begin(slot)

    async def look(self) -> None:
        """Begin with every slot that nobody can hold any more, and see the others. Raise StorageError."""
        slots = await self._storage.abandoned(EVERYTHING)
        for slot in slots:
            if self._outlived(slot):
                self.begin(slot)
        found = {(slot.resource, slot.fence) for slot in slots}
        self._seen = {key: since for key, since in self._seen.items() if key in found}

    def _outlived(self, slot: Slot) -> bool:
        """Whether a slot has been seen here for longer than any call takes.

        Not by the time that it names: the clocks of hubs may be hours apart, and to resolve a command that is running
        could have it executed twice.
        """
        now = time.monotonic()
        return now - self._seen.setdefault((slot.resource, slot.fence), now) >= self._lifetime_s

    def resolving(self, slot: Slot) -> bool:
        """Whether a slot is being resolved by this process."""
        return (slot.resource, slot.fence) in self._running

    def __len__(self) -> int:
        """How many are being resolved."""
        return len(self._running)

    async def close(self) -> None:
        """Stop. Slots that are not resolved stay claimed, and are resolved by whoever opens the storage next."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _until_resolved(self, slot: Slot) -> None:
        delay = FIRST_DELAY_S
        while True:
            try:
                await self._resolve(slot)
                return
            except (grpc.aio.AioRpcError, StorageError, Problem) as error:
                what = error.code().name if isinstance(error, grpc.aio.AioRpcError) else type(error).__name__
                RESOLUTIONS.add("failed")
                _log.warning("cannot resolve a command yet", extra={"resource": slot.resource, "error": what})
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY_S)

    async def _resolve(self, slot: Slot) -> None:
        call = cart_service_pb2.ApplyCommandRequest.FromString(slot.call)
        # In the command's own trace, however late and on whichever hub: then it is recorded if the command was.
        with tracer.span("resolve", parent=call.context.traceparent) as span:
            await self._find_out(slot, call, span.traceparent)

    async def _find_out(self, slot: Slot, call: cart_service_pb2.ApplyCommandRequest, traceparent: str) -> None:
        request = cart_service_pb2.ResolveCommandRequest(call=call)
        answer = await self._backend.resolve_command(request, self._call_timeout_s)
        resolution = cart_service_pb2.Resolution.Name(answer.resolution).removeprefix("RESOLUTION_")
        _log.info("resolved a command", extra={"resource": slot.resource, "resolution": resolution})
        RESOLUTIONS.add(resolution.lower())
        await self._failpoints.passed("resolve.before_commit")
        if answer.resolution == cart_service_pb2.RESOLUTION_NOT_APPLIED:
            await self._storage.release(slot)
            return
        problem = None
        if answer.resolution != cart_service_pb2.RESOLUTION_APPLIED:
            message = "it cannot be found out whether the backend executed the command"
            problem = Problem(error_pb2.ERROR_REASON_OUTCOME_UNKNOWN, message)
        command = command_pb2.Command(command_id=slot.key.command_id, resource=slot.resource, seq=slot.key.seq)
        command.cart.CopyFrom(call.intent)
        live = await self._resources.pin(slot.resource)
        try:
            result = await self._committer.commit(
                live,
                command,
                call,
                answer.response,
                slot.key,
                slot.fence,
                problem=problem,
                now=now_ms(),
                traceparent=traceparent,
            )
            if result is None:
                # Somebody else resolved it first, and the slot is gone; or the cart is, and the slot must go, too.
                await self._storage.release(slot)
        finally:
            self._resources.unpin(live)
