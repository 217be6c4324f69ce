"""The write path of cart commands: begin, adapter call, commit.

A command holds its cart's lane in this process. Where the backend does not deduplicate by itself it also holds the
one slot that the cart has in the storage: at most one command of unknown outcome exists for a cart at any time.
"""

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass

import grpc

from legato.adapter.v1 import cart_service_pb2, identity_service_pb2, request_context_pb2
from legato.orchestrator.v1 import command_pb2, error_pb2
from legato.protocol.ids import unix_ms_of
from legato_hub.begun import expected_of, refuse_begun
from legato_hub.cart_backend import CartBackend
from legato_hub.cart_commit import CartCommitter
from legato_hub.clock import now_ms
from legato_hub.core import outcomes
from legato_hub.core.compile import compile_call
from legato_hub.core.cursor import Cursor
from legato_hub.core.problem import Problem, not_found
from legato_hub.failpoints import Failpoints
from legato_hub.lane import Lane
from legato_hub.live import Live
from legato_hub.live_resources import LiveResources
from legato_hub.resolver import Resolver
from legato_hub.storage import base
from legato_hub.storage.base import Claim, CommandKey, Slot, Storage

EFFECT_TRAILER = ("legato-effect", "none")
"""Trailing metadata with which an adapter says that an UNAVAILABLE call had no effect for certain."""

_CERTAIN = {
    grpc.StatusCode.UNIMPLEMENTED: error_pb2.ERROR_REASON_CAPABILITY_MISSING,
    grpc.StatusCode.INVALID_ARGUMENT: error_pb2.ERROR_REASON_REJECTED_BY_BACKEND,
    grpc.StatusCode.NOT_FOUND: error_pb2.ERROR_REASON_REJECTED_BY_BACKEND,
    grpc.StatusCode.ABORTED: error_pb2.ERROR_REASON_COMMAND_ID_REUSED,
}
"""Codes of ApplyCommand that are final, and had no effect."""

CLOCK_SKEW_MS = 5 * 60_000
"""How far a client's clock may be ahead, where a repeat is told from a first try by the time in its id."""

_REMEMBERING = (identity_service_pb2.EFFECT_CLASS_KEYED, identity_service_pb2.EFFECT_CLASS_MARKED)
"""Effect classes whose backend knows a command by its id alone."""

_WAIT_S = 0.05
_RETRY_S = 0.1


@dataclass(slots=True)
class CartCall:
    """One command on a cart on its way. `deadline` is on the monotonic clock."""

    command: command_pb2.Command
    key: CommandKey
    context: request_context_pb2.RequestContext
    owner: cart_service_pb2.Owner
    channel: str
    deadline: float
    invalid: Problem | None = None
    """What is wrong with the body: stored as the command's result, unless there is one already."""
    traceparent: str = ""
    effect_class: identity_service_pb2.EffectClass.ValueType = identity_service_pb2.EFFECT_CLASS_UNSPECIFIED
    intents: Collection[str] = ()
    slot_ends: float = 0.0
    """When its slot does, if it has one, on the monotonic clock."""
    tried: bool = False
    """The backend was called."""
    looked_up: bool = False
    """The backend was asked whether it has executed the command, and has not."""

    @property
    def keyed(self) -> bool:
        """Whether the backend deduplicates by itself, so that no slot is needed."""
        return self.effect_class == identity_service_pb2.EFFECT_CLASS_KEYED

    @property
    def remaining(self) -> float:
        """Seconds until the caller stops waiting; negative after."""
        return self.deadline - time.monotonic()

    @property
    def must_match(self) -> bool:
        """Whether the command gives up when the state has moved on."""
        return self.command.on_conflict == command_pb2.CONFLICT_POLICY_FAIL and self.command.HasField("expected")

    @property
    def expected(self) -> Cursor | None:
        """The state that the wish was made on."""
        return expected_of(self.command)


