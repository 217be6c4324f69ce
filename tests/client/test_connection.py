"""The rules of the client's side of the stream, one by one."""

import random

import pytest

from legato import errors, events, intents
from legato.connection import RECONNECT_CAP, Connection
from legato.orchestrator.v1 import command_pb2, error_pb2, stream_pb2
from legato.orchestrator.v1.command_pb2 import Command, CommandResult
from legato.orchestrator.v1.cursor_pb2 import Cursor
from legato.orchestrator.v1.error_pb2 import Error, ErrorReason
from legato.orchestrator.v1.stream_pb2 import ConnectRequest, ServerMessage
from legato.protocol import state
from legato.replica import Replica, Saved
from legato.subscription import State, Subscription

CART = "carts/a"
ENTRIES = {"cart": b""}


def cursor(revision: int, epoch: str = "e") -> Cursor:
    return Cursor(epoch=epoch, revision=revision)


def wish(seq: int, resource: str = CART) -> Command:
    return Command(command_id=f"c{seq}", resource=resource, seq=seq, cart=intents.set_note(str(seq)))


def result(
    seq: int,
    outcome: command_pb2.Outcome.ValueType = command_pb2.OUTCOME_APPLIED,
    reason: ErrorReason.ValueType | None = None,
    *,
    at: int | None = None,
    expected_seq: int = 0,
    delay: int | None = None,
) -> ServerMessage:
    told = CommandResult(command_id=f"c{seq}", resource=CART, seq=seq, outcome=outcome, expected_seq=expected_seq)
    if at is not None:
        told.cursor.CopyFrom(cursor(at))
    if reason is not None:
        told.error.reason = reason
        if delay is not None:
            told.error.retry_delay.FromSeconds(delay)
    return ServerMessage(command_result=told)


def snapshot(id_: str, revision: int = 1, last_seq: int = 0, epoch: str = "e") -> ServerMessage:
    digest, payload = state.digest(ENTRIES), state.entries_to_bytes(ENTRIES)
    told = stream_pb2.Snapshot(
        subscription_id=id_, target=CART, cursor=cursor(revision, epoch), digest=digest, payload=payload
    )
    told.last_seq = last_seq
    return ServerMessage(snapshot=told)


def closed(id_: str, reason: ErrorReason.ValueType, delay: int | None = None) -> ServerMessage:
    status = stream_pb2.SubscriptionStatus(
        subscription_id=id_, state=stream_pb2.SUBSCRIPTION_STATE_CLOSED, error=Error(reason=reason)
    )
    if delay is not None:
        status.error.retry_delay.FromSeconds(delay)
    return ServerMessage(subscription_status=status)


def welcome(lives: int | None = None, in_flight: int = 1_000) -> ServerMessage:
    told = stream_pb2.Welcome(limits=stream_pb2.Limits(max_commands_in_flight=in_flight))
    told.server_time.FromSeconds(1_000_000)
    if lives is not None:
        told.identity.expires_at.FromSeconds(1_000_000 + lives)
    return ServerMessage(welcome=told)


def kinds(requests: list[ConnectRequest]) -> list[str]:
    return [str(request.WhichOneof("message")) for request in requests]


def seqs(requests: list[ConnectRequest]) -> list[int]:
    return [request.command.seq for request in requests if request.HasField("command")]


def connection(*, follow: bool = False, live: bool = True, in_flight: int = 1_000) -> Connection:
    """An open stream at time 0; with `follow` it follows the cart, whose state has come if `live`."""
    core = Connection(stream_pb2.Hello(client_id="me"), random.Random(1))
    if follow:
        core.want(Subscription(CART))
    core.opened(0)
    core.received([welcome(in_flight=in_flight)], 0)
    core.messages(0)
    if follow and live:
        core.received([snapshot("s1")], 0)
        core.messages(0)
    core.events()
    return core


def test_hello_comes_first_and_everything_wanted_follows_at_once() -> None:
    core = Connection(stream_pb2.Hello(client_id="me"))
    replica = Replica.restored(Saved(CART, "e", 7, 3, state.entries_to_bytes(ENTRIES)))
    core.lane(CART).next_seq = 5
    core.want(Subscription(CART, replica))
    core.submit(wish(1, "carts/b"))
    assert core.messages(0) == [], "there is no stream yet"
    core.opened(0)
    hello, subscribe, command = core.messages(0)
    assert hello.hello.client_id == "me"
    asked = subscribe.subscribe
    assert (asked.resource, asked.since, asked.since_target) == (CART, cursor(7), CART)
    assert asked.first_unacknowledged_seq == 5
    assert command.command == wish(1, "carts/b")


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


