"""The table of `begin`: each row, and which row wins."""

import asyncio
import itertools
from dataclasses import replace

import pytest

from legato_hub.storage.base import (
    DEDUPE_AHEAD_MS,
    DEDUPE_WINDOW_MS,
    Abandoned,
    Begun,
    Busy,
    Claim,
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
    Storage,
)
from tests.storage.deeds import CART, NOW, ask, body, do, grow, hold, numbered, revision, stateless, upsert


async def test_past_seq_repeats_its_result(storage: Storage) -> None:
    first, second = numbered(1), numbered(2)
    await do(storage, first, result=b"one")
    await do(storage, second, result=b"two")
    assert await ask(storage, first) == Repeated(b"one")
    assert await ask(storage, second) == Repeated(b"two")


async def test_past_seq_with_another_body_is_reused(storage: Storage) -> None:
    key = numbered(1)
    await do(storage, key)
    assert await ask(storage, replace(key, body_hash=body("remove"))) is Refusal.REUSED


async def test_past_seq_with_another_command_of_the_same_body_is_reused(storage: Storage) -> None:
    await do(storage, numbered(1, text="add"))
    assert await ask(storage, numbered(1, text="add")) is Refusal.REUSED


async def test_past_seq_is_judged_by_its_own_result_and_not_by_the_command_id(storage: Storage) -> None:
    first = numbered(1)
    await do(storage, first)
    await do(storage, numbered(2))
    assert await ask(storage, replace(first, seq=2)) is Refusal.REUSED


async def test_past_seq_without_a_result_is_already_processed(storage: Storage) -> None:
    await storage.adopt_seq(CART, "till", 5)
    assert await ask(storage, numbered(5)) is Refusal.ALREADY_PROCESSED
    assert await ask(storage, numbered(1)) is Refusal.ALREADY_PROCESSED
    assert await ask(storage, numbered(6)) == Fresh(0)


async def test_seqs_are_counted_for_each_client_and_resource(storage: Storage) -> None:
    await do(storage, numbered(1, "till"))
    assert await ask(storage, numbered(1, "phone")) == Fresh(0)
    other = Claim("carts/other", numbered(1, "till"), 0, NOW)
    assert await storage.begin(other) == Fresh(0)


async def test_stateless_command_id_repeats_its_result(storage: Storage) -> None:
    key = stateless()
    await do(storage, key, result=b"done")
    assert await ask(storage, key) == Repeated(b"done")


async def test_stateless_command_id_with_another_body_is_reused(storage: Storage) -> None:
    key = stateless()
    await do(storage, key)
    assert await ask(storage, replace(key, body_hash=body("remove"))) is Refusal.REUSED


async def test_stateless_commands_may_name_a_client(storage: Storage) -> None:
    key = replace(stateless(), client_id="service")
    await do(storage, key, result=b"done")
    assert await ask(storage, key) == Repeated(b"done")
    assert await ask(storage, replace(key, client_id="its twin")) == Repeated(b"done")
    assert await storage.last_seq(CART, "service") == 0


async def test_command_ids_are_those_of_one_resource(storage: Storage) -> None:
    key = stateless()
    await do(storage, key)
    assert await storage.begin(Claim("carts/other", key, 0, NOW)) == Fresh(0)


async def test_command_done_with_seq_is_known_to_stateless_callers(storage: Storage) -> None:
    key = numbered(1)
    await do(storage, key, result=b"done")
    assert await ask(storage, replace(key, client_id="", seq=0)) == Repeated(b"done")


async def test_repeat_by_another_client_consumes_its_next_seq(storage: Storage) -> None:
    key = numbered(1, "till")
    await do(storage, key, result=b"done")
    again = replace(key, client_id="reinstalled till")
    assert await ask(storage, again) == Repeated(b"done")
    assert await storage.last_seq(CART, "reinstalled till") == 1
    assert await ask(storage, again) == Repeated(b"done")
    assert await ask(storage, numbered(2, "reinstalled till")) == Fresh(0)


async def test_repeat_of_a_stateless_command_consumes_the_next_seq(storage: Storage) -> None:
    key = stateless()
    await do(storage, key, result=b"done")
    assert await ask(storage, replace(key, client_id="till", seq=1)) == Repeated(b"done")
    assert await storage.last_seq(CART, "till") == 1


@pytest.mark.parametrize(("seq", "text"), [(2, "add"), (1, "remove")])
async def test_repeat_beyond_the_next_seq_or_with_another_body_consumes_nothing(
    storage: Storage, seq: int, text: str
) -> None:
    key = numbered(1, "till", "add")
    await do(storage, key, result=b"done")
    answer = await ask(storage, replace(key, client_id="phone", seq=seq, body_hash=body(text)))
    assert answer == (Repeated(b"done") if text == "add" else Refusal.REUSED)
    assert await storage.last_seq(CART, "phone") == 0