class CartCommands:
    """Executes commands on carts, exactly once within the guarantee of the backend's effect class."""

    def __init__(
        self,
        storage: Storage,
        resources: LiveResources,
        backend: CartBackend,
        committer: CartCommitter,
        resolver: Resolver,
        failpoints: Failpoints,
        *,
        slot_margin_ms: int,
        call_timeout_s: float,
    ) -> None:
        self._storage = storage
        self._resources = resources
        self._backend = backend
        self._committer = committer
        self._resolver = resolver
        self._failpoints = failpoints
        self._slot_margin_ms = slot_margin_ms
        self._call_timeout_s = call_timeout_s

    async def execute(self, live: Live, e: CartCall) -> command_pb2.CommandResult:
        """The result of a command whose caller was authorised.

        Raise Problem for what consumes no seq or is not known yet, StorageError when the storage fails.
        """
        claims = await self._backend.claims()
        e.effect_class, e.intents = claims.effect_class, claims.cart_intents
        async with Lane(live, e.deadline):
            while True:
                await self._resources.complete(live)
                if live.inherited:
                    await self._read_again(live, e)
                result = await self._attempt(live, e)
                if result is not None:
                    return result
                if live.tombstone:
                    raise not_found(live.name)  # Swept meanwhile.
                if e.remaining <= 0:
                    message = "the cart kept changing under the command"
                    raise Problem(error_pb2.ERROR_REASON_RESOURCE_BUSY, message, retry_ms=1_000)

    async def _attempt(self, live: Live, e: CartCall) -> command_pb2.CommandResult | None:
        """One passage through the write path; None when the state of things has changed and it is worth another."""
        if live.tombstone:
            raise not_found(live.name)  # Swept or erased meanwhile: the backend must not be asked to make it again.
        call = self._compile(live, e)
        now, until, serialised = now_ms(), 0, b""
        if not isinstance(call, Problem) and not e.keyed:
            # The call ends by then, and with it all that may still become of it.
            until = now + int(self._patience(e) * 1000) + self._slot_margin_ms
            e.slot_ends = time.monotonic() + (until - now) / 1000
            serialised = call.SerializeToString()
        claim = Claim(live.name, e.key, live.revision, now, e.expected, e.must_match, serialised, until)
        begun = await self._storage.begin(claim)
        match begun:
            case base.Fresh(fence):
                return await self._run(live, e, call, claim, fence)
            case base.Repeated(stored):
                return outcomes.replayed(stored)
            case base.Moved():
                await self._resources.reload(live)
                return None
            case base.Abandoned(slot) | base.Running(slot) | base.Busy(slot):
                await self._settled(slot, e, own=False)
                return None
            case base.Mismatch() | base.EpochMismatch() if self._may_be_done(e):
                # What moved the state on may have been the command itself.
                return await self._look_up(live, e, None)
            case _:
                return await refuse_begun(self._committer, live, e.command, e.key, begun)

    def _compile(self, live: Live, e: CartCall) -> cart_service_pb2.ApplyCommandRequest | Problem:
        if e.invalid is not None:
            return e.invalid
        kind = e.command.cart.WhichOneof("intent")
        if kind not in e.intents:
            message = f"the backend {self._backend.name} cannot {str(kind).replace('_', ' ')}"
            return Problem(error_pb2.ERROR_REASON_CAPABILITY_MISSING, message)
        try:
            cart = live.cart() if live.exists else None
            call = compile_call(e.command, cart, e.context, e.owner, e.channel)
        except Problem as problem:
            return problem
        call.adapter_state = live.adapter_state
        call.context.traceparent = e.traceparent
        if e.must_match and e.keyed:
            call.expected_version = live.version
        return call

    async def _settled(self, slot: Slot, e: CartCall, *, own: bool) -> None:
        """Wait until a slot in the way is gone. Raise Problem at the deadline."""
        resolvable = own or self._resolver.resolving(slot) or self._resolver.orphaned(slot)
        try:
            async with asyncio.timeout(max(e.remaining, 0)):
                if resolvable:
                    await self._resolver.resolve(slot)
                else:
                    await asyncio.sleep(_WAIT_S)
        except TimeoutError:
            if slot.key.command_id == e.command.command_id:
                raise _pending() from None
            message = "an earlier command of this cart is still being resolved"
            raise Problem(error_pb2.ERROR_REASON_RESOURCE_BUSY, message, retry_ms=1_000) from None

    async def _run(
        self,
        live: Live,
        e: CartCall,
        call: cart_service_pb2.ApplyCommandRequest | Problem,
        claim: Claim,
        fence: int,
    ) -> command_pb2.CommandResult | None:
        slot = Slot(claim.resource, claim.key, claim.base, claim.call, fence, claim.slot_until) if fence else None
        # A KEYED backend that can be called again tells by itself; what cannot be called any more must be asked for.
        if (slot is not None or isinstance(call, Problem)) and self._may_be_done(e):
            return await self._look_up(live, e, slot)
        if isinstance(call, Problem):
            return await self._committer.refuse(live, e.command, call, e.key, fence, now=now_ms())
        await self._failpoints.passed("write.after_begin")
        if slot is not None and self._stood_still(e):
            return None
        e.tried = True
        try:
            answer = await self._backend.apply_command(call, self._patience(e))
        except grpc.aio.AioRpcError as error:
            return await self._failed(live, e, slot, error)
        await self._failpoints.passed("write.after_adapter")
        result = await self._committer.commit(
            live, e.command, call, answer, e.key, fence, now=now_ms(), traceparent=e.traceparent
        )
        await self._failpoints.passed("write.after_commit")
        if result is None:
            await self._give_back(slot)
        return result

    async def _failed(
        self, live: Live, e: CartCall, slot: Slot | None, error: grpc.aio.AioRpcError
    ) -> command_pb2.CommandResult | None:
        """After a call without an answer. Without a slot the backend deduplicates, and trying again is always safe."""
        code, details = error.code(), error.details() or ""
        fence = slot.fence if slot is not None else 0
        if code in _CERTAIN:
            problem = Problem(_CERTAIN[code], details or code.name, metadata={"native_code": code.name})
            return await self._committer.refuse(live, e.command, problem, e.key, fence, now=now_ms())
        if code is grpc.StatusCode.FAILED_PRECONDITION:
            return await self._outdated(live, e, slot)
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            await self._give_back(slot)
            raise Problem(error_pb2.ERROR_REASON_THROTTLED, "the backend asks to slow down", retry_ms=1_000) from error
        certain = EFFECT_TRAILER in tuple(error.trailing_metadata() or ())
        if code is grpc.StatusCode.UNAVAILABLE and (certain or slot is None):
            await self._give_back(slot)
            raise self._unreachable() from error
        if slot is not None:
            await self._settled(slot, e, own=True)
            return None
        if e.remaining <= _RETRY_S:
            raise _pending() from error
        await asyncio.sleep(_RETRY_S)
        return None

    async def _outdated(self, live: Live, e: CartCall, slot: Slot | None) -> command_pb2.CommandResult | None:
        """The backend's cart is not the one that the call was made for: somebody edits it there."""
        await self._give_back(slot)
        known = live.cursor, live.version
        await self._read_again(live, e)
        if not e.must_match:
            if known == (live.cursor, live.version):
                await asyncio.sleep(_RETRY_S)  # Nothing new, and yet refused: not at once again.
            return None
        problem = Problem(error_pb2.ERROR_REASON_REVISION_MISMATCH, f"the revision is {live.revision}")
        return await self._committer.refuse(live, e.command, problem, e.key, 0, now=now_ms())

    async def _read_again(self, live: Live, e: CartCall) -> None:
        """Take in what the backend has now. Raise Problem if it cannot be reached."""
        base = live.revision
        request = cart_service_pb2.GetCartRequest(
            context=e.context, cart_id=live.name.removeprefix("carts/"), adapter_state=live.adapter_state
        )
        try:
            answer = await self._backend.get_cart(request, self._patience(e))
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise self._unreachable() from error
            live.inherited = False  # There is nothing to be ahead: the command will say what that means.
            return
        await self._committer.refresh(live, answer, base, now_ms())

    def _may_be_done(self, e: CartCall) -> bool:
        """Whether a command without a result may have been executed: by a call whose answer was lost, where no slot
        remembers that, or in an epoch whose results are lost."""
        if e.looked_up or e.invalid is not None:
            return False
        if e.keyed and (e.tried or e.command.resent):
            return True
        began = self._storage.epoch_began
        skew = CLOCK_SKEW_MS if e.command.resent else 0
        return bool(began) and unix_ms_of(e.command.command_id) < began + skew

    async def _look_up(self, live: Live, e: CartCall, slot: Slot | None) -> command_pb2.CommandResult | None:
        """Ask the backend for a command that may be done. Only its id tells: the call that was made is not known."""
        fence = slot.fence if slot is not None else 0
        call = cart_service_pb2.ApplyCommandRequest(
            context=e.context,
            cart_id=live.name.removeprefix("carts/"),
            command_id=e.command.command_id,
            intent=e.command.cart,
            owner=e.owner,
            adapter_state=live.adapter_state,
            channel=e.channel,
        )
        answer = cart_service_pb2.ResolveCommandResponse(resolution=cart_service_pb2.RESOLUTION_UNKNOWN)
        if e.effect_class in _REMEMBERING:
            request = cart_service_pb2.ResolveCommandRequest(call=call)
            try:
                answer = await self._backend.resolve_command(request, self._patience(e))
            except grpc.aio.AioRpcError as error:
                await self._give_back(slot)
                raise self._unreachable() from error
        problem = None
        if answer.resolution == cart_service_pb2.RESOLUTION_NOT_APPLIED:
            e.looked_up = True
            await self._give_back(slot)
            return None
        if answer.resolution != cart_service_pb2.RESOLUTION_APPLIED:
            message = "the hub has lost whether it was executed, and the backend cannot tell"
            problem = Problem(error_pb2.ERROR_REASON_OUTCOME_UNKNOWN, message)
        now = now_ms()
        result = await self._committer.commit(
            live, e.command, call, answer.response, e.key, fence, now=now, problem=problem, traceparent=e.traceparent
        )
        if result is None:
            await self._give_back(slot)
        return result

    async def _give_back(self, slot: Slot | None) -> None:
        """Let go of a slot, where there is one, whose command had no effect or has its result."""
        if slot is not None:
            await self._storage.release(slot)

    @staticmethod
    def _stood_still(e: CartCall) -> bool:
        """Whether this process took so long that another hub may have resolved the command."""
        return time.monotonic() >= e.slot_ends

    def _patience(self, e: CartCall) -> float:
        """How long a call may take, in seconds."""
        return max(min(e.remaining, self._call_timeout_s), 0.001)

    def _unreachable(self) -> Problem:
        message = f"the backend {self._backend.name} cannot be reached"
        return Problem(error_pb2.ERROR_REASON_BACKEND_UNAVAILABLE, message, retry_ms=1_000)


def _pending() -> Problem:
    message = "the backend has not answered in time; repeat the same command to learn its outcome"
    return Problem(error_pb2.ERROR_REASON_OUTCOME_PENDING, message, retry_ms=500)
