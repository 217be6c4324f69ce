"""The storage protocol.

A resource (`carts/{id}`, `sessions/{id}`) is a map of entities, a revision, a log of deltas, the results of commands
and at most one pending slot. Four calls make the write path exactly-once:

    begin   looks a command up and, where the backend does not deduplicate, claims the resource's slot
    commit  stores state, revision + 1, delta, seq, result and the adapter's notebook, atomically, under the fence
    load    reads the state
    since   reads the log after a cursor

`begin` checks in this order, and the first that holds is its answer:

    1. seq at or below the client's last   Repeated, Reused or AlreadyProcessed
    2. command id known                    Repeated or Reused
    3. slot taken                          Running or Busy while it lives, Abandoned when it is past its time
    4. seq beyond the next                 Gap
    5. command id outside the window       DedupeExpired (only without seq)
    6. `expected` of another epoch         EpochMismatch
    7. `expected` not present, FAIL        Mismatch
    8. `base` not the present revision     Moved
    9. otherwise                           Fresh

In detail:

- Row 1: the result of that seq decides; another command id under a used seq is Reused even with the same body.
- Row 2 covers results of every client and of stateless callers. A repeat under a seq that is the client's next one
  consumes it, result and all: a client that lost its identity and not its outbox is not stuck at it.
- Row 3: past its time is Abandoned whoever asks; the command's own id with another body is Reused, not Running.
- After `erase`, rows 1 and 2 say AlreadyProcessed of everything before it, whatever the body, and consume nothing.
- Row 5: an id expires by its time, below `now - DEDUPE_WINDOW_MS`, above `now + DEDUPE_AHEAD_MS`, or at or below the
  time of any evicted id. Evicted is the smallest id, which is the oldest, so a client whose clock runs ahead shuts
  nobody out.
- A resource that never was is at revision 0; a claimed slot, a stored result or an adopted seq does not change that.

Processes that follow a resource can tell each other *notes* about it: nothing of them is stored, they have no order,
and any may be lost, so they are for what is soon outdated or said again.

Beside it stands a directory of small records (share codes, grants, client bindings, live sessions) and of sorted sets
(whose carts are whose). It is not transactional with commits: writers add to a set before they commit, and readers
ignore members whose resource is not there.

Times are milliseconds since 1970, given by the caller, so that engines need no clock; at a time `until` or `now` the
thing is over. Counts (revision, seq) are below 2**63: the caller refuses larger ones. Every method may raise
`StorageError` when the engine fails; nothing else.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from legato.protocol.state import Delta, Entries
from legato_hub.core.cursor import Cursor as Cursor
from legato_hub.core.cursor import Gone as Gone

RESULTS_PER_CLIENT = 64
"""Results kept for each (client, resource): the limit of commands in flight."""

RESULTS_PER_RESOURCE = 1_024
"""Results of stateless commands kept for each resource: those of its newest ids."""

DEDUPE_WINDOW_MS = 24 * 3_600_000
"""A stateless command id older than this is refused."""

DEDUPE_AHEAD_MS = 5 * 60_000
"""A stateless command id further ahead than this is refused."""

LOG_LENGTH = 1_000
"""Deltas kept for each resource; older cursors get a snapshot."""


class StorageError(Exception):
    """The engine failed. Whether a write took place is unknown; the write path finds out by `begin`."""


@dataclass(frozen=True, slots=True)
class CommandKey:
    """What makes a command itself: a UUIDv7 and the SHA-256 of its meaning. `seq` is 0 when stateless, and then
    `client_id` plays no part in telling commands apart."""

    command_id: str
    body_hash: bytes
    client_id: str = ""
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """What `begin` needs to know. `base` is the revision that `call` was compiled on."""

    resource: str
    key: CommandKey
    base: int
    now: int
    expected: Cursor | None = None
    must_match: bool = False
    call: bytes = b""
    """The compiled adapter call, for whoever must resolve it."""
    slot_until: int = 0
    """Claim the slot until then; 0 claims none (the backend deduplicates, or there is no backend)."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A claimed slot. `fence` is larger than every earlier fence of the resource."""

    resource: str
    key: CommandKey
    base: int
    call: bytes
    fence: int
    until: int


