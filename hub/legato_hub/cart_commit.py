"""From a backend's answer to a revision: harmonise, compare, commit."""

from typing import NamedTuple

from legato.adapter.v1 import cart_service_pb2
from legato.commerce.v1 import cart_pb2
from legato.orchestrator.v1 import command_pb2
from legato.protocol.entities import split_cart
from legato.protocol.state import Delta
from legato_hub.core import outcomes
from legato_hub.core.cursor import Cursor
from legato_hub.core.harmonise import change, harmonise
from legato_hub.core.outbox import to_cursor
from legato_hub.core.problem import Problem
from legato_hub.live import Live
from legato_hub.live_resources import LiveResources
from legato_hub.storage.base import CommandKey, Commit, Committed, Storage
from legato_hub.telemetry.tracing import tracer

_OPEN = (cart_pb2.CART_STATE_ACTIVE, cart_pb2.CART_STATE_FROZEN)


def _older(version: str, than: str) -> bool:
    """Whether a KEYED backend's answer was overtaken by a later one; other backends' versions do not compare."""
    return version.isdecimal() and than.isdecimal() and int(version) < int(than)


class _Change(NamedTuple):
    """What an answer changes. None keeps the adapter's notebook or the version: the answer does not tell them."""

    delta: Delta
    adapter_state: bytes | None
    version: str | None
    closed: bool = False
    cart: cart_pb2.Cart | None = None
    """What the entities describe after it, where that is known."""


class CartCommitter:
    """Commits what a backend said about a cart. Used by commands, by the resolver and by refreshes."""

    def __init__(self, storage: Storage, resources: LiveResources, source: str) -> None:
        self._storage = storage
        self._resources = resources
        self._source = source

    async def commit(
        self,
        live: Live,
        command: command_pb2.Command,
        call: cart_service_pb2.ApplyCommandRequest,
        answer: cart_service_pb2.ApplyCommandResponse,
        key: CommandKey,
        fence: int,
        *,
        now: int,
        problem: Problem | None = None,
        traceparent: str = "",
    ) -> command_pb2.CommandResult | None:
        """Store the answer to a command with its result, and tell everybody.

        `problem` overrides the answer's own rejection. None: another has committed or resolved the command meanwhile.
        Raise StorageError.
        """
        if problem is None and answer.HasField("rejection"):
            path = f"command.cart.{command.cart.WhichOneof('intent')}"
            problem = outcomes.of_rejection(answer.rejection, path)
        while True:
            await self._resources.complete(live)
            changed = self._change(live, answer, call, now)
            delta = changed.delta
            cursor = Cursor(live.cursor.epoch, live.revision + 1 if delta else live.revision)
            if problem is not None:
                result = outcomes.refused(command, problem)
            else:
                result = command_pb2.CommandResult(
                    command_id=command.command_id, resource=command.resource, seq=command.seq, line_id=answer.line_id
                )
                # More of something is never a no-op, even if a later state told of it first.
                applied = delta or command.cart.HasField("add_line")
                result.outcome = command_pb2.OUTCOME_APPLIED if applied else command_pb2.OUTCOME_NO_OP
            result.cursor.CopyFrom(to_cursor(cursor))
            commit = Commit(
                live.name,
                live.revision,
                delta,
                now,
                key=key,
                result=result.SerializeToString(),
                fence=fence,
                adapter_state=changed.adapter_state,
                version=changed.version,
                traceparent=traceparent,
                closed=changed.closed,
            )
            if await self._store(live, commit, changed.cart):
                return result
            if not await self._moved_on(live, commit.base):
                return None

    async def refresh(self, live: Live, answer: cart_service_pb2.GetCartResponse, base: int, now: int) -> None:
        """Take in what the backend has now, without a command. Raise StorageError.

        `base` is the revision when the backend was asked: if there is another by now the answer may be older than
        that, and is passed over.
        """
        if live.revision != base:
            return
        as_answer = cart_service_pb2.ApplyCommandResponse(
            cart=answer.cart, adapter_state=answer.adapter_state, version=answer.version
        )
        changed = self._change(live, as_answer, None, now)
        notebook = changed.adapter_state, changed.version
        same = notebook in ((None, None), (live.adapter_state, live.version))
        if not changed.delta and same and not live.inherited:
            live.observed_at = now
            return
        commit = Commit(
            live.name,
            base,
            changed.delta,
            now,
            # Stored even if it is the same: then every hub knows that it is of this epoch.
            adapter_state=live.adapter_state if changed.adapter_state is None else changed.adapter_state,
            version=live.version if changed.version is None else changed.version,
            traceparent=tracer.current_traceparent(),
            closed=changed.closed,
        )
        if not await self._store(live, commit, changed.cart):
            await self._moved_on(live, base)

    async def refuse(
        self, live: Live, command: command_pb2.Command, problem: Problem, key: CommandKey, fence: int, *, now: int
    ) -> command_pb2.CommandResult | None:
        """Store a refusal that needs no backend. None as in `commit`. Raise StorageError."""
        result = outcomes.refused(command, problem)
        while True:
            result.cursor.CopyFrom(to_cursor(live.cursor))
            commit = Commit(
                live.name, live.revision, Delta(), now, key=key, result=result.SerializeToString(), fence=fence
            )
            if isinstance(await self._storage.commit(commit), Committed):
                return result
            if not await self._moved_on(live, commit.base):
                return None

    def _change(
        self,
        live: Live,
        answer: cart_service_pb2.ApplyCommandResponse,
        call: cart_service_pb2.ApplyCommandRequest | None,
        now: int,
    ) -> _Change:
        if not answer.HasField("cart") or _older(answer.version, live.version):
            return _Change(Delta(), None, None)
        before = live.cart() if live.exists else None
        cart = harmonise(before, answer.cart, call, line_id=answer.line_id, source=self._source, now=now)
        entries = split_cart(cart)
        delta = change(live.entries, entries)
        # Not if the backend gave two the same name, for then one of them is gone.
        named = sum(key.startswith(("line/", "discount/")) for key in entries)
        whole = cart if delta and named == len(cart.lines) + len(cart.discount_codes) else None
        return _Change(delta, answer.adapter_state, answer.version, cart.state not in _OPEN, whole)

    async def _store(self, live: Live, commit: Commit, cart: cart_pb2.Cart | None) -> bool:
        epoch = live.cursor.epoch
        stored = await self._storage.commit(commit)
        if not isinstance(stored, Committed):
            return False
        if commit.adapter_state is not None and commit.version is not None:
            live.take_notebook(commit.adapter_state, commit.version, stored.cursor)
            live.inherited = False
        live.observed_at = commit.now
        if cart is not None and stored.cursor.epoch == epoch:
            live.keep_cart(stored.cursor, cart)
        return True

    async def _moved_on(self, live: Live, base: int) -> bool:
        """After a commit that was overtaken: whether the revision was the cause, so that it is worth another try."""
        if live.revision == base:
            await self._resources.reload(live)
        return live.revision != base
