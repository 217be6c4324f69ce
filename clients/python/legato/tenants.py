"""One set of credentials per tenant: an adapter for each behind one set of servicers.

An adapter knows nothing of tenants. Its factory is called once for each tenant that has options of its own, and the
tenant that a request's context names decides which of the adapters answers: connection pools, tokens and caches of two
tenants never meet.
"""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

import grpc
import grpc.aio

from legato.hosting import Adapter

__all__ = ["TenantsAdapter"]

_Handlers = Mapping[str, "grpc.RpcMethodHandler[Any, Any]"]

_IDENTITY = "legato.adapter.v1.IdentityService"


class TenantsAdapter:
    """Several adapters to one kind of backend, by tenant; at least one.

    A call for a tenant who is none of them is FAILED_PRECONDITION. A Probe without a tenant asks all; GetInfo is
    answered by the first, for tenants differ in their credentials and not in what the backend can do.
    """

    def __init__(self, adapters: Mapping[str, Adapter]) -> None:
        self._adapters = adapters

    def add_to(self, server: grpc.aio.Server) -> None:
        by_tenant = {tenant: _handlers(adapter) for tenant, adapter in self._adapters.items()}
        for service, methods in next(iter(by_tenant.values())).items():
            routed = {
                method: grpc.unary_unary_rpc_method_handler(
                    _route(service, method, {t: _behaviour(known[service][method]) for t, known in by_tenant.items()}),
                    request_deserializer=handler.request_deserializer,
                    response_serializer=handler.response_serializer,
                )
                for method, handler in methods.items()
            }
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, routed),))
            server.add_registered_method_handlers(service, routed)

    async def start(self) -> None:
        await _all(adapter.start() for adapter in self._adapters.values())

    async def close(self) -> None:
        await _all(adapter.close() for adapter in self._adapters.values())


class _Recorder:
    """Stands where an adapter expects a server, and keeps what it registers."""

    def __init__(self) -> None:
        self.services: dict[str, _Handlers] = {}

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Any) -> None:
        """Nothing: generated code hands over the same methods by `add_registered_method_handlers`."""

    def add_registered_method_handlers(self, service_name: str, method_handlers: _Handlers) -> None:
        self.services[service_name] = method_handlers


def _handlers(adapter: Adapter) -> dict[str, _Handlers]:
    recorder = _Recorder()
    adapter.add_to(cast(grpc.aio.Server, recorder))
    return recorder.services


def _behaviour(handler: "grpc.RpcMethodHandler[Any, Any]") -> Callable[[Any, Any], Any]:
    if handler.unary_unary is None:
        raise TypeError("the adapter contract has unary calls only")
    return handler.unary_unary


def _route(service: str, method: str, behaviours: Mapping[str, Callable[[Any, Any], Any]]) -> Callable[[Any, Any], Any]:
    async def call(request: Any, context: Any) -> Any:
        # A resolution holds the call that it is about, whose context is the one.
        tenant = getattr(request, "call", request).context.tenant
        behaviour = behaviours.get(tenant)
        if behaviour is None:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"there are no credentials for tenant {tenant!r}")
        return await _answer(behaviour, request, context)

    async def call_any(request: Any, context: Any) -> Any:
        return await _answer(next(iter(behaviours.values())), request, context)

    async def probe(request: Any, context: Any) -> Any:
        if request.context.tenant:
            return await call(request, context)
        answers = [await _answer(behaviour, request, context) for behaviour in behaviours.values()]
        return answers[0]

    if service == _IDENTITY:
        return probe if method == "Probe" else call_any
    return call


async def _answer(behaviour: Any, request: Any, context: Any) -> Any:
    # A method that nobody implemented is a plain function, which raises at once.
    answer = behaviour(request, context)
    return await answer if inspect.isawaitable(answer) else answer


async def _all(works: Any) -> None:
    """Wait for all, then raise the first error."""
    outcomes = await asyncio.gather(*works, return_exceptions=True)
    for outcome in outcomes:
        if outcome is not None:
            raise outcome
