"""Names of keys, and the bytes of what is kept under them.

All keys of a resource carry one hash tag, so that one script can change them in a Cluster too. The tag is that of the
resource's *bucket* and not of the resource alone: so the indexes of slots by their time and of resources by their age
stand in the same place, and change in the same script. 128 buckets are enough to spread over any Cluster of ours.

    legato:{b07}:carts/ID:head      hash: revision, origin, version, notebook and its epoch, slot, fences,
                                    tombstone, closed, floor
    legato:{b07}:carts/ID:entities  hash: the state
    legato:{b07}:carts/ID:log       stream: REVISION-0 → one entry
    legato:{b07}:carts/ID:seqs      hash: `:CLIENT` → last seq, `SEQ:CLIENT` → command id
    legato:{b07}:carts/ID:results   hash: command id → result, '' when it was erased
    legato:{b07}:carts/ID:recent    sorted set: ids of stateless commands
    legato:{b07}:carts/ID:feed      sharded channel
    legato:{b07}::slots             sorted set: resources by the time of their slot
    legato:{b07}::open, ::closed    sorted sets: resources by age
    legato:{b07}::records, ::ends   hash and sorted set: records, and when they end
    legato:{b07}::set:KEY           sorted set
    legato:meta                     hash: schema, generation, epoch, began

Memory is bounded per resource by the log (LOG_LENGTH deltas) and the results (64 a client, 1,024 of stateless callers);
`sweep` bounds the resources. Nothing has a time to live, so `noeviction` is the only policy that loses nothing.
"""

import binascii
import struct
import zlib
from dataclasses import dataclass

from legato.protocol.state import Delta
from legato_hub.storage.base import CommandKey, Cursor, Slot, Update
from legato_hub.storage.valkey_nodes import SLOTS

META = b"legato:meta"
BUCKETS = 128
"""Part of the schema: with another number nothing is found again."""

_ENTRY = struct.Struct(">QHH")
_SLOT = struct.Struct(">qqqHHH")
_BODY = struct.Struct(">H")


def slot_of(key: bytes) -> int:
    """The slot of a key, or of the hash tag that stands for it."""
    return binascii.crc_hqx(key, 0) % SLOTS


@dataclass(frozen=True, slots=True)
class Bucket:
    """What shares one hash tag."""

    prefix: bytes
    slot: int

    def key(self, name: str) -> bytes:
        """Of the bucket as a whole."""
        return b"%s:%s" % (self.prefix, name.encode())


ALL_BUCKETS = tuple(Bucket(b"legato:{b%02x}:" % number, slot_of(b"b%02x" % number)) for number in range(BUCKETS))


def bucket_of(name: str) -> Bucket:
    """Where a resource, a record or a set lives."""
    return ALL_BUCKETS[zlib.crc32(name.encode()) % BUCKETS]


class Keys:
    """The keys of one resource."""

    __slots__ = ("_stem", "bucket")

    def __init__(self, resource: str) -> None:
        self.bucket = bucket_of(resource)
        self._stem = self.bucket.prefix + resource.encode()

    def of(self, *names: bytes) -> list[bytes]:
        """Those of the resource by their name; those of its bucket by a name that begins with a colon."""
        return [self.bucket.prefix + name if name[:1] == b":" else b"%s:%s" % (self._stem, name) for name in names]


def pack_entry(delta: Delta, key: CommandKey | None, traceparent: str) -> bytes:
    """One revision as the log and the feed carry it. The feed of an erased resource carries nothing in its place."""
    client, trace = (key.client_id if key else "").encode(), traceparent.encode()
    return _ENTRY.pack(key.seq if key else 0, len(client), len(trace)) + client + trace + delta.to_bytes()


def unpack_entry(resource: str, cursor: Cursor, entry: bytes) -> Update:
    seq, client, trace = _ENTRY.unpack_from(entry)
    client_end = _ENTRY.size + client
    trace_end = client_end + trace
    return Update(
        resource,
        cursor,
        Delta.from_bytes(entry[trace_end:]),
        entry[_ENTRY.size : client_end].decode(),
        seq,
        entry[client_end:trace_end].decode(),
    )


def pack_note(sender: bytes, note: bytes) -> bytes:
    """A note as the feed carries it. Whatever is no revision has the number 0 and no origin, and then a word that says
    what it is: a hub that does not know it passes it over."""
    return b" 0 note %s %s" % (sender, note)


def unpack_note(said: bytes) -> tuple[bytes, bytes] | None:
    """Sender and note, from what stands behind the number; None if it is something else."""
    kind, _, rest = said.partition(b" ")
    sender, _, note = rest.partition(b" ")
    return (sender, note) if kind == b"note" else None


def pack_slot(key: CommandKey, base: int, call: bytes, until: int) -> bytes:
    """A slot but for its resource and its fence."""
    parts = key.command_id.encode(), key.body_hash, key.client_id.encode()
    return _SLOT.pack(key.seq, base, until, *map(len, parts)) + b"".join(parts) + call


def unpack_slot(resource: str, fence: bytes, packed: bytes) -> Slot:
    seq, base, until, *lengths = _SLOT.unpack_from(packed)
    at, parts = _SLOT.size, []
    for length in lengths:
        parts.append(packed[at : at + length])
        at += length
    key = CommandKey(parts[0].decode(), parts[1], parts[2].decode(), seq)
    return Slot(resource, key, base, packed[at:], int(fence), until)


def pack_body(body_hash: bytes) -> bytes:
    """What a kept result begins with."""
    return _BODY.pack(len(body_hash)) + body_hash


def unpack_result(kept: bytes) -> tuple[bytes, bytes]:
    """The body hash of a kept result, and the result."""
    (length,) = _BODY.unpack_from(kept)
    return kept[_BODY.size : _BODY.size + length], kept[_BODY.size + length :]
