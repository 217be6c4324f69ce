"""The reference adapter with one fault: what the conformance kit must find, and name at the right line.

`create(fault=...)` is a factory like any other. `faults.py` holds the faults, each a few lines around one method.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import grpc
import grpc.aio

from legato_adapters.reference import ReferenceAdapter

Answer = Callable[[Any, Any], Awaitable[Any]]
Fault = Callable[[Answer, Any, Any], Awaitable[Any]]
"""Gets the right method, the request and the context, and does something else."""


@dataclass(frozen=True)
class Broken:
    """One fault, and the checks that must find it."""

    methods: Mapping[str, Fault]
    """By "Service/Method"."""
    finds: frozenset[str]
    """Exactly these checks fail."""
    may_find: frozenset[str] = field(default_factory=frozenset)
    """These may fail, too: whether they do is a matter of when a call is cut off."""


class BrokenAdapter:
    """A reference adapter whose methods are replaced."""

    def __init__(self, faults: Mapping[str, Fault], right: ReferenceAdapter) -> None:
        self._faults = faults
        self._right = right

    def add_to(self, server: grpc.aio.Server) -> None:
        self._right.add_to(cast(grpc.aio.Server, _Between(self._faults, server)))

    async def start(self) -> None:
        await self._right.start()

    async def close(self) -> None:
        await self._right.close()


class _Between:
    """Stands where the adapter expects a server, and hands over methods with faults."""

    def __init__(self, faults: Mapping[str, Fault], server: grpc.aio.Server) -> None:
        self._faults = faults
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Nothing: generated code hands over the same methods by `add_registered_method_handlers`."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        short = service.removeprefix("legato.adapter.v1.")
        broken = {
            name: grpc.unary_unary_rpc_method_handler(
                _with(self._faults.get(f"{short}/{name}"), handler.unary_unary),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
            for name, handler in handlers.items()
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, broken),))
        self._server.add_registered_method_handlers(service, broken)


def _with(fault: Fault | None, right: Any) -> Any:
    if fault is None:
        return right

    async def answer(request: Any, context: Any) -> Any:
        found = right(request, context)
        return await found if inspect.isawaitable(found) else found

    async def wrong(request: Any, context: Any) -> Any:
        return await fault(answer, request, context)

    return wrong


def create(*, fault: str, path: str = ":memory:", webhook_secret: str = "") -> BrokenAdapter:
    """The adapter with this fault of `faults.FAULTS`, or a variant that is right and promises less."""
    from tests.adapters.broken.faults import FAULTS, VARIANTS

    right = ReferenceAdapter(path, seeded=True, webhook_secret=webhook_secret)
    return BrokenAdapter(VARIANTS[fault] if fault in VARIANTS else FAULTS[fault].methods, right)