@dataclass(frozen=True, slots=True)
class Fresh:
    """Never seen: go ahead. `fence` is 0 without a slot."""

    fence: int


@dataclass(frozen=True, slots=True)
class Repeated:
    """Done before, with this result."""

    result: bytes


@dataclass(frozen=True, slots=True)
class Running:
    """The same command holds the slot."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class Busy:
    """Another command holds the slot."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A slot is past its time: resolve it, then begin again."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class Gap:
    """A seq was skipped."""

    expected_seq: int


@dataclass(frozen=True, slots=True)
class Mismatch:
    """`expected` is not the present revision."""

    current: Cursor


@dataclass(frozen=True, slots=True)
class EpochMismatch:
    """`expected` belongs to another epoch."""

    current: Cursor


@dataclass(frozen=True, slots=True)
class Moved:
    """`base` is not the present revision: load, compile again, begin again."""

    current: Cursor


class Refusal(enum.Enum):
    """Answers of `begin` that carry nothing."""

    REUSED = enum.auto()
    """The command id or the seq was used with another body."""
    ALREADY_PROCESSED = enum.auto()
    """The seq was processed and its result is gone."""
    DEDUPE_EXPIRED = enum.auto()
    """The command id cannot be told from a repeat any more."""


Begun = Fresh | Repeated | Running | Busy | Abandoned | Gap | Mismatch | EpochMismatch | Moved | Refusal


@dataclass(frozen=True, slots=True)
class Commit:
    """What `commit` stores as one.

    With a `key`, `result` is stored for it and its seq consumed: a key whose id is known already changes nothing and is
    told as Overtaken, and so is a seq that is not the next. Without (a refresh from the backend, a push by the hub
    itself) only state changes. An empty `delta` makes no revision; all else is stored. `fence` 0 goes without a slot,
    whoever holds it; else the slot must still be held under it, and is given back. A tombstone takes results only: a
    delta to it is told as Overtaken.
    """

    resource: str
    base: int
    delta: Delta
    now: int
    key: CommandKey | None = None
    result: bytes = b""
    fence: int = 0
    adapter_state: bytes | None = None
    """None keeps what is stored."""
    version: str | None = None
    """The backend's version; None keeps what is stored."""
    traceparent: str = ""
    closed: bool = False
    """The resource accepts no more changes, which is the caller's to see to: retention begins, and never stops."""


@dataclass(frozen=True, slots=True)
class Committed:
    """Done. `durable`: it survives the loss of this hub's storage as far as the engine can promise."""

    cursor: Cursor
    durable: bool


@dataclass(frozen=True, slots=True)
class Overtaken:
    """Nothing was stored: the revision is not `base`, the fence was lost, or the command was committed by another.
    A slot that was held is held still."""

    current: Cursor


