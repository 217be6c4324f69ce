"""Random histories: each engine against the protocol over plain dicts."""

import asyncio
import tempfile
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from legato.protocol.ids import new_id
from legato.protocol.state import Delta
from legato_hub.storage.base import (
    Claim,
    CommandKey,
    Commit,
    Committed,
    Cursor,
    Fresh,
    Overtaken,
    Slot,
    Storage,
    Update,
)
from tests.storage.deeds import NOW, body
from tests.storage.engines import LASTING, MODELLED, make_engine
from tests.storage.model import Model

T = TypeVar("T")

LOG_LENGTH = 5
HOUR = 3_600_000

resources = st.sampled_from(["carts/a", "carts/b"])
clients = st.sampled_from(["till", "phone"])
entity_keys = st.sampled_from(["cart", "totals", "line/1"])
values = st.binary(max_size=3)
bodies = st.sampled_from([body("add"), body("remove")])
# Mostly what a sound caller says, sometimes what it should not.
off_by = st.sampled_from([0, 0, 0, 0, -1, 1])


@st.composite
def deltas(draw: st.DrawFn) -> Delta:
    upserts = draw(st.dictionaries(entity_keys, values))
    deletes = draw(st.frozensets(entity_keys))
    return Delta(upserts, deletes - upserts.keys())


