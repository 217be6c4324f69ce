"""The outbox that survives a power cut: one SQLite file."""

import contextlib
import os
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence

from google.protobuf.message import DecodeError

from legato.errors import OutboxError
from legato.orchestrator.v1.command_pb2 import Command
from legato.outbox import MAX_PENDING, full, numbered
from legato.replica import Saved

_APPLICATION_ID = 0x4C474F42  # "LGOB" in the header of the file
_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE client (id TEXT NOT NULL);
CREATE TABLE resource (
    name TEXT PRIMARY KEY, next_seq INTEGER NOT NULL, used_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE command (
    resource TEXT NOT NULL, seq INTEGER NOT NULL, command_id TEXT NOT NULL UNIQUE, body BLOB NOT NULL,
    PRIMARY KEY (resource, seq)
) WITHOUT ROWID;
CREATE TABLE replica (
    resource TEXT PRIMARY KEY, target TEXT NOT NULL, epoch TEXT NOT NULL, revision INTEGER NOT NULL,
    last_seq INTEGER NOT NULL, payload BLOB NOT NULL, used_at INTEGER NOT NULL
) WITHOUT ROWID;
"""
_KEPT_SECONDS = 90 * 86_400
"""Resources that were not used for so long are forgotten when the file is opened."""


class SQLiteOutbox:
    """Commands in a file. When `append` returns, the command is on the disk.

    `append` waits for the disk once (milliseconds); nothing else does. The file is locked while it is open, so a second
    process gets an error instead of the same client id. It holds no token.
    """

    durable = True

    def __init__(self, path: str | os.PathLike[str], client_id: str | None = None) -> None:
        """Open the file, or make it. `client_id` is for a new file; one that has another is refused."""
        self._path = os.fspath(path)
        self._db: sqlite3.Connection | None = None
        try:
            self.client_id = self._open(client_id)
        except BaseException:
            self.close()
            raise

    def append(self, command: Command) -> Command:
        # Only here a power cut must not forget: a forgotten removal is repeated, and the hub knows the repeat.
        if self._waiting >= MAX_PENDING:
            raise full()
        with self._transaction(synchronous="FULL") as db:
            seq = self._next_seq(db, command.resource)
            command = numbered(command, seq)
            self._insert(db, [command])
            self._set_next_seq(db, command.resource, seq + 1)
        self._waiting += 1
        return command

    def pending(self) -> list[Command]:
        with self._transaction() as db:
            rows = db.execute("SELECT body FROM command ORDER BY resource, seq").fetchall()
        try:
            return [Command.FromString(body) for (body,) in rows]
        except DecodeError as error:
            raise self._damaged("a command in it cannot be read") from error

    def finish(self, command_ids: Iterable[str]) -> None:
        with self._transaction() as db:
            removed = db.executemany("DELETE FROM command WHERE command_id = ?", [(id_,) for id_ in command_ids])
        self._waiting -= max(removed.rowcount, 0)

    def next_seq(self, resource: str) -> int:
        with self._transaction() as db:
            return self._next_seq(db, resource)

    def rewrite(self, resource: str, commands: Sequence[Command], next_seq: int) -> None:
        with self._transaction(synchronous="FULL") as db:
            removed = db.execute("DELETE FROM command WHERE resource = ?", (resource,))
            self._insert(db, commands)
            self._set_next_seq(db, resource, next_seq)
        self._waiting += len(commands) - removed.rowcount

    def save_replica(self, resource: str, saved: Saved | None) -> None:
        with self._transaction() as db:
            db.execute("DELETE FROM replica WHERE resource = ?", (resource,))
            if saved is not None:
                row = (resource, saved.target, saved.epoch, saved.revision, saved.last_seq, saved.payload, _now())
                db.execute("INSERT INTO replica VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def load_replica(self, resource: str) -> Saved | None:
        query = "SELECT target, epoch, revision, last_seq, payload FROM replica WHERE resource = ?"
        with self._transaction() as db:
            row = db.execute(query, (resource,)).fetchone()
        return None if row is None else Saved(*row)

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _open(self, client_id: str | None) -> str:
        with self._explained():
            # Autocommit: transactions are written out below, so that no statement begins one unseen.
            db = self._db = sqlite3.connect(self._path, isolation_level=None, timeout=0)
            # In this mode the first access takes the lock that `close` gives back.
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            kind = (_value(db, "PRAGMA application_id"), _value(db, "PRAGMA user_version"))
            fresh = kind == (0, 0) and not _value(db, "SELECT count(*) FROM sqlite_master")
            if not fresh and kind != (_APPLICATION_ID, _SCHEMA_VERSION):
                raise OutboxError(f"{self._path} is no outbox that this version of Legato can read; use another path")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA fullfsync = ON")
        with self._transaction(synchronous="FULL") as db:
            if fresh:
                for statement in filter(None, map(str.strip, _SCHEMA.split(";"))):
                    db.execute(statement)
                db.execute("INSERT INTO client VALUES (?)", (client_id or str(uuid.uuid4()),))
                db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
            problem = _value(db, "PRAGMA quick_check(1)")
            if problem != "ok":
                raise self._damaged(str(problem))
            old = (_now() - _KEPT_SECONDS,)
            db.execute("DELETE FROM replica WHERE used_at < ?", old)
            db.execute("DELETE FROM resource WHERE used_at < ? AND name NOT IN (SELECT resource FROM command)", old)
            self._waiting = len(db.execute("SELECT 1 FROM command").fetchall())
            known = str(_value(db, "SELECT id FROM client"))
        if client_id not in (None, known):
            raise OutboxError(f"{self._path} belongs to client id {known}; use another path for {client_id}")
        return known

    @contextlib.contextmanager
    def _transaction(self, synchronous: str = "NORMAL") -> Iterator[sqlite3.Connection]:
        with self._explained():
            if self._db is None:
                raise OutboxError(f"{self._path} is closed")
            self._db.execute(f"PRAGMA synchronous = {synchronous}")
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                text = f"{self._path} is in use by another process; give each running client its own outbox"
                raise OutboxError(text) from error
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                raise self._damaged(str(error)) from error
            raise OutboxError(f"{self._path}: {error}") from error

    def _damaged(self, problem: str) -> OutboxError:
        return OutboxError(
            f"{self._path} is damaged or no SQLite file ({problem}). Move it away to look for unsent commands in it; "
            "a new file begins with a new client id"
        )

    @staticmethod
    def _insert(db: sqlite3.Connection, commands: Iterable[Command]) -> None:
        rows = [(c.resource, c.seq, c.command_id, c.SerializeToString()) for c in commands]
        db.executemany("INSERT INTO command VALUES (?, ?, ?, ?)", rows)

    @staticmethod
    def _next_seq(db: sqlite3.Connection, resource: str) -> int:
        row = db.execute("SELECT next_seq FROM resource WHERE name = ?", (resource,)).fetchone()
        return 1 if row is None else int(row[0])

    @staticmethod
    def _set_next_seq(db: sqlite3.Connection, resource: str, next_seq: int) -> None:
        db.execute("INSERT OR REPLACE INTO resource VALUES (?, ?, ?)", (resource, next_seq, _now()))


def _value(db: sqlite3.Connection, query: str) -> object:
    return db.execute(query).fetchone()[0]


def _now() -> int:
    return int(time.time())
