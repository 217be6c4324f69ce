"""How commands travel on the client's side of the stream: the rules one by one."""

from legato import errors, events, intents
from legato.lane import Lane
from legato.orchestrator.v1 import command_pb2, error_pb2
from legato.orchestrator.v1.command_pb2 import Command
from legato.subscription import Subscription
from tests.client.said import CART, connection, kinds, result, seqs, snapshot, wish


def test_commands_wait_for_the_state_of_what_they_change() -> None:
    core = connection(follow=True, live=False)
    core.submit(wish(1))
    assert core.messages(0) == []
    core.received([snapshot("s1")], 0)
    assert kinds(core.messages(0)) == ["ack", "command"]


def test_a_cart_is_followed_once_it_is_made() -> None:
    core = connection()
    core.want(Subscription(CART))
    core.submit(Command(command_id="c1", resource=CART, seq=1, cart=intents.create_cart()))
    core.submit(wish(2))
    assert seqs(core.messages(0)) == [1, 2]
    core.received([result(1, at=1), result(2, at=2)], 0)
    (subscribe,) = core.messages(0)
    assert subscribe.subscribe.first_unacknowledged_seq == 3
    shown = core.subscriptions[CART]
    assert [c.seq for c in core.unconfirmed(shown)] == [1, 2], "applied, and not in the state yet"
    core.received([snapshot("s1", revision=1)], 0)
    assert [c.seq for c in core.unconfirmed(shown)] == [2]
    core.received([snapshot("s1", revision=2)], 0)
    assert core.unconfirmed(shown) == []


def test_at_most_64_seqs_are_under_way_whatever_is_answered_first() -> None:
    core = connection()
    for seq in range(1, 201):
        core.submit(wish(seq))
    assert seqs(core.messages(0)) == [*range(1, 65)]
    core.received([result(seq) for seq in range(2, 40)], 0)
    assert seqs(core.messages(0)) == [], "the first has no answer yet"
    core.received([result(1)], 0)
    assert seqs(core.messages(0)) == [*range(65, 104)]


def test_the_limit_of_the_stream_is_never_reached() -> None:
    core = connection(in_flight=10)
    for resource in ("carts/a", "carts/b"):
        for seq in range(1, 20):
            core.submit(wish(seq, resource))
    assert len(seqs(core.messages(0))) == 9


def test_a_refusal_holds_back_what_follows_and_probes_before_it_opens_up() -> None:
    core = connection()
    for seq in range(1, 5):
        core.submit(wish(seq))
    core.messages(0)
    not_accepted, gap = command_pb2.OUTCOME_NOT_ACCEPTED, error_pb2.ERROR_REASON_SEQ_GAP
    core.received([result(1, not_accepted, error_pb2.ERROR_REASON_RESOURCE_BUSY, delay=2)], 0)
    core.received([result(2, not_accepted, gap, expected_seq=1), result(3, not_accepted, gap, expected_seq=1)], 0)
    assert core.messages(5) == [], "the stream still owes an answer"
    core.received([result(4, not_accepted, gap, expected_seq=1)], 1)
    assert core.messages(1) == []
    assert core.next_timer() == 2
    assert seqs(core.messages(2)) == [1]
    core.received([result(1)], 3)
    assert seqs(core.messages(3)) == [2, 3, 4]


def test_a_pending_outcome_is_asked_for_again() -> None:
    core = connection()
    core.submit(wish(1))
    core.messages(0)
    core.received([result(1, command_pb2.OUTCOME_UNKNOWN, error_pb2.ERROR_REASON_OUTCOME_PENDING, delay=1)], 0)
    (delayed,) = core.events()
    assert isinstance(delayed, events.Delayed)
    assert isinstance(delayed.error, errors.OutcomePending)
    assert seqs(core.messages(1)) == [1]
    core.received([result(1, command_pb2.OUTCOME_UNKNOWN, error_pb2.ERROR_REASON_OUTCOME_UNKNOWN)], 2)
    (finished,) = core.events()
    assert isinstance(finished, events.Finished)
    assert isinstance(finished.error, errors.OutcomeUnknown)
    assert core.pending == 0


def test_commands_that_nobody_will_ever_accept_give_their_seqs_back() -> None:
    core = connection()
    for seq in range(1, 4):
        core.submit(wish(seq))
    core.messages(0)
    core.received([result(1)], 0)
    core.events()
    core.received([result(2, command_pb2.OUTCOME_NOT_ACCEPTED, error_pb2.ERROR_REASON_NOT_FOUND)], 0)
    failed, also, rewritten = core.events()
    assert isinstance(failed, events.Failed)
    assert isinstance(also, events.Failed)
    assert isinstance(failed.error, errors.NotFound)
    assert [failed.command.seq, also.command.seq] == [2, 3]
    assert rewritten == events.Rewritten(CART, (), 2)
    core.submit(Command(command_id="new", resource=CART, seq=2, cart=intents.set_note("again")))
    assert core.messages(0) == [], "the answer to the former 3 is still to come"
    core.received([result(3, command_pb2.OUTCOME_NOT_ACCEPTED, error_pb2.ERROR_REASON_SEQ_GAP, expected_seq=2)], 0)
    assert [request.command.command_id for request in core.messages(0)] == ["new"]


def test_a_hub_that_forgot_is_followed_to_its_count() -> None:
    core = connection()
    core.submit(wish(47))
    core.submit(wish(48))
    core.messages(0)
    gap = error_pb2.ERROR_REASON_SEQ_GAP
    for seq in (47, 48):
        core.received([result(seq, command_pb2.OUTCOME_NOT_ACCEPTED, gap, expected_seq=1)], 0)
    (rewritten,) = [event for event in core.events() if isinstance(event, events.Rewritten)]
    assert [(c.command_id, c.seq) for c in rewritten.commands] == [("c47", 1), ("c48", 2)]
    assert rewritten.next_seq == 3
    assert seqs(core.messages(0)) == [1, 2]


def test_an_outbox_older_than_the_clients_last_word_counts_on_from_the_hub() -> None:
    core = connection(follow=True, live=False)
    core.submit(wish(3))
    core.received([snapshot("s1", last_seq=9)], 0)
    assert core.events()[-1] == events.Rewritten(CART, tuple(core.lanes[CART].pending), 11)
    assert seqs(core.messages(0)) == [10]


def test_a_sessions_active_cart_shows_what_is_pending_on_the_cart() -> None:
    core = connection()
    core.want(Subscription("sessions/s/active_cart"))
    core.messages(0)
    core.received([snapshot("s1", last_seq=1)], 0)
    core.submit(wish(1))
    core.submit(wish(2))
    shown = core.subscriptions["sessions/s/active_cart"]
    assert [c.seq for c in core.unconfirmed(shown)] == [2], "the state contains the first one"
    assert events.Changed("sessions/s/active_cart") in core.events()


def test_a_command_that_an_outbox_kept_while_later_ones_were_finished() -> None:
    lane = Lane("carts/x", next_seq=39)
    lane.add(Command(command_id="old", resource="carts/x", seq=2))
    assert lane.next_seq == 39
