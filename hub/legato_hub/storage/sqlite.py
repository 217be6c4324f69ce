"""The SQLite engine: the default, for one hub process."""

import asyncio
from collections.abc import Callable
from functools import partial
from itertools import count
from sqlite3 import Connection

from legato_hub.storage import sqlite_reads as reads
from legato_hub.storage.base import (
    LOG_LENGTH,
    Begun,
    Claim,
    Commit,
    Committed,
    Cursor,
    Follower,
    Gone,
    Loaded,
    Lost,
    Noted,
    Overtaken,
    Slot,
    Update,
)
from legato_hub.storage.sqlite_sweep import sweep_records, sweep_resources
from legato_hub.storage.sqlite_write_path import WritePath
from legato_hub.storage.sqlite_writer import Writer

SWEEP_LIMIT = 1_000
SWEEP_STEP = 25
"""Resources swept in one unit of work, so that commits are not kept waiting by a thousand logs."""


class SQLiteStorage:
    """`Storage` in one file, or in memory (":memory:", which forgets everything at close).

    Reads run among the commits: they see all that was accepted before them.
    """

    def __init__(self, path: str, *, log_length: int = LOG_LENGTH) -> None:
        self._path = path
        self._log_length = log_length
        self._writer = Writer(path, self._forget)
        self._followers: dict[str, dict[int, tuple[Follower, Lost | None]]] = {}
        self._follower_ids = count()
        self._write_path: WritePath
        self._epoch, self._began = "", 0

    async def open(self) -> None:
        _, self._epoch, self._began, opened = await self._writer.open()
        durable = self._path != ":memory:"
        self._write_path = WritePath(self._epoch, opened, durable=durable, log_length=self._log_length)

    async def close(self) -> None:
        await self._writer.close()

    @property
    def epoch(self) -> str:
        return self._epoch

    @property
    def epoch_began(self) -> int:
        return self._began

    @property
    def exclusive(self) -> bool:
        return True

    def _forget(self) -> None:
        self._write_path.forget()

    async def begin(self, claim: Claim) -> Begun:
        return await self._writer.run(lambda connection: self._write_path.begin(connection, claim))

    async def commit(self, commit: Commit) -> Committed | Overtaken:
        log_delta = commit.delta.to_bytes()
        answer, _ = await self._writer.run(
            lambda connection: self._write_path.commit(connection, commit, log_delta), self._tell
        )
        return answer

    async def release(self, slot: Slot) -> bool:
        return await self._writer.run(lambda connection: self._write_path.release(connection, slot))

    async def load(self, resource: str) -> Loaded | None:
        return await self._writer.run(lambda connection: reads.load(connection, self._epoch, resource))

    async def since(self, resource: str, cursor: Cursor) -> list[Update] | Gone:
        return await self._writer.run(lambda connection: reads.since(connection, self._epoch, resource, cursor))

    async def last_seq(self, resource: str, client_id: str) -> int:
        return await self._writer.run(lambda connection: self._write_path.last_seq(connection, resource, client_id))

    async def adopt_seq(self, resource: str, client_id: str, last_seq: int) -> int:
        return await self._writer.run(
            lambda connection: self._write_path.adopt_seq(connection, resource, client_id, last_seq)
        )

    async def abandoned(self, now: int) -> list[Slot]:
        return await self._writer.run(lambda connection: reads.abandoned(connection, now))

    async def erase(self, resource: str, now: int) -> None:
        def work(connection: Connection) -> None:
            self._write_path.erase(connection, resource, now)

        await self._writer.run(work, lambda _: self._tell_lost(resource), long=True)

    async def scrub(self) -> None:
        await self._writer.scrub()

    def follow(
        self,
        resource: str,
        follower: Follower,
        *,
        lost: Lost | None = None,
        noted: Noted | None = None,
    ) -> Callable[[], None]:
        # Nothing is lost on the way, and nothing noted: followers and writer are of one process, the only one, and a
        # restore needs it closed. An erasure is told.
        followers = self._followers.setdefault(resource, {})
        follower_id = next(self._follower_ids)
        followers[follower_id] = follower, lost
        return partial(self._unfollow, resource, follower_id)

    def _unfollow(self, resource: str, follower_id: int) -> None:
        followers = self._followers.get(resource, {})
        followers.pop(follower_id, None)
        if not followers:
            self._followers.pop(resource, None)

    def _tell(self, committed: tuple[Committed | Overtaken, Update | None]) -> None:
        update = committed[1]
        followers = self._followers.get(update.resource) if update is not None else None
        if update is None or followers is None:
            return
        for follower_id, (follower, _) in list(followers.items()):
            if follower_id in followers:  # else one called before has ended this one
                self._call(update.resource, partial(follower, update))

    def _tell_lost(self, resource: str) -> None:
        followers = self._followers.get(resource, {})
        for follower_id, (_, lost) in list(followers.items()):
            if lost is not None and follower_id in followers:
                self._call(resource, lost)

    @staticmethod
    def _call(resource: str, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception as error:  # noqa: BLE001 - a faulty follower must not keep others, or the commit, waiting
            context = {"message": f"a follower of {resource} failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    async def notify(self, resource: str, note: bytes) -> int:
        return 0

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        until: int = 0,
        now: int = 0,
        if_absent: bool = False,
        replacing: bytes | None = None,
    ) -> bool:
        return await self._writer.run(
            lambda connection: reads.put(connection, key, value, until, now, if_absent, replacing)
        )

    async def get(self, key: str, now: int) -> bytes | None:
        return await self._writer.run(lambda connection: reads.get(connection, key, now))

    async def delete(self, key: str) -> None:
        await self._run_statement("DELETE FROM record WHERE key = ?", key)

    async def add(self, key: str, member: str) -> None:
        await self._run_statement("INSERT OR IGNORE INTO member VALUES (?, ?)", key, member)

    async def remove(self, key: str, member: str) -> None:
        await self._run_statement("DELETE FROM member WHERE key = ? AND member = ?", key, member)

    async def _run_statement(self, sql: str, *values: str) -> None:
        def work(connection: Connection) -> None:
            connection.execute(sql, values)

        await self._writer.run(work)

    async def members(self, key: str, *, before: str = "", limit: int = 100) -> list[str]:
        return await self._writer.run(lambda connection: reads.members(connection, key, before, limit))

    async def sweep(self, now: int, *, closed_ms: int, idle_ms: int) -> int:
        def step(connection: Connection) -> int:
            self._write_path.forget()
            return sweep_resources(connection, now, closed_ms, idle_ms, SWEEP_STEP)

        touched = 0
        while touched < SWEEP_LIMIT:
            found = await self._writer.run(step, long=True)
            touched += found
            if found < SWEEP_STEP:
                break
        return touched + await self._writer.run(lambda connection: sweep_records(connection, now, SWEEP_LIMIT))