class StorageMachine(RuleBasedStateMachine):
    """Every deed is done to both, and both must answer alike."""

    engine_name: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.engine = make_engine(self.engine_name, Path(self.folder.name))
        self.storage = self.start()
        durable = self.engine_name in LASTING
        self.model = Model(self.storage.epoch, durable=durable, log_length=LOG_LENGTH)
        self.now = NOW
        self.minted = 0
        self.keys: list[CommandKey] = []
        self.slots: list[Slot] = []

    def run(self, deed: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(deed)

    def start(self) -> Storage:
        """Open, and follow both resources."""
        storage = self.run(self.engine.start(log_length=LOG_LENGTH))
        self.told: list[Update] = []
        self.lost: list[str] = []
        for resource in ("carts/a", "carts/b"):
            storage.follow(resource, self.told.append, lost=partial(self.lost.append, resource))
        return storage

    def teardown(self) -> None:
        self.run(self.engine.stop())
        self.runner.close()
        self.folder.cleanup()

    def revision(self, resource: str) -> int:
        loaded = self.model.load(resource)
        return loaded.cursor.revision if loaded else 0

    def mint(self, age: int = 0) -> str:
        """A command id that is the same whenever this history is played."""
        self.minted += 1
        return f"{new_id(self.now - age)[:13]}-7000-8000-{self.minted:012x}"

    def key(self, data: st.DataObject, resource: str) -> CommandKey:
        """A new command or an old one again, perhaps as somebody else's or with another body."""
        again = data.draw(st.booleans(), "again")
        if self.keys and again:
            key = data.draw(st.sampled_from(self.keys), "key")
            if data.draw(st.booleans(), "the same"):
                return key
            command_id = key.command_id
        else:
            command_id = self.mint(data.draw(st.sampled_from([0, 0, 0, HOUR, 25 * HOUR, -HOUR]), "age"))
        if data.draw(st.booleans(), "stateless"):
            key = CommandKey(command_id, data.draw(bodies))
        else:
            client = data.draw(clients)
            seq = max(1, self.model.last_seq(resource, client) + 1 + data.draw(off_by))
            key = CommandKey(command_id, data.draw(bodies), client, seq)
        self.keys.append(key)
        return key

    @rule(data=st.data(), resource=resources, must_match=st.booleans(), wants_slot=st.booleans(), moved=off_by)
    def begin(self, data: st.DataObject, resource: str, must_match: bool, wants_slot: bool, moved: int) -> None:
        at = self.revision(resource)
        expected = data.draw(
            st.none() | st.builds(Cursor, st.sampled_from([self.model.epoch] * 3 + ["another"]), st.just(at + moved))
        )
        base = at + data.draw(off_by)
        until = self.now + 10 if wants_slot else 0
        claim = Claim(resource, self.key(data, resource), base, self.now, expected, must_match, b"call", until)
        answer = self.run(self.storage.begin(claim))
        fence = answer.fence if isinstance(answer, Fresh) else 0
        assert answer == self.model.begin(claim, fence)
        if fence:
            self.slots.append(Slot(resource, claim.key, base, b"call", fence, until))

    @rule(
        data=st.data(),
        resource=resources,
        delta=deltas(),
        adapter_state=st.none() | values,
        version=st.none() | st.just("v"),
        closed=st.sampled_from([False] * 9 + [True]),
        moved=off_by,
    )
    def commit(
        self,
        data: st.DataObject,
        resource: str,
        delta: Delta,
        adapter_state: bytes | None,
        version: str | None,
        closed: bool,
        moved: int,
    ) -> None:
        key, fence = None, 0
        under_fence = data.draw(st.booleans(), "under a fence")
        if self.slots and under_fence:
            slot = data.draw(st.sampled_from(self.slots), "slot")
            resource, key, fence = slot.resource, slot.key, slot.fence
        elif data.draw(st.booleans(), "for a command"):
            key = self.key(data, resource)
        base = self.revision(resource) + moved
        result = b"result %d" % len(self.told)
        self.commit_to_both(
            Commit(resource, base, delta, self.now, key, result, fence, adapter_state, version, "trace", closed)
        )

    @rule(resource=resources, client=clients, count=st.integers(1, 40))
    def do_many(self, resource: str, client: str, count: int) -> None:
        """Enough to have results evicted and the log trimmed."""
        for _ in range(count):
            seq = self.model.last_seq(resource, client) + 1
            key = CommandKey(self.mint(), body("add"), client, seq)
            delta = Delta({"totals": b"%d" % seq}) if seq % 8 == 0 else Delta()
            self.commit_to_both(Commit(resource, self.revision(resource), delta, self.now, key, b"%d" % seq))
            if seq % 16 == 1:
                self.keys.append(key)

    def commit_to_both(self, commit: Commit) -> None:
        answer: Committed | Overtaken = self.run(self.storage.commit(commit))
        assert answer == self.model.commit(commit)

    @precondition(lambda self: self.slots)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(self.slots), "slot")
        assert self.run(self.storage.release(slot)) == self.model.release(slot)

    @rule(resource=resources, really=st.sampled_from([False, False, True]))
    def erase(self, resource: str, really: bool) -> None:
        if really:  # else most histories would be of tombstones
            self.run(self.storage.erase(resource, self.now))
            self.model.erase(resource, self.now)

    @rule(resource=resources, epoch=st.sampled_from(["", "another"]), back=st.integers(-1, LOG_LENGTH + 2))
    def since(self, resource: str, epoch: str, back: int) -> None:
        cursor = Cursor(epoch or self.model.epoch, max(0, self.revision(resource) - back))
        assert self.run(self.storage.since(resource, cursor)) == self.model.since(resource, cursor)

    @rule(resource=resources, client=clients, last_seq=st.integers(0, 90))
    def adopt_seq(self, resource: str, client: str, last_seq: int) -> None:
        adopted = self.run(self.storage.adopt_seq(resource, client, last_seq))
        assert adopted == self.model.adopt_seq(resource, client, last_seq)

    @rule(
        key=entity_keys,
        value=values,
        lasts=st.sampled_from([-1, 0, 5, 20]),
        only=st.one_of(st.none(), st.just("absent"), values),
    )
    def put(self, key: str, value: bytes, lasts: int, only: str | bytes | None) -> None:
        until = 0 if lasts < 0 else self.now + lasts
        if_absent, replacing = only == "absent", only if isinstance(only, bytes) else None
        stored = self.run(
            self.storage.put(key, value, until=until, now=self.now, if_absent=if_absent, replacing=replacing)
        )
        assert stored == self.model.put(key, value, until, self.now, if_absent, replacing)

    @rule(key=entity_keys)
    def get_or_delete(self, key: str) -> None:
        assert self.run(self.storage.get(key, self.now)) == self.model.get(key, self.now)
        if self.now % 2:
            self.run(self.storage.delete(key))
            self.model.delete(key)

    @rule(key=st.sampled_from(["a set", "another"]), member=values.map(bytes.hex), adds=st.booleans())
    def add_or_remove(self, key: str, member: str, adds: bool) -> None:
        self.run((self.storage.add if adds else self.storage.remove)(key, member))
        (self.model.add if adds else self.model.remove)(key, member)
        page = self.run(self.storage.members(key, before=member, limit=2))
        assert page == self.model.members(key, member, 2)
        assert self.run(self.storage.members(key)) == self.model.members(key, "", 100)

    @rule(milliseconds=st.sampled_from([1, 1, 9, 10, 2 * HOUR]))
    def pass_time(self, milliseconds: int) -> None:
        self.now += milliseconds

    @rule(closed_ms=st.sampled_from([0, 5]), idle_ms=st.sampled_from([5, HOUR]))
    def sweep(self, closed_ms: int, idle_ms: int) -> None:
        touched = self.run(self.storage.sweep(self.now, closed_ms=closed_ms, idle_ms=idle_ms))
        assert touched == self.model.sweep(self.now, closed_ms, idle_ms)

    @precondition(lambda self: self.engine_name in LASTING)
    @rule()
    def reopen(self) -> None:
        self.run(self.storage.close())
        self.storage = self.start()
        self.model.told.clear()
        self.model.lost.clear()
        assert self.storage.epoch == self.model.epoch

    @invariant()
    def both_are_alike(self) -> None:
        names = [(resource, client) for resource in ("carts/a", "carts/b") for client in ("till", "phone")]

        async def read() -> list[object]:
            return await asyncio.gather(
                *(self.storage.load(resource) for resource, _ in names),
                *(self.storage.last_seq(*name) for name in names),
                self.storage.abandoned(self.now),
            )

        assert self.run(read()) == [
            *(self.model.load(resource) for resource, _ in names),
            *(self.model.last_seq(*name) for name in names),
            self.model.abandoned(self.now),
        ]
        assert self.told == self.model.told
        assert self.lost == self.model.lost


@pytest.mark.parametrize("engine_name", MODELLED)
def test_an_engine_does_what_the_model_does(engine_name: str) -> None:
    machine = type("Machine", (StorageMachine,), {"engine_name": engine_name})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=30,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
