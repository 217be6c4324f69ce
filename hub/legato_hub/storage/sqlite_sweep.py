"""Retention in SQL."""

from sqlite3 import Connection

from legato_hub.storage.sqlite_schema import HOUR_MS

_DUE = """
SELECT rid, tombstone FROM resource
WHERE closed = ?1 AND hour <= ?2 / ?3 AND since < ?2
  AND NOT EXISTS (SELECT 1 FROM slot WHERE slot.rid = resource.rid)
LIMIT ?4
"""
_BURY = """
UPDATE resource SET tombstone = 1, since = ?, hour = ?, version = '', adapter_state = x'' WHERE rid = ?
"""


def sweep_resources(connection: Connection, now: int, closed_ms: int, idle_ms: int, limit: int) -> int:
    """Turn what is past its time into tombstones, and tombstones into nothing; how many."""
    # What only adopt_seq knows has no time of its own: it counts from the first sweep that meets it.
    connection.execute(
        "UPDATE resource SET since = ?, hour = ? WHERE closed = 0 AND hour IS NULL", (now, now // HOUR_MS)
    )
    due = connection.execute(_DUE, (1, now - closed_ms, HOUR_MS, limit)).fetchall()
    due += connection.execute(_DUE, (0, now - idle_ms, HOUR_MS, limit - len(due))).fetchall()
    for rid, tombstone in due:
        if tombstone:
            for table in ("result", "resource"):
                connection.execute(f"DELETE FROM {table} WHERE rid = ?", (rid,))
        else:
            connection.execute("DELETE FROM entity WHERE rid = ?", (rid,))
            connection.execute("DELETE FROM log WHERE rid = ?", (rid,))
            connection.execute(_BURY, (now, now // HOUR_MS, rid))
    return len(due)


def sweep_records(connection: Connection, now: int, limit: int) -> int:
    """Forget records past their time; how many."""
    return connection.execute(
        "DELETE FROM record WHERE key IN (SELECT key FROM record WHERE until > 0 AND until <= ? LIMIT ?)",
        (now, limit),
    ).rowcount