async def test_the_holder_of_the_slot_is_running(storage: Storage) -> None:
    key = stateless()
    slot = await hold(storage, key)
    assert await ask(storage, key) == Running(slot)
    assert await ask(storage, key, slot=True) == Running(slot)


async def test_the_holder_of_the_slot_with_another_body_is_reused(storage: Storage) -> None:
    key = stateless()
    await hold(storage, key)
    assert await ask(storage, replace(key, body_hash=body("remove"))) is Refusal.REUSED


async def test_a_slot_tells_all_that_was_claimed(storage: Storage) -> None:
    await grow(storage, 3)
    key = numbered(1)
    slot = await hold(storage, key)
    assert slot.base == 3
    assert await ask(storage, stateless()) == Busy(slot)


@pytest.mark.parametrize(("late", "kind"), [(999, Busy), (1_000, Abandoned), (1_001, Abandoned)])
async def test_a_slot_is_abandoned_from_its_time_on(storage: Storage, late: int, kind: type[Busy | Abandoned]) -> None:
    slot = await hold(storage, stateless())
    assert await ask(storage, stateless(NOW + late), now=NOW + late) == kind(slot)


async def test_an_abandoned_slot_is_told_to_its_own_holder_too(storage: Storage) -> None:
    key = stateless()
    slot = await hold(storage, key)
    assert await ask(storage, key, now=NOW + 1_000) == Abandoned(slot)
    assert await ask(storage, replace(key, body_hash=body("remove")), now=NOW + 1_000) == Abandoned(slot)


async def test_a_skipped_seq_is_a_gap(storage: Storage) -> None:
    assert await ask(storage, numbered(2)) == Gap(1)
    await do(storage, numbered(1))
    assert await ask(storage, numbered(3)) == Gap(2)
    assert await ask(storage, numbered(2**63 - 1)) == Gap(2)


@pytest.mark.parametrize(
    ("minted", "answer"),
    [
        (-DEDUPE_WINDOW_MS, Fresh(0)),
        (-DEDUPE_WINDOW_MS - 1, Refusal.DEDUPE_EXPIRED),
        (DEDUPE_AHEAD_MS, Fresh(0)),
        (DEDUPE_AHEAD_MS + 1, Refusal.DEDUPE_EXPIRED),
    ],
)
async def test_a_stateless_id_expires_by_age_and_by_running_ahead(storage: Storage, minted: int, answer: Begun) -> None:
    assert await ask(storage, stateless(NOW + minted)) == answer


async def test_a_command_with_seq_never_expires(storage: Storage) -> None:
    assert await ask(storage, numbered(1), now=NOW + 10 * DEDUPE_WINDOW_MS) == Fresh(0)


async def test_expected_of_another_epoch(storage: Storage) -> None:
    await grow(storage, 2)
    for must_match in (False, True):
        claim = Claim(CART, stateless(), 2, NOW, Cursor("another", 2), must_match)
        assert await storage.begin(claim) == EpochMismatch(Cursor(storage.epoch, 2))


@pytest.mark.parametrize("expected", [0, 1, 3, 2**63 - 1])
async def test_expected_revision_must_match_only_if_asked(storage: Storage, expected: int) -> None:
    await grow(storage, 2)
    claim = Claim(CART, stateless(), 2, NOW, Cursor(storage.epoch, expected), must_match=True)
    assert await storage.begin(claim) == Mismatch(Cursor(storage.epoch, 2))
    assert await storage.begin(replace(claim, must_match=False)) == Fresh(0)
    assert await storage.begin(replace(claim, expected=Cursor(storage.epoch, 2))) == Fresh(0)


@pytest.mark.parametrize("base", [1, 3])
async def test_a_base_that_is_not_the_present_revision_has_moved(storage: Storage, base: int) -> None:
    await grow(storage, 2)
    assert await storage.begin(Claim(CART, stateless(), base, NOW)) == Moved(Cursor(storage.epoch, 2))


async def test_a_resource_that_never_was_is_at_revision_0(storage: Storage) -> None:
    assert await storage.begin(Claim(CART, stateless(), 1, NOW)) == Moved(Cursor(storage.epoch, 0))
    at_0 = Claim(CART, stateless(), 0, NOW, Cursor(storage.epoch, 0), must_match=True)
    assert await storage.begin(at_0) == Fresh(0)
    assert await storage.begin(replace(at_0, expected=Cursor(storage.epoch, 1))) == Mismatch(Cursor(storage.epoch, 0))


