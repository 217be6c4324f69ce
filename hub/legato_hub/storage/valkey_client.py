"""Runs scripts where their keys live, and finds out anew where that is, and which history it has.

The *fence* is what an answer is worth: the replication ids of all primaries, which each script compares with that of
the server it runs on, and the epoch, which is made of them. A primary gets another id when it starts (also after a
clean stop, because what was not yet on disk may be gone) and when it is promoted, since a replica may lag behind. So
every history that may have lost something told has an epoch of its own, on every hub the same one, and no hub can read
or write under the epoch of an earlier one. With a Cluster the loss of one primary makes a new epoch for all: accepted,
snapshots are cheap.

An id says nothing of what is done to the data of a running server: FLUSHALL, a key deleted or restored by hand. For the
first there is the *generation*, a random word beside the data, which is part of the epoch; hubs look at it when they
connect and at every probe, not in every script. Setting another one forces a new epoch.

Beside it stands the version of the *schema*, looked at as often. Within one version, hubs of different releases share
the data: keys, fields and parts of what is published are only added, and what a hub does not know it passes over. A hub
that finds another version than its own stops reading and writing, and says so.

A primary without replicas gets another id an hour after the last one left it (`repl-backlog-ttl`), though nothing was
lost, and so does a Cluster that a new primary joins: one more snapshot for everybody.
"""

import asyncio
import hashlib
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)

from legato_hub.storage.base import StorageError
from legato_hub.storage.valkey_keys import ALL_BUCKETS, META, Bucket, slot_of
from legato_hub.storage.valkey_link import Argument, Link, Lost, Unsent, retrieve
from legato_hub.storage.valkey_nodes import Nodes
from legato_hub.storage.valkey_scripts import Script
from legato_hub.telemetry.metrics import EPOCHS

_log = logging.getLogger(__name__)

SCHEMA_VERSION = b"1"
FIRST_DELAY_S = 0.02
LONGEST_DELAY_S = 0.5

_ROLE = re.compile(rb"role:(\w+)")
_ORIGIN = re.compile(rb"master_replid:([0-9a-f]{40})")
_PASSING = (MovedError, TryAgainError, ClusterDownError, BusyLoadingError, ReadOnlyError, Unsent)
"""Refusals before anything was done: asking again is harmless."""


# Whoever makes the generation makes the first epoch with it: nothing can have been lost before.
_META = b"""
redis.call('HSETNX', KEYS[1], 'schema', ARGV[1])
if redis.call('HSETNX', KEYS[1], 'generation', ARGV[2]) == 1 and ARGV[3] ~= '' then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[3], 'began', '0')
end
return redis.call('HMGET', KEYS[1], 'schema', 'generation')
"""
# Whoever is the first to see an epoch says when it began.
_BEGUN = b"""
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  local time = redis.call('TIME')
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'began', time[1] .. string.format('%03d', math.floor(time[2] / 1000)))
end
return redis.call('HGET', KEYS[1], 'began')
"""


@dataclass(frozen=True, slots=True)
class Fence:
    """`origins`: the replication ids of the primaries, sorted and joined. `began`: when some hub first saw the epoch,
    in milliseconds since 1970 by the server's clock; 0 for the first of a storage."""

    origins: bytes
    epoch: str
    began: int


class OtherSchema(StorageError):
    """The data is of another version of Legato."""


