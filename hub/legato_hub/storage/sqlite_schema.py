"""The database file of the SQLite engine: taking possession of it, its tables, its epoch.

A file that is not the one that was open last begins a new epoch: it is a copy, and what was told after it was made is
not in it. It is known by a word that each opening writes into the database and, with the number of its inode, into the
lock file beside it. Backups (`sqlite_backup`) have no such word, and so always begin a new epoch. What this cannot see
is a plain copy made since the last opening and written over the very same file, and a snapshot of the whole disk: after
those `legato new-epoch` must be called.
"""

import fcntl
import logging
import os
import secrets
import sqlite3
import time
from pathlib import Path
from typing import Any, NamedTuple

from legato_hub.storage.base import StorageError

_log = logging.getLogger(__name__)

SCHEMA_VERSION = "1"
"""Of what is kept. Within one version tables, columns and rows of `meta` are only added, and what a hub does not know
it leaves alone. A file of another version is refused."""

HOUR_MS = 3_600_000
"""`resource.hour` is `since` in hours: an index on it changes once an hour and not with every commit."""

_PRAGMAS = (
    "synchronous = FULL",
    "secure_delete = ON",  # what is erased shall not linger in the file
    "cache_size = -65536",  # KiB: the working set of some thousand live carts
    "wal_autocheckpoint = 8192",  # pages: a page that is written again and again goes into the file once
)

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;

-- since: when it was last committed to, closed or made a tombstone; NULL while only adopt_seq knows it.
-- recent, floor: how many stateless results are kept, and the newest id among those evicted.
-- epoch: that of adapter_state.
CREATE TABLE resource (
    rid INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    revision INTEGER NOT NULL DEFAULT 0,
    closed INTEGER NOT NULL DEFAULT 0,
    tombstone INTEGER NOT NULL DEFAULT 0,
    since INTEGER,
    hour INTEGER,
    recent INTEGER NOT NULL DEFAULT 0,
    floor TEXT NOT NULL DEFAULT '',
    version TEXT NOT NULL DEFAULT '',
    adapter_state BLOB NOT NULL DEFAULT x'',
    epoch TEXT NOT NULL DEFAULT ''
);
CREATE INDEX resource_by_age ON resource (closed, hour);

CREATE TABLE slot (
    rid INTEGER PRIMARY KEY,
    fence INTEGER NOT NULL,
    command_id TEXT NOT NULL,
    body_hash BLOB NOT NULL,
    client_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    base INTEGER NOT NULL,
    until INTEGER NOT NULL,
    call BLOB NOT NULL
);

CREATE TABLE entity (
    rid INTEGER NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (rid, key)
) WITHOUT ROWID;

-- The bulky rows of log and result are appended in order of time, so that the commits of a batch share their pages;
-- only slim index entries are scattered.
CREATE TABLE log (
    rid INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    client_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    traceparent TEXT NOT NULL,
    delta BLOB NOT NULL
);
CREATE UNIQUE INDEX log_by_revision ON log (rid, revision);

-- A client's last seq is the highest here; adopt_seq makes it with a row of neither command nor result. Stateless
-- results have client '' and seq 0, so the index orders them by id, which is by time.
CREATE TABLE result (
    rid INTEGER NOT NULL,
    client_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    command_id TEXT NOT NULL,
    body_hash BLOB,
    result BLOB
);
CREATE UNIQUE INDEX result_by_command ON result (rid, client_id, seq, command_id);

