"""The promises of a stream, over random histories: ordered, gap-free, resumable, bounded, no torn state.

A hub is reduced to what decides: a `Live` resource, a log that is trimmed, an epoch that changes. Clients are real
replicas on real outboxes; messages on their way are lost when a connection breaks. The model is a plain list of states.
"""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from legato.orchestrator.v1 import command_pb2, cursor_pb2, stream_pb2
from legato.protocol import state
from legato.protocol.state import Delta
from legato_hub import live
from legato_hub.core import outbox
from legato_hub.core.cursor import Cursor
from legato_hub.core.outbox import Outbox, Subscription, to_cursor
from legato_hub.core.resume import resume
from legato_hub.live import Live
from legato_hub.storage.base import Gone, Update

RESOURCE = "carts/x"
KEYS = st.sampled_from(["cart", "totals", "line/1", "line/2", "line/3"])
WINDOW = 3


@dataclass
class Client:
    """What a client keeps over its connections, and the connection it has."""

    name: str
    entries: dict[str, bytes] = field(default_factory=dict)
    cursor: Cursor | None = None
    outbox: Outbox | None = None
    subscription: Subscription | None = None
    in_flight: list[stream_pb2.ServerMessage] = field(default_factory=list)
    attempts: int = 0
    seq: int = 0
    owed: int = 0
    """Results that this connection owes."""
    unread: int = 0
    """States sent on this connection and not acknowledged: what the window bounds, unless a result is owed."""
    resumed_at: int = 0
    """The revision up to which this connection was sent what it missed."""
    fresh: bool = False
    """Whether this connection was not sent anything yet."""
    reason: "stream_pb2.SnapshotReason.ValueType | None" = None
    """Why this connection must begin with a snapshot; None if it need not."""


class StreamMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        # A short memory and small messages, so that histories of a few dozen steps outrun them.
        self.former = live.TAIL_REVISIONS, outbox.BATCH_BYTES
        live.TAIL_REVISIONS, outbox.BATCH_BYTES = 3, 1
        self.epochs = 0
        self.live = Live(RESOURCE, "epoch-0")
        self.log: list[Update] = []
        self.states: dict[Cursor, dict[str, bytes]] = {self.live.cursor: {}}
        self.seqs: dict[Cursor, dict[str, int]] = {}
        """The last seq of each client that a state contains."""
        self.clients = [Client("a"), Client("b")]
        self.seqs[self.live.cursor] = {"a": 0, "b": 0}
        for client in range(2):
            self.connect(client, 0)

    # What the hub's storage does

    def since(self, cursor: Cursor) -> list[Update] | Gone:
        if cursor.epoch != self.live.cursor.epoch:
            return Gone.OTHER_EPOCH
        if cursor.revision > self.live.revision:
            return Gone.AHEAD
        floor = self.log[0].cursor.revision - 1 if self.log else self.live.revision
        if cursor.revision < floor:
            return Gone.TRIMMED
        return [update for update in self.log if update.cursor.revision > cursor.revision]

    @rule(upserts=st.dictionaries(KEYS, st.binary(max_size=40), max_size=3), deletes=st.sets(KEYS, max_size=2))
    def commit(self, upserts: dict[str, bytes], deletes: set[str]) -> None:
        delta = Delta(upserts, frozenset(deletes - upserts.keys()))
        if delta:
            self.append(delta)

    def append(self, delta: Delta, client_id: str = "", seq: int = 0) -> None:
        cursor = Cursor(self.live.cursor.epoch, self.live.revision + 1)
        before = self.states[self.live.cursor]
        after = {k: v for k, v in before.items() if k not in delta.deletes} | dict(delta.upserts)
        self.states[cursor] = after
        update = Update(RESOURCE, cursor, delta, client_id, seq)
        self.seqs[cursor] = {client.name: client.seq for client in self.clients}
        self.log.append(update)
        self.live.update(update)
        for client in self.clients:
            if client.outbox is not None and client.subscription is not None:
                client.outbox.due(client.subscription)

    @rule(client=st.sampled_from([0, 1]), key=KEYS, value=st.binary(max_size=40))
    def command(self, client: int, key: str, value: bytes) -> None:
        """A command of this client is applied; its result goes through the same outbox."""
        c = self.clients[client]
        c.seq += 1
        self.append(Delta({key: value}), c.name, c.seq)
        if c.outbox is not None:
            result = command_pb2.CommandResult(resource=RESOURCE, outcome=command_pb2.OUTCOME_APPLIED)
            result.cursor.CopyFrom(to_cursor(self.live.cursor))
            c.outbox.answer(result)
            c.owed += 1

    @rule()
    def progress(self) -> None:
        """The hub tells everybody where they stand, whatever else is pending."""
        for client in self.clients:
            if client.outbox is not None and client.subscription is not None:
                client.subscription.progress_due = True
                client.outbox.due(client.subscription)

    @rule(client=st.sampled_from([0, 1]), times=st.integers(1, 5), own=st.booleans())
    def many(self, client: int, times: int, own: bool) -> None:
        """A busy moment: every revision is sent at once, and none is acknowledged."""
        for number in range(times):
            self.append(Delta({"totals": bytes([number])}))
            if own:
                self.command(client, "line/1", b"x")
            self.send(self.clients[client])

    @rule(client=st.sampled_from([0, 1]), gone=KEYS, changed=KEYS)
    def remove_and_change(self, client: int, gone: str, changed: str) -> None:
        """Two revisions that are sent as one."""
        self.append(Delta({}, frozenset([gone])))
        self.append(Delta({changed: b"!"}))
        self.send(self.clients[client])

    @rule(keep=st.integers(0, 4))
    def trim(self, keep: int) -> None:
        self.log = self.log[len(self.log) - keep :] if keep else []

    @rule(luck=st.integers(0, 3))
    def change_epoch(self, luck: int) -> None:
        """A restore: another history begins with what there is. Every connection of the old process is gone."""
        if luck:
            return
        self.epochs += 1
        entries = dict(self.live.entries)
        for client in self.clients:
            client.outbox = client.subscription = None
            client.in_flight.clear()
        self.live = Live(RESOURCE, f"epoch-{self.epochs}")
        self.live.cursor, self.live.entries = Cursor(f"epoch-{self.epochs}", 1), entries
        self.log = []
        self.states[self.live.cursor] = entries
        self.seqs[self.live.cursor] = {client.name: client.seq for client in self.clients}

    # What clients and the network do

    @rule(client=st.sampled_from([0, 1]), ahead=st.integers(0, 5))
    def connect(self, client: int, ahead: int) -> None:
        """Connect, now and then with a cursor that this hub never gave."""
        c = self.clients[client]
        c.attempts += 1
        c.in_flight.clear()
        c.owed = 0
        c.outbox = Outbox(c.name, WINDOW)
        c.subscription = Subscription(f"{c.name}{c.attempts}", RESOURCE, self.live)
        c.subscription.base_seq = c.seq
        cursor = c.cursor
        if cursor is not None and ahead == 5:
            cursor = c.cursor = Cursor(cursor.epoch, cursor.revision + 1_000)
        c.reason, c.unread, c.fresh = self.reason(cursor), 0, True
        if cursor is None:
            c.subscription.snapshot = stream_pb2.SNAPSHOT_REASON_INITIAL
        else:
            remembered = cursor.epoch == self.live.cursor.epoch and self.live.reaches(cursor.revision)
            for message in resume(c.subscription, cursor, None if remembered else self.since(cursor)):
                c.outbox.say(message)
                c.resumed_at = self.live.revision
                c.unread -= 1  # What was missed is sent whatever the window is.
        c.outbox.add(c.subscription)

    @rule(client=st.sampled_from([0, 1]), luck=st.integers(0, 2))
    def disconnect(self, client: int, luck: int) -> None:
        if luck:
            return
        c = self.clients[client]
        c.outbox = c.subscription = None
        c.in_flight.clear()

    @rule(client=st.sampled_from([0, 1]))
    def flush(self, client: int) -> None:
        self.send(self.clients[client])

    def reason(self, cursor: Cursor | None) -> "stream_pb2.SnapshotReason.ValueType | None":
        if cursor is None:
            return stream_pb2.SNAPSHOT_REASON_INITIAL
        if cursor.epoch != self.live.cursor.epoch:
            return stream_pb2.SNAPSHOT_REASON_EPOCH_CHANGED
        if cursor.revision > self.live.revision:
            return stream_pb2.SNAPSHOT_REASON_CURSOR_AHEAD
        gone = self.since(cursor) is Gone.TRIMMED and not self.live.reaches(cursor.revision)
        return stream_pb2.SNAPSHOT_REASON_TRIMMED if gone else None

    def send(self, c: Client) -> None:
        if c.outbox is None:
            return
        taken = c.outbox.take()
        while c.outbox.more:
            taken += c.outbox.take()
        messages = stream_pb2.ConnectResponse.FromString(taken).messages
        c.in_flight.extend(messages)
        kinds = [message.WhichOneof("message") for message in messages]
        assert not c.fresh or {"snapshot", "delta", "progress"} & set(kinds), "a subscription begins in silence"
        if c.unread < 0 and c.cursor is not None and self.live.revision == c.resumed_at:
            assert "snapshot" not in kinds, "what was missed came, and a snapshot after it"
        c.fresh = False
        assert kinds.count("command_result") == c.owed, "a result is kept back"
        states = kinds.count("delta") + kinds.count("snapshot")
        assert not states or c.unread < WINDOW or c.owed, "the window is ignored"
        c.unread, c.owed = c.unread + states, 0
        if c.unread < WINDOW and c.subscription is not None:
            assert c.subscription.sent == self.live.revision, "a change is kept back"
            assert not c.subscription.progress_due, "progress is kept back"

    @precondition(lambda self: any(c.in_flight for c in self.clients))
    @rule(client=st.sampled_from([0, 1]), acknowledge=st.booleans())
    def receive(self, client: int, acknowledge: bool) -> None:
        c = self.clients[client]
        for message in c.in_flight:
            self.apply(c, message)
        c.in_flight.clear()
        if acknowledge and c.outbox is not None and c.subscription is not None and c.cursor is not None:
            c.outbox.acknowledge(c.subscription.id, to_cursor(c.cursor))
            c.unread = min(c.unread, 0)
            self.send(c)

    def apply(self, c: Client, message: stream_pb2.ServerMessage) -> None:
        kind = message.WhichOneof("message")
        if kind == "snapshot":
            snapshot = message.snapshot
            entries = state.entries_from_bytes(snapshot.payload)
            assert state.digest(entries) == snapshot.digest
            assert snapshot.reason == (c.reason or stream_pb2.SNAPSHOT_REASON_SLOW_CLIENT)
            c.entries, c.cursor = entries, _cursor(snapshot.cursor)
            self.contains(c, snapshot.last_seq)
        elif kind == "delta":
            delta = message.delta
            assert c.cursor is not None, "a delta without a base"
            assert delta.cursor.epoch == c.cursor.epoch
            assert delta.prev_revision == c.cursor.revision, "a gap or a repetition"
            assert delta.cursor.revision > delta.prev_revision
            assert c.reason is None, "a delta where a snapshot was due"
            c.entries = state.apply(c.entries, Delta.from_bytes(delta.payload))
            c.cursor = _cursor(delta.cursor)
            self.contains(c, delta.last_seq)
        elif kind == "progress":
            assert c.cursor == _cursor(message.progress.cursor), "progress overtook a change"
            assert state.digest(c.entries) == message.progress.digest
            self.contains(c, message.progress.last_seq)
        elif kind == "command_result":
            result = message.command_result
            assert c.cursor is not None, "a result before the state that contains it"
            assert c.cursor.revision >= result.cursor.revision, "a result before the state that contains it"

        if kind in ("snapshot", "delta", "progress"):
            c.reason = None

    def contains(self, c: Client, last_seq: int) -> None:
        assert c.cursor is not None
        assert last_seq == self.seqs[c.cursor][c.name]

    # What must hold

    @invariant()
    def replicas_are_states_of_the_history(self) -> None:
        for c in self.clients:
            if c.cursor is not None and c.cursor in self.states:
                assert c.entries == self.states[c.cursor]

    @invariant()
    def pending_is_bounded(self) -> None:
        for c in self.clients:
            if c.outbox is not None:
                assert c.outbox.lag <= WINDOW

    def teardown(self) -> None:
        """Whatever happened: a client that connects once more, and reads, has what there is."""
        for number, c in enumerate(self.clients):
            self.connect(number, 0)
            assert c.outbox is not None
            self.send(c)
            self.receive(number, True)
            if self.live.revision:
                assert c.cursor == self.live.cursor
                assert c.entries == self.states[self.live.cursor]
        live.TAIL_REVISIONS, outbox.BATCH_BYTES = self.former


def _cursor(message: cursor_pb2.Cursor) -> Cursor:
    return Cursor(message.epoch, message.revision)


TestStreamMachine = StreamMachine.TestCase
TestStreamMachine.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
