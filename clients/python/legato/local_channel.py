"""Calls between a stub and a servicer of the same process, without a network between them.

A `LocalChannel` stands where a `grpc.aio` server stands and where a channel to that server stands:

    channel = LocalChannel()
    add_CartServiceServicer_to_server(servicer, channel)
    stub = CartServiceStub(channel)

What a caller and a handler see is what they would see over a network: each gets messages of its own, and
deadlines, cancellation, status codes, details and metadata arrive. It differs in that

* only unary calls are carried, and no size limit applies;
* metadata that a network would refuse is a `ValueError` at once;
* the handler runs in a copy of the caller's `contextvars` (a span that is current stays current);
* a handler that lets `CancelledError` out of itself ends the call as CANCELLED at once, while over a network
  the caller would wait for its deadline;
* `peer()` is "local:" and no "user-agent" is sent.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Never, Self, TypeVar

import grpc
import grpc.aio

from legato._local_call import Behaviour, LocalCall, RawMetadata, checked_metadata

__all__ = ["LocalChannel"]

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class _Method(grpc.aio.UnaryUnaryMultiCallable[_Request, _Response]):
    def __init__(self, channel: "LocalChannel", path: str) -> None:
        self._channel = channel
        self._path = path

    def __call__(
        self,
        request: _Request,
        *,
        timeout: float | None = None,
        metadata: grpc.aio.Metadata | Sequence[tuple[str, str | bytes]] | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> grpc.aio.UnaryUnaryCall[_Request, _Response]:
        return self._channel.start_call(self._path, request, timeout, checked_metadata(metadata) if metadata else ())


class LocalChannel(grpc.aio.Channel, grpc.aio.Server):
    """A server without a port and the channel to it, of one event loop.

    Servicers and stubs may be added in any order; a call to a method without a handler is UNIMPLEMENTED.
    `close` (and `stop`, its name on a server) ends the calls that run and waits until their handlers ended.
    """

    def __init__(self) -> None:
        self._behaviours: dict[str, Behaviour] = {}
        self._calls: dict[asyncio.Task[None], LocalCall[Any, Any]] = {}
        self._closed = asyncio.Event()

    # What a server has.

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Nothing: generated code hands over the same methods by `add_registered_method_handlers`."""

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, "grpc.RpcMethodHandler[Any, Any]"]
    ) -> None:
        """Take a servicer's methods. ValueError if one is there already: nothing is replaced silently."""
        behaviours = {
            f"/{service_name}/{name}": handler.unary_unary
            for name, handler in method_handlers.items()
            if handler.unary_unary is not None
        }
        if taken := sorted(behaviours.keys() & self._behaviours.keys()):
            raise ValueError(f"{taken[0]} has a handler already")
        self._behaviours.update(behaviours)

    def add_insecure_port(self, address: str) -> Never:
        raise NotImplementedError("a LocalChannel has no port")

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> Never:
        raise NotImplementedError("a LocalChannel has no port")

    async def start(self) -> None:
        """Nothing: calls are taken from the beginning."""

    async def stop(self, grace: float | None) -> None:
        await self.close(grace)

    async def wait_for_termination(self, timeout: float | None = None) -> bool:
        """Wait until closed; True if `timeout` seconds passed first."""
        try:
            await asyncio.wait_for(self._closed.wait(), timeout)
        except TimeoutError:
            return True
        return False

    # What a channel has.

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Take no more calls, give those that run `grace` seconds, then cancel them."""
        self._closed.set()
        if grace and self._calls:
            await asyncio.wait(self._calls, timeout=grace)
        running = dict(self._calls)
        for call in running.values():
            call.cancel()
        if running:
            await asyncio.wait(running)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return grpc.ChannelConnectivity.SHUTDOWN if self._closed.is_set() else grpc.ChannelConnectivity.READY

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        if self.get_state() is last_observed_state:
            await self._closed.wait()

    async def channel_ready(self) -> None:
        if self._closed.is_set():
            raise grpc.aio.UsageError("Channel is closed.")

    def unary_unary(self, method: str, *_: Any, **__: Any) -> grpc.aio.UnaryUnaryMultiCallable[Any, Any]:
        return _Method(self, method)

    def unary_stream(self, method: str, *_: Any, **__: Any) -> Any:
        return _refuse_stream(method)

    def stream_unary(self, method: str, *_: Any, **__: Any) -> Any:
        return _refuse_stream(method)

    def stream_stream(self, method: str, *_: Any, **__: Any) -> Any:
        return _refuse_stream(method)

    def start_call(self, path: str, request: Any, timeout: float | None, metadata: RawMetadata) -> LocalCall[Any, Any]:
        if self._closed.is_set():
            raise grpc.aio.UsageError("Channel is closed.")
        call: LocalCall[Any, Any] = LocalCall(self._behaviours.get(path), request, timeout, metadata)
        if call.task is not None:
            self._calls[call.task] = call
            call.task.add_done_callback(self._calls.__delitem__)
        return call


def _refuse_stream(method: str) -> Callable[..., Never]:
    """Stubs are made with all their methods; only calling a streaming one is an error."""

    def refuse(*_: Any, **__: Any) -> Never:
        raise NotImplementedError(f"{method}: a LocalChannel carries unary calls only")

    return refuse
