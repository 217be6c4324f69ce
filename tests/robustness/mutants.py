"""Hubs that break one promise each: what the suite must catch, under that promise's name, in a run that else is clean.

A mutant is applied by `launch` in the hub's process, before it serves. It replaces a method where the hub looks it up,
and fails if there is none of that name. `python -m tests.robustness.prove` shows that each is caught.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Mutant:
    """`apply` breaks the hub; `promise` is whose violation it must show as, in the run that the rest names."""

    apply: Callable[[], None]
    promise: str
    fault: str
    variant: str = ""
    engine: str = "sqlite"
    effect_class: str = "MARKED"
    seed: int = 1


def patch(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put what `make` makes of it in the place of `owner.name`. AttributeError: the hub has no such thing any more."""
    setattr(owner, name, make(getattr(owner, name)))


def _patch_storages(name: str, make: Callable[[Any], Any]) -> None:
    from legato_hub.storage.sqlite import SQLiteStorage
    from legato_hub.storage.valkey import ValkeyStorage

    for engine in (SQLiteStorage, ValkeyStorage):
        patch(engine, name, make)


def _dedupe_off() -> None:
    """Exactly once needs the storage to recognise a command by its id or seq; here a repeat is as good as new."""
    from legato_hub.storage.base import Fresh, Repeated

    repeated = set()

    def begin(original: Any) -> Any:
        async def forgetful(self: Any, claim: Any) -> Any:
            begun = await original(self, claim)
            if not isinstance(begun, Repeated):
                return begun
            repeated.add(claim.key.command_id)
            return Fresh(0)

        return forgetful

    def commit(original: Any) -> Any:
        async def forgetful(self: Any, commit: Any) -> Any:
            again = commit.key is not None and commit.key.command_id in repeated
            return await original(self, replace(commit, key=None) if again else commit)

        return forgetful

    _patch_storages("begin", begin)
    _patch_storages("commit", commit)


def _no_pending_slot() -> None:
    """Exactly once needs a trace of the call before it is made; here a hub that dies behind it leaves none."""

    def begin(original: Any) -> Any:
        return lambda self, claim: original(self, replace(claim, slot_until=0, call=b""))

    _patch_storages("begin", begin)


def _fence_off() -> None:
    """Fenced means that who has lost its slot stores nothing; here it does, whoever has the slot by now."""
    from legato_hub.cart_commands import CartCommands
    from legato_hub.storage.base import Committed, Slot

    # Nor does it look at the time before it calls.
    patched: Any = CartCommands
    patched._stood_still = staticmethod(lambda _: False)

    def commit(original: Any) -> Any:
        async def unfenced(self: Any, commit: Any) -> Any:
            answer = await original(self, replace(commit, fence=0))
            if commit.fence and isinstance(answer, Committed):
                await self.release(Slot(commit.resource, commit.key, commit.base, b"", commit.fence, 0))
            return answer

        return unfenced

    _patch_storages("commit", commit)


def _epoch_fence_off() -> None:
    """Fenced means that another history of the storage is another epoch; here it goes by the name of the first."""
    from legato_hub.storage.valkey_client import Client, Fence

    def look(original: Any) -> Any:
        async def blind(self: Any) -> None:
            known = self.fence
            await original(self)
            if known.epoch:
                self.fence = Fence(known.origins + b"," + self.fence.origins, known.epoch, known.began)

        return blind

    patch(Client, "_look", look)


def _resolve_not_applied() -> None:
    """Exactly once needs a lost answer to be looked for; here it is taken for granted that nothing had happened."""
    from legato.adapter.v1 import cart_service_pb2
    from legato_hub.backend import Backend

    def resolve_command(original: Any) -> Any:
        async def sanguine(self: Any, request: Any, timeout: float) -> Any:
            answer = await original(self, request, timeout)
            answer.resolution = cart_service_pb2.RESOLUTION_NOT_APPLIED
            return answer

        return sanguine

    patch(Backend, "resolve_command", resolve_command)


PUBLISHED_AHEAD_S = 0.4


def _publish_before_append() -> None:
    """Fenced means that what was told is not lost within an epoch; here it is told before it is stored."""
    from legato_hub.storage.base import Cursor, Update

    followers: dict[str, list[Any]] = defaultdict(list)

    def follow(original: Any) -> Any:
        def overheard(self: Any, resource: str, follower: Any, **more: Any) -> Any:
            followers[resource].append(follower)
            return original(self, resource, follower, **more)

        return overheard

    def commit(original: Any) -> Any:
        async def hasty(self: Any, commit: Any) -> Any:
            if commit.resource.startswith("carts/") and commit.delta and followers[commit.resource]:
                key = commit.key
                told = Update(
                    commit.resource,
                    Cursor(self.epoch, commit.base + 1),
                    commit.delta,
                    *((key.client_id, key.seq) if key is not None else ("", 0)),
                )
                for follower in followers[commit.resource]:
                    follower(told)
                await asyncio.sleep(PUBLISHED_AHEAD_S)
            return await original(self, commit)

        return hasty

    _patch_storages("follow", follow)
    _patch_storages("commit", commit)


