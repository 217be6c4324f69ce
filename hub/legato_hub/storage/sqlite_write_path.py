"""`begin`, `commit` and `release` in SQL: each call runs in a savepoint of the writer's transaction."""

from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any

from legato.protocol.ids import unix_ms_of
from legato_hub.storage.base import (
    DEDUPE_AHEAD_MS,
    DEDUPE_WINDOW_MS,
    RESULTS_PER_CLIENT,
    RESULTS_PER_RESOURCE,
    Abandoned,
    Begun,
    Busy,
    Claim,
    CommandKey,
    Commit,
    Committed,
    Cursor,
    EpochMismatch,
    Fresh,
    Gap,
    Mismatch,
    Moved,
    Overtaken,
    Refusal,
    Repeated,
    Running,
    Slot,
    Update,
)
from legato_hub.storage.sqlite_schema import HOUR_MS

SLOT_COLUMNS = "s.command_id, s.body_hash, s.client_id, s.seq, s.base, s.call, s.fence, s.until"

_HEAD_FOR_BEGIN = f"""
SELECT r.rid, r.revision, r.floor, c.last_seq, {SLOT_COLUMNS}
FROM resource AS r
LEFT JOIN client AS c ON c.rid = r.rid AND c.client_id = ?2
LEFT JOIN slot AS s ON s.rid = r.rid
WHERE r.name = ?1
"""

_HEAD_FOR_COMMIT = """
SELECT r.rid, r.revision, r.floor, r.recent, r.closed, r.tombstone, r.hour, c.last_seq, s.fence
FROM resource AS r
LEFT JOIN client AS c ON c.rid = r.rid AND c.client_id = ?2
LEFT JOIN slot AS s ON s.rid = r.rid
WHERE r.name = ?1
"""

_MAKE_RESOURCE = "INSERT INTO resource (name, since, hour) VALUES (?, ?, ?)"
_KNOWN = "SELECT body_hash, result FROM result WHERE rid = ? AND command_id = ? LIMIT 1"
_OF_SEQ = "SELECT command_id, body_hash, result FROM result WHERE rid = ? AND client_id = ? AND seq = ?"
_STORE_RESULT = "INSERT INTO result VALUES (?, ?, ?, ?, ?, ?)"
_STORE_SEQ = """
INSERT INTO client VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET last_seq = excluded.last_seq
"""
_EVICT_SEQS = "DELETE FROM result WHERE rid = ? AND client_id = ? AND seq <= ?"
_OLDEST_ID = """
SELECT command_id FROM result WHERE rid = ? AND client_id = '' AND seq = 0 ORDER BY command_id LIMIT 1
"""
_EVICT_ID = "DELETE FROM result WHERE rid = ? AND client_id = '' AND seq = 0 AND command_id = ?"
_CLAIM_SLOT = """
INSERT INTO slot (rid, command_id, body_hash, client_id, seq, base, until, call) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_UPSERT = "INSERT INTO entity VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
_UPDATE = """
UPDATE resource SET revision = ?, recent = ?, floor = ?,
    version = COALESCE(?, version), adapter_state = COALESCE(?, adapter_state)
