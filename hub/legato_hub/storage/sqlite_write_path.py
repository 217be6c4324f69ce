"""`begin`, `commit` and `release` in SQL: each call runs in a savepoint of the writer's transaction."""

from collections.abc import Iterator
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

FENCES_PER_OPENING = 2**40
"""Fences are counted from `opened` times this: they rise over restarts, and cost no write."""

SLOT_COLUMNS = "s.command_id, s.body_hash, s.client_id, s.seq, s.base, s.call, s.fence, s.until"

_LAST_SEQ = "(SELECT max(seq) FROM result WHERE rid = r.rid AND client_id = ?2 AND seq > 0)"
_IS_KNOWN = "EXISTS (SELECT 1 FROM result WHERE rid = r.rid AND command_id = ?3)"

_HEAD_FOR_BEGIN = f"""
SELECT r.rid, r.revision, r.floor, {_LAST_SEQ}, {_IS_KNOWN}, {SLOT_COLUMNS}
FROM resource AS r LEFT JOIN slot AS s ON s.rid = r.rid WHERE r.name = ?1
"""
_HEAD_FOR_COMMIT = f"""
SELECT r.rid, r.revision, r.floor, r.recent, r.closed, r.tombstone, r.hour, {_LAST_SEQ}, {_IS_KNOWN}, s.fence
FROM resource AS r LEFT JOIN slot AS s ON s.rid = r.rid WHERE r.name = ?1
"""
_MAKE_RESOURCE = "INSERT INTO resource (name, since, hour) VALUES (?, ?, ?)"
_OF_ID = "SELECT body_hash, result FROM result WHERE rid = ? AND command_id = ? LIMIT 1"
_OF_SEQ = """
SELECT command_id, body_hash, result FROM result WHERE rid = ? AND client_id = ? AND seq = ? AND seq > 0
"""
_STORE_RESULT = """
INSERT INTO result (rid, command_id, client_id, seq, body_hash, result) VALUES (?, ?, ?, ?, ?, ?)
"""
_EVICT_SEQS = "DELETE FROM result WHERE rid = ? AND client_id = ? AND seq <= ? AND seq > 0"
_OLDEST_ID = """
SELECT rowid, command_id FROM result WHERE rid = ? AND command_id > ? AND seq = 0 ORDER BY command_id LIMIT 1
"""
_CLAIM_SLOT = "INSERT INTO slot VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FREE_SLOT = "DELETE FROM slot WHERE rid = ?"
_UPSERT = "INSERT INTO entity VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
_LOG = "INSERT INTO log (rid, revision, client_id, seq, traceparent, delta) VALUES (?, ?, ?, ?, ?, ?)"
_UPDATE = """
UPDATE resource SET revision = ?, recent = ?, floor = ?,
    version = COALESCE(?, version), adapter_state = COALESCE(?, adapter_state)
WHERE rid = ?
"""
_UPDATE_AND_TOUCH = _UPDATE.replace("SET", "SET since = ?,")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the write path knows of its engine."""

    epoch: str
    durable: bool
    log_length: int
    fences: Iterator[int]


def slot_from(resource: str, row: tuple[Any, ...]) -> Slot:
    """The slot in the columns `SLOT_COLUMNS`."""
    command_id, body_hash, client_id, seq, base, call, fence, until = row
    return Slot(resource, CommandKey(command_id, body_hash, client_id, seq), base, call, fence, until)


def begin(connection: Connection, facts: Facts, claim: Claim) -> Begun:
    """The table in `base`, row by row."""
    key, epoch = claim.key, facts.epoch
    rid, revision, floor, last = None, 0, "", 0
    row = connection.execute(_HEAD_FOR_BEGIN, (claim.resource, _counted(key), key.command_id)).fetchone()
    if row is not None:
        rid, revision, floor, last = row[0], row[1], row[2], row[3] or 0
        if 0 < key.seq <= last:
            return _answer_past_seq(connection, rid, key)
        if row[4]:
            return _answer_known(connection, rid, key, last)
        if row[5] is not None:
            return _answer_taken(claim, slot_from(claim.resource, row[5:]))
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
    fence = next(facts.fences)
    who = (key.command_id, key.body_hash, key.client_id, key.seq)
    connection.execute(_CLAIM_SLOT, (rid, fence, *who, claim.base, claim.slot_until, claim.call))
    return Fresh(fence)


def _counted(key: CommandKey | None) -> str:
    """Under which client a result is kept: stateless ones share ''."""
    return key.client_id if key is not None and key.seq else ""


def _answer_past_seq(connection: Connection, rid: int, key: CommandKey) -> Repeated | Refusal:
    kept = connection.execute(_OF_SEQ, (rid, key.client_id, key.seq)).fetchone()
    if kept is None or kept[2] is None:
        return Refusal.ALREADY_PROCESSED
    return Repeated(kept[2]) if kept[:2] == (key.command_id, key.body_hash) else Refusal.REUSED


def _answer_known(connection: Connection, rid: int, key: CommandKey, last: int) -> Repeated | Refusal:
    body_hash, result = connection.execute(_OF_ID, (rid, key.command_id)).fetchone()
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


def _outside_window(minted: int, now: int, floor: str) -> bool:
    evicted = floor != "" and minted <= unix_ms_of(floor)
    return evicted or now - minted > DEDUPE_WINDOW_MS or minted - now > DEDUPE_AHEAD_MS


def _consume_seq(connection: Connection, rid: int, key: CommandKey, result: bytes) -> None:
    connection.execute(_STORE_RESULT, (rid, key.command_id, key.client_id, key.seq, key.body_hash, result))
    if key.seq > RESULTS_PER_CLIENT:
        connection.execute(_EVICT_SEQS, (rid, key.client_id, key.seq - RESULTS_PER_CLIENT))


def _remember_id(
    connection: Connection, rid: int, key: CommandKey, result: bytes, recent: int, floor: str
) -> tuple[int, str]:
    """How many stateless results are kept now, and the floor."""
    if key.command_id < floor:
        return recent, floor  # it would be the first to be evicted
    connection.execute(_STORE_RESULT, (rid, key.command_id, "", 0, key.body_hash, result))
    if recent < RESULTS_PER_RESOURCE:
        return recent + 1, floor
    row_id, oldest = connection.execute(_OLDEST_ID, (rid, floor)).fetchone()
    connection.execute("DELETE FROM result WHERE rowid = ?", (row_id,))
    return recent, oldest


def commit(
    connection: Connection, facts: Facts, commit: Commit, log_delta: bytes
) -> tuple[Committed | Overtaken, Update | None]:
    """The answer, and what followers must be told; `log_delta` is the delta as the log keeps it."""
    key, delta, now = commit.key, commit.delta, commit.now
    command_id = key.command_id if key is not None else ""
    row = connection.execute(_HEAD_FOR_COMMIT, (commit.resource, _counted(key), command_id)).fetchone()
    rid, revision, floor, recent, closed, tombstone, hour, last, known, fence = row or _NO_RESOURCE
    if (
        commit.base != revision
        or (commit.fence and commit.fence != fence)
        or (tombstone and delta)
        or (key is not None and (known or (key.seq and key.seq != (last or 0) + 1)))
    ):
        return Overtaken(Cursor(facts.epoch, revision)), None
    if rid is None:
        hour = now // HOUR_MS
        rid = int(connection.execute(_MAKE_RESOURCE, (commit.resource, now, hour)).lastrowid or 0)
    update = None
    if delta:
        revision += 1
        update = _append(connection, rid, Cursor(facts.epoch, revision), commit, log_delta)
        if revision > facts.log_length:
            trimmed = (rid, revision - facts.log_length)
            connection.execute("DELETE FROM log WHERE rid = ? AND revision <= ?", trimmed)
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
        connection.execute(_FREE_SLOT, (rid,))
    return Committed(Cursor(facts.epoch, revision), facts.durable), update


_NO_RESOURCE = (None, 0, "", 0, 0, 0, None, 0, 0, None)
"""The head of a resource that has no row."""


def _append(connection: Connection, rid: int, cursor: Cursor, commit: Commit, log_delta: bytes) -> Update:
    """Write a delta to the entities and to the log."""
    delta, key = commit.delta, commit.key
    connection.executemany(_UPSERT, [(rid, name, value) for name, value in delta.upserts.items()])
    if delta.deletes:
        gone = [(rid, name) for name in delta.deletes]
        connection.executemany("DELETE FROM entity WHERE rid = ? AND key = ?", gone)
    client_id, seq = (key.client_id, key.seq) if key is not None else ("", 0)
    connection.execute(_LOG, (rid, cursor.revision, client_id, seq, commit.traceparent, log_delta))
    return Update(commit.resource, cursor, delta, client_id, seq, commit.traceparent)


def release(connection: Connection, slot: Slot) -> bool:
    """Whether it was still held under its fence."""
    freed = connection.execute(
        "DELETE FROM slot WHERE rid = (SELECT rid FROM resource WHERE name = ?) AND fence = ?",
        (slot.resource, slot.fence),
    )
    return freed.rowcount == 1


def adopt_seq(connection: Connection, resource: str, client_id: str, last_seq: int) -> int:
    """The client's last seq."""
    known = read_last_seq(connection, resource, client_id)
    if known or not last_seq:
        return known
    row = connection.execute("SELECT rid FROM resource WHERE name = ?", (resource,)).fetchone()
    rid = row[0] if row else connection.execute("INSERT INTO resource (name) VALUES (?)", (resource,)).lastrowid
    connection.execute(_STORE_RESULT, (rid, "", client_id, last_seq, None, None))
    return last_seq


def read_last_seq(connection: Connection, resource: str, client_id: str) -> int:
    """0 before the first."""
    row = connection.execute(
        f"SELECT {_LAST_SEQ} FROM resource AS r WHERE r.name = ?1", (resource, client_id)
    ).fetchone()
    return row[0] or 0 if row else 0
