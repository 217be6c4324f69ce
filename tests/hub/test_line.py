"""What one stream sends, and how it ends. The loop's clock is real, and nothing here waits for it to pass."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import pytest

from legato_hub.line import Line
from legato_hub.pacer import Pacer

HOUR_S = 3_600.0


class Client:
    """A stream's far end: takes messages in when it is told to."""

    def __init__(self, pacer: Pacer) -> None:
        self.line = Line(pacer, self._take)
        self.pending: deque[bytes | Exception | None] = deque()
        self.taken: list[bytes] = []
        self.reads = True
        self.write_given_up = False
        self.broken: Exception | None = None
        self.steps = 1
        self._blocked: asyncio.Future[None] | None = None
        self.run = asyncio.create_task(self.line.run(self._write))

    def _take(self) -> bytes | None:
        message = self.pending.popleft() if self.pending else b""
        if isinstance(message, Exception):
            raise message
        return message

    async def _write(self, message: bytes) -> None:
        loop = asyncio.get_running_loop()
        if self.broken is not None:
            raise self.broken
        try:
            for _ in range(self.steps):
                self._blocked = loop.create_future()
                if self.reads:
                    loop.call_soon(self.read)
                await self._blocked
        except asyncio.CancelledError:
            self.write_given_up = True
            raise
        self.taken.append(message)

    def read(self) -> None:
        """Take in what is being written."""
        assert self._blocked is not None
        if not self._blocked.done():
            self._blocked.set_result(None)

    def fail(self, error: Exception) -> None:
        """Break the write that is under way."""
        assert self._blocked is not None
        self._blocked.set_exception(error)

    def send(self, message: bytes | Exception | None, *, urgent: bool = False) -> None:
        self.pending.append(message)
        self.line.wake(urgent=urgent)


async def runs_dry(turns: int = 20) -> None:
    """Let everything run that can."""
    for _ in range(turns):
        await asyncio.sleep(0)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """On a line whose tick does not pass."""
    made = Client(Pacer(HOUR_S))
    await runs_dry()
    yield made
    made.run.cancel()
    await asyncio.gather(made.run, return_exceptions=True)


async def test_an_idle_stream_is_sent_to_at_once_and_within_the_tick_news_waits(client: Client) -> None:
    client.send(b"1")
    await runs_dry()
    assert client.taken == [b"1"]
    client.send(b"2")
    client.send(b"3")
    await runs_dry()
    assert client.taken == [b"1"]


async def test_what_somebody_waits_for_ends_the_tick(client: Client) -> None:
    client.send(b"1")
    await runs_dry()
    client.send(b"2")
    await runs_dry()
    client.send(b"3", urgent=True)
    await runs_dry()
    # One message a turn: `take` gives everything that is pending, and here that is one.
    assert client.taken == [b"1", b"2"]
    client.line.wake()
    await runs_dry()
    assert client.taken == [b"1", b"2"]


async def test_the_tick_ends_by_itself() -> None:
    client = Client(Pacer(0.001))
    for number in range(5):
        client.send(bytes([number]))
        await asyncio.sleep(0)
    while len(client.taken) < 5:
        await asyncio.sleep(0.001)
        client.line.wake()
    client.send(None)
    await asyncio.wait_for(client.run, 10)
    assert client.taken == [bytes([number]) for number in range(5)]


async def test_what_is_pending_before_the_stream_runs_is_sent() -> None:
    client = Client(Pacer(HOUR_S))
    client.send(b"early")
    assert client.taken == []
    await runs_dry()
    assert client.taken == [b"early"]
    client.run.cancel()


async def test_a_write_may_wait_more_than_once(client: Client) -> None:
    client.steps = 3
    client.send(b"1")
    await runs_dry()
    assert client.taken == [b"1"]


async def test_who_does_not_read_has_one_write_under_way_and_keeps_nobody_waiting() -> None:
    pacer = Pacer(0.0)
    stuck, other = Client(pacer), Client(pacer)
    await runs_dry()
    stuck.reads = False
    for number in range(3):
        stuck.send(bytes([number]), urgent=True)
        other.send(bytes([number]), urgent=True)
        await runs_dry()
    assert other.taken == [b"\0", b"\1", b"\2"]
    assert stuck.taken == []
    assert len(stuck.pending) == 2
    stuck.reads = True
    stuck.read()
    await runs_dry()
    assert stuck.taken == [b"\0", b"\1"], "what came meanwhile is one more message"
    for client in (stuck, other):
        client.run.cancel()


async def test_a_client_that_vanishes_gives_up_the_write_under_way(client: Client) -> None:
    client.reads = False
    client.send(b"1")
    await runs_dry()
    client.run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await client.run
    await runs_dry()
    assert client.write_given_up
    client.send(b"2", urgent=True)
    await runs_dry()
    assert client.taken == []
    assert list(client.pending) == [b"2"]


async def test_a_write_that_fails_at_once_ends_the_stream_with_what_it_raised(client: Client) -> None:
    client.broken = OSError("gone")
    client.send(b"1")
    with pytest.raises(OSError, match="gone"):
        await asyncio.wait_for(client.run, 10)


async def test_a_write_that_fails_later_ends_the_stream_with_what_it_raised(client: Client) -> None:
    client.reads = False
    client.send(b"1")
    await runs_dry()
    client.send(b"2", urgent=True)
    client.fail(OSError("gone"))
    with pytest.raises(OSError, match="gone"):
        await asyncio.wait_for(client.run, 10)
    assert list(client.pending) == [b"2"]


async def test_a_fault_of_one_stream_is_not_its_neighbours() -> None:
    pacer = Pacer(HOUR_S)
    faulty, other = Client(pacer), Client(pacer)
    await runs_dry()
    faulty.send(ValueError("no message"))
    other.send(b"1")
    with pytest.raises(ValueError, match="no message"):
        await asyncio.wait_for(faulty.run, 10)
    assert other.taken == [b"1"]
    other.run.cancel()


async def test_the_end_waits_for_the_last_words(client: Client) -> None:
    client.reads = False
    client.send(b"last words")
    client.send(None, urgent=True)
    await runs_dry()
    assert not client.run.done()
    client.read()
    client.line.wake(urgent=True)
    await asyncio.wait_for(client.run, 10)
    assert client.taken == [b"last words"]


async def test_a_write_that_waits_for_no_future_is_a_fault_and_not_a_silent_stream(client: Client) -> None:
    async def write(message: bytes) -> None:
        await asyncio.sleep(0)

    line = Line(Pacer(HOUR_S), lambda: b"1")
    line.wake()
    with pytest.raises(AttributeError):
        await asyncio.wait_for(line.run(write), 10)