def test_one_ack_a_subscription_after_the_whole_message() -> None:
    core = connection(follow=True, live=False)
    core.received([snapshot("s1", 1), snapshot("s1", 2), snapshot("s1", 3)], 0)
    (ack,) = core.messages(0)
    assert (ack.ack.subscription_id, ack.ack.cursor) == ("s1", cursor(3))
    assert core.events() == [events.Changed(CART)]


def test_messages_of_former_attempts_are_dropped() -> None:
    core = connection(follow=True)
    core.closed(None, 1)
    core.opened(2)
    core.messages(2)
    core.received([snapshot("s1", 99)], 2)
    shown = core.subscriptions[CART]
    assert (core.dropped, shown.state, shown.replica.cursor) == (1, State.ASKED, cursor(1))


def test_a_delta_that_does_not_fit_asks_again_from_the_cursor() -> None:
    core = connection(follow=True)
    unfitting = stream_pb2.Delta(subscription_id="s1", prev_revision=5, cursor=cursor(6))
    core.received([ServerMessage(delta=unfitting)], 0)
    unsubscribe, subscribe = core.messages(0)
    assert unsubscribe.unsubscribe.subscription_id == "s1"
    assert (subscribe.subscribe.subscription_id, subscribe.subscribe.since) == ("s2", cursor(1))
    core.received([snapshot("s2"), ServerMessage(delta=unfitting)], 0)
    assert core.dropped == 1
    unfitting.subscription_id = "s2"
    core.received([ServerMessage(delta=unfitting)], 0)
    assert kinds(core.messages(0)) == ["ack", "unsubscribe"], "not in a tight loop"
    assert 0 < (core.next_timer() or 0) <= 0.2
    assert kinds(core.messages(0.2)) == ["subscribe"]


def test_two_wrong_digests_end_a_subscription_and_fetch_no_more() -> None:
    core = connection(follow=True, live=False)
    for id_ in ("s1", "s2"):
        torn = snapshot(id_)
        torn.snapshot.digest = b"?"
        core.received([torn], 0)
        core.messages(0)
    shown = core.subscriptions[CART]
    assert shown.state is State.ENDED
    assert isinstance(shown.error, errors.ReplicaDiverged)
    assert core.messages(1_000) == []


@pytest.mark.parametrize("reason", [error_pb2.ERROR_REASON_EPOCH_MISMATCH, error_pb2.ERROR_REASON_CURSOR_AHEAD])
def test_a_refused_cursor_is_dropped_with_its_state(reason: ErrorReason.ValueType) -> None:
    core = connection(follow=True)
    core.received([closed("s1", reason)], 0)
    assert not core.subscriptions[CART].replica.known
    (subscribe,) = core.messages(0)
    assert not subscribe.subscribe.HasField("since")


def test_a_subscription_that_is_refused_for_good_ends() -> None:
    core = connection(follow=True)
    core.received([closed("s1", error_pb2.ERROR_REASON_NOT_FOUND)], 0)
    assert isinstance(core.subscriptions[CART].error, errors.NotFound)
    assert core.messages(1_000) == []
    core.closed(None, 1_000)
    core.opened(1_001)
    assert kinds(core.messages(1_001)) == ["hello"], "nor on the next stream"


def test_a_subscription_that_is_refused_for_now_is_asked_for_when_told() -> None:
    core = connection(follow=True)
    core.received([closed("s1", error_pb2.ERROR_REASON_THROTTLED, delay=7)], 10)
    assert core.messages(10) == []
    assert core.next_timer() == 17
    assert kinds(core.messages(17)) == ["subscribe"]


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


def test_an_expired_token_holds_everything_until_there_is_another() -> None:
    core = connection(follow=True)
    core.submit(wish(1))
    core.messages(0)
    expired = error_pb2.ERROR_REASON_TOKEN_EXPIRED
    core.received([result(1, command_pb2.OUTCOME_NOT_ACCEPTED, expired), closed("s1", expired)], 0)
    assert any(isinstance(event, events.TokenNeeded) for event in core.events())
    assert core.messages(1_000) == []
    core.authenticate("new", 1_000)
    (authenticate,) = core.messages(1_000)
    assert authenticate.authenticate.access_token == "new"
    core.received([ServerMessage(authenticated=stream_pb2.Authenticated(error=Error(reason=expired)))], 1_000)
    assert core.messages(1_000) == [], "refused: the former identity stays"
    core.received([ServerMessage(authenticated=stream_pb2.Authenticated())], 1_000)
    assert kinds(core.messages(1_000)) == ["subscribe"]
    core.received([snapshot("s2")], 1_000)
    assert seqs(core.messages(1_000)) == [1]


