"""The storage protocol over plain dicts: written straight from its text, slow, and trusted because it is short."""

from dataclasses import dataclass, field

from legato.protocol.ids import unix_ms_of
from legato.protocol.state import apply
from legato_hub.storage.base import (
    DEDUPE_AHEAD_MS,
    DEDUPE_WINDOW_MS,
    RESULTS_PER_CLIENT,
    RESULTS_PER_RESOURCE,
    Abandoned,
    Begun,
    Busy,
    Claim,
    CommandKey,
    Commit,
    Committed,
    Cursor,
    EpochMismatch,
    Fresh,
    Gap,
    Gone,
    Loaded,
    Mismatch,
    Moved,
    Overtaken,
    Refusal,
    Repeated,
    Running,
    Slot,
    Update,
)


@dataclass
class Kept:
    """One resource."""

    revision: int = 0
    entries: dict[str, bytes] = field(default_factory=dict)
    adapter_state: bytes = b""
    version: str = ""
    log: list[Update] = field(default_factory=list)
    slot: Slot | None = None
    highest_fence: int = 0
    last_seqs: dict[str, int] = field(default_factory=dict)
    by_seq: dict[tuple[str, int], tuple[CommandKey, bytes | None]] = field(default_factory=dict)
    stateless: dict[str, tuple[CommandKey, bytes | None]] = field(default_factory=dict)
    evicted: list[str] = field(default_factory=list)
    closed: bool = False
    tombstone: bool = False
    since: int | None = None


