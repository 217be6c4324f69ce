"""The Valkey (and Redis) engine: for many hub processes on one server, one Sentinel master, or one Cluster.

Each write and each read is one script on keys of one hash tag: atomic, and fenced by the replication id of the server
it runs on (see `valkey_client` for epochs, `valkey_keys` for what is kept where, `valkey_feeds` for followers,
`valkey_checks.Durability` for what `durable` means).

A command whose answer was lost with its connection is a StorageError, and never sent again by this engine: whether it
was done, `begin` finds out. What a server refuses before it does anything, or never got, is tried again for as long as
the timeout.

Retention is `sweep`'s alone: several hubs may sweep at once, each resource is swept by one of them.
"""

from collections.abc import Callable

from legato_hub.storage import valkey_reads as reads
from legato_hub.storage import valkey_scripts as scripts
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
    StorageError,
    Update,
)
from legato_hub.storage.valkey_checks import Durability, check
from legato_hub.storage.valkey_client import Client
from legato_hub.storage.valkey_feeds import Feeds
from legato_hub.storage.valkey_keys import Keys, bucket_of, pack_entry
from legato_hub.storage.valkey_nodes import Cluster, Nodes, nodes_of
from legato_hub.storage.valkey_write_path import (
    BEGIN_KEYS,
    WRITE_KEYS,
    begin_arguments,
    begun,
    commit_arguments,
    erase_arguments,
)

SWEEP_LIMIT = 1_000
TIMEOUT_S = 5.0
PROBE_S = 5.0


