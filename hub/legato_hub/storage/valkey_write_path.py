"""`begin` and `commit`: what the scripts are given, and what their answers mean."""

from typing import Any

from legato.protocol.ids import unix_ms_of
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
    Cursor,
    EpochMismatch,
    Fresh,
    Gap,
    Mismatch,
    Moved,
    Refusal,
    Repeated,
    Running,
    Slot,
)
from legato_hub.storage.valkey_keys import pack_body, pack_slot, unpack_result, unpack_slot
from legato_hub.storage.valkey_link import Argument

BEGIN_KEYS = (b"head", b"seqs", b"results", b":slots", b":open")
WRITE_KEYS = (
    *(b"head", b"entities", b"log", b"seqs", b"results", b"recent"),
    *(b":slots", b":open", b":closed", b"feed"),
)
_NO_COMMAND: tuple[Argument, ...] = ("", "", "0", "0", "0", b"")
_REFUSALS = {
    b"PROCESSED": Refusal.ALREADY_PROCESSED,
    b"REUSED": Refusal.REUSED,
    b"EXPIRED": Refusal.DEDUPE_EXPIRED,
}


def _seq_arguments(key: CommandKey) -> tuple[Argument, ...]:
    """Client, seq, the seq before it, and that which leaves the window when it comes."""
    return key.client_id, key.seq, max(key.seq - 1, 0), max(key.seq - RESULTS_PER_CLIENT, 0)


def begin_arguments(claim: Claim) -> tuple[Argument, ...]:
    """As `begin.lua` takes them."""
    key, expected, until = claim.key, claim.expected, claim.slot_until
    age = claim.now - unix_ms_of(key.command_id)
    return (
        *(claim.resource, claim.now, key.command_id, pack_body(key.body_hash), *_seq_arguments(key)),
        *(claim.base, "1" if age > DEDUPE_WINDOW_MS or -age > DEDUPE_AHEAD_MS else "0"),
        expected.epoch or "?" if expected is not None else "",  # no epoch is called that
        expected.revision if expected is not None and claim.must_match else "",
        *(until, pack_slot(key, claim.base, claim.call, until) if until else b""),
    )


def begun(claim: Claim, epoch: str, answer: list[Any]) -> Begun:
    """What `begin.lua` says."""
    kind, *values = answer
    match kind:
        case b"FRESH":
            return Fresh(int(values[0]))
        case b"KNOWN":
            body_hash, result = unpack_result(values[0])
            return Repeated(result) if body_hash == claim.key.body_hash else Refusal.REUSED
        case b"TAKEN":
            return _answer_taken(claim, unpack_slot(claim.resource, *values))
        case b"GAP":
            return Gap(int(values[0]) + 1)
        case b"EPOCH":
            return EpochMismatch(Cursor(epoch, int(values[0])))
        case b"MISMATCH":
            return Mismatch(Cursor(epoch, int(values[0])))
        case b"MOVED":
            return Moved(Cursor(epoch, int(values[0])))
    return _REFUSALS[kind]


def _answer_taken(claim: Claim, slot: Slot) -> Running | Busy | Abandoned | Refusal:
    if claim.now >= slot.until:
        return Abandoned(slot)
    if claim.key.command_id != slot.key.command_id:
        return Busy(slot)
    return Running(slot) if claim.key.body_hash == slot.key.body_hash else Refusal.REUSED


def erase_arguments(resource: str, now: int, slot: Slot | None) -> list[Argument]:
    """As `erase.lua` takes them."""
    if slot is None:
        return [resource, now, "", *_NO_COMMAND[:5]]
    return [resource, now, slot.fence, slot.key.command_id, *_seq_arguments(slot.key)]


def commit_arguments(commit: Commit, entry: bytes, log_length: int) -> list[Argument]:
    """As `commit.lua` takes them; `entry` is empty if there is no delta."""
    key, notebook, version = commit.key, commit.adapter_state, commit.version
    command = _NO_COMMAND
    if key is not None:
        command = (key.command_id, *_seq_arguments(key), pack_body(key.body_hash) + commit.result)
    arguments: list[Argument] = [
        *(commit.resource, commit.now, commit.base, commit.base + 1, commit.fence, *command, entry),
        *("0" if notebook is None else "1", notebook or b"", "0" if version is None else "1", version or ""),
        *("1" if commit.closed else "0", log_length, RESULTS_PER_RESOURCE, len(commit.delta.upserts)),
    ]
    for name, value in commit.delta.upserts.items():
        arguments += (name, value)
    arguments += commit.delta.deletes
    return arguments
