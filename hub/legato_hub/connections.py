"""Every open stream of this hub: who replaces whom, and how all of them are told to leave."""

import random
from collections.abc import Iterator
from typing import Protocol

from legato.orchestrator.v1 import error_pb2, stream_pb2
from legato.protocol import resources as names
from legato_hub.clock import now_ms
from legato_hub.core.identity import Identity, IdentityKind
from legato_hub.core.problem import Problem
from legato_hub.core.sessions import head_of
from legato_hub.live import LiveResources
from legato_hub.storage.base import Storage

BINDING_KEPT_MS = 400 * 24 * 3_600_000
"""A client id that did not connect for so long is free again."""


class Stream(Protocol):
    """An open stream, as the registry needs it."""

    def say(self, message: stream_pb2.ServerMessage) -> None:
        """Send a message."""

    def progress(self) -> None:
        """Tell every subscription where it stands."""

    def end(self, cause: BaseException | None = None) -> None:
        """End after what is pending."""


class Connections:
    """All open streams."""

    def __init__(self, storage: Storage, resources: LiveResources) -> None:
        self._storage = storage
        self._resources = resources
        self._open: dict[Stream, None] = {}
        self._by_client: dict[tuple[str, str], Stream] = {}
        self.draining = False

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Stream]:
        return iter(list(self._open))

    def enter(self, stream: Stream) -> None:
        """A stream opens. Raise Problem DRAINING while the hub goes down."""
        if self.draining:
            raise Problem(error_pb2.ERROR_REASON_DRAINING, "the hub is going down", retry_ms=500)
        self._open[stream] = None

    def leave(self, stream: Stream) -> None:
        """A stream has closed."""
        self._open.pop(stream, None)
        for key, other in list(self._by_client.items()):
            if other is stream:
                del self._by_client[key]

    async def bind(self, identity: Identity, client_id: str, stream: Stream) -> None:
        """Make `stream` the one live connection of a client. Raise Problem CLIENT_ID_TAKEN, or StorageError.

        The id stays with whoever used it first: its seqs and results are theirs. A shopper whose session joined that of
        a customer takes it along.
        """
        record = f"client/{identity.tenant}/{client_id}"
        owner = await self._storage.get(record, now_ms())
        if owner is not None and not await self._same(owner.decode(), identity):
            raise Problem(error_pb2.ERROR_REASON_CLIENT_ID_TAKEN, "the client id is bound to another identity")
        until = now_ms() + BINDING_KEPT_MS
        if owner is None:
            if not await self._storage.put(
                record, identity.principal.encode(), until=until, now=now_ms(), if_absent=True
            ):
                await self.bind(identity, client_id, stream)  # Somebody was quicker: look who.
                return
        else:
            await self._storage.put(record, identity.principal.encode(), until=until, now=now_ms())
        key = identity.tenant, client_id
        former = self._by_client.get(key)
        if former is not None and former is not stream:
            former.end(
                Problem(error_pb2.ERROR_REASON_CONNECTION_REPLACED, "a newer connection of this client took over")
            )
        self._by_client[key] = stream

    async def _same(self, owner: str, identity: Identity) -> bool:
        if owner == identity.principal:
            return True
        tenant, kind, subject = owner.split("/", 2)
        if kind != IdentityKind.SHOPPER.value or identity.kind is not IdentityKind.SHOPPER or tenant != identity.tenant:
            return False
        former = await self._resources.get(names.session(subject))
        return former.exists and head_of(former.entries).joined_session_id == identity.subject

    def progress(self) -> None:
        """Tell every stream where it stands."""
        for stream in list(self._open):
            stream.progress()

    def drain(self, grace_s: float) -> None:
        """Tell every stream to connect again elsewhere, each after a delay of its own, and accept no more."""
        self.draining = True
        for stream in list(self._open):
            drain = stream_pb2.Drain()
            drain.grace.FromMilliseconds(int(grace_s * 1000))
            # Spread, or all of them would reach the next hub in one moment.
            drain.reconnect_after.FromMilliseconds(random.randrange(50, 1_000))
            stream.say(stream_pb2.ServerMessage(drain=drain))

    def end_all(self) -> None:
        """End every stream after what is pending."""
        for stream in list(self._open):
            stream.end(Problem(error_pb2.ERROR_REASON_DRAINING, "the hub is going down", retry_ms=500))
