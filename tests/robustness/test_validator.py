"""The validator, on histories written by hand: one that keeps every promise, and one that breaks each of them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from legato.orchestrator.v1 import command_pb2, error_pb2, stream_pb2
from legato.protocol.ids import new_id
from tests.robustness import validator
from tests.robustness.handwritten import (
    CART,
    DONE,
    FIRST,
    NOTHING,
    ONE,
    SECOND,
    THREE,
    WALL_MS,
    History,
    add,
    at,
    begun,
    delta,
    entries,
    progress,
    result,
    snapshot,
)
from tests.robustness.history import Recorder, read
from tests.robustness.promises import PROMISES


def test_a_history_that_keeps_every_promise() -> None:
    made = begun()
    made.sends(command=FIRST)
    made.gets(delta(1, 2, NOTHING, ONE), result(FIRST, 2))
    made.note("fault", deed="the network is cut", affects=["till"])
    made.closed(code="UNAVAILABLE", by="hub")
    made.open(number=2)
    made.subscribes(since=at(2), number=2)
    made.sends(command=SECOND, number=2)
    made.gets(progress(2, ONE), number=2)
    made.gets(delta(2, 3, ONE, THREE), result(SECOND, 3), number=2)
    made.ends(*DONE, lines={"ROPE": 3})
    made.note("hub", "hub-1", cart=CART, lines={"ROPE": 3}, cursor=["e", 3])
    assert made.violated() == {}


def a_gap(made: History) -> None:
    made.sends(command=FIRST)
    made.sends(command=SECOND)
    made.gets(delta(2, 3, ONE, THREE))
    made.sends(unsubscribe=stream_pb2.Unsubscribe(subscription_id="s"))
    made.subscribes()
    made.gets(snapshot(3, THREE), result(FIRST, 2), result(SECOND, 3))
    made.ends(*DONE, lines={"ROPE": 3})


def a_snapshot_without_need(made: History) -> None:
    made.closed()
    made.open(number=2)
    made.subscribes(since=at(1), number=2)
    made.gets(snapshot(1, NOTHING, stream_pb2.SNAPSHOT_REASON_TRIMMED), number=2)
    made.ends(lines={})


def a_log_that_reaches_too_short(made: History) -> None:
    made.gets(delta(1, 101, NOTHING, NOTHING))
    made.closed()
    made.open(number=2)
    made.subscribes(since=at(1), number=2)
    made.gets(snapshot(101, NOTHING, stream_pb2.SNAPSHOT_REASON_TRIMMED), number=2)
    made.ends(lines={})


def a_log_that_reaches_too_far(made: History) -> None:
    made.gets(delta(1, 102, NOTHING, NOTHING))
    made.closed()
    made.open(number=2)
    made.subscribes(since=at(1), number=2)
    made.gets(delta(1, 102, NOTHING, NOTHING), number=2)
    made.ends(lines={})


def an_effect_twice(made: History) -> None:
    made.sends(command=FIRST)
    made.gets(delta(1, 2, NOTHING, entries(ROPE=2)), result(FIRST, 2))
    made.ends(DONE[0], DONE[0], lines={"ROPE": 2})


def an_effect_lost(made: History) -> None:
    made.sends(command=FIRST)
    made.gets(result(FIRST, 1))
    made.ends(lines={})


def two_outcomes(made: History) -> None:
    made.sends(command=FIRST)
    made.gets(delta(1, 2, NOTHING, ONE), result(FIRST, 2))
    made.sends(command=FIRST)
    made.gets(result(FIRST, 2, command_pb2.OUTCOME_REJECTED, error_pb2.ERROR_REASON_UNKNOWN_SKU))
    made.ends(DONE[0], lines={"ROPE": 1})


def an_unknown_that_could_be_known(made: History) -> None:
    made.sends(command=FIRST)
    made.gets(
        delta(1, 2, NOTHING, ONE),
        result(FIRST, 2, command_pb2.OUTCOME_UNKNOWN, error_pb2.ERROR_REASON_OUTCOME_UNKNOWN),
    )
    made.ends(DONE[0], lines={"ROPE": 1})


def an_old_one_executed(made: History) -> None:
    old = add("ROPE", 1, 0, new_id(WALL_MS - 48 * 3_600_000))
    made.sends(command=old)
    made.gets(delta(1, 2, NOTHING, ONE), result(old, 2))
    made.ends((old.command_id, "ROPE", 1), lines={"ROPE": 1})


def an_older_state_in_a_newer_revision(made: History) -> None:
    made.sends(command=FIRST)
    made.gets(delta(1, 2, NOTHING, ONE), result(FIRST, 2))
    made.sends(command=SECOND)
    made.gets(delta(2, 3, ONE, THREE), result(SECOND, 3))
    made.gets(delta(3, 4, THREE, ONE), delta(4, 5, ONE, THREE))
    made.ends(*DONE, lines={"ROPE": 3})


def a_later_one_first(made: History) -> None:
    made.sends(command=FIRST)
    made.gets(delta(1, 2, NOTHING, ONE), result(FIRST, 2))
    made.sends(command=SECOND)
    made.gets(delta(2, 3, ONE, THREE), result(SECOND, 3))
    made.ends(DONE[1], DONE[0], lines={"ROPE": 3})


def a_result_before_its_state(made: History) -> None:
    made.sends(command=FIRST)
    made.gets(result(FIRST, 2))
    made.gets(delta(1, 2, NOTHING, ONE))
    made.ends(DONE[0], lines={"ROPE": 1})


def a_wrong_digest(made: History) -> None:
    made.gets(progress(1, ONE))
    made.ends(lines={})


def progress_ahead_of_its_delta(made: History) -> None:
    made.sends(command=FIRST)
    made.gets(progress(2, ONE))
    made.gets(delta(1, 2, NOTHING, ONE), result(FIRST, 2))
    made.ends(DONE[0], lines={"ROPE": 1})


def a_queue_that_grows(made: History) -> None:
    for revision in range(1, 6):
        made.gets(delta(revision, revision + 1, NOTHING, NOTHING))
    made.ends(lines={})


def a_hub_that_grows(made: History) -> None:
    made.note("memory", "hub-1", bytes=100_000_000)
    made.note("memory", "hub-1", bytes=300_000_000)
    made.ends(lines={})


def a_cursor_with_two_states(made: History) -> None:
    made.sends(command=FIRST)
    made.gets(delta(1, 2, NOTHING, ONE), result(FIRST, 2))
    made.closed()
    made.open(number=2)
    made.subscribes(number=2)
    made.gets(snapshot(2, NOTHING), number=2)
    made.gets(delta(2, 3, NOTHING, ONE), number=2)
    made.ends(DONE[0], lines={"ROPE": 1})


def a_revision_lost_in_its_epoch(made: History) -> None:
    made.gets(delta(1, 5, NOTHING, NOTHING))
    made.ends(lines={})
    made.note("hub", "hub-1", cart=CART, lines={}, cursor=["e", 4])


def a_command_of_another_epoch(made: History) -> None:
    command = add("ROPE", 1, 1)
    command.expected.CopyFrom(at(1, "former"))
    made.sends(command=command)
    made.gets(delta(1, 2, NOTHING, ONE), result(command, 2))
    made.ends((command.command_id, "ROPE", 1), lines={"ROPE": 1})


def an_end_without_cause(made: History) -> None:
    made.closed(code="INTERNAL", by="hub")
    made.ends(lines={})


def a_neighbour_who_had_to_wait(made: History) -> None:
    made.note("client", "other", role="neighbour", may_see=[CART])
    made.open("other")
    made.note("fault", deed="a slow reader", affects=["till"])
    made.sends("other", command=FIRST)
    made.gets(delta(1, 2, NOTHING, ONE))
    made.ends(DONE[0], lines={"ROPE": 1})
    made.gets(result(FIRST, 2), who="other")


def a_drain_without_a_word(made: History) -> None:
    made.gets(stream_pb2.ServerMessage(welcome=stream_pb2.Welcome()))
    made.note("fault", deed="drain", affects=["hub-1"])
    made.closed(code="UNAVAILABLE", by="hub")
    made.note("exit", "hub-1", code=0)
    made.ends(lines={})


def a_drain_that_kills(made: History) -> None:
    made.note("fault", deed="drain", affects=["hub-1"])
    made.note("exit", "hub-1", code=-9)
    made.ends(lines={})


def a_stranger_who_sees(made: History) -> None:
    made.note("client", "intruder", role="intruder", may_see=[])
    made.open("intruder")
    made.subscribes(who="intruder")
    made.gets(snapshot(1, NOTHING), who="intruder")
    made.ends(lines={})


def a_stranger_who_acts(made: History) -> None:
    made.note("client", "intruder", role="intruder", may_see=[])
    made.open("intruder")
    made.sends("intruder", command=FIRST)
    made.gets(delta(1, 2, NOTHING, ONE))
    made.ends(DONE[0], lines={"ROPE": 1})


def a_command_without_an_outcome(made: History) -> None:
    made.sends(command=FIRST)
    made.ends(lines={})


def a_replica_left_behind(made: History) -> None:
    made.sends(command=FIRST)
    made.closed()
    made.open(number=2)
    made.sends(command=FIRST, number=2)
    made.gets(result(FIRST, 2), number=2)
    made.ends(DONE[0], lines={"ROPE": 1})


def a_hub_left_behind(made: History) -> None:
    made.ends(lines={})
    made.note("hub", "hub-1", cart=CART, lines={"ROPE": 1}, cursor=["e", 1])


def a_slot_left_behind(made: History) -> None:
    made.ends(lines={})
    made.note("slot", resource=CART)


BREACHES: dict[str, list[Callable[[History], None]]] = {
    "ordered-gap-free": [a_gap],
    "resumable": [a_snapshot_without_need, a_log_that_reaches_too_short, a_log_that_reaches_too_far],
    "exactly-once": [
        an_effect_twice,
        an_effect_lost,
        two_outcomes,
        an_unknown_that_could_be_known,
        an_old_one_executed,
    ],
    "sequential": [an_older_state_in_a_newer_revision, a_later_one_first],
    "read-your-writes": [a_result_before_its_state],
    "no-torn-state": [a_wrong_digest],
    "progress-in-band": [progress_ahead_of_its_delta],
    "bounded": [a_queue_that_grows, a_hub_that_grows],
    "fenced": [
        a_cursor_with_two_states,
        a_revision_lost_in_its_epoch,
        a_command_of_another_epoch,
        an_older_state_in_a_newer_revision,
    ],
    "isolated": [an_end_without_cause, a_neighbour_who_had_to_wait],
    "graceful-drain": [a_drain_without_a_word, a_drain_that_kills],
    "authorised": [a_stranger_who_sees, a_stranger_who_acts],
    "live": [a_command_without_an_outcome, a_replica_left_behind, a_hub_left_behind, a_slot_left_behind],
}


def test_every_promise_has_a_breach() -> None:
    assert BREACHES.keys() == PROMISES.keys()


@pytest.mark.parametrize(
    ("promise", "breach"), [(name, breach) for name, breaches in BREACHES.items() for breach in breaches]
)
def test_a_breach_is_reported_under_the_promises_that_it_breaks_and_no_other(
    promise: str, breach: Callable[[History], None]
) -> None:
    made = begun()
    breach(made)
    assert made.violated().keys() == {name for name, breaches in BREACHES.items() if breach in breaches}
    found = validator.judge(made.records)[promise]
    lines = list(validator.report({promise: found}))
    assert lines[0].startswith(f"VIOLATED {promise}: ")
    assert any(line.startswith("    ") for line in lines)  # the records that prove it


def test_a_history_is_the_same_after_it_was_written(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "one.jsonl")
    recorder.record("run", fault="x")
    recorder.sent("till", "till/1", stream_pb2.ConnectRequest(ping=stream_pb2.Ping(nonce=7)))
    recorder.close()
    with (tmp_path / "one.jsonl").open("a") as file:
        file.write('{"at": 1')  # its process was killed
    head, sent = read(tmp_path)
    assert (head.what, head["fault"]) == ("run", "x")
    assert sent.request().ping.nonce == 7
    assert head.at <= sent.at