CREATE TABLE record (key TEXT PRIMARY KEY, value BLOB NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX record_by_end ON record (until) WHERE until > 0;

CREATE TABLE member (key TEXT NOT NULL, member TEXT NOT NULL, PRIMARY KEY (key, member)) WITHOUT ROWID;
"""


def take_possession(path: str) -> int:
    """Lock `{path}.lock` for this process; closing the returned descriptor, or dying, lets go.

    Raise StorageError, naming the file, if another process or another storage of this process holds it.
    The lock file stays: removing it would let two processes lock two files of one name.
    """
    lock = f"{os.path.realpath(path)}.lock"
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"{path}: cannot open its lock file: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StorageError(f"{path}: in use by another hub; a database serves one process only") from error
    return descriptor


class Database(NamedTuple):
    """An open database. `opened` counts how often it was."""

    connection: sqlite3.Connection
    epoch: str
    began: int
    """When the epoch was forced, in milliseconds since 1970; 0 for the first one of a file."""
    opened: int


def connect(path: str, lock: int) -> Database:
    """Open; make the tables of an empty file. `lock` is what `take_possession` gave.

    Another process may read the file meanwhile, as for a backup. Should one write, units fail at once (`timeout`):
    nobody may make the event loop wait.

    Raise StorageError, naming the file, if it cannot be opened or is of another kind or schema version.
    """
    try:
        connection = sqlite3.connect(
            path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256
        )
    except sqlite3.Error as error:
        raise StorageError(f"{path}: {error}") from error
    try:
        if path != ":memory:":
            _restrict(path)
            connection.execute("PRAGMA journal_mode = WAL")
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        epoch, began = _read_or_make_epoch(connection, path)
        if path != ":memory:":
            epoch, began = _recognise(connection, path, lock, epoch, began)
        ((opened,),) = connection.execute(
            "UPDATE meta SET value = value + 1 WHERE name = 'opened' RETURNING value"
        ).fetchall()
        return Database(connection, epoch, began, opened)
    except sqlite3.Error as error:
        connection.close()
        raise StorageError(f"{path}: {error}") from error
    except StorageError:
        connection.close()
        raise


def _restrict(path: str) -> None:
    """Carts hold addresses: a new file is for its owner only."""
    if Path(path).stat().st_size == 0:
        Path(path).chmod(0o600)


def set_epoch(connection: sqlite3.Connection) -> tuple[str, int]:
    """Begin a new epoch; which, and when."""
    epoch, began = secrets.token_hex(8), time.time_ns() // 1_000_000
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('epoch', ?), ('began', ?)", (epoch, began))
    return epoch, began


def _recognise(connection: sqlite3.Connection, path: str, lock: int, epoch: str, began: int) -> tuple[str, int]:
    """The epoch to go on in: another one if this is not the database that was open last."""
    meta = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    inode = Path(path).stat().st_ino
    if meta["opened"] and os.pread(lock, 200, 0) != f"{inode} {meta.get('opening')}".encode().ljust(64):
        epoch, began = set_epoch(connection)
        _log.warning("another database than was open last: a new epoch begins", extra={"epoch": epoch})
    opening = secrets.token_hex(8)
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('opening', ?)", (opening,))
    os.pwrite(lock, f"{inode} {opening}".encode().ljust(64), 0)
    os.fsync(lock)
    return epoch, began


def check_schema(connection: sqlite3.Connection, path: str) -> dict[str, Any]:
    """The rows of `meta`. Raise StorageError for what this hub does not know, and sqlite3.Error."""
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if "meta" not in tables:
        raise StorageError(f"{path}: not a database of Legato")
    meta = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    if meta.get("schema") != SCHEMA_VERSION:
        raise StorageError(f"{path}: schema version {meta.get('schema')!r}; this hub knows version {SCHEMA_VERSION}")
    return meta


def _read_or_make_epoch(connection: sqlite3.Connection, path: str) -> tuple[str, int]:
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not tables:
        epoch = secrets.token_hex(8)
        # executescript commits whatever is open, so the transaction stands inside the script.
        rows = f"('schema', '{SCHEMA_VERSION}'), ('epoch', '{epoch}'), ('began', 0), ('opened', 0)"
        connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} INSERT INTO meta VALUES {rows}; COMMIT;")
        return epoch, 0
    meta = check_schema(connection, path)
    columns = {row[1] for row in connection.execute("PRAGMA table_info(resource)")}
    if "epoch" not in columns:  # written by 0.1.0
        connection.execute("ALTER TABLE resource ADD COLUMN epoch TEXT NOT NULL DEFAULT ''")
    return str(meta["epoch"]), int(meta.get("began", 0))  # 0.1.0 does not know when
