"""Who is present on all hubs: what is merged, what ends, what is told."""

import msgspec
import pytest
from google.protobuf.message import DecodeError

from legato.orchestrator.v1 import stream_pb2
from legato_hub.core import notes
from legato_hub.core.notes import Present, Replaced
from legato_hub.core.presence import CROWD, PRESENCE_SHOWN, Roster


def channel(presence_id: str, at_ms: int = 0) -> stream_pb2.PresentChannel:
    made = stream_pb2.PresentChannel(presence_id=presence_id, channel=stream_pb2.Channel(kind="web"))
    made.connected_at.FromMilliseconds(at_ms)
    return made


def said(*channels: stream_pb2.PresentChannel) -> tuple[bytes, ...]:
    return tuple(each.SerializeToString() for each in channels)


def ids(channels: list[stream_pb2.PresentChannel]) -> list[str]:
    return [each.presence_id for each in channels]


def test_the_channels_of_all_hubs_are_shown_oldest_first_and_each_once() -> None:
    roster = Roster[str]()
    assert roster.join("one", channel("c", 3))
    assert roster.join("another of the same", channel("c", 3))
    assert roster.told("hub-2", said(channel("d", 4), channel("a", 1)), until=10)
    assert roster.told("hub-3", said(channel("b", 2), channel("c", 3)), until=10)
    assert ids(roster.shown()) == ["a", "b", "c", "d"]
    assert ids(roster.here()) == ["c"]


def test_channels_of_one_moment_are_in_one_order_on_every_hub() -> None:
    here, there = Roster[str](), Roster[str]()
    here.join("x", channel("a", 1))
    here.told("there", said(channel("b", 1)), until=10)
    there.join("y", channel("b", 1))
    there.told("here", said(channel("a", 1)), until=10)
    assert ids(here.shown()) == ids(there.shown()) == ["a", "b"]


def test_whoever_is_not_shown_changes_nothing_and_is_in_the_audience() -> None:
    roster = Roster[str]()
    assert not roster.join("silent", None)
    assert list(roster.audience) == ["silent"]
    assert roster.shown() == []
    assert not roster.leave("silent")
    assert not roster.leave("silent")
    assert not roster.audience


def test_each_list_takes_the_place_of_the_hubs_last_one() -> None:
    roster = Roster[str]()
    assert roster.told("hub-2", said(channel("a"), channel("b")), until=10)
    assert roster.told("hub-2", said(channel("b")), until=10)
    assert ids(roster.shown()) == ["b"]
    assert not roster.told("hub-2", said(channel("b")), until=10)
    assert roster.told("hub-2", (), until=10)
    assert roster.shown() == []


def test_a_hub_that_serves_nobody_yet_is_a_peer_and_no_news() -> None:
    roster = Roster[str]()
    assert not roster.told("hub-2", (), until=10)
    assert list(roster.peers) == ["hub-2"]
    assert not roster.forget("hub-2")
    assert not roster.peers


def test_a_list_ends_when_it_is_not_renewed() -> None:
    roster = Roster[str]()
    roster.join("one", channel("here"))
    roster.told("hub-2", said(channel("two")), until=10)
    roster.told("hub-3", said(channel("three")), until=11)
    assert not roster.expire(9.9)
    roster.told("hub-3", said(channel("three")), until=20)
    assert roster.expire(11)
    assert ids(roster.shown()) == ["here", "three"]
    assert roster.forget("hub-3", "hub-4")
    assert ids(roster.shown()) == ["here"]


def test_what_is_shown_and_kept_is_bounded() -> None:
    roster = Roster[int]()
    for number in range(CROWD):
        roster.join(number, channel(f"here-{number:03}", 2))
    assert not roster.crowded
    roster.join(CROWD, channel("one too many", 0))
    assert roster.crowded
    assert len(roster.here()) == PRESENCE_SHOWN
    roster.told("hub-2", said(*(channel(f"there-{number:03}", 1) for number in range(2 * PRESENCE_SHOWN))), until=10)
    assert ids(roster.shown()) == [f"there-{number:03}" for number in range(PRESENCE_SHOWN)]


def test_a_list_that_cannot_be_read_changes_nothing() -> None:
    roster = Roster[str]()
    roster.told("hub-2", said(channel("a")), until=10)
    with pytest.raises(DecodeError):
        roster.told("hub-2", (b"\xff",), until=10)
    assert ids(roster.shown()) == ["a"]


@pytest.mark.parametrize("note", [Present("hub", (b"\x00\xff", b""), 30_000, asks=True), Replaced(("a", "b"))])
def test_notes_travel_as_they_are(note: notes.Note) -> None:
    assert notes.decode(notes.encode(note)) == note


def test_what_a_later_version_adds_is_passed_over() -> None:
    class Present(notes.Present, frozen=True, tag="present"):
        more: int = 1

    class Another(msgspec.Struct, frozen=True, tag="another"):
        pass

    later = Present("hub", (), 1)
    assert notes.decode(msgspec.msgpack.encode(later)) == notes.Present("hub", (), 1)
    for unknown in (msgspec.msgpack.encode(Another()), b"", b"\xc1", b"hello"):
        assert notes.decode(unknown) is None
