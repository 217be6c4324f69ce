"""Takes a command in: who may send it, what is wrong with it, which write path it takes, and who waits for it.

A command that was begun runs to its end, whatever becomes of the caller: it belongs to the hub, not to the stream.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine
from typing import Any

from legato.adapter.v1 import cart_service_pb2, request_context_pb2
from legato.commerce.v1 import cart_pb2
from legato.orchestrator.v1 import command_pb2, error_pb2
from legato.protocol.resources import Kind, Resource
from legato_hub.access import Access
from legato_hub.cart_commands import CartCall, CartCommands
from legato_hub.core import market, outcomes, validation
from legato_hub.core.access import customer_of
from legato_hub.core.compile import body_hash
from legato_hub.core.identity import Caller, IdentityKind
from legato_hub.core.market import Stores
from legato_hub.core.problem import Problem
from legato_hub.core.traceparent import parse_traceparent
from legato_hub.live import Live
from legato_hub.live_resources import LiveResources
from legato_hub.session_commands import SessionCommands
from legato_hub.sessions import Sessions
from legato_hub.storage.base import CommandKey, StorageError
from legato_hub.telemetry.metrics import command_answered
from legato_hub.telemetry.tracing import tracer

_log = logging.getLogger(__name__)


class Commands:
    """Executes commands of every kind."""

    def __init__(
        self,
        live_resources: LiveResources,
        access: Access,
        carts: CartCommands,
        session_commands: SessionCommands,
        sessions: Sessions,
        stores: Stores,
        *,
        max_bytes: int,
    ) -> None:
        self._resources = live_resources
        self._access = access
        self._carts = carts
        self._session_commands = session_commands
        self._sessions = sessions
        self._stores = stores
        self._max_bytes = max_bytes
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def execute(
        self, command: command_pb2.Command, caller: Caller, *, path: str = "command"
    ) -> command_pb2.CommandResult:
        """The result of a command; never raises for what is the caller's or a backend's fault.

        It runs in the caller's task, which must outlive whoever asked for the command and is cut off by `finish` alone.
        `path` leads to the command in the caller's request.
        """
        if self._closed:
            return self.refuse(command, Problem(error_pb2.ERROR_REASON_DRAINING, "the hub is going down", retry_ms=500))
        start = time.monotonic()
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            result = await self._traced(command, caller, path)
        finally:
            self._running.discard(task)
        command_answered(result, time.monotonic() - start)
        return result

    async def execute_apart(
        self, command: command_pb2.Command, caller: Caller, *, path: str
    ) -> command_pb2.CommandResult:
        """As `execute`, in a task of its own: cancelling the call does not cancel the command."""
        return await asyncio.shield(asyncio.create_task(self.execute(command, caller, path=path)))

    @staticmethod
    def refuse(command: command_pb2.Command, problem: Problem) -> command_pb2.CommandResult:
        """The result of a command that is not even looked at."""
        return outcomes.refused(command, problem)

    @property
    def running(self) -> int:
        """Commands that were taken and have no result yet."""
        return len(self._running)

    async def finish(self, grace_s: float) -> int:
        """Wait until commands are done, also those that wait behind others on their streams; then begin no more.

        Returns the number of those that were cut off after the grace. One that was cut off between call and commit
        keeps its slot, and is resolved at the next start.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self._running:
                    await asyncio.wait(self._running)
        self._closed = True
        left = list(self._running)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return len(left)

    async def _traced(self, command: command_pb2.Command, caller: Caller, path: str) -> command_pb2.CommandResult:
        if not tracer.enabled:
            return await self._answer(self._execute(command, caller, path, command.traceparent), command)
        parent = command.traceparent if parse_traceparent(command.traceparent) is not None else ""
        with tracer.span("command", "server", parent=parent) as span:
            result = await self._answer(self._execute(command, caller, path, span.traceparent), command)
            if not span.recording:
                return result
            span.set("legato.resource", command.resource.partition("/")[0])
            span.set("legato.command_id", command.command_id)
            span.set("legato.outcome", command_pb2.Outcome.Name(result.outcome).removeprefix("OUTCOME_"))
            if result.HasField("error"):
                span.set("legato.reason", error_pb2.ErrorReason.Name(result.error.reason).removeprefix("ERROR_REASON_"))
            return result

    async def _answer(
        self, work: Coroutine[Any, Any, command_pb2.CommandResult], command: command_pb2.Command
    ) -> command_pb2.CommandResult:
        try:
            return await work
        except Problem as problem:
            return outcomes.refused(command, problem)
        except StorageError:
            _log.exception("the storage failed", extra={"resource": command.resource})
            message = "the hub cannot use its storage"
            failure = Problem(error_pb2.ERROR_REASON_STORAGE_UNAVAILABLE, message, retry_ms=1_000)
            return outcomes.refused(command, failure)
        except Exception:  # noqa: BLE001 -- a fault of the hub must not take the stream along; it is logged with its trace
            _log.exception("a command failed", extra={"resource": command.resource})
            return outcomes.refused(command, Problem(error_pb2.ERROR_REASON_UNSPECIFIED, "the hub has a fault"))

    async def _execute(
        self, command: command_pb2.Command, caller: Caller, path: str, traceparent: str
    ) -> command_pb2.CommandResult:
        resource = validation.check_frame(command, path)
        if caller.identity.kind is IdentityKind.CHANNEL:
            raise Problem(error_pb2.ERROR_REASON_NOT_ALLOWED, "a channel's key cannot send commands: start a session")
        fault = self._fault(command, path)
        deadline = time.monotonic() + validation.timeout_ms(command) / 1000 if fault is None else time.monotonic() + 10
        key = CommandKey(command.command_id, body_hash(command), caller.client_id if command.seq else "", command.seq)
        live = await self._resources.pin(command.resource)
        try:
            if resource.kind is Kind.SESSION:
                before = (await self._access.session(caller.identity, resource.id)).entries
                result = await self._session_commands.execute(
                    live, command, key, caller.channel, deadline, invalid=fault, traceparent=traceparent
                )
                applied = result.outcome == command_pb2.OUTCOME_APPLIED and not result.replayed
                if applied and command.session.HasField("sign_out"):
                    await self._sessions.signed_out(before)
                return result
            return await self._cart(live, resource, command, key, caller, deadline, fault, path, traceparent)
        finally:
            self._resources.unpin(live)

    def _fault(self, command: command_pb2.Command, path: str) -> Problem | None:
        if command.ByteSize() > self._max_bytes:
            message = f"{path} must have at most {self._max_bytes} bytes"
            return Problem(error_pb2.ERROR_REASON_MESSAGE_TOO_LARGE, message, fields=((path, "is too large"),))
        try:
            validation.check_body(command, path)
        except Problem as problem:
            return problem
        return None

    async def _cart(
        self,
        live: Live,
        resource: Resource,
        command: command_pb2.Command,
        key: CommandKey,
        caller: Caller,
        deadline: float,
        fault: Problem | None,
        path: str,
        traceparent: str,
    ) -> command_pb2.CommandResult:
        call = CartCall(
            command,
            key,
            request_context_pb2.RequestContext(tenant=caller.identity.tenant),
            cart_service_pb2.Owner(),
            caller.channel,
            deadline,
            invalid=fault,
            traceparent=traceparent,
        )
        creates = command.cart.HasField("create_cart")
        if live.revision or not creates:
            await self._access.cart(caller.identity, resource.id)
            head = live.head()
            call.context.store, call.context.country, call.context.locale = head.store, head.country, head.locale
            call.context.currency_code = head.currency_code
        elif fault is None:
            await self._prepare_creation(call, caller, f"{path}.cart.create_cart")
        result = await self._carts.execute(live, call)
        if creates and caller.identity.kind is IdentityKind.SHOPPER and live.exists:
            # Also after a repeat: the hub may have died between the commit and this.
            await self._sessions.attach_cart(caller.identity.subject, resource.id)
        return result

    async def _prepare_creation(self, call: CartCall, caller: Caller, path: str) -> None:
        """Decide the market and the owner of a new cart, and list it where it will be looked for."""
        identity, wish = caller.identity, call.command.cart.create_cart
        own = identity.store
        if identity.kind is IdentityKind.SHOPPER:
            session = await self._access.session(identity, identity.subject)
            customer = customer_of(session.entries)
            if customer:
                call.owner.customer_id = customer
            else:
                call.owner.anonymous_id = identity.subject
        elif identity.kind is IdentityKind.TERMINAL:
            call.owner.terminal_id = identity.subject
        try:
            found = market.resolve(
                self._stores.get(identity.tenant, {}),
                own,
                store=wish.store,
                country=wish.country,
                currency_code=wish.currency_code,
                locale=wish.locale,
                path=path,
            )
        except Problem as problem:
            call.invalid = problem
            return
        context = call.context
        context.store, context.country, context.currency_code, context.locale = found
        cart = cart_pb2.Cart(id=call.command.resource.removeprefix("carts/"), tenant=identity.tenant, store=found.store)
        owner = call.owner.WhichOneof("owner")
        if owner is not None:
            setattr(cart, owner, getattr(call.owner, owner))
        await self._sessions.index_cart(cart)
