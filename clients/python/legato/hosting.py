"""What an adapter is to whoever hosts it: the hub, in its own process, or `python -m legato_adapters.server`.

An adapter is named by its factory, "module:factory". The factory is any callable that takes its options as keyword
arguments and returns an `Adapter`; it opens nothing, `start` does.

Where several hubs serve one backend, each has an adapter of its own unless the adapter is a process of its own; for a
worker of several on one machine LEGATO_WORKER is set, to its number. An adapter that cannot be one of many there
refuses, with ValueError.
"""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import grpc.aio

__all__ = ["Adapter", "AdapterLoadError", "load_adapter"]


@runtime_checkable
class Adapter(Protocol):
    """A translator between the adapter contract and one backend, of one event loop.

    The host calls `add_to` once, then `start`, then lets calls come, then `close`. `close` comes also after a failed
    `start`, and when it does no call runs any more.
    """

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the servicers: IdentityService and one for each claimed capability."""

    async def start(self) -> None:
        """Get ready to serve; raises when that is impossible. A backend that is down for now is no reason."""

    async def close(self) -> None:
        """Give back what `start` took."""


class AdapterLoadError(Exception):
    """An adapter could not be made from its name and options. The message is meant for whoever configured it."""


def load_adapter(
    name: str, options: Mapping[str, Any], tenants: Mapping[str, Mapping[str, Any]] | None = None
) -> Adapter:
    """Make the adapter that `name` ("module:factory") and its factory's keyword `options` describe.

    With `tenants` it serves these tenants only, each with options of its own that override the common ones.

    AdapterLoadError tells what is wrong with the name or the options; values that the factory refuses count where it
    says so with TypeError or ValueError. Whatever else the adapter's own code raises passes unchanged.
    """
    if not tenants:
        return _load(name, options)
    # It would be a circle: a tenants' adapter is an adapter.
    from legato.tenants import TenantsAdapter

    adapters = {}
    for tenant, own in tenants.items():
        try:
            adapters[tenant] = _load(name, {**options, **own})
        except AdapterLoadError as error:
            raise AdapterLoadError(f"tenant {tenant!r}: {error}") from error
    return TenantsAdapter(adapters)


def _load(name: str, options: Mapping[str, Any]) -> Adapter:
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise AdapterLoadError(f"an adapter is named 'module:factory', not {name!r}")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A module that the adapter itself misses is another fault than a mistyped name.
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise AdapterLoadError(f"adapter {name!r}: there is no module {error.name!r}") from error
        raise AdapterLoadError(f"adapter {name!r}: its module needs {error.name!r}, which is not installed") from error
    factory = getattr(module, attribute, None)
    if factory is None:
        raise AdapterLoadError(f"adapter {name!r}: module {module_name!r} has no {attribute!r}")
    if not callable(factory):
        raise AdapterLoadError(f"adapter {name!r}: {attribute!r} is no factory but {type(factory).__name__}")
    signature = inspect.signature(factory)
    try:
        signature.bind(**options)
    except TypeError as error:
        raise AdapterLoadError(f"adapter {name!r}: {error}; its options are {signature}") from error
    try:
        adapter = factory(**options)
    except (TypeError, ValueError) as error:
        raise AdapterLoadError(f"adapter {name!r} refuses its options: {error}") from error
    if not isinstance(adapter, Adapter):
        raise AdapterLoadError(f"adapter {name!r}: the factory returned {type(adapter).__name__}, no adapter")
    return adapter
