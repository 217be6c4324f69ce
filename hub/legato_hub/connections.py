"""Every open stream of this hub: who replaces whom, also on other hubs, and how all of them are told to leave.

A client id is kept with whoever used it first, and with the connection that has it now. Each connection takes it from
the one before in one step, and calls that one off; so of many that come at once, on whatever hubs, all but the last are
called off by the next.
"""

import random
from collections.abc import Iterator
from typing import Protocol

import msgspec

from legato.orchestrator.v1 import error_pb2, stream_pb2
from legato.protocol import resources as names
from legato_hub.clock import now_ms
from legato_hub.core.identity import Identity, IdentityKind
from legato_hub.core.problem import Problem
from legato_hub.core.sessions import head_of
from legato_hub.live_resources import LiveResources
from legato_hub.peers import Peers
from legato_hub.storage.base import Storage

BINDING_KEPT_MS = 400 * 24 * 3_600_000
"""A client id that did not connect for so long is free again."""


class Stream(Protocol):
    """An open stream, as the registry needs it."""

    @property
    def connection_id(self) -> str:
        """Tells it from every other, on all hubs."""

    def say(self, message: stream_pb2.ServerMessage) -> None:
        """Send a message."""

    def progress(self) -> None:
        """Tell every subscription where it stands."""

    def end(self, cause: BaseException | None = None) -> None:
        """End after what is pending."""


class Binding(msgspec.Struct, frozen=True):
    """Who has a client id: a principal, and the connection of a hub. Without one as earlier versions wrote it."""

    owner: str
    hub: str = ""
    connection: str = ""

    @classmethod
    def of(cls, record: bytes) -> "Binding":
        """As it is kept."""
        return msgspec.json.decode(record, type=cls) if record[:1] == b"{" else cls(record.decode())


class Connections:
    """All open streams."""

    def __init__(self, storage: Storage, resources: LiveResources, peers: Peers) -> None:
        self._storage = storage
        self._resources = resources
        self._peers = peers
        self._open: dict[str, Stream] = {}
        self._bound: dict[str, str] = {}
        """The record of the client id that an open stream has taken."""
        self.draining = False

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Stream]:
        return iter(list(self._open.values()))

    def enter(self, stream: Stream) -> None:
        """A stream opens. Raise Problem DRAINING while the hub goes down."""
        if self.draining:
            raise Problem(error_pb2.ERROR_REASON_DRAINING, "the hub is going down", retry_ms=500)
        self._open[stream.connection_id] = stream

    def leave(self, stream: Stream) -> None:
        """A stream has closed."""
        self._open.pop(stream.connection_id, None)
        self._bound.pop(stream.connection_id, None)

    async def bind(self, identity: Identity, client_id: str, stream: Stream) -> None:
        """Make `stream` the one live connection of a client. Raise Problem CLIENT_ID_TAKEN, or StorageError.

        One that was so before, and was replaced meanwhile without having heard of it, ends, by CONNECTION_REPLACED.
        The id stays with whoever used it first: its seqs and results are theirs. A shopper whose session joined that of
        a customer takes it along.
        """
        record = f"client/{identity.tenant}/{client_id}"
        mine = Binding(identity.principal, self._peers.hub_id, stream.connection_id)
        while True:
            kept = await self._storage.get(record, now_ms())
            former = Binding.of(kept) if kept is not None else None
            if former is not None:
                if not await self._same(former.owner, identity):
                    message = "the client id is bound to another identity"
                    raise Problem(error_pb2.ERROR_REASON_CLIENT_ID_TAKEN, message)
                if self._bound.get(stream.connection_id) == record and former.connection != stream.connection_id:
                    stream.end(_replaced())
                    raise _replaced()
            now = now_ms()
            if await self._storage.put(
                record,
                msgspec.json.encode(mine),
                until=now + BINDING_KEPT_MS,
                now=now,
                if_absent=kept is None,
                replacing=kept,
            ):
                break  # Else somebody was quicker: look who.
        self._bound[stream.connection_id] = record
        if former is not None and former.connection not in ("", stream.connection_id):
            if former.hub == self._peers.hub_id:
                self.replaced(former.connection)
            else:
                self._peers.replace(former.hub, former.connection)

    def replaced(self, connection_id: str) -> None:
        """The client of a connection has a newer one. Harmless if it is not there any more."""
        stream = self._open.get(connection_id)
        if stream is not None:
            stream.end(_replaced())

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
        for stream in self:
            stream.progress()

    def drain(self, grace_s: float) -> None:
        """Tell every stream to connect again elsewhere, each after a delay of its own, and accept no more."""
        self.draining = True
        for stream in self:
            drain = stream_pb2.Drain()
            drain.grace.FromMilliseconds(int(grace_s * 1000))
            # Spread, or all of them would reach the next hub in one moment.
            drain.reconnect_after.FromMilliseconds(random.randrange(50, 1_000))
            stream.say(stream_pb2.ServerMessage(drain=drain))

    def end_all(self) -> None:
        """End every stream after what is pending."""
        for stream in self:
            stream.end(Problem(error_pb2.ERROR_REASON_DRAINING, "the hub is going down", retry_ms=500))


def _replaced() -> Problem:
    return Problem(error_pb2.ERROR_REASON_CONNECTION_REPLACED, "a newer connection of this client took over")
