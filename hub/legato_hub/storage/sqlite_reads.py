"""Reading resources and the directory in SQL."""

from sqlite3 import Connection

from legato.protocol.state import Delta
from legato_hub.storage.base import Cursor, Gone, Loaded, Slot, Update
from legato_hub.storage.sqlite_heads import SLOT_COLUMNS, slot_from


def load(connection: Connection, epoch: str, resource: str) -> Loaded | None:
    """None before the first revision: a row alone may hold a slot, results or a client's seq."""
    row = connection.execute(
        "SELECT rid, revision, adapter_state, version, tombstone, epoch FROM resource WHERE name = ?", (resource,)
    ).fetchone()
    if row is None or not row[1]:
        return None
    rid, revision, adapter_state, version, tombstone, read_in = row
    entries = dict(connection.execute("SELECT key, value FROM entity WHERE rid = ?", (rid,)).fetchall())
    inherited = read_in not in ("", epoch)
    return Loaded(Cursor(epoch, revision), entries, adapter_state, version, bool(tombstone), inherited)


def since(connection: Connection, epoch: str, resource: str, cursor: Cursor) -> list[Update] | Gone:
    """Every revision after the cursor, or why not."""
    if cursor.epoch != epoch:
        return Gone.OTHER_EPOCH
    row = connection.execute("SELECT rid, revision FROM resource WHERE name = ?", (resource,)).fetchone()
    rid, revision = row or (0, 0)
    if cursor.revision >= revision:
        return [] if cursor.revision == revision else Gone.AHEAD
    rows = connection.execute(
        "SELECT revision, delta, client_id, seq, traceparent FROM log WHERE rid = ? AND revision > ? ORDER BY revision",
        (rid, cursor.revision),
    ).fetchall()
    if len(rows) < revision - cursor.revision:
        return Gone.TRIMMED
    return [
        Update(resource, Cursor(epoch, at), Delta.from_bytes(delta), client_id, seq, traceparent)
        for at, delta, client_id, seq, traceparent in rows
    ]


def abandoned(connection: Connection, now: int) -> list[Slot]:
    """Slots past their time, the longest first."""
    rows = connection.execute(
        f"SELECT r.name, {SLOT_COLUMNS} FROM slot AS s JOIN resource AS r ON r.rid = s.rid"
        " WHERE s.until <= ? ORDER BY s.until LIMIT 1000",
        (now,),
    ).fetchall()
    return [slot_from(row[0], row[1:]) for row in rows]


def get(connection: Connection, key: str, now: int) -> bytes | None:
    """A living record."""
    row = connection.execute(
        "SELECT value FROM record WHERE key = ? AND (until = 0 OR until > ?)", (key, now)
    ).fetchone()
    return row[0] if row else None


def put(
    connection: Connection, key: str, value: bytes, until: int, now: int, if_absent: bool, replacing: bytes | None
) -> bool:
    """Whether it was stored."""
    if (if_absent or replacing is not None) and get(connection, key, now) != replacing:
        return False
    connection.execute("INSERT OR REPLACE INTO record VALUES (?, ?, ?)", (key, value, until))
    return True


def members(connection: Connection, key: str, before: str, limit: int) -> list[str]:
    """Descending; the binary order of UTF-8 is Python's order of str."""
    below = "AND member < ?3" if before else ""
    rows = connection.execute(
        f"SELECT member FROM member WHERE key = ?1 {below} ORDER BY member DESC LIMIT ?2",
        (key, limit, before) if before else (key, limit),
    ).fetchall()
    return [row[0] for row in rows]
