"""How long results are kept, and what is answered when they are gone."""

import asyncio
from dataclasses import replace

from legato_hub.storage.base import (
    DEDUPE_WINDOW_MS,
    RESULTS_PER_CLIENT,
    RESULTS_PER_RESOURCE,
    CommandKey,
    Commit,
    Committed,
    Fresh,
    Refusal,
    Repeated,
    Storage,
)
from tests.storage.deeds import CART, NOTHING, NOW, ask, body, do, numbered, stateless


def at(milliseconds: int) -> CommandKey:
    """A stateless command minted then."""
    return stateless(NOW + milliseconds)


async def fill(storage: Storage, keys: list[CommandKey]) -> None:
    """Commit them all; each one's result is its id."""
    commits = [Commit(CART, 0, NOTHING, NOW, key, key.command_id.encode()) for key in keys]
    answers = await asyncio.gather(*(storage.commit(commit) for commit in commits))
    assert all(isinstance(answer, Committed) for answer in answers)


async def test_the_last_64_seqs_of_a_client_are_kept(storage: Storage) -> None:
    keys = [numbered(seq) for seq in range(1, RESULTS_PER_CLIENT + 3)]
    for key in keys:
        await do(storage, key, result=b"%d" % key.seq)
    assert await ask(storage, keys[1]) is Refusal.ALREADY_PROCESSED
    assert await ask(storage, keys[2]) == Repeated(b"3")
    assert await ask(storage, keys[-1]) == Repeated(b"66")
    assert await ask(storage, numbered(1)) is Refusal.ALREADY_PROCESSED
    assert await ask(storage, numbered(3)) is Refusal.REUSED


async def test_clients_and_stateless_callers_evict_only_their_own(storage: Storage) -> None:
    till, service = numbered(1, "till"), at(0)
    await do(storage, till, result=b"till")
    await do(storage, service, result=b"service")
    for seq in range(1, RESULTS_PER_CLIENT + 2):
        await do(storage, numbered(seq, "phone"))
    assert await ask(storage, till) == Repeated(b"till")
    assert await ask(storage, service) == Repeated(b"service")


async def test_the_newest_1024_stateless_ids_are_kept(storage: Storage) -> None:
    keys = [at(n) for n in range(RESULTS_PER_RESOURCE)]
    await fill(storage, keys)
    assert await ask(storage, keys[0]) == Repeated(keys[0].command_id.encode())
    await fill(storage, [at(RESULTS_PER_RESOURCE)])
    assert await ask(storage, keys[0]) is Refusal.DEDUPE_EXPIRED
    assert await ask(storage, at(0)) is Refusal.DEDUPE_EXPIRED
    assert await ask(storage, at(-1)) is Refusal.DEDUPE_EXPIRED
    assert await ask(storage, keys[1]) == Repeated(keys[1].command_id.encode())
    assert await ask(storage, at(1)) == Fresh(0)
    await fill(storage, [at(RESULTS_PER_RESOURCE + 1), at(RESULTS_PER_RESOURCE + 2)])
    assert await ask(storage, at(2)) is Refusal.DEDUPE_EXPIRED
    assert await ask(storage, keys[3]) == Repeated(keys[3].command_id.encode())


async def test_the_oldest_id_goes_first_whenever_it_came(storage: Storage) -> None:
    """A caller whose clock runs ahead, or behind, shuts nobody else out."""
    ahead = at(60_000)
    await fill(storage, [ahead, *(at(n) for n in range(1, RESULTS_PER_RESOURCE))])
    await fill(storage, [at(RESULTS_PER_RESOURCE)])
    assert await ask(storage, ahead) == Repeated(ahead.command_id.encode())
    assert await ask(storage, at(1)) is Refusal.DEDUPE_EXPIRED
    assert await ask(storage, at(2)) == Fresh(0)


async def test_a_command_older_than_all_kept_is_committed_and_forgotten(storage: Storage) -> None:
    """It began in time, and was overtaken by the window before its commit."""
    await fill(storage, [at(n) for n in range(RESULTS_PER_RESOURCE + 1)])
    late = at(-5)
    await fill(storage, [late])
    assert await ask(storage, late) is Refusal.DEDUPE_EXPIRED
    assert await ask(storage, at(0)) is Refusal.DEDUPE_EXPIRED
    assert isinstance(await ask(storage, at(1)), Fresh)
    await fill(storage, [at(RESULTS_PER_RESOURCE + 1)])
    assert await ask(storage, at(1)) is Refusal.DEDUPE_EXPIRED
    assert isinstance(await ask(storage, at(2)), Fresh)


async def test_an_evicted_seq_expires_no_stateless_id(storage: Storage) -> None:
    for seq in range(1, RESULTS_PER_CLIENT + 2):
        await do(storage, numbered(seq))
    assert await ask(storage, at(-10)) == Fresh(0)


async def test_a_kept_result_is_returned_beyond_the_window(storage: Storage) -> None:
    key = at(0)
    await do(storage, key, result=b"done")
    assert await ask(storage, key, now=NOW + 2 * DEDUPE_WINDOW_MS) == Repeated(b"done")


async def test_an_evicted_seq_is_unknown_by_its_command_id(storage: Storage) -> None:
    key = numbered(1)
    await do(storage, key)
    for seq in range(2, RESULTS_PER_CLIENT + 2):
        await do(storage, numbered(seq))
    assert await ask(storage, replace(key, client_id="phone")) == Fresh(0)


async def test_a_result_that_two_clients_hold_is_known_as_long_as_one_does(storage: Storage) -> None:
    key = numbered(1, "till")
    await do(storage, key, result=b"done")
    assert await ask(storage, replace(key, client_id="phone")) == Repeated(b"done")
    for seq in range(2, RESULTS_PER_CLIENT + 2):
        await do(storage, numbered(seq, "till"))
    assert await ask(storage, key) is Refusal.ALREADY_PROCESSED
    assert await ask(storage, replace(key, client_id="", seq=0)) == Repeated(b"done")


async def test_results_may_be_empty(storage: Storage) -> None:
    for key in (numbered(1), at(0)):
        await do(storage, key, result=b"")
        assert await ask(storage, key) == Repeated(b"")


async def test_last_seq_and_adopt_seq(storage: Storage) -> None:
    assert await storage.last_seq(CART, "till") == 0
    assert await storage.adopt_seq(CART, "till", 0) == 0
    assert await storage.adopt_seq(CART, "till", 41) == 41
    assert await storage.last_seq(CART, "till") == 41
    assert await storage.adopt_seq(CART, "till", 40) == 41
    assert await storage.adopt_seq(CART, "till", 99) == 41
    assert await storage.last_seq(CART, "phone") == 0
    assert await storage.load(CART) is None
    await do(storage, numbered(42))
    assert await storage.last_seq(CART, "till") == 42
    assert await storage.adopt_seq(CART, "till", 41) == 42


async def test_seqs_go_on_from_an_adopted_one(storage: Storage) -> None:
    await storage.adopt_seq(CART, "till", 100)
    keys = {seq: numbered(seq) for seq in range(101, 101 + RESULTS_PER_CLIENT)}
    for seq, key in keys.items():
        await do(storage, key, result=b"%d" % seq)
    assert await ask(storage, keys[101]) == Repeated(b"101")
    assert await ask(storage, numbered(100)) is Refusal.ALREADY_PROCESSED
    await do(storage, numbered(101 + RESULTS_PER_CLIENT))
    assert await ask(storage, keys[101]) is Refusal.ALREADY_PROCESSED
    assert await ask(storage, replace(keys[102], body_hash=body("remove"))) is Refusal.REUSED