async def test_fresh_without_a_slot_claims_nothing(storage: Storage) -> None:
    key = stateless()
    assert await ask(storage, key) == Fresh(0)
    assert await ask(storage, key) == Fresh(0)
    assert await storage.abandoned(NOW * 2) == []


async def test_a_claim_that_is_not_fresh_takes_no_slot(storage: Storage) -> None:
    await do(storage, numbered(1))
    assert await ask(storage, numbered(3), slot=True) == Gap(2)
    assert await storage.begin(Claim(CART, stateless(), 7, NOW, slot_until=NOW + 1)) == Moved(Cursor(storage.epoch, 0))
    assert await storage.abandoned(NOW * 2) == []


async def test_a_slot_belongs_to_one_resource(storage: Storage) -> None:
    await hold(storage, stateless())
    begun = await storage.begin(Claim("carts/other", stateless(), 0, NOW, slot_until=NOW + 1))
    assert isinstance(begun, Fresh)


async def test_a_claimed_slot_makes_no_resource(storage: Storage) -> None:
    await hold(storage, stateless())
    assert await storage.load(CART) is None


async def test_of_many_beginning_at_once_one_gets_the_slot(storage: Storage) -> None:
    claims = [Claim(CART, stateless(), 0, NOW, slot_until=NOW + 1_000) for _ in range(50)]
    answers = await asyncio.gather(*(storage.begin(claim) for claim in claims))
    fresh = [claim for claim, answer in zip(claims, answers, strict=True) if isinstance(answer, Fresh)]
    assert len(fresh) == 1
    holders = {answer.slot.key for answer in answers if isinstance(answer, Busy)}
    assert holders == {fresh[0].key}
    assert sum(isinstance(answer, Busy) for answer in answers) == 49


async def test_of_one_command_beginning_many_times_one_is_fresh(storage: Storage) -> None:
    claim = Claim(CART, stateless(), 0, NOW, slot_until=NOW + 1_000)
    answers = await asyncio.gather(*(storage.begin(claim) for _ in range(20)))
    assert sorted(type(answer).__name__ for answer in answers) == ["Fresh"] + ["Running"] * 19


async def test_fences_rise_however_slots_end(storage: Storage) -> None:
    fences = []
    for end in ("release", "commit", "release", "commit"):
        key = stateless()
        slot = await hold(storage, key)
        fences.append(slot.fence)
        if end == "release":
            assert await storage.release(slot)
        else:
            base = await revision(storage)
            await storage.commit(Commit(CART, base, upsert(a=b"1"), NOW, key, b"r", slot.fence))
    assert fences == sorted(set(fences))
    assert fences[0] > 0


@pytest.mark.parametrize("identity", ["next", "past", "gap", "stateless", "expired"])
@pytest.mark.parametrize("slot", ["free", "busy", "abandoned"])
@pytest.mark.parametrize("known", [False, True])
async def test_the_first_row_that_holds_is_the_answer(storage: Storage, known: bool, slot: str, identity: str) -> None:
    """All rows at once, in every combination."""
    now = NOW + 500
    late = now + (1_000 if slot == "abandoned" else 0)
    await do(storage, numbered(1), upsert(a=b"1"))
    minted = NOW - DEDUPE_WINDOW_MS if identity == "expired" else NOW
    seq = {"next": 2, "past": 1, "gap": 3}.get(identity, 0)
    key = replace(stateless(minted), client_id="till" if seq else "", seq=seq)
    if known:
        await do(storage, replace(key, client_id="elsewhere", seq=1), upsert(a=b"2"), result=b"known")
    held = await hold(storage, stateless(), now=now) if slot != "free" else None
    at = await revision(storage)
    present = Cursor(storage.epoch, at)
    wrong = (Cursor("another", at), Cursor(storage.epoch, at + 1), None)

    # The claim that may be fresh comes last; the others change nothing.
    for expected, moved in itertools.product(wrong, (True, False)):
        claim = Claim(CART, key, at - moved, late, expected, must_match=True, slot_until=late + 1)
        answer = await storage.begin(claim)
        if identity == "past":
            assert answer is Refusal.REUSED
        elif known:
            assert answer == Repeated(b"known")
        elif held is not None:
            assert answer == (Busy(held) if slot == "busy" else Abandoned(held))
        elif identity == "gap":
            assert answer == Gap(2)
        elif identity == "expired":
            assert answer is Refusal.DEDUPE_EXPIRED
        elif expected is not None:
            assert answer == (EpochMismatch if expected.epoch == "another" else Mismatch)(present)
        elif moved:
            assert answer == Moved(present)
        else:
            assert isinstance(answer, Fresh)
            assert answer.fence > 0
