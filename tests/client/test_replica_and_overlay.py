"""The replica against a list of states, the overlay against its rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato import intents
from legato.commerce.v1.cart_intent_pb2 import CartIntent, LineSelector
from legato.commerce.v1.cart_pb2 import Cart
from legato.commerce.v1.line_item_pb2 import ClientLineKey, LineItem
from legato.commerce.v1.money_pb2 import Money
from legato.commerce.v1.quantity_pb2 import Quantity
from legato.orchestrator.v1.command_pb2 import Command
from legato.orchestrator.v1.cursor_pb2 import Cursor
from legato.orchestrator.v1.stream_pb2 import Delta, Progress, Snapshot
from legato.overlay import PROVISIONAL, predict, selector
from legato.protocol import state
from legato.replica import Replica, Saved, Verdict

histories = st.lists(
    st.dictionaries(st.sampled_from("abcdé"), st.binary(max_size=3), max_size=4), min_size=1, max_size=8
)


def cursor(revision: int, epoch: str = "e") -> Cursor:
    return Cursor(epoch=epoch, revision=revision)


def snapshot(states: list[dict[str, bytes]], at: int) -> Snapshot:
    payload = state.entries_to_bytes(states[at])
    return Snapshot(target="carts/a", cursor=cursor(at), digest=state.digest(states[at]), payload=payload, last_seq=at)


def delta(states: list[dict[str, bytes]], start: int, end: int) -> Delta:
    payload = state.diff(states[start], states[end]).to_bytes()
    return Delta(prev_revision=start, cursor=cursor(end), payload=payload, last_seq=end)


def progress(states: list[dict[str, bytes]], at: int) -> Progress:
    return Progress(cursor=cursor(at), digest=state.digest(states[at]), last_seq=at)


@given(histories, st.data())
def test_whatever_comes_the_replica_is_one_of_the_states(states: list[dict[str, bytes]], data: st.DataObject) -> None:
    replica = Replica()
    revisions = st.integers(0, len(states) - 1)
    for _ in range(data.draw(st.integers(1, 12))):
        before = replica.cursor
        match data.draw(st.sampled_from(["snapshot", "delta", "progress"])):
            case "snapshot":
                assert replica.snapshot(snapshot(states, data.draw(revisions))) is Verdict.APPLIED
            case "delta":
                start, end = data.draw(revisions), data.draw(revisions)
                fits = before == cursor(start)
                assert replica.delta(delta(states, start, end)) is (Verdict.APPLIED if fits else Verdict.RESUBSCRIBE)
                assert fits or replica.cursor == before
            case "progress":
                at = data.draw(revisions)
                fits = before == cursor(at)
                assert replica.progress(progress(states, at)) is (Verdict.APPLIED if fits else Verdict.RESUBSCRIBE)
        if replica.cursor is not None:
            assert replica.entries == states[replica.cursor.revision]
            saved = replica.saved()
            assert saved is not None
            restored = Replica.restored(saved)
            assert (restored.entries, restored.cursor, restored.target) == (replica.entries, replica.cursor, "carts/a")


def test_a_delta_of_another_epoch_is_refused() -> None:
    states = [{"a": b"1"}, {"a": b"2"}]
    replica = Replica()
    replica.snapshot(snapshot(states, 0))
    foreign = delta(states, 0, 1)
    foreign.cursor.epoch = "other"
    assert replica.delta(foreign) is Verdict.RESUBSCRIBE
    assert replica.cursor == cursor(0)


@pytest.mark.parametrize("torn", ["digest", "payload"])
def test_a_mismatch_drops_state_and_cursor_and_the_second_in_a_row_ends_it(torn: str) -> None:
    states = [{"a": b"1"}]
    good, bad = snapshot(states, 0), snapshot(states, 0)
    setattr(bad, torn, b"\xff")
    replica = Replica()
    assert replica.snapshot(good) is Verdict.APPLIED
    assert replica.snapshot(bad) is Verdict.RESUBSCRIBE
    assert (replica.cursor, replica.entries, replica.known, replica.saved()) == (None, {}, False, None)
    assert replica.snapshot(good) is Verdict.APPLIED
    assert replica.snapshot(bad) is Verdict.RESUBSCRIBE, "one that matched is in between"
    assert replica.snapshot(bad) is Verdict.DIVERGED


def test_progress_verifies_what_deltas_have_made() -> None:
    states = [{"a": b"1"}, {"a": b"2"}]
    replica = Replica()
    replica.snapshot(snapshot(states, 0))
    replica.delta(delta(states, 0, 1))
    assert replica.progress(progress(states, 1)) is Verdict.APPLIED
    assert (replica.snapshots, replica.deltas, replica.last_seq) == (1, 1, 1)
    wrong = progress(states, 1)
    wrong.digest = state.digest(states[0])
    assert replica.progress(wrong) is Verdict.RESUBSCRIBE
    assert replica.cursor is None


def test_a_delta_that_is_none_drops_the_state() -> None:
    replica = Replica()
    replica.snapshot(snapshot([{}], 0))
    torn = Delta(prev_revision=0, cursor=cursor(1), payload=b"\xff")
    assert replica.delta(torn) is Verdict.RESUBSCRIBE
    assert replica.cursor is None


def test_there_may_be_no_active_cart() -> None:
    replica = Replica()
    assert replica.snapshot(Snapshot()) is Verdict.APPLIED
    assert (replica.known, replica.cursor, replica.saved()) == (True, None, None)
    assert replica.delta(delta([{}, {}], 0, 1)) is Verdict.RESUBSCRIBE


def test_unknown_entities_are_kept() -> None:
    states = [{"from/a newer hub": b"\x08\x01", "cart": b""}]
    replica = Replica.restored(Saved("carts/a", "e", 0, 0, state.entries_to_bytes(states[0])))
    assert replica.progress(progress(states, 0)) is Verdict.APPLIED


def line(id_: str, sku: str, steps: int, **parts: int) -> LineItem:
    keys = [ClientLineKey(key=key, steps=n) for key, n in parts.items()]
    price = Money(currency_code="EUR", units=100, scale=2)
    return LineItem(
        id=id_,
        sku=sku,
        position=7,
        quantity=Quantity(steps=steps),
        client_line_keys=keys,
        unit_price=price,
        total=price,
    )


def command(intent: CartIntent, id_: str = "c") -> Command:
    return Command(command_id=id_, resource="carts/a", cart=intent)


BASE = Cart(id="a", lines=[line("l1", "tea", 5, mine=2, yours=3), line("l2", "cup", 1)])


@pytest.mark.parametrize(
    ("intent", "quantities"),
    [
        (intents.add("tea", 3), {"l1": 8, "l2": 1}),
        (intents.add("pot", 3), {"l1": 5, "l2": 1, "pending:c": 3}),
        (intents.add("tea", Quantity(steps=125, unit="kg", scale=2)), {"l1": 5, "l2": 1, "pending:c": 125}),
        (intents.set_quantity("l1", 2), {"l1": 2, "l2": 1}),
        (intents.set_quantity("l1", 0), {"l2": 1}),
        (intents.set_quantity(intents.client_line("yours"), 1), {"l1": 3, "l2": 1}),
        (intents.set_quantity(BASE.lines[0], 9), {"l1": 9, "l2": 1}),
        (intents.remove("l2"), {"l1": 5}),
        (intents.remove(intents.client_line("mine")), {"l1": 3, "l2": 1}),
        (intents.remove("nothing"), {"l1": 5, "l2": 1}),
        (intents.remove(intents.client_line("nothing")), {"l1": 5, "l2": 1}),
        (intents.set_note("n"), {"l1": 5, "l2": 1}),
        (intents.create_cart(), {"l1": 5, "l2": 1}),
    ],
)
def test_one_wish(intent: CartIntent, quantities: dict[str, int]) -> None:
    untouched = Cart()
    untouched.CopyFrom(BASE)
    cart = predict(BASE, [command(intent)])
    assert {line.id: line.quantity.steps for line in cart.lines} == quantities
    assert untouched == BASE, "the base stays as it was"
    for line in cart.lines:
        former = next((other for other in BASE.lines if other.id == line.id), LineItem())
        assert (line.unit_price, line.total) == (former.unit_price, former.total), "prices are never predicted"


def test_wishes_build_on_one_another() -> None:
    wishes = [
        command(intents.create_cart(currency_code="EUR"), "c0"),
        command(intents.add("pot", 1, client_line_key="k1"), "c1"),
        command(intents.add("pot", 2, client_line_key="k2"), "c2"),
        command(intents.set_quantity(intents.client_line("k2"), 8), "c3"),
        command(intents.remove(intents.client_line("k1")), "c4"),
    ]
    cart = predict(Cart(), wishes)
    assert (cart.id, cart.currency_code) == ("a", "EUR")
    assert [(line.id, line.quantity.steps) for line in cart.lines] == [(PROVISIONAL + "c1", 8)]
    assert [(part.key, part.steps) for part in cart.lines[0].client_line_keys] == [("k2", 8)]
    assert predict(Cart(), [*wishes, command(intents.remove(intents.client_line("k2")), "c5")]).lines == []


@given(st.lists(st.tuples(st.sampled_from(["tea", "cup", "pot"]), st.integers(1, 9))))
def test_adding_never_loses_a_step(adds: list[tuple[str, int]]) -> None:
    cart = predict(BASE, [command(intents.add(sku, n), f"c{i}") for i, (sku, n) in enumerate(adds)])
    assert sum(line.quantity.steps for line in cart.lines) == 6 + sum(n for _, n in adds)
    assert len({line.sku for line in cart.lines}) == len(cart.lines)


def test_a_predicted_line_is_named_by_its_key_or_not_at_all() -> None:
    cart = predict(Cart(), [command(intents.add("pot", 1, client_line_key="k")), command(intents.add("cup"), "d")])
    assert selector(cart.lines[0]) == LineSelector(client_line_key="k")
    for unnamed in (cart.lines[1], cart.lines[1].id, cart.lines[0].id):
        with pytest.raises(ValueError, match="client_line_key"):
            selector(unnamed)
