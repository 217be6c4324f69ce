"""`begin`, `commit` and `release` in SQL: each call runs in a savepoint of the writer's transaction."""

from itertools import count
from sqlite3 import Connection

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
from legato_hub.storage.sqlite_heads import Head, Heads
from legato_hub.storage.sqlite_schema import HOUR_MS

FENCES_PER_OPENING = 2**40
"""Fences are counted from `opened` times this: they rise over restarts, and cost no write."""

_MAKE_RESOURCE = "INSERT INTO resource (name, since, hour) VALUES (?, ?, ?)"
_OF_ID = "SELECT body_hash, result FROM result WHERE rid = ? AND command_id = ? LIMIT 1"
_OF_SEQ = "SELECT command_id, body_hash, result FROM result WHERE rid = ? AND client_id = ? AND seq = ?"
_STORE_RESULT = "INSERT INTO result VALUES (?, ?, ?, ?, ?, ?)"
_EVICT_SEQS = "DELETE FROM result WHERE rid = ? AND client_id = ? AND seq > 0 AND seq <= ? RETURNING command_id"
_OLDEST_ID = """
SELECT rowid, command_id FROM result WHERE rid = ? AND client_id = '' AND seq = 0 ORDER BY command_id LIMIT 1
"""
_CLAIM_SLOT = "INSERT INTO slot VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_UPSERT = "INSERT INTO entity VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
_UPDATE = """
UPDATE resource SET revision = ?, recent = ?, floor = ?,
    version = COALESCE(?, version), adapter_state = COALESCE(?, adapter_state), epoch = COALESCE(?, epoch)
WHERE rid = ?
"""
_BURY = """
UPDATE resource SET revision = revision + 1, tombstone = 1, since = ?, hour = ?, version = '', adapter_state = x''
WHERE rid = ?
"""
_UPDATE_AND_TOUCH = _UPDATE.replace("SET", "SET since = ?,")


