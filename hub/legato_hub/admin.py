"""The operators' API on gRPC."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc.aio

from legato.orchestrator.v1 import admin_service_pb2 as pb
from legato.orchestrator.v1 import admin_service_pb2_grpc, error_pb2
from legato_hub.auth import Verifier, bearer_token
from legato_hub.clock import now_ms
from legato_hub.core.identity import Identity, IdentityKind
from legato_hub.core.problem import Problem, invalid
from legato_hub.erasure import Erasure
from legato_hub.rpc_errors import abort

_log = logging.getLogger(__name__)

_Response = TypeVar("_Response")
_Context = grpc.aio.ServicerContext[Any, Any]


class AdminService(admin_service_pb2_grpc.AdminServiceServicer):
    """A thin façade, as `OrchestratorService` is."""

    def __init__(self, verifier: Verifier, erasure: Erasure) -> None:
        self._verifier = verifier
        self._erasure = erasure

    async def EraseCustomer(self, request: pb.EraseCustomerRequest, context: _Context) -> pb.EraseCustomerResponse:
        async def erase(operator: Identity) -> pb.EraseCustomerResponse:
            if not 1 <= len(request.customer_id) <= 256:
                raise invalid("customer_id", "must have 1 to 256 characters")
            erased = await self._erasure.erase(operator.tenant, request.customer_id)
            # Not whom: logs hold no personal data.
            counts = {"sessions": erased.sessions, "carts": erased.carts}
            _log.info("erased a customer", extra={"operator": operator.subject, **counts})
            return pb.EraseCustomerResponse(sessions=erased.sessions, carts=erased.carts)

        return await self._call(context, erase)

    async def _call(self, context: _Context, answer: Callable[[Identity], Awaitable[_Response]]) -> _Response:
        try:
            identity = self._verifier.verify(bearer_token(context.invocation_metadata() or ()), now_ms())
            if identity.kind is not IdentityKind.OPERATOR:
                raise Problem(error_pb2.ERROR_REASON_NOT_ALLOWED, "only operators administer")
            return await answer(identity)
        except Exception as error:  # noqa: BLE001 -- every exception becomes a status, logged if it is a fault
            await abort(context, error)
