"""How the kit reaches an adapter, and how that breaks: in process, or at an address.

Both can lose an answer behind the adapter's back, and cut a call off while it runs. At an address the connection itself
is cut, by a proxy; in process the caller goes away, which is what a server does to a handler whose connection is lost.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import grpc
import grpc.aio

from legato.hosting import load_adapter
from legato.local_channel import LocalChannel
from legato_adapters.conformance.proxy import Break, breaking
from legato_adapters.conformance.wire import Observer, Wire, lost

SCHEME = "grpc://"

_OPTIONS = [
    # A call that the proxy broke must fail, and not be sent again behind the kit's back.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
]


class Network(Protocol):
    """The way to one adapter."""

    def wire(self) -> Wire:
        """Where calls arrive and are answered."""

    def losing_answers(self) -> contextlib.AbstractAsyncContextManager[Wire]:
        """Where each call reaches the adapter and runs to its end, and its answer is lost: UNAVAILABLE."""

    def cutting(self, after_s: float) -> contextlib.AbstractAsyncContextManager[Wire]:
        """Where each call that takes longer is cut off then: UNAVAILABLE, whatever the adapter made of it."""


class LocalNetwork:
    """An adapter in this process."""

    def __init__(self, channel: LocalChannel, observe: Observer) -> None:
        self._channel = channel
        self._observe = observe

    def wire(self) -> Wire:
        return Wire(self._channel, self._observe)

    @contextlib.asynccontextmanager
    async def losing_answers(self) -> AsyncIterator[Wire]:
        async def lose(call: "grpc.aio.UnaryUnaryCall[Any, Any]") -> Any:
            await call.code()
            raise lost("the answer was lost")

        yield Wire(self._channel, self._observe, lose)

    @contextlib.asynccontextmanager
    async def cutting(self, after_s: float) -> AsyncIterator[Wire]:
        async def cut(call: "grpc.aio.UnaryUnaryCall[Any, Any]") -> Any:
            await asyncio.wait([asyncio.ensure_future(call.code())], timeout=after_s)
            call.cancel()
            raise lost("the call was cut off")

        yield Wire(self._channel, self._observe, cut)


class RemoteNetwork:
    """An adapter at an address, "host:port"."""

    def __init__(self, address: str, channel: grpc.aio.Channel, observe: Observer) -> None:
        self._address = address
        self._channel = channel
        self._observe = observe

    def wire(self) -> Wire:
        return Wire(self._channel, self._observe)

    def losing_answers(self) -> contextlib.AbstractAsyncContextManager[Wire]:
        return self._through(Break.BEFORE_ANSWER)

    def cutting(self, after_s: float) -> contextlib.AbstractAsyncContextManager[Wire]:
        return self._through(Break.AFTER_REQUEST, after_s)

    @contextlib.asynccontextmanager
    async def _through(self, when: Break, delay_s: float = 0.0) -> AsyncIterator[Wire]:
        async with (
            breaking(self._address, when, delay_s) as address,
            grpc.aio.insecure_channel(address, options=_OPTIONS) as channel,
        ):
            yield Wire(channel, self._observe)


@contextlib.asynccontextmanager
async def reaching(
    target: str,
    options: Mapping[str, Any],
    tenants: Mapping[str, Mapping[str, Any]],
    observe: Observer,
) -> AsyncIterator[Network]:
    """The way to `target`: "module:factory" with its options, or "grpc://host:port".

    Raises legato.hosting.AdapterLoadError for a factory that cannot be used.
    """
    if target.startswith(SCHEME):
        address = target.removeprefix(SCHEME)
        async with grpc.aio.insecure_channel(address, options=_OPTIONS) as remote:
            yield RemoteNetwork(address, remote, observe)
        return
    adapter = load_adapter(target, options, tenants)
    try:
        async with LocalChannel() as channel:
            adapter.add_to(channel)
            await adapter.start()
            yield LocalNetwork(channel, observe)
    finally:
        await adapter.close()
