"""`legato backup`, `legato restore` and `legato new-epoch`."""

import asyncio
from pathlib import Path

import typer

from legato_hub.cli import refuse
from legato_hub.storage import sqlite_backup
from legato_hub.storage.base import StorageError


def backup(url: str, file: Path) -> None:
    """Write a backup, or leave with what is wrong."""
    path = _path_of(url)
    try:
        sqlite_backup.back_up(path, str(file))
    except StorageError as error:
        refuse(str(error), 1)
    typer.echo(f"backed up to {file}")


def restore(url: str, file: Path) -> None:
    """Make the storage from a backup, or leave with what is wrong."""
    path = _path_of(url)
    try:
        sqlite_backup.restore(path, str(file))
    except StorageError as error:
        refuse(str(error), 1)
    typer.echo(f"restored {path}; a new epoch begins when it is opened")


def new_epoch(url: str) -> None:
    """Begin a new epoch, or leave with what is wrong."""
    try:
        epoch = sqlite_backup.new_epoch(_path_of(url)) if url.startswith("sqlite:") else asyncio.run(_on_valkey(url))
    except StorageError as error:
        refuse(str(error), 1)
    typer.echo(f"the epoch is {epoch}")


async def _on_valkey(url: str) -> str:
    from legato_hub.storage.valkey import ValkeyStorage

    storage = ValkeyStorage.from_url(url)
    await storage.open()
    try:
        return await storage.new_epoch()
    finally:
        await storage.close()


def _path_of(url: str) -> str:
    scheme, _, path = url.partition(":")
    if scheme != "sqlite":
        refuse(
            "Valkey makes its own backups (BGSAVE, or those of your provider), and a server that starts from one has"
            " another epoch by itself: see docs/storage.md"
        )
    if path in ("", ":memory:"):
        refuse("a storage in memory has no file")
    return path
