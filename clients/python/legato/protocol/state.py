"""The synchronised state of a resource: a map from entity key to the bytes the hub serialised.

Merging is last write per key, so deltas compose: applying a and then b equals applying `a.then(b)`.
"""

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from legato.orchestrator.v1 import stream_pb2

Entries = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Delta:
    """Whole entities put in or taken out. A key is never in both."""

    upserts: Entries = field(default_factory=dict)
    deletes: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.upserts or self.deletes)

    def then(self, later: "Delta") -> "Delta":
        """This delta and a later one as one."""
        upserts = {k: v for k, v in self.upserts.items() if k not in later.deletes}
        upserts.update(later.upserts)
        return Delta(upserts, (self.deletes | later.deletes) - later.upserts.keys())

    def size(self) -> int:
        """Roughly how many bytes it takes on the wire."""
        return sum(len(k) + len(v) + 8 for k, v in self.upserts.items()) + sum(len(k) + 2 for k in self.deletes)

    def to_bytes(self) -> bytes:
        """As a serialised `DeltaPayload`."""
        payload = stream_pb2.DeltaPayload(upserts=self.upserts, deletes=sorted(self.deletes))
        return payload.SerializeToString(deterministic=True)

    @staticmethod
    def from_bytes(data: bytes) -> "Delta":
        """Raise google.protobuf.message.DecodeError if `data` is no `DeltaPayload`."""
        payload = stream_pb2.DeltaPayload.FromString(data)
        return Delta(dict(payload.upserts), frozenset(payload.deletes))


def diff(old: Entries, new: Entries) -> Delta:
    """What leads from `old` to `new`."""
    upserts = {k: v for k, v in new.items() if old.get(k) != v}
    return Delta(upserts, frozenset(old.keys() - new.keys()))


def apply(entries: Entries, delta: Delta) -> dict[str, bytes]:
    """The state after `delta`; `entries` stays as it was. Deleting what is not there is harmless."""
    result = {k: v for k, v in entries.items() if k not in delta.deletes}
    result.update(delta.upserts)
    return result


def digest(entries: Entries) -> bytes:
    """SHA-256 as `StatePayload` defines it. Python orders str by code point, which is the order of UTF-8 bytes."""
    total = hashlib.sha256()
    for key in sorted(entries):
        name = key.encode()
        total.update(struct.pack(">I", len(name)))
        total.update(name)
        total.update(hashlib.sha256(entries[key]).digest())
    return total.digest()


def entries_to_bytes(entries: Entries) -> bytes:
    """As a serialised `StatePayload`."""
    return stream_pb2.StatePayload(entries=entries).SerializeToString(deterministic=True)


def entries_from_bytes(data: bytes) -> dict[str, bytes]:
    """Raise google.protobuf.message.DecodeError if `data` is no `StatePayload`."""
    return dict(stream_pb2.StatePayload.FromString(data).entries)
