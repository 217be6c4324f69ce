"""How the client keeps a stream, its subscriptions and its identity: the rules one by one."""

import pytest

from legato import errors, events
from legato.connection import RECONNECT_CAP, Connection
from legato.orchestrator.v1 import command_pb2, error_pb2, stream_pb2
from legato.orchestrator.v1.error_pb2 import Error, ErrorReason
from legato.orchestrator.v1.stream_pb2 import ServerMessage
from legato.protocol import state
from legato.replica import Replica, Saved
from legato.subscription import ACKNOWLEDGED_WITHIN_S, State, Subscription
from tests.client.said import CART, ENTRIES, closed, connection, cursor, kinds, result, seqs, snapshot, welcome, wish


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


def test_one_ack_stands_for_all_that_was_applied_within_a_moment() -> None:
    core = connection(follow=True, live=False)
    core.limits.max_unacknowledged = 64
    core.received([snapshot("s1", 1), snapshot("s1", 2)], 0)
    assert core.events() == [events.Changed(CART)]
    assert core.messages(0) == []
    assert core.next_timer() == ACKNOWLEDGED_WITHIN_S
    core.received([snapshot("s1", 3)], 0.05)
    assert core.messages(0.05) == []
    assert core.next_timer() == ACKNOWLEDGED_WITHIN_S
    (ack,) = core.messages(ACKNOWLEDGED_WITHIN_S)
    assert (ack.ack.subscription_id, ack.ack.cursor) == ("s1", cursor(3))
    assert core.next_timer() is None
    assert core.messages(1) == []


@pytest.mark.parametrize(("limit", "many"), [(64, 32), (5, 2), (1, 1), (0, 1)])
def test_an_ack_does_not_wait_until_the_hub_holds_back(limit: int, many: int) -> None:
    core = connection(follow=True, live=False)
    core.limits.max_unacknowledged = limit
    for number in range(1, 3 * many + 1):
        core.received([snapshot("s1", number)], 0)
        assert len(core.messages(0)) == (number % many == 0)


def test_what_was_applied_in_a_former_attempt_is_not_acknowledged_in_the_next() -> None:
    core = connection(follow=True)
    core.received([snapshot("s1", 2)], 0)
    core.closed(None, 0)
    core.opened(0)
    assert kinds(core.messages(0)) == ["hello", "subscribe"]
    assert core.messages(ACKNOWLEDGED_WITHIN_S) == []


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
    assert kinds(core.messages(0)) == ["unsubscribe"], "not in a tight loop"
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
