"""The public API on gRPC: who calls, and which part of the hub answers. Everything else is decided elsewhere."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import grpc.aio

from legato.orchestrator.v1 import command_pb2, error_pb2, orchestrator_service_pb2_grpc, reads_pb2, stream_pb2
from legato.orchestrator.v1 import orchestrator_service_pb2 as pb
from legato.protocol.ids import new_id
from legato_hub.auth import Verifier, bearer_token
from legato_hub.catalog import Catalog
from legato_hub.clock import now_ms
from legato_hub.commands import Commands
from legato_hub.connection import Connection, MakeDownstream, StreamLimits, check_channel
from legato_hub.connections import Connections
from legato_hub.core.identity import Caller, Identity, IdentityKind
from legato_hub.core.problem import Problem, invalid
from legato_hub.line import Write
from legato_hub.reads import Reads
from legato_hub.rpc_errors import abort
from legato_hub.sessions import Sessions
from legato_hub.sharing import Sharing

MAX_WATCHED = 32
MAX_BATCH = 64

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Context = grpc.aio.ServicerContext[Any, Any]


class OrchestratorService(orchestrator_service_pb2_grpc.OrchestratorServiceServicer):
    """A thin façade: identifies the caller, hands the request on, turns exceptions into statuses."""

    def __init__(
        self,
        verifier: Verifier,
        commands: Commands,
        connections: Connections,
        make_downstream: MakeDownstream,
        sessions: Sessions,
        sharing: Sharing,
        reads: Reads,
        catalog: Catalog,
        limits: StreamLimits,
    ) -> None:
        self._verifier = verifier
        self._commands = commands
        self._connections = connections
        self._make_downstream = make_downstream
        self._sessions = sessions
        self._sharing = sharing
        self._reads = reads
        self._catalog = catalog
        self._limits = limits

    # Streams write to the context instead of yielding: when a client vanishes, grpc.aio cancels this coroutine and so
    # runs its clean-up at once, while an abandoned generator would wait for the collector.

    async def Connect(  # type: ignore[override]  # as said above
        self, request_iterator: AsyncIterator[stream_pb2.ConnectRequest], context: _Context
    ) -> None:
        try:
            connection = Connection(
                self._identify(context),
                self._verifier,
                self._commands,
                self._connections,
                self._make_downstream,
                self._limits,
            )
            await connection.run(request_iterator, context.write)
        except Exception as error:  # noqa: BLE001 -- every exception becomes a status, logged if it is a fault
            await abort(context, error)

    async def Watch(  # type: ignore[override]  # as said above
        self, request: pb.WatchRequest, context: _Context
    ) -> None:
        try:
            identity = self._identify(context)
            await self._watch(identity, request, context.write)
        except Exception as error:  # noqa: BLE001 -- every exception becomes a status, logged if it is a fault
            await abort(context, error)

    async def _watch(self, identity: Identity, request: pb.WatchRequest, write: Write) -> None:
        if not 1 <= len(request.subscriptions) <= MAX_WATCHED:
            raise invalid("subscriptions", f"must have 1 to {MAX_WATCHED} entries")
        if len({wish.subscription_id for wish in request.subscriptions}) < len(request.subscriptions):
            raise invalid("subscriptions", "must have distinct subscription ids")
        if request.HasField("channel"):
            check_channel(request.channel, "channel")
        if identity.kind is IdentityKind.CHANNEL:
            message = "a channel's key watches nothing: start a session and use its token"
            raise Problem(error_pb2.ERROR_REASON_NOT_ALLOWED, message)
        downstream = self._make_downstream(identity, new_id(), request.channel, "")
        self._connections.enter(downstream)
        try:
            await downstream.open()
            for wish in request.subscriptions:
                await downstream.subscribe(wish)
            await downstream.pump(write)
        finally:
            self._connections.leave(downstream)
            await downstream.close()

    async def Execute(self, request: pb.ExecuteRequest, context: _Context) -> pb.ExecuteResponse:
        async def execute(identity: Identity) -> pb.ExecuteResponse:
            if not 1 <= len(request.commands) <= MAX_BATCH:
                raise invalid("commands", f"must have 1 to {MAX_BATCH} entries")
            for number, command in enumerate(request.commands):
                if command.seq:
                    raise invalid(f"commands[{number}].seq", "must be 0: a batch has no stream to be numbered on")
            if request.HasField("channel"):
                check_channel(request.channel, "channel")
            caller = Caller(identity, request.channel.kind or "service")
            return pb.ExecuteResponse(results=await self._in_order(request, caller))

        return await self._call(context, execute)

    async def _in_order(self, request: pb.ExecuteRequest, caller: Caller) -> list[command_pb2.CommandResult]:
        results: list[command_pb2.CommandResult] = []
        stopped: command_pb2.CommandResult | None = None
        for number, command in enumerate(request.commands):
            if stopped is not None:
                result = command_pb2.CommandResult(command_id=command.command_id, resource=command.resource)
                result.outcome = command_pb2.OUTCOME_NOT_ACCEPTED
                result.error.CopyFrom(stopped.error)
                results.append(result)
                continue
            result = await self._commands.execute_apart(command, caller, path=f"commands[{number}]")
            results.append(result)
            if result.outcome in (command_pb2.OUTCOME_NOT_ACCEPTED, command_pb2.OUTCOME_UNKNOWN):
                stopped = result
        return results

    async def StartSession(
        self, request: reads_pb2.StartSessionRequest, context: _Context
    ) -> reads_pb2.StartSessionResponse:
        return await self._call(context, lambda identity: self._sessions.start(identity, request))

    async def SignIn(self, request: reads_pb2.SignInRequest, context: _Context) -> reads_pb2.SignInResponse:
        async def sign_in(identity: Identity) -> reads_pb2.SignInResponse:
            if request.HasField("channel"):
                check_channel(request.channel, "channel")
            return await self._sessions.sign_in(identity, request.credential, request.channel.kind)

        return await self._call(context, sign_in)

    async def ShareCart(self, request: reads_pb2.ShareCartRequest, context: _Context) -> reads_pb2.ShareCartResponse:
        return await self._call(context, lambda identity: self._sharing.share(identity, request))

    async def LookUpCart(self, request: reads_pb2.LookUpCartRequest, context: _Context) -> reads_pb2.LookUpCartResponse:
        left = context.time_remaining()
        return await self._call(context, lambda identity: self._sharing.look_up(identity, request, left))

    async def GetCart(self, request: reads_pb2.GetCartRequest, context: _Context) -> reads_pb2.GetCartResponse:
        left = context.time_remaining()
        return await self._call(context, lambda identity: self._reads.cart(identity, request, left))

    async def ListCarts(self, request: reads_pb2.ListCartsRequest, context: _Context) -> reads_pb2.ListCartsResponse:
        left = context.time_remaining()
        return await self._call(context, lambda identity: self._reads.carts(identity, request, left))

    async def GetSession(self, request: reads_pb2.GetSessionRequest, context: _Context) -> reads_pb2.GetSessionResponse:
        left = context.time_remaining()
        return await self._call(context, lambda identity: self._reads.session(identity, request, left))

    async def SearchProducts(
        self, request: reads_pb2.SearchProductsRequest, context: _Context
    ) -> reads_pb2.SearchProductsResponse:
        left = context.time_remaining()
        return await self._call(context, lambda identity: self._catalog.search(identity, request, left))

    async def GetProductPage(
        self, request: reads_pb2.GetProductPageRequest, context: _Context
    ) -> reads_pb2.GetProductPageResponse:
        left = context.time_remaining()
        return await self._call(context, lambda identity: self._catalog.page(identity, request, left))

    async def GetAvailability(
        self, request: reads_pb2.GetAvailabilityRequest, context: _Context
    ) -> reads_pb2.GetAvailabilityResponse:
        left = context.time_remaining()
        return await self._call(context, lambda identity: self._catalog.availability(identity, request, left))

    def _identify(self, context: _Context) -> Identity:
        return self._verifier.verify(bearer_token(context.invocation_metadata() or ()), now_ms())

    async def _call(self, context: _Context, answer: Callable[[Identity], Awaitable[_Response]]) -> _Response:
        try:
            return await answer(self._identify(context))
        except Exception as error:  # noqa: BLE001 -- every exception becomes a status, logged if it is a fault
            await abort(context, error)
