"""An adapter that has a catalog and nothing else; it is the reference adapter's."""

from typing import Any, cast

import grpc.aio

from legato.adapter.v1 import identity_service_pb2
from legato_adapters.reference import ReferenceAdapter
from tests.adapters.broken import Answer, BrokenAdapter

_KEPT = ("legato.adapter.v1.IdentityService", "legato.adapter.v1.CatalogService")


async def _claims(right: Answer, request: Any, context: Any) -> Any:
    answer = await right(request, context)
    return identity_service_pb2.GetInfoResponse(
        name=answer.name,
        version=answer.version,
        contract_version=answer.contract_version,
        capabilities=[identity_service_pb2.CAPABILITY_CATALOG],
    )


class _Vanishing(BrokenAdapter):
    def add_to(self, server: grpc.aio.Server) -> None:
        super().add_to(cast(grpc.aio.Server, _Some(server)))


class _Some:
    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Nothing: generated code hands over the same methods by `add_registered_method_handlers`."""

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:
        if service in _KEPT:
            self._server.add_registered_method_handlers(service, handlers)


def create(*, webhook_secret: str) -> BrokenAdapter:
    right = ReferenceAdapter(":memory:", seeded=True, webhook_secret=webhook_secret)
    return _Vanishing({"IdentityService/GetInfo": _claims}, right)