class Client:
    """`on_new_epoch` is called, in the event loop, between the last answer of an epoch and the first of the next."""

    def __init__(self, nodes: Nodes, timeout_s: float, on_new_epoch: Callable[[], None]) -> None:
        self.nodes = nodes
        self._timeout_s = timeout_s
        self._on_new_epoch = on_new_epoch
        self._fencing: asyncio.Task[None] | None = None
        self._accepting = False
        self._under_way = 0
        self._quiet = asyncio.Event()
        self._refusal: OtherSchema | None = None
        """Why nothing may be read or written for now."""
        self.fence = Fence(b"", "", 0)

    async def open(self, check: Callable[[Link], Awaitable[None]]) -> None:
        """Find the servers, `check` each, read the epoch. Raise StorageError if they cannot be reached, or hold data of
        another version of Legato."""
        await self.nodes.open()
        for link in self.nodes.links():
            await check(link)
        await self.look()
        self._accepting = True

    async def close(self) -> None:
        """Wait for the scripts under way; run no more."""
        self._accepting = False
        if self._under_way:
            await self._quiet.wait()
        if self._fencing is not None:
            await asyncio.wait({self._fencing})
        await self.nodes.close()

    async def run(
        self,
        script: Script,
        bucket: Bucket,
        keys: Sequence[bytes],
        *arguments: Argument,
        barrier: tuple[Argument, ...] | None = None,
    ) -> tuple[Fence, Any, Any]:
        """The fence that held, the script's answer, and that of `barrier` (see `Link.barrier`).

        Passing troubles are sat out for as long as the timeout; a script that only reads is run again if its answer was
        lost. Raise StorageError.
        """
        self._check_ready()
        self._under_way += 1
        self._quiet.clear()
        try:
            return await self._run(script, bucket, keys, arguments, barrier)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._quiet.set()

    def _check_ready(self) -> None:
        if not self._accepting:
            raise StorageError("not open")
        if self._refusal is not None:
            raise StorageError(str(self._refusal))

    async def _run(
        self,
        script: Script,
        bucket: Bucket,
        keys: Sequence[bytes],
        arguments: tuple[Argument, ...],
        barrier: tuple[Argument, ...] | None,
    ) -> tuple[Fence, Any, Any]:
        loop = asyncio.get_running_loop()
        give_up_at, delay = loop.time() + self._timeout_s, FIRST_DELAY_S
        link, asking, source = self.nodes.link(bucket.slot), False, False
        while True:
            fence, connection = self.fence, link.connection
            if asking:
                link.call(b"ASKING").add_done_callback(retrieve)
            name = (b"EVAL", script.source) if source else (b"EVALSHA", script.digest)
            future = link.call(*name, len(keys), *keys, fence.origins, fence.epoch, *arguments)
            behind = link.barrier(*barrier) if barrier is not None else None
            try:
                answer = await future
                return fence, answer, await asyncio.shield(behind) if behind is not None else None
            except NoScriptError:
                source = True
                continue
            except MovedError as error:
                link, asking = self.nodes.link_to(error.host, error.port), False
                trouble: Exception = error
            except AskError as error:
                link, asking = self.nodes.link_to(error.host, error.port), True
                continue
            except _PASSING as error:
                trouble = error
            except Lost as error:
                if not script.reads:
                    raise
                trouble = error
            except RedisError as error:
                if not is_fenced(error):
                    raise StorageError(f"{link.name}: {error}") from error
                trouble = error
            if loop.time() + delay > give_up_at:
                raise StorageError(f"{link.name}: {trouble}") from trouble
            await self._recover(trouble, delay, fence)
            if isinstance(trouble, ReadOnlyError) or (is_fenced(trouble) and self.fence is fence):
                link.reconnect(connection)  # it is not what the nodes took it for
            delay = min(2 * delay, LONGEST_DELAY_S)
            link, asking = self.nodes.link(bucket.slot), False

    async def _recover(self, trouble: Exception, delay: float, fence: Fence) -> None:
        """Before another try. What cannot be found out now is tried again by the next one."""
        try:
            if is_fenced(trouble):
                if self.fence is fence:
                    await self.look()
                if self.fence is not fence:
                    return
            if not isinstance(trouble, MovedError):
                await asyncio.sleep(delay)
            if not isinstance(trouble, TryAgainError | BusyLoadingError):
                await self.nodes.find_again()
        except StorageError as error:
            _log.warning("the storage cannot be reached", extra={"error": str(error)})
            await asyncio.sleep(delay)

    async def ask_buckets(self, verb: str, index: str, *rest: Argument) -> list[Any]:
        """The answers to a reading command from an index of each bucket, unfenced: what they lead to must be looked at
        by a script. Raise StorageError."""
        self._check_ready()
        asked = []
        for bucket in ALL_BUCKETS:
            future = self.nodes.link(bucket.slot).call(verb, bucket.key(index), *rest)
            future.add_done_callback(retrieve)
            asked.append(future)
        try:
            return [await future for future in asked]
        except RedisError as error:
            await self.nodes.find_again()
            raise StorageError(f"reading {index}: {error}") from error

    async def look(self) -> None:
        """See whether the epoch is still what it was; if not, say so. Raise StorageError."""
        if self._fencing is None or self._fencing.done():
            self._fencing = asyncio.create_task(self._look(), name="look at the epoch")
            self._fencing.add_done_callback(retrieve)
        await asyncio.shield(self._fencing)

    async def begin_epoch(self) -> None:
        """Set another generation. Raise StorageError."""
        await plain(self.nodes.link(slot_of(META)), b"HSET", META, b"generation", secrets.token_hex(8))
        await self.look()

    async def _look(self) -> None:
        origins = b",".join(sorted(await asyncio.gather(*map(self._origin, self.nodes.links()))))
        try:
            generation = await self._generation(origins)
        except OtherSchema as error:
            if self._refusal is None and self._accepting:
                _log.error("the storage is not used any more", extra={"error": str(error)})
            self._refusal = error
            raise
        self._refusal = None
        epoch = epoch_of(generation, origins)
        if epoch == self.fence.epoch:
            return
        began = int(await self._ask_meta(_BEGUN, epoch))
        begins = self.fence.epoch == ""
        self.fence = Fence(origins, epoch, began)
        if not begins:
            EPOCHS.add()
            _log.warning("the storage may have lost something: a new epoch begins", extra={"epoch": epoch})
            self._on_new_epoch()

    async def _origin(self, link: Link) -> bytes:
        connection = link.connection
        info = await plain(link, b"INFO", b"replication")
        role, origin = _ROLE.search(info), _ORIGIN.search(info)
        if role is None or origin is None or role[1] != b"master":
            link.reconnect(connection)
            await self.nodes.find_again()
            raise StorageError(f"{link.name}: not a primary")
        return origin[1]

    async def _generation(self, origins: bytes) -> bytes:
        new = secrets.token_hex(8).encode()
        # A hub that was here before knows better than an empty storage that this is its first epoch.
        first = b"" if self.fence.epoch else epoch_of(new, origins)
        schema, generation = await self._ask_meta(_META, SCHEMA_VERSION, new, first)
        if schema != SCHEMA_VERSION:
            raise OtherSchema(
                f"{self.nodes.link(slot_of(META)).name}: schema version {(schema or b'').decode()!r};"
                f" this hub knows version {SCHEMA_VERSION.decode()}"
            )
        return bytes(generation)

    async def _ask_meta(self, script: bytes, *arguments: Argument) -> Any:
        link = self.nodes.link(slot_of(META))
        connection = link.connection
        try:
            return await plain(link, b"EVAL", script, 1, META, *arguments)
        except StorageError as error:
            if isinstance(error.__cause__, ReadOnlyError):
                link.reconnect(connection)
            await self.nodes.find_again()
            raise


def epoch_of(generation: bytes, origins: bytes) -> str:
    """What every hub calls the epoch of these."""
    return hashlib.sha256(generation + b" " + origins).hexdigest()[:16]


async def plain(link: Link, *command: Argument) -> Any:
    """A command that is about a server. Raise StorageError."""
    try:
        return await link.call(*command)
    except RedisError as error:
        raise StorageError(f"{link.name}: {error}") from error


def is_fenced(error: Exception) -> bool:
    """Whether a script refused because its server is not of the fence's."""
    return str(error).startswith("FENCED ")
