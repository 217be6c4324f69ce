"""The local replica of one subscribed resource. Pure: it is told what came and says what follows from it."""

import enum
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from legato.orchestrator.v1 import cursor_pb2, stream_pb2
from legato.protocol import state


class Verdict(enum.Enum):
    """What follows from a message."""

    APPLIED = enum.auto()
    """The replica is at the message's cursor."""
    RESUBSCRIBE = enum.auto()
    """It does not fit: subscribe again, from `Replica.cursor`."""
    DIVERGED = enum.auto()
    """State and digest differed twice in a row: report it and do not fetch again."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A replica as it can be kept on disk, so that a restarted client resumes by deltas."""

    target: str
    epoch: str
    revision: int
    last_seq: int
    payload: bytes
    """A `StatePayload`, serialised."""


@dataclass(slots=True)
class Replica:
    """State of one resource as far as it came. The counters prove how it came: by snapshots or by deltas."""

    target: str = ""
    """The resource whose state this is: for an active cart the cart, empty while there is none."""
    cursor: cursor_pb2.Cursor | None = None
    """Where the state is in history; None before the first snapshot and after a mismatch."""
    entries: state.Entries = field(default_factory=dict)
    """Entity key to bytes, as the hub serialised them."""
    known: bool = False
    """Whether there is a state. It may be empty: a session without an active cart."""
    last_seq: int = 0
    """The highest seq of this client whose effect the state contains."""
    durable_seq: int = 0
    """The highest seq of this client that survives the loss of the hub's storage."""
    snapshots: int = 0
    """Snapshots applied so far."""
    deltas: int = 0
    """Delta messages applied so far; one may hold several revisions."""
    mismatches: int = 0
    """Digests in a row that did not match."""

    @classmethod
    def restored(cls, saved: Saved) -> "Replica":
        """A replica from disk. Raise DecodeError if the payload is none."""
        return cls(
            target=saved.target,
            cursor=cursor_pb2.Cursor(epoch=saved.epoch, revision=saved.revision),
            entries=state.entries_from_bytes(saved.payload),
            known=True,
            last_seq=saved.last_seq,
        )

    def saved(self) -> Saved | None:
        """For the disk; None while there is no cursor to resume from."""
        if self.cursor is None:
            return None
        payload = state.entries_to_bytes(self.entries)
        return Saved(self.target, self.cursor.epoch, self.cursor.revision, self.last_seq, payload)

    def forget(self) -> None:
        """Drop cursor and state together, as the hub's refusal of a cursor demands."""
        self.target, self.cursor, self.entries, self.known = "", None, {}, False
        self.last_seq = 0

    def snapshot(self, message: stream_pb2.Snapshot) -> Verdict:
        """Take a whole state."""
        try:
            entries = state.entries_from_bytes(message.payload)
        except DecodeError:
            return self._mismatch()
        # Where there is no active cart there is nothing that a digest could be of.
        nothing = not (message.HasField("cursor") or message.payload or message.digest)
        if not nothing and state.digest(entries) != message.digest:
            return self._mismatch()
        self.target, self.entries, self.known = message.target, entries, True
        self.cursor = message.cursor if message.HasField("cursor") else None
        self.snapshots += 1
        self.mismatches = 0
        self.last_seq, self.durable_seq = message.last_seq, message.durable_seq
        return Verdict.APPLIED

    def delta(self, message: stream_pb2.Delta) -> Verdict:
        """Take a change, if it stands on this very state."""
        here = self.cursor
        if here is None or here.epoch != message.cursor.epoch or here.revision != message.prev_revision:
            return Verdict.RESUBSCRIBE
        try:
            change = state.Delta.from_bytes(message.payload)
        except DecodeError:
            return self._mismatch()
        self.entries = state.apply(self.entries, change)
        self.cursor = message.cursor
        self.deltas += 1
        self.last_seq, self.durable_seq = message.last_seq, message.durable_seq
        return Verdict.APPLIED

    def progress(self, message: stream_pb2.Progress) -> Verdict:
        """Take the news that there is nothing new, if that is so."""
        if not self.known or self.cursor != (message.cursor if message.HasField("cursor") else None):
            return Verdict.RESUBSCRIBE
        if state.digest(self.entries) != message.digest:
            return self._mismatch()
        self.mismatches = 0
        self.last_seq, self.durable_seq = message.last_seq, message.durable_seq
        return Verdict.APPLIED

    def _mismatch(self) -> Verdict:
        self.forget()
        self.mismatches += 1
        return Verdict.DIVERGED if self.mismatches >= 2 else Verdict.RESUBSCRIBE