def _wrong_merged_prev() -> None:
    """Gap-free means that a delta names the revision that its client has; here merged ones name their last but one."""
    from legato.orchestrator.v1 import stream_pb2
    from legato_hub.core.outbox import Outbox

    def take(original: Any) -> Any:
        def mistaken(self: Any) -> bytes:
            response = stream_pb2.ConnectResponse.FromString(original(self))
            for message in response.messages:
                delta = message.delta
                if message.HasField("delta") and delta.cursor.revision > delta.prev_revision + 1:
                    delta.prev_revision = delta.cursor.revision - 1
            return response.SerializeToString()

        return mistaken

    patch(Outbox, "take", take)


def _trim_off_by_one() -> None:
    """Resumable means from anywhere in the kept log; here the log is one revision shorter than it is said to be."""
    from legato_hub.storage.base import LOG_LENGTH

    def init(original: Any) -> Any:
        def short(self: Any, *given: Any, log_length: int = LOG_LENGTH, **more: Any) -> None:
            original(self, *given, log_length=log_length - 1, **more)

        return short

    _patch_storages("__init__", init)


def _trim_unnoticed() -> None:
    """Resumable means a snapshot where the log does not reach; here one missing revision is not noticed."""
    from legato_hub.storage.base import Gone

    def since(original: Any) -> Any:
        async def generous(self: Any, resource: str, cursor: Any) -> Any:
            log = await original(self, resource, cursor)
            if log is Gone.TRIMMED:
                return await original(self, resource, replace(cursor, revision=cursor.revision + 1))
            return log

        return generous

    _patch_storages("since", since)


def _digest_skips_a_line() -> None:
    """No torn state goes unnoticed if the digest is of all of it; here it leaves the first line of a cart out."""
    from legato.protocol import state

    def digest(original: Any) -> Any:
        def short(entries: Any) -> Any:
            lines = sorted(key for key in entries if key.startswith("line/"))
            return original({key: value for key, value in entries.items() if key not in lines[:1]})

        return short

    patch(state, "digest", digest)


def _progress_out_of_band() -> None:
    """Progress tells that nothing is still to come; here it does not queue behind what is still to come."""
    from legato.orchestrator.v1 import stream_pb2
    from legato_hub.core.outbox import Outbox, to_cursor

    def take(original: Any) -> Any:
        def pushy(self: Any) -> Any:
            for subscription in self.subscriptions.values():
                feed = subscription.feed
                if subscription.progress_due and feed is not None and subscription.snapshot is None:
                    subscription.progress_due = False
                    digest = feed.snapshot()[1]
                    cursor = to_cursor(feed.cursor)
                    progress = stream_pb2.Progress(subscription_id=subscription.id, cursor=cursor, digest=digest)
                    self.say(stream_pb2.ServerMessage(progress=progress))
            return original(self)

        return pushy

    patch(Outbox, "take", take)


def _authorisation_skipped() -> None:
    """Authorised means that what an identity may not see does not exist for it; here every cart does."""
    from legato_hub.access import Access

    def sees(_: Any) -> Any:
        async def everything(self: Any, identity: Any, cart: Any) -> bool:
            return bool(cart.exists)

        return everything

    patch(Access, "sees", sees)


MUTANTS: Mapping[str, Mutant] = {
    "dedupe-off": Mutant(_dedupe_off, "exactly-once", "kill-in-a-purchase", "write.after_commit", effect_class="NONE"),
    "no-pending-slot": Mutant(
        _no_pending_slot, "exactly-once", "kill-in-a-purchase", "write.after_adapter", effect_class="NONE"
    ),
    "fence-off": Mutant(_fence_off, "fenced", "overtaken-hub", engine="valkey"),
    "epoch-fence-off": Mutant(_epoch_fence_off, "fenced", "lost-revisions", engine="valkey", effect_class="KEYED"),
    "resolve-not-applied": Mutant(
        _resolve_not_applied, "exactly-once", "kill-in-a-purchase", "write.after_adapter", effect_class="NONE"
    ),
    "publish-before-append": Mutant(_publish_before_append, "fenced", "kill-when-told", effect_class="KEYED"),
    "wrong-merged-prev": Mutant(_wrong_merged_prev, "ordered-gap-free", "slow-reader", "no-acks"),
    "trim-off-by-one": Mutant(_trim_off_by_one, "resumable", "trim", "restarted"),
    "trim-unnoticed": Mutant(_trim_unnoticed, "resumable", "trim", "restarted"),
    "digest-skips-a-field": Mutant(_digest_skips_a_line, "no-torn-state", "kill", "write.after_commit"),
    "progress-out-of-band": Mutant(_progress_out_of_band, "progress-in-band", "slow-reader", "no-acks"),
    "authorisation-skipped": Mutant(_authorisation_skipped, "authorised", "kill", "write.after_commit"),
}