class WritePath:
    """Runs on the writer's thread alone. `forget` must be called when anything was rolled back or swept."""

    def __init__(self, epoch: str, opened: int, *, durable: bool, log_length: int) -> None:
        self._epoch = epoch
        self._durable = durable
        self._log_length = log_length
        self._fences = count(opened * FENCES_PER_OPENING)
        self._heads = Heads()

    def forget(self) -> None:
        """Read everything from the database again."""
        self._heads.clear()

    def begin(self, connection: Connection, claim: Claim) -> Begun:
        """The table in `base`, row by row."""
        key, epoch = claim.key, self._epoch
        head = self._heads.get(connection, claim.resource)
        revision, last, floor = 0, 0, ""
        if head is not None:
            revision, floor = head.revision, head.floor
            last = head.last_seqs.get(key.client_id, 0) if key.seq else 0
            if 0 < key.seq <= last:
                return _answer_past_seq(connection, head.rid, key)
            if key.command_id in head.known:
                return self._answer_known(connection, head, key, last)
            if head.slot is not None:
                return _answer_taken(claim, head.slot)
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
        if head is None:
            head = self._make(connection, claim.resource, claim.now)
        slot = Slot(claim.resource, key, claim.base, claim.call, next(self._fences), claim.slot_until)
        who = (key.command_id, key.body_hash, key.client_id, key.seq)
        connection.execute(_CLAIM_SLOT, (head.rid, slot.fence, *who, slot.base, slot.until, slot.call))
        head.slot = slot
        return Fresh(slot.fence)

    def _make(self, connection: Connection, resource: str, now: int | None) -> Head:
        """A row for a resource that has none; without `now` its age is unknown."""
        hour = None if now is None else now // HOUR_MS
        made = connection.execute(_MAKE_RESOURCE, (resource, now, hour))
        head = Head(made.lastrowid or 0, hour=hour)
        self._heads.add(resource, head)
        return head

    def _answer_known(self, connection: Connection, head: Head, key: CommandKey, last: int) -> Repeated | Refusal:
        body_hash, result = connection.execute(_OF_ID, (head.rid, key.command_id)).fetchone()
        if result is None:
            return Refusal.ALREADY_PROCESSED
        if body_hash != key.body_hash:
            return Refusal.REUSED
        if key.seq == last + 1:
            self._store_result(connection, head, key, result)
        return Repeated(result)

    def _store_result(self, connection: Connection, head: Head, key: CommandKey, result: bytes) -> None:
        rid, command_id = head.rid, key.command_id
        if key.seq:
            connection.execute(_STORE_RESULT, (rid, key.client_id, key.seq, command_id, key.body_hash, result))
            self._heads.learn(head, command_id)
            head.last_seqs[key.client_id] = key.seq
            if key.seq > RESULTS_PER_CLIENT:
                window = (rid, key.client_id, key.seq - RESULTS_PER_CLIENT)
                for (evicted,) in connection.execute(_EVICT_SEQS, window).fetchall():
                    if evicted:
                        self._heads.forget(head, evicted)
        elif command_id > head.floor:  # else it would be evicted at once
            connection.execute(_STORE_RESULT, (rid, "", 0, command_id, key.body_hash, result))
            self._heads.learn(head, command_id)
            head.recent += 1
            if head.recent > RESULTS_PER_RESOURCE:
                row_id, oldest = connection.execute(_OLDEST_ID, (rid,)).fetchone()
                connection.execute("DELETE FROM result WHERE rowid = ?", (row_id,))
                self._heads.forget(head, oldest)
                head.recent, head.floor = head.recent - 1, oldest

    def commit(
        self, connection: Connection, commit: Commit, log_delta: bytes
    ) -> tuple[Committed | Overtaken, Update | None]:
        """The answer, and what followers must be told; `log_delta` is the delta as the log keeps it."""
        head = self._heads.get(connection, commit.resource)
        revision = head.revision if head is not None else 0
        if commit.base != revision or _is_overtaken(head, commit):
            return Overtaken(Cursor(self._epoch, revision)), None
        now, key = commit.now, commit.key
        if head is None:
            head = self._make(connection, commit.resource, now)
        update = self._append(connection, head, commit, log_delta) if commit.delta else None
        if key is not None:
            self._store_result(connection, head, key, commit.result)
        notebook = commit.adapter_state
        epoch = self._epoch if notebook is not None else None
        values = (head.revision, head.recent, head.floor, commit.version, notebook, epoch, head.rid)
        if head.closed or head.tombstone:
            connection.execute(_UPDATE, values)
        else:
            connection.execute(_UPDATE_AND_TOUCH, (now, *values))
            if commit.closed or head.hour != now // HOUR_MS:
                head.closed, head.hour = commit.closed, now // HOUR_MS
                aged = (head.closed, head.hour, head.rid)
                connection.execute("UPDATE resource SET closed = ?, hour = ? WHERE rid = ?", aged)
        if commit.fence:
            connection.execute("DELETE FROM slot WHERE rid = ?", (head.rid,))
            head.slot = None
        return Committed(Cursor(self._epoch, head.revision), self._durable), update

    def _append(self, connection: Connection, head: Head, commit: Commit, log_delta: bytes) -> Update:
        """Write a delta to the entities and to the log, and trim that."""
        rid, delta, key = head.rid, commit.delta, commit.key
        head.revision += 1
        connection.executemany(_UPSERT, [(rid, name, value) for name, value in delta.upserts.items()])
        if delta.deletes:
            gone = [(rid, name) for name in delta.deletes]
            connection.executemany("DELETE FROM entity WHERE rid = ? AND key = ?", gone)
        client_id, seq = (key.client_id, key.seq) if key is not None else ("", 0)
        log_row = (rid, head.revision, client_id, seq, commit.traceparent, log_delta)
        connection.execute("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)", log_row)
        floor = head.revision - self._log_length
        if floor > 0:
            connection.execute("DELETE FROM log WHERE rid = ? AND revision <= ?", (rid, floor))
        cursor = Cursor(self._epoch, head.revision)
        return Update(commit.resource, cursor, delta, client_id, seq, commit.traceparent)

    def release(self, connection: Connection, slot: Slot) -> bool:
        """Whether it was still held under its fence."""
        head = self._heads.get(connection, slot.resource)
        if head is None or head.slot is None or head.slot.fence != slot.fence:
            return False
        connection.execute("DELETE FROM slot WHERE rid = ?", (head.rid,))
        head.slot = None
        return True

    def erase(self, connection: Connection, resource: str, now: int) -> None:
        """Make a resource an empty tombstone of the next revision."""
        head = self._heads.get(connection, resource) or self._make(connection, resource, now)
        if head.slot is not None and head.slot.key.command_id not in head.known:
            key = head.slot.key
            if not key.seq or key.seq == head.last_seqs.get(key.client_id, 0) + 1:
                self._store_result(connection, head, key, b"")
        for table in ("slot", "entity", "log"):
            connection.execute(f"DELETE FROM {table} WHERE rid = ?", (head.rid,))
        connection.execute("UPDATE result SET body_hash = NULL, result = NULL WHERE rid = ?", (head.rid,))
        connection.execute(_BURY, (now, now // HOUR_MS, head.rid))
        self.forget()

    def last_seq(self, connection: Connection, resource: str, client_id: str) -> int:
        """0 before the first."""
        head = self._heads.get(connection, resource)
        return head.last_seqs.get(client_id, 0) if head is not None else 0

    def adopt_seq(self, connection: Connection, resource: str, client_id: str, last_seq: int) -> int:
        """The client's last seq."""
        known = self.last_seq(connection, resource, client_id)
        if known or not last_seq:
            return known
        head = self._heads.get(connection, resource) or self._make(connection, resource, None)
        connection.execute(_STORE_RESULT, (head.rid, client_id, last_seq, "", None, None))
        head.last_seqs[client_id] = last_seq
        return last_seq


def _answer_past_seq(connection: Connection, rid: int, key: CommandKey) -> Repeated | Refusal:
    kept = connection.execute(_OF_SEQ, (rid, key.client_id, key.seq)).fetchone()
    if kept is None or kept[2] is None:
        return Refusal.ALREADY_PROCESSED
    return Repeated(kept[2]) if kept[:2] == (key.command_id, key.body_hash) else Refusal.REUSED


def _answer_taken(claim: Claim, slot: Slot) -> Running | Busy | Abandoned | Refusal:
    if claim.now >= slot.until:
        return Abandoned(slot)
    if claim.key.command_id != slot.key.command_id:
        return Busy(slot)
    return Running(slot) if claim.key.body_hash == slot.key.body_hash else Refusal.REUSED


def _outside_window(minted: int, now: int, floor: str) -> bool:
    evicted = floor != "" and minted <= unix_ms_of(floor)
    return evicted or now - minted > DEDUPE_WINDOW_MS or minted - now > DEDUPE_AHEAD_MS


def _is_overtaken(head: Head | None, commit: Commit) -> bool:
    """For other reasons than its base."""
    key, fence = commit.key, commit.fence
    if head is None:
        return fence != 0 or (key is not None and key.seq > 1)
    return (
        (fence != 0 and (head.slot is None or head.slot.fence != fence))
        or (head.tombstone and bool(commit.delta))
        or (key is not None and key.command_id in head.known)
        or (key is not None and key.seq > 0 and key.seq != head.last_seqs.get(key.client_id, 0) + 1)
    )
