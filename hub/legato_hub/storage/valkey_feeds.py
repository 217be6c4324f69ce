"""Who follows what. Publishing wakes, the log repairs: followers get every revision, in order, whatever was not heard.

A feed is one followed resource. Its *position* is the last revision that its followers were told; the first is read
after the first of them came and before anything else is read or written through this storage (`anchored`), so that no
later `load` can be behind it. From there on a message with the next revision is told at once; one further ahead, a
subscription that begins (again), and a probe that finds the resource ahead all make the feed read the log.
"""

import asyncio
import logging
import random
import secrets
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import count
from typing import Any, NamedTuple

from legato_hub.storage import valkey_scripts as scripts
from legato_hub.storage.base import Cursor, Follower, Gone, Lost, Noted, StorageError, Update
from legato_hub.storage.valkey_client import Client
from legato_hub.storage.valkey_keys import Bucket, Keys, bucket_of, pack_note, unpack_entry, unpack_note
from legato_hub.storage.valkey_link import Link
from legato_hub.storage.valkey_reads import revisions, since
from legato_hub.storage.valkey_subscriber import Subscriber
from legato_hub.telemetry.metrics import FEED_REPAIRS

_log = logging.getLogger(__name__)


class Following(NamedTuple):
    """What a follower wants to hear."""

    follower: Follower
    lost: Lost | None
    noted: Noted | None


class Feed:
    """One followed resource."""

    def __init__(self, resource: str) -> None:
        self.resource = resource
        (self.channel,) = Keys(resource).of(b"feed")
        self.followers: dict[int, Following] = {}
        self.position: int | None = None
        self.heard = 0
        """The highest revision that is known to exist."""
        self.anchoring: asyncio.Task[Any] | None = None
        self.repairing: asyncio.Task[Any] | None = None
        self.behind = False
        """Whether the last probe found revisions that were not heard of."""


