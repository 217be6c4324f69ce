"""What the write path must know of a resource before it writes, kept in memory for those lately used.

The database has one writer, so memory can mirror it: looking a command up and checking its base then cost no statement,
and the database needs one index fewer. The mirror follows each unit of work as it writes, and is thrown away whenever
something is rolled back.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from sqlite3 import Connection
from typing import Any

from legato_hub.storage.base import CommandKey, Slot

SLOT_COLUMNS = "s.command_id, s.body_hash, s.client_id, s.seq, s.base, s.call, s.fence, s.until"


def slot_from(resource: str, row: tuple[Any, ...]) -> Slot:
    """The slot in the columns `SLOT_COLUMNS`."""
    command_id, body_hash, client_id, seq, base, call, fence, until = row
    return Slot(resource, CommandKey(command_id, body_hash, client_id, seq), base, call, fence, until)


@dataclass(slots=True)
class Head:
    """One resource. `known` counts the kept results of each command id: a repeat may have consumed a second seq."""

    rid: int
    revision: int = 0
    closed: bool = False
    tombstone: bool = False
    hour: int | None = None
    recent: int = 0
    floor: str = ""
    slot: Slot | None = None
    last_seqs: dict[str, int] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)


class Heads:
    """At most `limit` command ids in all, a head counting for sixteen; the least recently used go."""

    def __init__(self, limit: int = 500_000) -> None:
        self._limit = limit
        self._heads: OrderedDict[str, Head] = OrderedDict()
        self._weight = 0

    def clear(self) -> None:
        self._heads.clear()
        self._weight = 0

    def get(self, connection: Connection, resource: str) -> Head | None:
        """None if the resource has no row."""
        head = self._heads.get(resource)
        if head is not None:
            self._heads.move_to_end(resource)
            return head
        head = _read(connection, resource)
        if head is not None:
            self.add(resource, head)
        return head

    def add(self, resource: str, head: Head) -> None:
        """Keep a head that was just read or made."""
        self._heads[resource] = head
        self._weight += 16 + len(head.known)
        while self._weight > self._limit and len(self._heads) > 1:
            _, dropped = self._heads.popitem(last=False)
            self._weight -= 16 + len(dropped.known)

    def learn(self, head: Head, command_id: str) -> None:
        """A result was stored for it."""
        head.known[command_id] = head.known.get(command_id, 0) + 1
        self._weight += head.known[command_id] == 1

    def forget(self, head: Head, command_id: str) -> None:
        """A result was evicted."""
        if head.known[command_id] > 1:
            head.known[command_id] -= 1
        else:
            del head.known[command_id]
            self._weight -= 1


def _read(connection: Connection, resource: str) -> Head | None:
    row = connection.execute(
        "SELECT rid, revision, closed, tombstone, hour, recent, floor FROM resource WHERE name = ?", (resource,)
    ).fetchone()
    if row is None:
        return None
    head = Head(row[0], row[1], bool(row[2]), bool(row[3]), *row[4:])
    slot = connection.execute(f"SELECT {SLOT_COLUMNS} FROM slot AS s WHERE rid = ?", (head.rid,)).fetchone()
    head.slot = slot_from(resource, slot) if slot is not None else None
    for client_id, seq, command_id in connection.execute(
        "SELECT client_id, seq, command_id FROM result WHERE rid = ?", (head.rid,)
    ):
        if seq:
            head.last_seqs[client_id] = max(seq, head.last_seqs.get(client_id, 0))
        if command_id:
            head.known[command_id] = head.known.get(command_id, 0) + 1
    return head