class Model:
    """Synchronous `Storage` of one epoch, with `told` and `lost`: what a follower of every resource has heard."""

    def __init__(self, epoch: str, *, durable: bool, log_length: int) -> None:
        self.epoch = epoch
        self.durable = durable
        self.log_length = log_length
        self.kept: dict[str, Kept] = {}
        self.records: dict[str, tuple[bytes, int]] = {}
        self.sets: dict[str, set[str]] = {}
        self.told: list[Update] = []
        self.lost: list[str] = []

    def _cursor(self, kept: Kept) -> Cursor:
        return Cursor(self.epoch, kept.revision)

    def begin(self, claim: Claim, fence: int) -> Begun:
        """`fence` is what the engine under test gave out, to be judged here."""
        kept = self.kept.get(claim.resource, Kept())
        key = claim.key
        last = kept.last_seqs.get(key.client_id, 0) if key.seq else 0
        if key.seq and key.seq <= last:
            if (key.client_id, key.seq) not in kept.by_seq:
                return Refusal.ALREADY_PROCESSED
            of_seq, result = kept.by_seq[key.client_id, key.seq]
            if result is None:
                return Refusal.ALREADY_PROCESSED
            same = (of_seq.command_id, of_seq.body_hash) == (key.command_id, key.body_hash)
            return Repeated(result) if same else Refusal.REUSED
        for known, result in [*kept.by_seq.values(), *kept.stateless.values()]:
            if known.command_id == key.command_id:
                if result is None:
                    return Refusal.ALREADY_PROCESSED
                if known.body_hash != key.body_hash:
                    return Refusal.REUSED
                if key.seq == last + 1:
                    self._store_result(kept, key, result)
                return Repeated(result)
        if kept.slot is not None:
            if claim.now >= kept.slot.until:
                return Abandoned(kept.slot)
            if kept.slot.key.command_id != key.command_id:
                return Busy(kept.slot)
            return Running(kept.slot) if kept.slot.key.body_hash == key.body_hash else Refusal.REUSED
        if key.seq and key.seq != last + 1:
            return Gap(last + 1)
        if not key.seq:
            minted = unix_ms_of(key.command_id)
            if not claim.now - DEDUPE_WINDOW_MS <= minted <= claim.now + DEDUPE_AHEAD_MS:
                return Refusal.DEDUPE_EXPIRED
            if any(minted <= unix_ms_of(evicted) for evicted in kept.evicted):
                return Refusal.DEDUPE_EXPIRED
        if claim.expected is not None and claim.expected.epoch != self.epoch:
            return EpochMismatch(self._cursor(kept))
        if claim.expected is not None and claim.must_match and claim.expected.revision != kept.revision:
            return Mismatch(self._cursor(kept))
        if claim.base != kept.revision:
            return Moved(self._cursor(kept))
        if not claim.slot_until:
            return Fresh(0)
        assert fence > kept.highest_fence
        kept = self._row(claim.resource, claim.now)
        kept.highest_fence = fence
        kept.slot = Slot(claim.resource, key, claim.base, claim.call, fence, claim.slot_until)
        return Fresh(fence)

    def _row(self, resource: str, now: int | None) -> Kept:
        return self.kept.setdefault(resource, Kept(since=now))

    def _store_result(self, kept: Kept, key: CommandKey, result: bytes | None) -> None:
        if key.seq:
            kept.last_seqs[key.client_id] = key.seq
            kept.by_seq[key.client_id, key.seq] = (key, result)
            kept.by_seq.pop((key.client_id, key.seq - RESULTS_PER_CLIENT), None)
        else:
            kept.stateless[key.command_id] = (key, result)
            if len(kept.stateless) > RESULTS_PER_RESOURCE:
                oldest = min(kept.stateless)
                del kept.stateless[oldest]
                kept.evicted.append(oldest)

    def commit(self, commit: Commit) -> Committed | Overtaken:
        kept = self.kept.get(commit.resource, Kept())
        key = commit.key
        overtaken = Overtaken(self._cursor(kept))
        if commit.base != kept.revision or (kept.tombstone and commit.delta):
            return overtaken
        if commit.fence and (kept.slot is None or kept.slot.fence != commit.fence):
            return overtaken
        if key is not None:
            known = [*kept.by_seq.values(), *kept.stateless.values()]
            if any(other.command_id == key.command_id for other, _ in known):
                return overtaken
            if key.seq and key.seq != kept.last_seqs.get(key.client_id, 0) + 1:
                return overtaken
        kept = self._row(commit.resource, commit.now)
        if commit.delta:
            kept.revision += 1
            kept.entries = apply(kept.entries, commit.delta)
            client_id, seq = (key.client_id, key.seq) if key else ("", 0)
            update = Update(commit.resource, self._cursor(kept), commit.delta, client_id, seq, commit.traceparent)
            kept.log = [*kept.log, update][-self.log_length :]
            self.told.append(update)
        if key is not None:
            self._store_result(kept, key, commit.result)
        if commit.adapter_state is not None:
            kept.adapter_state = commit.adapter_state
        if commit.version is not None:
            kept.version = commit.version
        if not kept.closed and not kept.tombstone:
            kept.since = commit.now
            kept.closed = commit.closed
        if commit.fence:
            kept.slot = None
        return Committed(self._cursor(kept), self.durable)

    def erase(self, resource: str, now: int) -> None:
        kept = self._row(resource, now)
        if kept.slot is not None:
            key = kept.slot.key
            known = [*kept.by_seq.values(), *kept.stateless.values()]
            new = all(other.command_id != key.command_id for other, _ in known)
            if new and (not key.seq or key.seq == kept.last_seqs.get(key.client_id, 0) + 1):
                self._store_result(kept, key, None)
        kept.by_seq = {at: (key, None) for at, (key, _) in kept.by_seq.items()}
        kept.stateless = {at: (key, None) for at, (key, _) in kept.stateless.items()}
        kept.revision += 1
        kept.slot, kept.tombstone, kept.since = None, True, now
        kept.entries, kept.log, kept.adapter_state, kept.version = {}, [], b"", ""
        self.lost.append(resource)

    def release(self, slot: Slot) -> bool:
        kept = self.kept.get(slot.resource, Kept())
        held = kept.slot is not None and kept.slot.fence == slot.fence
        if held:
            kept.slot = None
        return held

    def load(self, resource: str) -> Loaded | None:
        kept = self.kept.get(resource, Kept())
        if not kept.revision:
            return None
        return Loaded(self._cursor(kept), kept.entries, kept.adapter_state, kept.version, kept.tombstone)

    def since(self, resource: str, cursor: Cursor) -> list[Update] | Gone:
        kept = self.kept.get(resource, Kept())
        if cursor.epoch != self.epoch:
            return Gone.OTHER_EPOCH
        if cursor.revision > kept.revision:
            return Gone.AHEAD
        after = [update for update in kept.log if update.cursor.revision > cursor.revision]
        return after if len(after) == kept.revision - cursor.revision else Gone.TRIMMED

    def last_seq(self, resource: str, client_id: str) -> int:
        return self.kept.get(resource, Kept()).last_seqs.get(client_id, 0)

    def adopt_seq(self, resource: str, client_id: str, last_seq: int) -> int:
        if last_seq and not self.last_seq(resource, client_id):
            self._row(resource, None).last_seqs[client_id] = last_seq
        return self.last_seq(resource, client_id)

    def abandoned(self, now: int) -> list[Slot]:
        slots = [kept.slot for kept in self.kept.values() if kept.slot is not None]
        return sorted((slot for slot in slots if slot.until <= now), key=lambda slot: slot.until)

    def put(self, key: str, value: bytes, until: int, now: int, if_absent: bool, replacing: bytes | None) -> bool:
        there = self.get(key, now)
        if (if_absent and there is not None) or (replacing is not None and there != replacing):
            return False
        self.records[key] = (value, until)
        return True

    def get(self, key: str, now: int) -> bytes | None:
        value, until = self.records.get(key, (b"", -1))
        return value if until == 0 or now < until else None

    def delete(self, key: str) -> None:
        self.records.pop(key, None)

    def add(self, key: str, member: str) -> None:
        self.sets.setdefault(key, set()).add(member)

    def remove(self, key: str, member: str) -> None:
        self.sets.get(key, set()).discard(member)

    def members(self, key: str, before: str, limit: int) -> list[str]:
        found = sorted(self.sets.get(key, set()), reverse=True)
        return [member for member in found if not before or member < before][:limit]

    def sweep(self, now: int, closed_ms: int, idle_ms: int) -> int:
        touched = 0
        for resource, kept in list(self.kept.items()):
            if kept.since is None:
                kept.since = now
            if kept.slot is not None or now - kept.since <= (closed_ms if kept.closed else idle_ms):
                continue
            touched += 1
            if kept.tombstone:
                del self.kept[resource]
            else:
                kept.tombstone, kept.since = True, now
                kept.entries, kept.log, kept.adapter_state, kept.version = {}, [], b"", ""
        for key, (_, until) in list(self.records.items()):
            if 0 < until <= now:
                touched += 1
                del self.records[key]
        return touched
