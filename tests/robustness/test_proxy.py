"""What the suite breaks networks with does what it says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.robustness.proxy import Proxy
from tests.robustness.valkey import Feed, end_of_reply

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """The port of a server that says again what it hears."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1_024):
                writer.write(data)
        except ConnectionError:
            pass  # Cut by the proxy.
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[Ends]:
    """A connection through it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def said_again(ends: Ends, text: bytes) -> bytes:
    reader, writer = ends
    writer.write(text)
    return await reader.readexactly(len(text))


async def refused(proxy: Proxy) -> bool:
    """Whether a new connection ends at once."""
    async with connected(proxy) as ends:
        return await gone(ends)


async def gone(ends: Ends) -> bool:
    """Whether the connection ends."""
    try:
        return await ends[0].read(1) == b""
    except ConnectionError:
        return True


async def test_it_forwards_follows_its_target_and_cuts() -> None:
    async with echo() as port, Proxy() as proxy:
        assert await refused(proxy)  # nobody is there
        proxy.target = port
        async with connected(proxy) as ends:
            assert await said_again(ends, b"one") == b"one"
            proxy.refuses = True
            assert await refused(proxy)
            assert await said_again(ends, b"two") == b"two"
            proxy.cut()
            assert await gone(ends)


async def test_a_stalled_direction_delivers_later_and_a_lost_one_never() -> None:
    async with echo() as port, Proxy(port) as proxy:
        async with connected(proxy) as ends:
            proxy.down.stall()
            later = asyncio.create_task(said_again(ends, b"later"))
            done, _ = await asyncio.wait([later], timeout=0.1)
            assert not done
            proxy.down.flow()
            assert await later == b"later"
            proxy.up.lose()
            lost = asyncio.create_task(said_again(ends, b"lost"))
            done, _ = await asyncio.wait([lost], timeout=0.1)
            assert not done
            proxy.mend()
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await lost
        async with connected(proxy) as again:
            assert await said_again(again, b"again") == b"again"


PUSH = b"*3\r\n$8\r\nsmessage\r\n$4\r\nfeed\r\n$5\r\na\r\nbc\r\n"
OTHER = b"*3\r\n$10\r\nssubscribe\r\n$4\r\nfeed\r\n:1\r\n"


def test_a_forgetful_feed_drops_messages_alone_however_they_are_cut() -> None:
    stream = OTHER + PUSH + b"+PONG\r\n" + PUSH + OTHER
    for size in range(1, len(stream)):
        feed = Feed()
        feed.how = "forgetful"
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert b"".join(map(feed, pieces)) == OTHER + b"+PONG\r\n" + OTHER


def test_a_dead_feed_drops_all_and_a_good_one_nothing() -> None:
    feed = Feed()
    assert feed(PUSH) == PUSH
    feed.how = "dead"
    assert feed(PUSH + OTHER) == b""


@pytest.mark.parametrize("reply", [PUSH, OTHER, b"$-1\r\n", b"*-1\r\n", b":7\r\n", b"*0\r\n", b"$0\r\n\r\n"])
def test_the_end_of_a_reply(reply: bytes) -> None:
    assert end_of_reply(reply) == end_of_reply(reply + b"+more\r\n") == len(reply)
    assert all(end_of_reply(reply[:cut]) == 0 for cut in range(len(reply)))
