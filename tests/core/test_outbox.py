"""The order within and across messages, where a size limit or the window cuts them."""

import pytest

from legato.orchestrator.v1 import command_pb2, stream_pb2
from legato.protocol.state import Delta
from legato_hub.core import outbox as module
from legato_hub.core.cursor import Cursor
from legato_hub.core.outbox import Outbox, Subscription, to_cursor
from legato_hub.live import Live
from legato_hub.storage.base import Update


def live(name: str = "carts/x", revisions: int = 1, size: int = 10) -> Live:
    made = Live(name, "e")
    for revision in range(1, revisions + 1):
        made.update(Update(name, Cursor("e", revision), Delta({f"line/{revision}": b"x" * size})))
    return made


def subscribed(outbox: Outbox, feed: Live, id_: str = "s", sent: int = 0) -> Subscription:
    made = Subscription(id_, feed.name, feed, sent=sent)
    outbox.add(made)
    return made


def applied(feed: Live) -> command_pb2.CommandResult:
    result = command_pb2.CommandResult(resource=feed.name, outcome=command_pb2.OUTCOME_APPLIED)
    result.cursor.CopyFrom(to_cursor(feed.cursor))
    return result


def pong() -> stream_pb2.ServerMessage:
    return stream_pb2.ServerMessage(pong=stream_pb2.Pong(nonce=1))


def kinds(taken: bytes) -> list[str]:
    return [str(message.WhichOneof("message")) for message in stream_pb2.ConnectResponse.FromString(taken).messages]


@pytest.mark.parametrize("behind", [1, 2])
def test_a_result_waits_for_its_delta_where_a_message_is_full(monkeypatch: pytest.MonkeyPatch, behind: int) -> None:
    monkeypatch.setattr(module, "BATCH_BYTES", 1)
    outbox, feed = Outbox("c", 0), live(revisions=3)
    subscribed(outbox, feed, sent=3 - behind)
    outbox.say(pong())
    outbox.answer(applied(feed))
    assert kinds(outbox.take()) == ["pong"]
    assert outbox.more
    rest = kinds(outbox.take())
    assert rest[0] in ("delta", "snapshot")
    assert rest[1:] == ["command_result"]
    assert not outbox.more
    assert outbox.take() == b""


def test_many_large_states_come_in_messages_that_clients_accept() -> None:
    outbox, size = Outbox("c", 0), 300_000
    feeds = [live(f"carts/{n}", size=size) for n in range(40)]
    for number, feed in enumerate(feeds):
        subscribed(outbox, feed, str(number)).snapshot = stream_pb2.SNAPSHOT_REASON_INITIAL
    sizes, seen = [], 0
    while taken := outbox.take():
        sizes.append(len(taken))
        seen += len(kinds(taken))
    assert seen == 40
    assert max(sizes) <= module.BATCH_BYTES + size + 1_000


def test_a_client_that_never_acknowledges_costs_no_account() -> None:
    outbox, feed = Outbox("c", 2), live()
    subscription = subscribed(outbox, feed)
    for revision in range(2, 50):
        outbox.take()
        feed.update(Update(feed.name, Cursor("e", revision), Delta({"cart": bytes([revision])})))
        outbox.due(subscription)
        outbox.answer(applied(feed))
        assert kinds(outbox.take())[-1] == "command_result"
        assert outbox.lag <= 2
    # What others do waits.
    feed.update(Update(feed.name, Cursor("e", 50), Delta({"cart": b"!"})))
    outbox.due(subscription)
    assert outbox.take() == b""
    assert outbox.acknowledge("s", to_cursor(Cursor("e", 49)))
    assert kinds(outbox.take()) == ["delta"]


def test_a_refusal_waits_for_nothing() -> None:
    outbox, feed = Outbox("c", 0), live()
    refused = applied(feed)
    refused.cursor.revision = 9
    refused.outcome = command_pb2.OUTCOME_REJECTED
    outbox.answer(refused)
    subscribed(outbox, feed)
    assert kinds(outbox.take())[-1] == "command_result"


def test_a_result_of_a_revision_that_is_not_here_yet_waits_and_does_not_spin() -> None:
    """Another hub committed it, and its news is on the way."""
    outbox, feed = Outbox("c", 0), live()
    subscription = subscribed(outbox, feed)
    outbox.take()
    result = applied(feed)
    result.cursor.revision = 2
    outbox.answer(result)
    assert outbox.take() == b""
    assert not outbox.more
    feed.update(Update(feed.name, Cursor("e", 2), Delta({"cart": b"!"})))
    outbox.due(subscription)
    assert kinds(outbox.take()) == ["delta", "command_result"]
