"""Changes that the hub makes by itself."""

import asyncio
from pathlib import Path

import pytest

from legato.protocol.ids import new_id
from legato_hub.amend import Amender
from legato_hub.clock import now_ms
from legato_hub.core.problem import Problem
from legato_hub.live_resources import LiveResources
from legato_hub.storage.sqlite import SQLiteStorage


async def test_changes_at_once_are_all_made_one_after_the_other(tmp_path: Path) -> None:
    storage = SQLiteStorage(str(tmp_path / "hub.sqlite3"))
    await storage.open()
    amender = Amender(storage, LiveResources(storage))
    name = f"sessions/{new_id()}"

    def count(entries: "dict[str, bytes]") -> "dict[str, bytes]":
        return {"n": str(int(entries.get("n", b"0")) + 1).encode()}

    await asyncio.gather(*(amender.amend(name, lambda entries: count(dict(entries))) for _ in range(20)))
    loaded = await storage.load(name)
    assert loaded is not None
    assert (loaded.cursor.revision, loaded.entries) == (20, {"n": b"20"})
    unchanged = await amender.amend(name, lambda entries: entries)
    assert unchanged.revision == 20
    await storage.close()


async def test_what_retention_took_away_cannot_be_amended(tmp_path: Path) -> None:
    storage = SQLiteStorage(str(tmp_path / "hub.sqlite3"))
    await storage.open()
    name = f"sessions/{new_id()}"
    await Amender(storage, LiveResources(storage)).amend(name, lambda _: {"a": b"1"})
    later = now_ms() + 10_000
    assert await storage.sweep(later, closed_ms=1, idle_ms=1) == 1
    with pytest.raises(Problem, match="does not exist"):
        await Amender(storage, LiveResources(storage)).amend(name, lambda _: {"a": b"2"})
    await storage.close()