WHERE rid = ?
"""
_UPDATE_AND_TOUCH = _UPDATE.replace("SET", "SET since = ?,")


def slot_from(resource: str, row: tuple[Any, ...]) -> Slot:
    """The slot in the columns `SLOT_COLUMNS`."""
    command_id, body_hash, client_id, seq, base, call, fence, until = row
    return Slot(resource, CommandKey(command_id, body_hash, client_id, seq), base, call, fence, until)


def begin(connection: Connection, epoch: str, claim: Claim) -> Begun:
    """The table in `base`, row by row."""
    key = claim.key
    rid, revision, floor, last = None, 0, -1, 0
    row = connection.execute(_HEAD_FOR_BEGIN, (claim.resource, _counted(key))).fetchone()
    if row is not None:
        rid, revision, floor, last = row[0], row[1], row[2], row[3] or 0
        if 0 < key.seq <= last:
            return _answer_past_seq(connection, rid, key)
        known = connection.execute(_KNOWN, (rid, key.command_id)).fetchone()
        if known is not None:
            return _answer_known(connection, rid, key, last, *known)
        if row[4] is not None:
            return _answer_taken(claim, slot_from(claim.resource, row[4:]))
    if key.seq > last + 1:
        return Gap(last + 1)
    if not key.seq and _outside_window(unix_ms_of(key.command_id), claim.now, floor):
        return Refusal.DEDUPE_EXPIRED
    expected = claim.expected
    if expected is not None and expected.epoch != epoch:
        return EpochMismatch(Cursor(epoch, revision))
    if expected is not None and claim.must_match and expected.revision != revision:
        return Mismatch(Cursor(epoch, revision))
    if claim.base != revision:
        return Moved(Cursor(epoch, revision))
    if not claim.slot_until:
        return Fresh(0)
    if rid is None:
        rid = connection.execute(_MAKE_RESOURCE, (claim.resource, claim.now, claim.now // HOUR_MS)).lastrowid
    place = (key.client_id, key.seq, claim.base, claim.slot_until, claim.call)
    claimed = connection.execute(_CLAIM_SLOT, (rid, key.command_id, key.body_hash, *place))
    return Fresh(claimed.lastrowid or 0)


def _counted(key: CommandKey) -> str:
    """Under which client a result is kept: stateless ones share ''."""
    return key.client_id if key.seq else ""


def _answer_past_seq(connection: Connection, rid: int, key: CommandKey) -> Repeated | Refusal:
    kept = connection.execute(_OF_SEQ, (rid, key.client_id, key.seq)).fetchone()
    if kept is None:
        return Refusal.ALREADY_PROCESSED
    return Repeated(kept[2]) if kept[:2] == (key.command_id, key.body_hash) else Refusal.REUSED


def _answer_known(
    connection: Connection, rid: int, key: CommandKey, last: int, body_hash: bytes, result: bytes
) -> Repeated | Refusal:
    if body_hash != key.body_hash:
        return Refusal.REUSED
    if key.seq == last + 1:
        _consume_seq(connection, rid, key, result)
    return Repeated(result)


def _answer_taken(claim: Claim, slot: Slot) -> Running | Busy | Abandoned | Refusal:
    if claim.now >= slot.until:
        return Abandoned(slot)
    if claim.key.command_id != slot.key.command_id:
        return Busy(slot)
    return Running(slot) if claim.key.body_hash == slot.key.body_hash else Refusal.REUSED


def _outside_window(minted: int, now: int, floor: int) -> bool:
    return minted <= floor or now - minted > DEDUPE_WINDOW_MS or minted - now > DEDUPE_AHEAD_MS


def _consume_seq(connection: Connection, rid: int, key: CommandKey, result: bytes) -> None:
    row = (rid, key.client_id, key.seq, key.command_id, key.body_hash, result)
    connection.execute(_STORE_RESULT, row)
    connection.execute(_STORE_SEQ, (rid, key.client_id, key.seq))
    if key.seq > RESULTS_PER_CLIENT:
        connection.execute(_EVICT_SEQS, (rid, key.client_id, key.seq - RESULTS_PER_CLIENT))


def _remember_id(
    connection: Connection, rid: int, key: CommandKey, result: bytes, recent: int, floor: int
) -> tuple[int, int]:
    """How many stateless results are kept now, and the floor."""
    connection.execute(_STORE_RESULT, (rid, "", 0, key.command_id, key.body_hash, result))
    if recent < RESULTS_PER_RESOURCE:
        return recent + 1, floor
    (oldest,) = connection.execute(_OLDEST_ID, (rid,)).fetchone()
    connection.execute(_EVICT_ID, (rid, oldest))
    return recent, max(floor, unix_ms_of(oldest))


@dataclass(frozen=True, slots=True)
class CommitSettings:
    """What `commit` knows of its engine."""

    epoch: str
    durable: bool
    log_length: int


def commit(
    connection: Connection, settings: CommitSettings, commit: Commit, log_delta: bytes
) -> tuple[Committed | Overtaken, Update | None]:
    """The answer, and what followers must be told; `log_delta` is the delta as the log keeps it."""
    key, delta = commit.key, commit.delta
    rid: int | None
    rid, revision, floor, recent, closed, tombstone, hour, last, fence = None, 0, -1, 0, 0, 0, None, None, None
    row = connection.execute(_HEAD_FOR_COMMIT, (commit.resource, _counted(key) if key else "")).fetchone()
    if row is not None:
        rid, revision, floor, recent, closed, tombstone, hour, last, fence = row
    if (
        commit.base != revision
        or (commit.fence and commit.fence != fence)
        or (tombstone and delta)
        or (key is not None and key.seq and key.seq != (last or 0) + 1)
        or (key is not None and connection.execute(_KNOWN, (rid, key.command_id)).fetchone() is not None)
    ):
        return Overtaken(Cursor(settings.epoch, revision)), None
    now = commit.now
    if rid is None:
        hour = now // HOUR_MS
        rid = connection.execute(_MAKE_RESOURCE, (commit.resource, now, hour)).lastrowid or 0
    update = None
    if delta:
        revision += 1
        update = _append(connection, rid, Cursor(settings.epoch, revision), commit, log_delta)
        if revision > settings.log_length:
            floor_revision = revision - settings.log_length
            connection.execute("DELETE FROM log WHERE rid = ? AND revision <= ?", (rid, floor_revision))
    if key is not None and key.seq:
        _consume_seq(connection, rid, key, commit.result)
    elif key is not None:
        recent, floor = _remember_id(connection, rid, key, commit.result, recent, floor)
    values = (revision, recent, floor, commit.version, commit.adapter_state, rid)
    if closed or tombstone:
        connection.execute(_UPDATE, values)
    else:
        connection.execute(_UPDATE_AND_TOUCH, (now, *values))
        if commit.closed or hour != now // HOUR_MS:
            aged = (commit.closed, now // HOUR_MS, rid)
            connection.execute("UPDATE resource SET closed = ?, hour = ? WHERE rid = ?", aged)
    if commit.fence:
        connection.execute("DELETE FROM slot WHERE fence = ?", (commit.fence,))
    return Committed(Cursor(settings.epoch, revision), settings.durable), update


def _append(connection: Connection, rid: int, cursor: Cursor, commit: Commit, log_delta: bytes) -> Update:
    """Write a delta to the entities and to the log."""
    delta, key = commit.delta, commit.key
    connection.executemany(_UPSERT, [(rid, name, value) for name, value in delta.upserts.items()])
    if delta.deletes:
        gone = [(rid, name) for name in delta.deletes]
        connection.executemany("DELETE FROM entity WHERE rid = ? AND key = ?", gone)
    client_id, seq = (key.client_id, key.seq) if key else ("", 0)
    log_row = (rid, cursor.revision, log_delta, client_id, seq, commit.traceparent)
    connection.execute("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)", log_row)
    return Update(commit.resource, cursor, delta, client_id, seq, commit.traceparent)


def release(connection: Connection, slot: Slot) -> bool:
    """Whether it was still held under its fence."""
    # Fences of all resources are drawn from one sequence, so a fence names its slot.
    return connection.execute("DELETE FROM slot WHERE fence = ?", (slot.fence,)).rowcount == 1


def adopt_seq(connection: Connection, resource: str, client_id: str, last_seq: int) -> int:
    """The client's last seq."""
    known = read_last_seq(connection, resource, client_id)
    if known or not last_seq:
        return known
    row = connection.execute("SELECT rid FROM resource WHERE name = ?", (resource,)).fetchone()
    rid = row[0] if row else connection.execute("INSERT INTO resource (name) VALUES (?)", (resource,)).lastrowid
    connection.execute(_STORE_SEQ, (rid, client_id, last_seq))
    return last_seq


def read_last_seq(connection: Connection, resource: str, client_id: str) -> int:
    """0 before the first."""
    row = connection.execute(
        "SELECT c.last_seq FROM resource AS r JOIN client AS c ON c.rid = r.rid AND c.client_id = ? WHERE r.name = ?",
        (client_id, resource),
    ).fetchone()
    return row[0] if row else 0