def test_another_token_is_asked_for_before_the_present_one_ends() -> None:
    core = Connection(stream_pb2.Hello())
    core.opened(50)
    core.received([welcome(lives=100)], 60)
    assert core.next_timer() == 140
    core.tick(139)
    assert not [event for event in core.events() if isinstance(event, events.TokenNeeded)]
    core.tick(140)
    assert core.events() == [events.TokenNeeded(None)]
    core.tick(141)
    assert core.events() == []


def test_a_refused_token_stops_reconnecting_until_there_is_another() -> None:
    core = connection()
    core.closed(errors.TokenExpired("old"), 1)
    assert core.reconnect_at is None
    assert isinstance(core.events()[-1], events.TokenNeeded)
    core.authenticate("new", 2)
    assert core.reconnect_at == 2
    core.opened(2)
    core.closed(errors.TokenExpired("also old"), 3)
    core.authenticate("newer", 4)
    assert core.reconnect_at is not None
    assert core.reconnect_at > 4, "not in a tight loop"


def test_a_draining_hub_is_left_when_it_has_answered() -> None:
    core = connection()
    core.submit(wish(1))
    core.messages(0)
    drain = stream_pb2.Drain()
    drain.reconnect_after.FromSeconds(3)
    drain.grace.FromSeconds(10)
    core.received([ServerMessage(drain=drain)], 100)
    core.submit(wish(2))
    assert core.messages(100) == []
    assert core.events() == []
    assert core.next_timer() == 110
    core.received([result(1)], 101)
    assert isinstance(core.events()[-1], events.Drained)
    core.closed(None, 101)
    assert core.reconnect_at == 103
    core.opened(103)
    core.received([welcome()], 103)
    assert seqs(core.messages(103)) == [2]


def test_a_draining_hub_that_does_not_answer_is_left_at_its_time() -> None:
    core = connection()
    core.submit(wish(1))
    core.messages(0)
    drain = stream_pb2.Drain()
    drain.grace.FromSeconds(10)
    core.received([ServerMessage(drain=drain)], 100)
    core.tick(109.9)
    assert core.events() == []
    core.tick(110)
    core.tick(111)
    assert core.events() == [events.Drained()]


@pytest.mark.parametrize(
    "error", [errors.ConnectionReplaced(), errors.ClientIdTaken(), errors.ProtocolViolation(), errors.NotAllowed()]
)
def test_some_ends_are_final(error: errors.LegatoError) -> None:
    core = connection()
    core.closed(error, 1)
    assert core.events() == [events.Stopped(error)]
    assert (core.stopped, core.reconnect_at, core.error) == (True, None, error)
    core.authenticate("new", 2)
    assert core.reconnect_at is None


def test_delays_grow_at_random_up_to_a_bound_and_begin_anew_after_a_good_stream() -> None:
    core = connection()
    core.closed(None, 1)
    delays, now = [], 1.0
    for _ in range(200):
        at = core.reconnect_at
        assert at is not None
        delays.append(at - now)
        now = at
        core.opened(now)
        core.closed(errors.Unavailable("down"), now)
    assert 0 <= delays[0] <= 0.4
    assert max(delays[20:]) <= RECONNECT_CAP
    assert min(delays[20:]) < RECONNECT_CAP / 4 < RECONNECT_CAP * 3 / 4 < max(delays[20:]), "anything in between"
    core.opened(now)
    core.received([welcome()], now)
    core.closed(errors.Unavailable("down"), now + 60)
    assert core.reconnect_at is not None
    assert core.reconnect_at <= now + 60.4


def test_a_delay_that_the_hub_names_is_kept() -> None:
    core = connection()
    core.closed(errors.Throttled(retry_delay=30), 1)
    assert core.reconnect_at is not None
    assert core.reconnect_at >= 31


def test_what_is_wanted_no_more_is_left() -> None:
    core = connection(follow=True)
    core.unwant(CART)
    (unsubscribe,) = core.messages(0)
    assert unsubscribe.unsubscribe.subscription_id == "s1"
    core.received([snapshot("s1")], 0)
    assert core.dropped == 1


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
