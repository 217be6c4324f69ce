"""The real client, with every message of its stream recorded."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

import legato
from legato.client import CHANNEL_OPTIONS
from legato.commerce.v1 import cart_intent_pb2
from legato.protocol.resources import parse
from tests.robustness.history import Recorder
from tests.robustness.ids import uuid7


class Recorded:
    """A gRPC channel that records what goes over its `Connect` streams, for whoever uses it."""

    def __init__(self, channel: grpc.aio.Channel, name: str, hub: str, recorder: Recorder) -> None:
        self._channel = channel
        self._name = name
        self._hub = hub
        self._recorder = recorder
        self._connections = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def stream_stream(self, method: str, **more: Any) -> Any:
        """As the channel's."""
        callable_ = self._channel.stream_stream(method, **more)

        def connect(**given: Any) -> "_Call":
            self._connections += 1
            connection = f"{self._name}/{self._connections}"
            self._recorder.record("open", self._name, connection=connection, hub=self._hub)
            return _Call(callable_(**given), self._name, connection, self._recorder)

        return connect


class _Call:
    def __init__(self, call: Any, name: str, connection: str, recorder: Recorder) -> None:
        self._call = call
        self._name = name
        self._connection = connection
        self._recorder = recorder
        self._ended = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    async def write(self, request: Any) -> None:
        self._recorder.sent(self._name, self._connection, request)
        await self._call.write(request)

    async def read(self) -> Any:
        try:
            response = await self._call.read()
        except grpc.aio.AioRpcError as error:
            self._close(error.code().name, error.details() or "", "hub")
            raise
        if response is grpc.aio.EOF:
            self._close("OK", "", "hub")
        else:
            self._recorder.received(self._name, self._connection, response)
        return response

    def cancel(self) -> bool:
        self._close("OK", "", "client")
        return bool(self._call.cancel())

    def _close(self, code: str, details: str, by: str) -> None:
        if not self._ended:
            self._ended = True
            connection = self._connection
            self._recorder.record("closed", self._name, connection=connection, code=code, details=details, by=by)


class SdkClient:
    """One client, with its carts followed; for the end of a run it looks like a `Client`."""

    def __init__(self, name: str, hub: legato.Hub, carts: Sequence[str]) -> None:
        self.name = name
        self._hub = hub
        self._handles = {cart: hub.cart(parse(cart).id) for cart in carts}

    def submit(self, cart: str, intent: cart_intent_pb2.CartIntent) -> None:
        """Wish for something."""
        self._handles[cart].submit(intent, timeout=8.0)

    @property
    def unsettled(self) -> int:
        """Commands without a final result."""
        return len(self._hub.pending)

    @property
    def replicas(self) -> dict[str, Any]:
        """What it holds, by cart."""
        return {cart: handle.replica for cart, handle in self._handles.items()}


@asynccontextmanager
async def sdk_client(
    name: str,
    token: str,
    target: tuple[str, int],
    carts: Sequence[str],
    recorder: Recorder,
    rng: random.Random,
) -> AsyncIterator[SdkClient]:
    """As long as the block runs."""
    hub_name, port = target
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", CHANNEL_OPTIONS) as channel:
        recorded: Any = Recorded(channel, name, hub_name, recorder)
        async with legato.connect(access_token=token, channel="pos", client_id=uuid7(rng), rpc_channel=recorded) as hub:
            yield SdkClient(name, hub, carts)