class Feeds:
    """All feeds of one storage."""

    def __init__(self, client: Client, timeout_s: float, probe_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self._probe_s = probe_s
        self._loop = asyncio.get_running_loop()
        self._sender = secrets.token_hex(8).encode()
        self._feeds: dict[str, Feed] = {}
        self._by_channel: dict[bytes, Feed] = {}
        self._subscribers: dict[Link, Subscriber] = {}
        self._ids = count()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._moving: asyncio.Task[Any] | None = None
        _ = self._start(self._probe_again_and_again(), "probe the storage")

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(subscriber.close() for subscriber in self._subscribers.values()))

    def follow(self, resource: str, follower: Follower, lost: Lost | None, noted: Noted | None) -> Callable[[], None]:
        """As the protocol says."""
        feed = self._feeds.get(resource)
        if feed is None:
            feed = self._feeds[resource] = Feed(resource)
            self._by_channel[feed.channel] = feed
            self._subscriber_of(feed).add(feed.channel)
            _ = self._anchor(feed)
        follower_id = next(self._ids)
        feed.followers[follower_id] = Following(follower, lost, noted)
        return partial(self._unfollow, feed, follower_id)

    def _unfollow(self, feed: Feed, follower_id: int) -> None:
        if feed.followers.pop(follower_id, None) is None or feed.followers:
            return
        del self._feeds[feed.resource], self._by_channel[feed.channel]
        self._subscriber_of(feed).discard(feed.channel)

    def get(self, resource: str) -> Feed | None:
        """None if nobody follows it."""
        return self._feeds.get(resource)

    async def anchored(self, feed: Feed) -> None:
        """Wait until the feed has its first position. Raise StorageError."""
        while feed.position is None:
            await asyncio.shield(self._anchor(feed))

    def _anchor(self, feed: Feed) -> asyncio.Task[Any]:
        if feed.anchoring is None or feed.anchoring.done():
            feed.anchoring = self._start(self._read_position(feed), f"anchor {feed.resource}")
        return feed.anchoring

    async def _read_position(self, feed: Feed) -> None:
        while feed.position is None:
            fence, (revision,) = await revisions(self._client, bucket_of(feed.resource), [feed.resource])
            if fence is self._client.fence:
                feed.position = revision
                if feed.heard > revision:
                    _ = self._repair(feed)

    def forget_position(self, resource: str) -> None:
        """The resource was removed: if it ever comes again it begins at 1."""
        feed = self._feeds.get(resource)
        if feed is not None:
            feed.position, feed.heard = None, 0

    def new_epoch(self) -> None:
        """What followers were told may never have been: they are told that it is lost."""
        for feed in list(self._feeds.values()):
            feed.position, feed.heard = None, 0
            _ = self._anchor(feed)
        for feed in list(self._feeds.values()):
            self._tell_lost(feed)
        self._resubscribe()

    def offer(self, feed: Feed, update: Update) -> bool:
        """Tell the next revision. False if there is one between that was not told yet: then repair."""
        at = update.cursor.revision
        if feed.position is None or update.cursor.epoch != self._client.fence.epoch or at <= feed.position:
            return True
        feed.heard = max(feed.heard, at)
        if at != feed.position + 1:
            return False
        feed.position = at
        self._tell(feed, lambda following: partial(following.follower, update))
        return True

    async def caught_up(self, feed: Feed) -> None:
        """Wait until what is missing was read from the log and told, or cannot be for the moment."""
        await asyncio.wait({self._repair(feed)})

    def _repair(self, feed: Feed) -> asyncio.Task[Any]:
        if feed.repairing is None or feed.repairing.done():
            feed.repairing = self._start(self._read_log(feed), f"repair {feed.resource}")
        return feed.repairing

    async def _read_log(self, feed: Feed) -> None:
        while feed.position is not None and feed.followers and feed.position < feed.heard:
            position = feed.position
            fence = self._client.fence
            missed = await since(self._client, feed.resource, Cursor(fence.epoch, position))
            if feed.position is None or fence is not self._client.fence:
                return  # told as lost meanwhile
            if isinstance(missed, Gone):
                _log.warning("a feed was left behind", extra={"resource": feed.resource, "reason": missed.name})
                self.forget_position(feed.resource)
                _ = self._anchor(feed)
                self._tell_lost(feed)
                return
            FEED_REPAIRS.add(by=len(missed))
            for update in missed:
                self.offer(feed, update)
            feed.heard = max(feed.position, feed.heard if missed else 0)

    def _tell_lost(self, feed: Feed) -> None:
        self._tell(feed, lambda following: following.lost)

    async def notify(self, resource: str, note: bytes) -> int:
        """As the protocol says."""
        keys = Keys(resource)
        packed = pack_note(self._sender, note)
        _, receivers, _ = await self._client.run(scripts.NOTIFY, keys.bucket, keys.of(b"feed"), packed)
        feed = self._feeds.get(resource)
        own = feed is not None and feed.channel in self._subscriber_of(feed).confirmed
        return max(int(receivers) - own, 0)

    def _on_note(self, feed: Feed, said: bytes) -> None:
        unpacked = unpack_note(said)
        if unpacked is None or unpacked[0] == self._sender:
            return
        note = unpacked[1]
        self._tell(feed, lambda following: partial(following.noted, note) if following.noted is not None else None)

    def _tell(self, feed: Feed, what: Callable[[Following], Callable[[], None] | None]) -> None:
        for follower_id, following in list(feed.followers.items()):
            call = what(following)
            if call is not None and follower_id in feed.followers:  # else one called before has ended this one
                self._call(feed, call)

    def _call(self, feed: Feed, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception as error:  # noqa: BLE001 - a faulty follower must not keep others, or the commit, waiting
            context = {"message": f"a follower of {feed.resource} failed", "exception": error}
            self._loop.call_exception_handler(context)

    def _on_message(self, channel: bytes, data: bytes) -> None:
        feed = self._by_channel.get(channel)
        if feed is None:
            return
        origin, number, entry, *_ = (*data.split(b" ", 2), b"")
        fence, revision = self._client.fence, int(number)
        if not revision:
            self._on_note(feed, entry)
        elif origin not in fence.origins:
            _ = self._start(self._client.look(), "look at the epoch")
        elif feed.position is None:
            feed.heard = max(feed.heard, revision)
        elif revision > feed.position:
            feed.behind = False
            told = False
            if entry:
                told = self.offer(feed, unpack_entry(feed.resource, Cursor(fence.epoch, revision), entry))
            else:  # erased: the log will say so
                feed.heard = max(feed.heard, revision)
            if not told:
                _ = self._repair(feed)

    def _on_subscribed(self, channel: bytes) -> None:
        """Whatever was published before was not heard."""
        feed = self._by_channel.get(channel)
        if feed is not None:
            _ = self._start(self._compare(feed.resource), f"compare {feed.resource}")

    async def _compare(self, *resources: str) -> set[str]:
        """Look how far resources of one bucket are, and repair the feeds that are not; which these are."""
        fence, present = await revisions(self._client, bucket_of(resources[0]), resources)
        behind = set()
        for resource, revision in zip(resources, present, strict=True):
            feed = self._feeds.get(resource)
            if feed is None or fence is not self._client.fence:
                continue
            if feed.position is None:
                _ = self._anchor(feed)
            elif revision > feed.position:
                behind.add(resource)
                feed.heard = max(feed.heard, revision)
                _ = self._repair(feed)
        return behind

    def _subscriber_of(self, feed: Feed) -> Subscriber:
        link = self._client.nodes.link(bucket_of(feed.resource).slot)
        subscriber = self._subscribers.get(link)
        if subscriber is None:
            subscriber = self._subscribers[link] = Subscriber(
                self._loop,
                self._client.nodes.connect_for(link),
                link.name,
                self._timeout_s,
                self._on_message,
                self._on_subscribed,
                self._on_moved,
            )
        return subscriber

    def _on_moved(self) -> None:
        if self._moving is None or self._moving.done():
            self._moving = self._start(self._move(), "find moved channels")

    async def _move(self) -> None:
        await self._client.nodes.find_again()
        self._resubscribe()

    def _resubscribe(self) -> None:
        """Every channel where it lives now."""
        for feed in self._feeds.values():
            home = self._subscriber_of(feed)
            for subscriber in self._subscribers.values():
                if subscriber is not home:
                    subscriber.discard(feed.channel)
            home.add(feed.channel)

    async def _probe_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(self._probe_s * random.uniform(0.75, 1.25))
            try:
                await self.probe()
            except StorageError as error:
                _log.warning("the storage does not answer", extra={"error": str(error)})

    async def probe(self) -> None:
        """See whether the epoch is the same, subscriptions live, and nothing was missed. Raise StorageError."""
        await self._client.look()
        for subscriber in self._subscribers.values():
            subscriber.probe()
        by_bucket: dict[Bucket, list[str]] = {}
        for resource in self._feeds:
            by_bucket.setdefault(bucket_of(resource), []).append(resource)
        found = await asyncio.gather(*(self._compare(*resources) for resources in by_bucket.values()))
        behind = set().union(*found)
        for resource, feed in list(self._feeds.items()):
            if resource in behind and feed.behind:
                # Twice in a row without a message between: the server forgot this subscription.
                self._subscriber_of(feed).reconnect()
            feed.behind = resource in behind

    def _start(self, work: Coroutine[Any, Any, object], name: str) -> asyncio.Task[Any]:
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        """What could not be read now is read after the next probe."""
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, StorageError):
            _log.warning("a feed waits for the storage", extra={"task": task.get_name(), "error": str(error)})
        elif error is not None:
            self._loop.call_exception_handler({"message": f"{task.get_name()} failed", "exception": error})
