"""The channel that the kit's stubs call on: each answer is observed, each call has a deadline, and it may break."""

from collections.abc import Awaitable, Callable
from typing import Any, Never, TypeAlias

import grpc
import grpc.aio
from google.protobuf.message import Message

TIMEOUT_S = 20.0
"""How long the kit waits for an answer where a check does not say."""

Observer: TypeAlias = Callable[[str, Message, Message], None]
"""Called with the path of a method, its request and its answer."""

Fault: TypeAlias = Callable[["grpc.aio.UnaryUnaryCall[Any, Any]"], Awaitable[Any]]
"""What becomes of a call that has begun."""


class Wire:
    """Stands where a stub expects a channel. Only unary calls are carried: the contract has no others."""

    def __init__(self, channel: grpc.aio.Channel, observe: Observer, fault: Fault | None = None) -> None:
        self._channel = channel
        self._observe = observe
        self._fault = fault

    def unary_unary(self, path: str, *arguments: Any, **options: Any) -> Callable[..., Awaitable[Any]]:
        method = self._channel.unary_unary(path, *arguments, **options)

        async def call(request: Message, *, timeout: float = TIMEOUT_S) -> Any:
            begun = method(request, timeout=timeout)
            answer = await (begun if self._fault is None else self._fault(begun))
            self._observe(path, request, answer)
            return answer

        return call

    def _refuse(self, path: str, *_: Any, **__: Any) -> Callable[..., Never]:
        def refuse(*_: Any, **__: Any) -> Never:
            raise NotImplementedError(f"{path}: the adapter contract has unary calls only")

        return refuse

    unary_stream = stream_unary = stream_stream = _refuse


def lost(details: str) -> grpc.aio.AioRpcError:
    """What a caller gets whose connection broke."""
    nothing = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, nothing, nothing, details)
