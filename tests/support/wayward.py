"""The ledger's adapter, which does whatever a test tells it to instead. Loaded as `tests.support.wayward:create`."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc.aio

from legato.adapter.v1 import cart_service_pb2 as pb
from legato_hub.backend import EmbeddedBackend
from legato_hub.config import BackendConfig
from tests.support.hub import RunningHub
from tests.support.ledger import Ledger

_Context = grpc.aio.ServicerContext[Any, Any]
Hook = Callable[[Any, _Context], Awaitable[Any]]


class Wayward(Ledger):
    """`instead` has the handlers that take a method's place; `calls` counts all."""

    def __init__(self, path: str, effect_class: str) -> None:
        super().__init__(path, effect_class)
        self.instead: dict[str, Hook] = {}
        self.calls: list[str] = []

    async def GetCart(self, request: pb.GetCartRequest, context: _Context) -> pb.GetCartResponse:
        self.calls.append("GetCart")
        answer: pb.GetCartResponse = await self.instead.get("GetCart", super().GetCart)(request, context)
        return answer

    async def ApplyCommand(self, request: pb.ApplyCommandRequest, context: _Context) -> pb.ApplyCommandResponse:
        self.calls.append("ApplyCommand")
        answer: pb.ApplyCommandResponse = await self.instead.get("ApplyCommand", super().ApplyCommand)(request, context)
        return answer

    async def ResolveCommand(self, request: pb.ResolveCommandRequest, context: _Context) -> pb.ResolveCommandResponse:
        self.calls.append("ResolveCommand")
        hook = self.instead.get("ResolveCommand", super().ResolveCommand)
        answer: pb.ResolveCommandResponse = await hook(request, context)
        return answer


def create(*, path: str, effect_class: str) -> Wayward:
    """The adapter on a file."""
    return Wayward(path, effect_class)


def backend(path: str, effect_class: str, **more: Any) -> BackendConfig:
    """As the hub's configuration names it."""
    options = {"path": path, "effect_class": effect_class}
    return BackendConfig(adapter="tests.support.wayward:create", options=options, **more)


def of(hub: RunningHub) -> Wayward:
    """The adapter that a hub runs."""
    embedded = hub.hub._backends.carts
    assert isinstance(embedded, EmbeddedBackend)
    assert isinstance(embedded._adapter, Wayward)
    return embedded._adapter
