"""Lets a servicer answer in bytes where it has them: what goes to many callers is then serialised once."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message


def _to_bytes(answer: Message | bytes) -> bytes:
    return answer if isinstance(answer, bytes) else answer.SerializeToString()


class _Registry:
    """Stands before a server while generated code adds a servicer to it."""

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Nothing: generated code hands over the same methods by `add_registered_method_handlers`."""

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Any]) -> None:
        """Add the methods with another serialiser."""
        handlers = {name: handler._replace(response_serializer=_to_bytes) for name, handler in method_handlers.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service_name, handlers),))
        self._server.add_registered_method_handlers(service_name, handlers)


def add_answering_in_bytes(add: Callable[[Any, Any], None], servicer: object, server: grpc.aio.Server) -> None:
    """Call the generated `add`; the servicer's methods may then answer with messages or with serialised ones."""
    add(servicer, _Registry(server))
