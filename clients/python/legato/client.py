"""Connect a channel to a hub."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Unpack

import grpc
import grpc.aio

from legato import errors
from legato.hub import Hub
from legato.intents import MarketOptions
from legato.link import Link, TokenSource
from legato.orchestrator.v1 import reads_pb2, stream_pb2
from legato.outbox import MemoryOutbox, Outbox

__version__ = "0.1.0"

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    # A silent link is noticed within 15 s. Without ping_timeout_ms it takes more than a minute.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # The client's own jitter decides when to come back; gRPC shall not add minutes to it.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # The hub bounds what it sends; a large cart must not end the stream.
    ("grpc.max_receive_message_length", -1),
)
"""How `connect` makes its gRPC channel; for those who make their own."""


@contextlib.asynccontextmanager
async def connect(
    target: str = "127.0.0.1:50051",
    *,
    access_token: str | TokenSource | None = None,
    channel_key: str | None = None,
    channel: str = "web",
    name: str = "",
    client_id: str | None = None,
    outbox: Outbox | None = None,
    credentials: grpc.ChannelCredentials | None = None,
    rpc_channel: grpc.aio.Channel | None = None,
    connect_timeout: float | None = 10.0,
    close_timeout: float = 5.0,
    **market: Unpack[MarketOptions],
) -> AsyncIterator[Hub]:
    """A connection to the hub at `target` for as long as the block runs.

    target           "host:port", or several hubs that share a storage, "host:port,host:port": one is used at a time,
                     the first that answers, then the next one whenever it goes. Give each client another order to
                     spread them, or name a load balancer
    access_token     the identity's token, or an async function that gives one and is asked again when it ends
    channel_key      instead: a sales channel's key, for which the hub starts an anonymous session in `market`
    channel, name    kind ("web", "app", "pos", …) and name for people of this sales channel, as others see it
    outbox           where commands wait; absent, in memory. A SQLiteOutbox survives restarts. Closed with the block
    client_id        of a MemoryOutbox; must be a fresh UUID. A SQLiteOutbox keeps its own
    credentials      for TLS, for example `grpc.ssl_channel_credentials()`; absent, plain text
    rpc_channel      a gRPC channel to use instead of `target` and `credentials`; it is left open
    connect_timeout  seconds to wait for the hub's welcome before the block begins. None does not wait: an offline till
                     begins at once and is connected when that becomes possible (not with `channel_key`)
    close_timeout    seconds that pending commands get for being sent when the block ends

    Raises Unauthenticated, NotAllowed, ClientIdTaken or Unavailable if there is no connection in time. After that, lost
    connections are made again, with growing, random delays.
    """
    if (access_token is None) == (channel_key is None):
        raise ValueError("give either access_token or channel_key")
    if outbox is not None and client_id not in (None, outbox.client_id):
        raise ValueError("the outbox has a client id of its own")
    if channel_key is not None and connect_timeout is None:
        raise ValueError("a session is started at the hub: give connect_timeout, or an access_token")
    targets = [one.strip() for one in target.split(",")]
    if not all(targets):
        raise ValueError('target is "host:port", or several with commas between them')
    box = outbox or MemoryOutbox(client_id)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(box.close)
        rpc_channels = [] if rpc_channel is None else [rpc_channel]
        if rpc_channel is None:
            for one in targets:
                rpc_channels.append(_open(one, credentials))
                stack.push_async_callback(rpc_channels[-1].close)
        hello = stream_pb2.Hello(
            client_id=box.client_id,
            channel=stream_pb2.Channel(kind=channel, name=name),
            user_agent=f"legato-python/{__version__}",
        )
        link = Link(rpc_channels, hello, box, channel_key or "")
        hub = Hub(link)
        await _authorise(link, access_token, market, connect_timeout)
        task = asyncio.create_task(link.run(), name="legato link")
        stack.push_async_callback(_close, link, task, close_timeout)
        if connect_timeout is not None:
            await link.wait_until(_welcomed(link), connect_timeout, f"no connection to {target}")
        yield hub


def _open(target: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    if credentials is None:
        return grpc.aio.insecure_channel(target, CHANNEL_OPTIONS)
    return grpc.aio.secure_channel(target, credentials, CHANNEL_OPTIONS)


async def _authorise(
    link: Link, access_token: str | TokenSource | None, market: MarketOptions, timeout: float | None
) -> None:
    """Get the first token, and say where the next ones come from."""

    async def start_session() -> str:
        request = reads_pb2.StartSessionRequest(**market)
        return (await link.call(link.stub.StartSession, request, timeout or 10.0)).access_token

    if access_token is None:
        link.token = await _persistently(start_session, timeout)
    elif isinstance(access_token, str):
        link.token = access_token
    else:
        link.token = await access_token()
        link.renew = access_token
    if link.renew is None:
        # A shopper gets a new token for the session there is; anybody else is told that he has none.
        link.renew = start_session


async def _persistently(call: TokenSource, timeout: float | None) -> str:
    """Repeat while the hub cannot be reached, at most `timeout` seconds; then raise why."""
    loop = asyncio.get_running_loop()
    end = loop.time() + (timeout or 0.0)
    while True:
        try:
            return await call()
        except errors.Unavailable as error:
            if loop.time() + (error.retry_delay or 0.2) >= end:
                raise
            await asyncio.sleep(error.retry_delay or 0.2)


def _welcomed(link: Link) -> Callable[[], bool]:
    def condition() -> bool:
        error = link.token_error or (link.core.error if link.core.stopped else None)
        if error is not None:
            raise error
        return link.core.welcome

    return condition


async def _close(link: Link, task: "asyncio.Task[None]", timeout: float) -> None:
    """Send what is pending, say good-bye, end the task. What the task died of is raised."""
    await link.close(timeout)
    await asyncio.wait({task}, timeout=1.0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