@dataclass(frozen=True, slots=True)
class Update:
    """One revision, as told to followers and kept in the log."""

    resource: str
    cursor: Cursor
    delta: Delta
    client_id: str = ""
    seq: int = 0
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A resource as it is. A tombstone has its revision and nothing else."""

    cursor: Cursor
    entries: Entries = field(default_factory=dict)
    adapter_state: bytes = b""
    version: str = ""
    tombstone: bool = False
    inherited: bool = False
    """The notebook was last written in an earlier epoch: the backend may be ahead of all this."""


Follower = Callable[[Update], None]
Lost = Callable[[], None]
Noted = Callable[[bytes], None]


class Storage(Protocol):
    """One engine. All methods may be called from many tasks at once, from one event loop."""

    async def open(self) -> None:
        """Take exclusive possession where the engine needs it; read or make the epoch."""

    async def close(self) -> None:
        """Finish what was accepted, then let go."""

    @property
    def epoch(self) -> str:
        """The present epoch."""

    @property
    def epoch_began(self) -> int:
        """When the present epoch was first seen, in milliseconds since 1970: results of commands made before may be
        lost. 0 while nothing can have been lost."""

    @property
    def exclusive(self) -> bool:
        """Whether no other process can use this storage: a slot that this process did not claim was left by a dead
        one."""

    async def begin(self, claim: Claim) -> Begun:
        """Look a command up and claim the slot; see the table above. Atomic."""

    async def commit(self, commit: Commit) -> Committed | Overtaken:
        """Store as one. Followers in this process are told, in order of revision, before this returns."""

    async def release(self, slot: Slot) -> bool:
        """Give a slot back whose command had no effect. False if it is no longer held under its fence."""

    async def load(self, resource: str) -> Loaded | None:
        """The resource as it is; None before its first revision."""

    async def since(self, resource: str, cursor: Cursor) -> list[Update] | Gone:
        """Every revision after the cursor, oldest first; an empty list when it is the present one."""

    async def last_seq(self, resource: str, client_id: str) -> int:
        """The last seq consumed by a client on a resource in this epoch; 0 before the first."""

    async def adopt_seq(self, resource: str, client_id: str, last_seq: int) -> int:
        """Begin counting at `last_seq` if the client's last seq here is 0; the last seq. No results stand behind it."""

    async def abandoned(self, now: int) -> list[Slot]:
        """All slots past their time, the longest first, at most 1,000."""

    async def erase(self, resource: str, now: int) -> None:
        """Forget all that a resource holds, as one: entities, log, notebook, version, the slot with its call, and what
        commands meant and came to. Also one that never was: whoever is about to make it is too late.

        It becomes a tombstone of the next revision, so that nothing fits that was begun before, and retention begins
        anew. Followers are told `lost`. Ids of commands and of clients remain, with the last seq of each client, so
        that no repeat executes again; the command in the slot counts as processed.
        """

    async def scrub(self) -> None:
        """When this returns, no byte of what was erased or deleted before is in the engine's data. Others may have to
        wait meanwhile. What a server's own files and copies of the data keep is said in docs/storage.md."""

    def follow(
        self,
        resource: str,
        follower: Follower,
        *,
        lost: Lost | None = None,
        noted: Noted | None = None,
    ) -> Callable[[], None]:
        """Call `follower` for each new revision, in order, without a gap from the next `load` on (a revision may come
        in both); returns the end of it. `lost` is called when that cannot be kept any longer, because a new epoch began
        or the log was trimmed beyond what was told, or because the resource was erased: from the `load` after that on
        it is kept again. `noted` is called with the notes of other processes, from about now on. None of them may block
        or raise."""

    async def notify(self, resource: str, note: bytes) -> int:
        """Tell the followers of a resource in other processes a note, each at most once; how many processes that are,
        as far as the engine knows."""

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        until: int = 0,
        now: int = 0,
        if_absent: bool = False,
        replacing: bytes | None = None,
    ) -> bool:
        """Store a record, until a time or (0) for good. With `if_absent`, False if a living record is there; with
        `replacing`, False unless there is a living record of that value."""

    async def get(self, key: str, now: int) -> bytes | None:
        """A living record."""

    async def delete(self, key: str) -> None:
        """Forget a record."""

    async def add(self, key: str, member: str) -> None:
        """Put a member into a sorted set."""

    async def remove(self, key: str, member: str) -> None:
        """Take a member out of a sorted set."""

    async def members(self, key: str, *, before: str = "", limit: int = 100) -> list[str]:
        """Members in descending order, only those below `before` where it is given."""

    async def sweep(self, now: int, *, closed_ms: int, idle_ms: int) -> int:
        """Retention, at most 1,000 resources and as many records a call; returns how many were touched, 0 only when
        nothing is left to do.

        Resources closed for longer than `closed_ms`, and others without a commit for longer than `idle_ms`, become
        tombstones: entities, log and notebook go, results stay. Tombstones of the same age again go altogether, and
        their names must not be used again. A resource whose slot is taken waits. Records past their time go.
        """
