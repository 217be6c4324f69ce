"""Reading resources, and retention."""

import asyncio
from collections.abc import Sequence
from itertools import islice

from legato_hub.storage import valkey_scripts as scripts
from legato_hub.storage.base import Cursor, Gone, Loaded, Slot, Update
from legato_hub.storage.valkey_client import Client, Fence
from legato_hub.storage.valkey_keys import ALL_BUCKETS, Bucket, Keys, bucket_of, unpack_entry, unpack_slot

SLOTS_TOLD = 1_000
SWEEP_STEP = 50
"""Resources buried at once, so that commits are not kept waiting by a thousand logs."""

SWEEP_READ = 100
"""Names read of each bucket for one sweep: enough for it, and not a backlog's all."""


async def load(client: Client, resource: str) -> Loaded | None:
    """None before the first revision."""
    keys = Keys(resource)
    fence, answer, _ = await client.run(scripts.LOAD, keys.bucket, keys.of(b"head", b"entities"))
    if answer[0] == b"0":
        return None
    revision, version, notebook, tombstone, inherited, flat = answer
    names = (name.decode() for name in islice(flat, 0, None, 2))
    entries = dict(zip(names, islice(flat, 1, None, 2), strict=True))
    cursor = Cursor(fence.epoch, int(revision))
    return Loaded(cursor, entries, notebook, version.decode(), bool(tombstone), bool(inherited))


async def since(client: Client, resource: str, cursor: Cursor) -> list[Update] | Gone:
    """Every revision after the cursor, or why not."""
    if cursor.epoch != client.fence.epoch:
        return Gone.OTHER_EPOCH
    keys, at = Keys(resource), cursor.revision
    fence, answer, _ = await client.run(scripts.SINCE, keys.bucket, keys.of(b"head", b"log"), at, at + 1)
    if cursor.epoch != fence.epoch:
        return Gone.OTHER_EPOCH
    revision, rows = int(answer[0]), answer[1]
    if at >= revision:
        return [] if at == revision else Gone.AHEAD
    if len(rows) < revision - at:
        return Gone.TRIMMED
    return [
        unpack_entry(resource, Cursor(fence.epoch, int(row_id.partition(b"-")[0])), entry)
        for row_id, (_, entry, *_) in rows
    ]


async def revisions(client: Client, bucket: Bucket, resources: Sequence[str]) -> tuple[Fence, list[int]]:
    """The present revision of resources of one bucket."""
    heads = [Keys(resource).of(b"head")[0] for resource in resources]
    fence, answer, _ = await client.run(scripts.REVISIONS, bucket, heads)
    return fence, [int(revision) for revision in answer]


async def slot(client: Client, resource: str) -> tuple[Slot, int] | None:
    """The slot, and when the resource was made, in microseconds; None if nobody holds it."""
    keys = Keys(resource)
    _, (packed, fence, made), _ = await client.run(scripts.SLOT, keys.bucket, keys.of(b"head"))
    return (unpack_slot(resource, fence, packed), int(made)) if packed is not None else None


async def abandoned(client: Client, now: int) -> list[Slot]:
    """Slots past their time, the longest first."""
    found = await client.ask_buckets("ZRANGEBYSCORE", "slots", "-inf", now, "WITHSCORES", "LIMIT", 0, SLOTS_TOLD)
    pairs = (zip(flat[1::2], flat[::2], strict=True) for flat in found)
    oldest = sorted((int(until), name.decode()) for entries in pairs for until, name in entries)[:SLOTS_TOLD]
    slots = await asyncio.gather(*(slot(client, resource) for _, resource in oldest))
    # It may have been given back, or taken anew, between the index and the head.
    past = [entry for entry in slots if entry is not None and entry[0].until <= now]
    return [one for one, _ in sorted(past, key=lambda entry: (entry[0].until, entry[1]))]


async def sweep_resources(client: Client, now: int, closed_ms: int, idle_ms: int, limit: int) -> tuple[int, list[str]]:
    """Turn what is past its time into tombstones, and tombstones into nothing: how many, and which were removed."""
    before = {"closed": now - closed_ms, "open": now - idle_ms}

    async def due(index: str) -> list[tuple[str, str]]:
        found = await client.ask_buckets("ZRANGEBYSCORE", index, 0, f"({before[index]}", "LIMIT", 0, SWEEP_READ)
        return [(index, name.decode()) for names in found for name in names]

    async def bury(ages: str, resource: str) -> bytes:
        keys = Keys(resource)
        names = keys.of(b"head", b"entities", b"log", b"seqs", b"results", b"recent", f":{ages}".encode())
        _, done, _ = await client.run(scripts.BURY, keys.bucket, names, resource, now, before[ages])
        return bytes(done)

    # What only adopt_seq knows has no time of its own: it counts from the first sweep that meets it.
    for names in await client.ask_buckets("ZRANGEBYSCORE", "open", -1, -1, "LIMIT", 0, SWEEP_READ):
        for name in names:
            bucket = bucket_of(name.decode())
            await client.run(scripts.AGE, bucket, [bucket.key("open")], name, now)
    past = await due("closed") + await due("open")
    touched, removed = 0, []
    for at in range(0, len(past), SWEEP_STEP):
        step = past[at : at + min(SWEEP_STEP, limit - touched)]
        for (_, resource), done in zip(step, await asyncio.gather(*(bury(*entry) for entry in step)), strict=True):
            touched += done != b"WAITS"
            if done == b"REMOVED":
                removed.append(resource)
    return touched, removed


async def expire_records(client: Client, now: int, limit: int) -> int:
    """Forget records past their time; how many."""
    gone = 0
    for bucket, names in zip(
        ALL_BUCKETS, await client.ask_buckets("ZRANGEBYSCORE", "ends", "-inf", now, "LIMIT", 0, 1), strict=True
    ):
        if names and gone < limit:
            keys = [bucket.key("records"), bucket.key("ends")]
            gone += (await client.run(scripts.EXPIRE, bucket, keys, now, limit - gone))[1]
    return gone


async def get(client: Client, key: str, now: int) -> bytes | None:
    """A living record."""
    bucket = bucket_of(key)
    _, record, _ = await client.run(scripts.GET, bucket, [bucket.key("records")], key)
    if record is None:
        return None
    until, _, value = record.partition(b":")
    return value if int(until) == 0 or now < int(until) else None


async def members(client: Client, key: str, before: str, limit: int) -> list[str]:
    """In descending order; the order of UTF-8 is Python's order of str."""
    bucket = bucket_of(key)
    _, found, _ = await client.run(
        scripts.MEMBERS, bucket, [bucket.key(f"set:{key}")], f"({before}" if before else "+", limit
    )
    return [member.decode() for member in found]
