"""Resources in memory: what is merged, what is kept, what is let go."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.commerce.v1 import cart_pb2
from legato.orchestrator.v1 import stream_pb2
from legato.protocol import state
from legato.protocol.state import Delta
from legato_hub import live as module
from legato_hub import live_resources
from legato_hub.clock import now_ms
from legato_hub.live import Live
from legato_hub.live_resources import LiveResources
from legato_hub.storage.base import Commit, Committed, Cursor, Loaded, StorageError, Update
from legato_hub.storage.sqlite import SQLiteStorage

KEYS = st.sampled_from(["cart", "totals", "line/1", "line/2"])
DELTAS = st.builds(
    lambda upserts, deletes: Delta(upserts, frozenset(deletes - upserts.keys())),
    st.dictionaries(KEYS, st.binary(max_size=30), max_size=3),
    st.sets(KEYS, max_size=3),
)


def update(revision: int, delta: Delta, traceparent: str = "") -> Update:
    return Update("carts/x", Cursor("e", revision), delta, traceparent=traceparent)


@given(st.lists(DELTAS, max_size=20), st.integers(0, 20))
def test_what_is_missed_leads_from_there_to_here(deltas: list[Delta], since: int) -> None:
    live, states = Live("carts/x", "e"), [dict[str, bytes]()]
    for revision, delta in enumerate(deltas, 1):
        live.update(update(revision, delta))
        states.append(state.apply(states[-1], delta))
    assert live.entries == states[-1]
    merged = live.missed(since) if since < len(states) else None
    if merged is not None:
        sent = stream_pb2.Delta.FromString(merged.shared)
        assert state.apply(states[since], Delta.from_bytes(sent.payload)) == states[-1]
    elif since <= live.revision:
        assert live.revision - since > 1, "one revision is never worth a snapshot"


def test_the_tail_is_bounded_in_number_and_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TAIL_REVISIONS", 3)
    monkeypatch.setattr(module, "TAIL_BYTES", 1_000)
    live = Live("carts/x", "e")
    for revision in range(1, 6):
        live.update(update(revision, Delta({"cart": bytes([revision])})))
    assert [live.reaches(since) for since in range(1, 7)] == [False, True, True, True, True, False]
    live.update(update(6, Delta({"line/1": b"x" * 2_000})))
    # The newest stays however large it is: everybody who is up to date needs just that.
    assert [live.reaches(since) for since in (4, 5, 6)] == [False, True, True]


def test_the_head_is_that_of_the_present_state() -> None:
    def head(owner: str) -> dict[str, bytes]:
        return {"cart": cart_pb2.Cart(customer_id=owner).SerializeToString()}

    live = Live("carts/x", "e")
    live.update(update(1, Delta(head("a"))))
    assert live.head().customer_id == "a"
    live.update(update(2, Delta(head("b"))))
    assert live.head().customer_id == "b"
    live.replace(Loaded(Cursor("e", 2), head("c")))
    assert live.head().customer_id == "c"
    live.replace(Loaded(Cursor("other", 1), head("d")))
    assert live.head().customer_id == "d"


def test_a_revision_that_comes_twice_is_one() -> None:
    live = Live("carts/x", "e")
    live.update(update(1, Delta({"cart": b"1"})))
    live.update(update(1, Delta({"cart": b"?"})))
    assert (live.revision, live.entries) == (1, {"cart": b"1"})


def test_only_the_newest_traces_are_named() -> None:
    live = Live("carts/x", "e")
    for revision in range(1, 12):
        key = "n" if revision > 1 else "what stays the same and is long"
        live.update(update(revision, Delta({key: bytes([revision]) * 99}), f"trace-{revision}"))
    merged = live.missed(1)
    assert merged is not None
    assert merged.traceparents == tuple(f"trace-{n}" for n in range(4, 12))


class Listener:
    def __init__(self) -> None:
        self.revisions = self.restarts = 0

    def revised(self) -> None:
        self.revisions += 1

    def restarted(self) -> None:
        self.restarts += 1


async def test_a_swept_resource_is_nothing_any_more() -> None:
    live, listener = Live("carts/x", "e"), Listener()
    live.attach(listener)
    live.update(update(1, Delta({"cart": b"1"})))
    live.replace(Loaded(Cursor("e", 1), tombstone=True))
    assert not live.exists
    assert live.entries == {}
    assert not live.reaches(0)
    assert listener.revisions == 2


@pytest.fixture
async def storage() -> AsyncIterator[SQLiteStorage]:
    engine = SQLiteStorage(":memory:")
    await engine.open()
    yield engine
    await engine.close()


async def make(storage: SQLiteStorage, name: str) -> None:
    assert isinstance(await storage.commit(Commit(name, 0, Delta({"cart": b"1"}), now_ms())), Committed)


async def test_what_is_not_used_is_let_go_and_what_is_pinned_stays(
    storage: SQLiteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_resources, "IDLE_KEPT", 2)
    resources = LiveResources(storage)
    pinned = [await resources.pin(f"carts/pinned-{n}") for n in range(5)]
    for number in range(5):
        await make(storage, f"carts/{number}")
        await resources.get(f"carts/{number}")
    assert len(resources._live) == 7
    assert [await resources.get(live.name) for live in pinned] == pinned
    for live in pinned:
        resources.unpin(live)
    assert len(resources._live) == 2
    assert set(storage._followers) == set(resources._live)


async def test_the_latest_used_stay(storage: SQLiteStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_resources, "IDLE_KEPT", 2)
    resources = LiveResources(storage)
    first = await resources.get("carts/1")
    await resources.get("carts/2")
    await resources.get("carts/1")
    await resources.get("carts/3")
    assert await resources.get("carts/1") is first
    assert set(resources._live) == {"carts/1", "carts/3"}


async def test_a_load_that_fails_is_told_to_all_who_wait_and_tried_again(
    storage: SQLiteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(storage, "carts/1")
    resources, load = LiveResources(storage), storage.load

    async def broken(_: str) -> None:
        await asyncio.sleep(0)
        raise StorageError("no")

    monkeypatch.setattr(storage, "load", broken)
    failures = await asyncio.gather(*(resources.pin("carts/1") for _ in range(3)), return_exceptions=True)
    assert [type(failure) for failure in failures] == [StorageError] * 3
    assert not storage._followers
    monkeypatch.setattr(storage, "load", load)
    assert (await resources.get("carts/1")).exists


async def test_revisions_that_come_while_it_is_loaded_are_in_it_once(
    storage: SQLiteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(storage, "carts/1")
    load, reached, go_on = storage.load, asyncio.Event(), asyncio.Event()

    async def slow(name: str) -> Loaded | None:
        loaded = await load(name)
        reached.set()
        await go_on.wait()
        return loaded

    monkeypatch.setattr(storage, "load", slow)
    resources = LiveResources(storage)
    getting = asyncio.create_task(resources.get("carts/1"))
    await reached.wait()
    for base in (1, 2):
        await storage.commit(Commit("carts/1", base, Delta({f"line/{base}": b"x"}), now_ms()))
    go_on.set()
    live = await getting
    assert live.revision == 3
    assert set(live.entries) == {"cart", "line/1", "line/2"}
    assert live.reaches(1)