class ValkeyStorage:
    """`Storage` that hubs share. `probe_s` is about how often subscriptions are mistrusted (±25 %)."""

    def __init__(
        self,
        nodes: Nodes,
        durability: Durability,
        *,
        log_length: int = LOG_LENGTH,
        timeout_s: float = TIMEOUT_S,
        probe_s: float = PROBE_S,
    ) -> None:
        self._durability = durability
        self._log_length = log_length
        self._timeout_s = timeout_s
        self._probe_s = probe_s
        self._client = Client(nodes, timeout_s, self._new_epoch)
        self._feeds: Feeds | None = None
        self._closed = False

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        log_length: int = LOG_LENGTH,
        timeout_s: float = TIMEOUT_S,
        probe_s: float = PROBE_S,
    ) -> "ValkeyStorage":
        """`valkey://…`, `valkey+sentinel://…` or `valkey+cluster://…`, see `nodes_of`; `?durability=` as in Durability.
        Raise StorageError if the URL is not right."""
        nodes, options = nodes_of(url, timeout_s)
        durability = Durability.parse(options.get("durability", "memory"), timeout_s)
        return cls(nodes, durability, log_length=log_length, timeout_s=timeout_s, probe_s=probe_s)

    async def open(self) -> None:
        if self._feeds is not None:
            raise StorageError("opened twice")
        cluster = isinstance(self._client.nodes, Cluster)
        try:
            await self._client.open(lambda link: check(link, self._durability, cluster=cluster))
        except BaseException:
            await self._client.close()
            raise
        self._feeds = Feeds(self._client, self._timeout_s, self._probe_s)

    async def close(self) -> None:
        if self._feeds is not None and not self._closed:
            self._closed = True
            await self._feeds.close()
            await self._client.close()

    @property
    def epoch(self) -> str:
        return self._client.fence.epoch

    @property
    def epoch_began(self) -> int:
        return self._client.fence.began

    @property
    def exclusive(self) -> bool:
        return False

    async def begin(self, claim: Claim) -> Begun:
        keys = Keys(claim.resource)
        fence, answer, _ = await self._client.run(
            scripts.BEGIN, keys.bucket, keys.of(*BEGIN_KEYS), *begin_arguments(claim)
        )
        return begun(claim, fence.epoch, answer)

    async def commit(self, commit: Commit) -> Committed | Overtaken:
        resource, delta, key = commit.resource, commit.delta, commit.key
        feed = self._feeds.get(resource) if self._feeds is not None else None
        if self._feeds is not None and feed is not None:
            await self._feeds.anchored(feed)
        keys = Keys(resource)
        entry = pack_entry(delta, key, commit.traceparent) if delta else b""
        fence, (kind, revision), acknowledged = await self._client.run(
            scripts.COMMIT,
            keys.bucket,
            keys.of(*WRITE_KEYS),
            *commit_arguments(commit, entry, self._log_length),
            barrier=self._durability.barrier,
        )
        cursor = Cursor(fence.epoch, int(revision))
        if kind == b"OVERTAKEN":
            return Overtaken(cursor)
        feed = self._feeds.get(resource) if self._feeds is not None else None
        if delta and self._feeds is not None and feed is not None:
            client_id, seq = (key.client_id, key.seq) if key is not None else ("", 0)
            update = Update(resource, cursor, delta, client_id, seq, commit.traceparent)
            if not self._feeds.offer(feed, update):
                await self._feeds.caught_up(feed)
        return Committed(cursor, self._durability.reached(acknowledged))

    async def release(self, slot: Slot) -> bool:
        keys = Keys(slot.resource)
        _, held, _ = await self._client.run(
            scripts.RELEASE, keys.bucket, keys.of(b"head", b":slots"), slot.resource, slot.fence
        )
        return bool(held)

    async def load(self, resource: str) -> Loaded | None:
        feed = self._feeds.get(resource) if self._feeds is not None else None
        if self._feeds is not None and feed is not None:
            await self._feeds.anchored(feed)
        return await reads.load(self._client, resource)

    async def since(self, resource: str, cursor: Cursor) -> list[Update] | Gone:
        return await reads.since(self._client, resource, cursor)

    async def last_seq(self, resource: str, client_id: str) -> int:
        keys = Keys(resource)
        return int((await self._client.run(scripts.LAST_SEQ, keys.bucket, keys.of(b"seqs"), client_id))[1])

    async def adopt_seq(self, resource: str, client_id: str, last_seq: int) -> int:
        keys = Keys(resource)
        _, last, _ = await self._client.run(
            scripts.ADOPT_SEQ, keys.bucket, keys.of(b"head", b"seqs", b":open"), resource, client_id, last_seq
        )
        return int(last)

    async def abandoned(self, now: int) -> list[Slot]:
        return await reads.abandoned(self._client, now)

    async def scrub(self) -> None:
        """Nothing is left to do: a server's memory holds what its keys hold."""

    async def erase(self, resource: str, now: int) -> None:
        feed = self._feeds.get(resource) if self._feeds is not None else None
        if self._feeds is not None and feed is not None:
            await self._feeds.anchored(feed)
        keys = Keys(resource)
        while True:
            held = await reads.slot(self._client, resource)
            arguments = erase_arguments(resource, now, held[0] if held is not None else None)
            _, answer, _ = await self._client.run(
                scripts.ERASE, keys.bucket, keys.of(*WRITE_KEYS), *arguments, barrier=self._durability.barrier
            )
            if answer[0] == b"DONE":
                break
        feed = self._feeds.get(resource) if self._feeds is not None else None
        if self._feeds is not None and feed is not None:
            feed.heard = max(feed.heard, int(answer[1]))
            await self._feeds.caught_up(feed)

    def follow(
        self,
        resource: str,
        follower: Follower,
        *,
        lost: Lost | None = None,
        noted: Noted | None = None,
    ) -> Callable[[], None]:
        if self._feeds is None or self._closed:
            raise StorageError("not open")
        return self._feeds.follow(resource, follower, lost, noted)

    async def notify(self, resource: str, note: bytes) -> int:
        if self._feeds is None:
            raise StorageError("not open")
        return await self._feeds.notify(resource, note)

    async def new_epoch(self) -> str:
        """Force one, and return it: other hubs see it at their next probe. Raise StorageError."""
        await self._client.begin_epoch()
        return self.epoch

    async def probe(self) -> None:
        """What happens every `probe_s` by itself, at once. Raise StorageError."""
        if self._feeds is None:
            raise StorageError("not open")
        await self._feeds.probe()

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
        bucket = bucket_of(key)
        keys = [bucket.key("records"), bucket.key("ends")]
        condition = "replacing" if replacing is not None else "absent" if if_absent else ""
        _, stored, _ = await self._client.run(
            scripts.PUT, bucket, keys, key, value, until, now, condition, replacing or b""
        )
        return bool(stored)

    async def get(self, key: str, now: int) -> bytes | None:
        return await reads.get(self._client, key, now)

    async def delete(self, key: str) -> None:
        bucket = bucket_of(key)
        await self._client.run(scripts.DELETE, bucket, [bucket.key("records"), bucket.key("ends")], key)

    async def add(self, key: str, member: str) -> None:
        bucket = bucket_of(key)
        await self._client.run(scripts.ADD, bucket, [bucket.key(f"set:{key}")], member)

    async def remove(self, key: str, member: str) -> None:
        bucket = bucket_of(key)
        await self._client.run(scripts.REMOVE, bucket, [bucket.key(f"set:{key}")], member)

    async def members(self, key: str, *, before: str = "", limit: int = 100) -> list[str]:
        return await reads.members(self._client, key, before, limit)

    async def sweep(self, now: int, *, closed_ms: int, idle_ms: int) -> int:
        touched, removed = await reads.sweep_resources(self._client, now, closed_ms, idle_ms, SWEEP_LIMIT)
        for resource in removed:
            if self._feeds is not None:
                self._feeds.forget_position(resource)
        return touched + await reads.expire_records(self._client, now, SWEEP_LIMIT)

    def _new_epoch(self) -> None:
        if self._feeds is not None:
            self._feeds.new_epoch()
