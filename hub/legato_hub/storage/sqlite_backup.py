"""Backup, restore and a new epoch of the SQLite engine's file. Not for the event loop: these block."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from legato_hub.storage.base import StorageError
from legato_hub.storage.sqlite_schema import check_schema, connect, set_epoch, take_possession


def back_up(path: str, backup: str) -> None:
    """Write the present state into a new file; a hub that has the database open is not disturbed.

    Raise StorageError if there is nothing to back up, if the file is there already, or cannot be written.
    """
    with _failing(backup), _read(path) as source:
        _copy(source, backup)


def restore(path: str, backup: str) -> None:
    """Make the database from a backup, under a new epoch.

    Raise StorageError if the backup is none, or damaged; if a hub has the database open; or if there is one: the
    operator moves that away, together with its `-wal`, before.
    """
    with _failing(path), _read(backup) as source:
        for suffix in ("", "-wal"):
            if Path(path + suffix).exists():
                raise StorageError(f"{path}{suffix}: exists; move it away first")
        if source.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise StorageError(f"{backup}: damaged")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        lock = take_possession(path)
        try:
            _copy(source, path)
        finally:
            os.close(lock)


def new_epoch(path: str) -> str:
    """Begin a new epoch, and return it. Raise StorageError if a hub has the database open, or if there is none."""
    if not Path(path).exists():
        raise StorageError(f"{path}: there is no database")
    lock = take_possession(path)
    try:
        with _failing(path), closing(connect(path, lock).connection) as connection:
            return set_epoch(connection)[0]
    finally:
        os.close(lock)


@contextmanager
def _failing(path: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StorageError(f"{path}: {error}") from error


@contextmanager
def _read(path: str) -> Iterator[sqlite3.Connection]:
    """A database of Legato, to read."""
    if not Path(path).exists():
        raise StorageError(f"{path}: there is no such file")
    # It only reads, and neither does a hub's writer wait for it nor the other way round. Opened for writing, it takes
    # the log of writes away behind it when no hub is there.
    with closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=rw", uri=True)) as connection:
        check_schema(connection, path)
        yield connection


def _copy(source: sqlite3.Connection, path: str) -> None:
    """Into a new file that belongs to its owner alone, and is there whole or not at all."""
    new = f"{path}.new"
    os.close(os.open(new, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600))
    try:
        with closing(sqlite3.connect(new, isolation_level=None)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")
            # Without this word it is no database that was open last: whoever opens it begins a new epoch.
            target.execute("DELETE FROM meta WHERE name = 'opening'")
        os.link(new, path)  # which fails if it is there, while a rename would replace it
    finally:
        os.unlink(new)
