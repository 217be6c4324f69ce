"""Who is present at a resource: the channels that this hub serves, and those that other hubs told of."""

from collections.abc import Collection, Iterable
from typing import Generic, NamedTuple, TypeVar

from legato.orchestrator.v1 import stream_pb2

PRESENCE_SHOWN = 32
"""Channels named in a presence message; a resource with more shows the oldest."""

CROWD = 2 * PRESENCE_SHOWN
"""Beyond so many nobody is told: whoever is shown is of no use to anybody, and telling all of each is quadratic."""

_Member = TypeVar("_Member")


class _Told(NamedTuple):
    """What another hub said, and until when it holds."""

    said: tuple[bytes, ...]
    channels: list[stream_pb2.PresentChannel]
    until: float


class Roster(Generic[_Member]):
    """Times are seconds of any clock, as long as it is the same one."""

    def __init__(self) -> None:
        self._here: dict[_Member, stream_pb2.PresentChannel | None] = {}
        self._elsewhere: dict[str, _Told] = {}
        self._shown: list[stream_pb2.PresentChannel] | None = None

    @property
    def audience(self) -> Collection[_Member]:
        """Those on this hub who want to know."""
        return self._here.keys()

    @property
    def crowded(self) -> bool:
        """Whether there are too many on this hub to tell them of each other."""
        return len(self._here) > CROWD

    @property
    def peers(self) -> Collection[str]:
        """Other hubs where somebody wants to know."""
        return self._elsewhere.keys()

    def join(self, member: _Member, channel: stream_pb2.PresentChannel | None) -> bool:
        """Somebody on this hub, shown as `channel` if at all; whether that changes what is shown."""
        self._here[member] = channel
        self._shown = None
        return channel is not None

    def leave(self, member: _Member) -> bool:
        """The end of it, harmless without a beginning; whether that changes what is shown."""
        channel = self._here.pop(member, None)
        self._shown = None
        return channel is not None

    def told(self, hub: str, said: tuple[bytes, ...], until: float) -> bool:
        """The list of another hub; whether it is news. Raise DecodeError if it is none."""
        known = self._elsewhere.get(hub)
        if known is not None and known.said == said:
            self._elsewhere[hub] = known._replace(until=until)
            return False
        channels = [stream_pb2.PresentChannel.FromString(channel) for channel in said[:PRESENCE_SHOWN]]
        self._elsewhere[hub] = _Told(said, channels, until)
        self._shown = None
        return bool(said or known)

    def forget(self, *hubs: str) -> bool:
        """Drop the lists of other hubs; whether that changes what is shown."""
        dropped = [self._elsewhere.pop(hub) for hub in hubs if hub in self._elsewhere]
        self._shown = None
        return any(told.said for told in dropped)

    def expire(self, now: float) -> bool:
        """Drop the lists past their time; whether that changes what is shown."""
        return self.forget(*[hub for hub, told in self._elsewhere.items() if told.until <= now])

    def here(self) -> list[stream_pb2.PresentChannel]:
        """The channels on this hub, in the order they came, each once, at most PRESENCE_SHOWN."""
        return _first(channel for channel in self._here.values() if channel is not None)

    def shown(self) -> list[stream_pb2.PresentChannel]:
        """The channels on all hubs, oldest first, each once, at most PRESENCE_SHOWN."""
        if self._shown is None:
            elsewhere = (channel for told in self._elsewhere.values() for channel in told.channels)
            self._shown = _first(sorted([*self.here(), *elsewhere], key=_age))
        return self._shown


def _first(channels: Iterable[stream_pb2.PresentChannel]) -> list[stream_pb2.PresentChannel]:
    found: dict[str, stream_pb2.PresentChannel] = {}
    for channel in channels:
        found.setdefault(channel.presence_id, channel)
        if len(found) == PRESENCE_SHOWN:
            break
    return list(found.values())


def _age(channel: stream_pb2.PresentChannel) -> tuple[int, int, str]:
    """Compares alike on every hub."""
    return channel.connected_at.seconds, channel.connected_at.nanos, channel.presence_id
