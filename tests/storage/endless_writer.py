"""Commits to eight carts of a database until it is killed; prints each acknowledged revision.

endless_writer.py PATH
"""

import asyncio
import sys

from legato.protocol.ids import new_id
from legato.protocol.state import Delta
from legato_hub.storage.base import Claim, CommandKey, Commit, Committed, Fresh
from legato_hub.storage.sqlite import SQLiteStorage

NOW = 1_800_000_000_000


async def write(storage: SQLiteStorage, name: str) -> None:
    loaded = await storage.load(name)
    at = loaded.cursor.revision if loaded else 0
    while True:
        key = CommandKey(new_id(NOW), b"body", "writer", at + 1)
        begun = await storage.begin(Claim(name, key, at, NOW, slot_until=NOW + 1))
        assert isinstance(begun, Fresh)
        delta = Delta({"note": b"%d" % (at + 1)})
        committed = await storage.commit(Commit(name, at, delta, NOW, key, b"r", begun.fence))
        assert isinstance(committed, Committed)
        at = committed.cursor.revision
        print(name, at, flush=True)


async def main() -> None:
    storage = SQLiteStorage(sys.argv[1])
    await storage.open()
    async with asyncio.TaskGroup() as writers:
        for number in range(8):
            writers.create_task(write(storage, f"carts/{number}"))


if __name__ == "__main__":
    asyncio.run(main())
