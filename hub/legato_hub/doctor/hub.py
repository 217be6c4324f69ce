"""The running hub, as a client meets it: port, health, token, clock, a stream's way there and back."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from grpc.aio import Metadata
from grpc_health.v1 import health_pb2, health_pb2_grpc

from legato.error_table import from_rpc_error
from legato.errors import LegatoError, NotAllowed, Unauthenticated
from legato.orchestrator.v1 import orchestrator_service_pb2, orchestrator_service_pb2_grpc, stream_pb2
from legato.protocol.ids import new_id
from legato_hub.doctor.report import Finding, Verdict

SERVICE = orchestrator_service_pb2.DESCRIPTOR.services_by_name["OrchestratorService"].full_name

SKEW_WARNING_S, SKEW_FAILED_S = 2.0, 60.0
"""Tokens end by the clock, and a stateless command whose id is 5 min ahead is refused."""

SLOW_S = 0.25
PINGS = 5

_SERVING = health_pb2.HealthCheckResponse.SERVING


async def reachable(target: str, timeout_s: float) -> AsyncIterator[Finding]:
    """Whether something listens, and speaks gRPC."""
    host, _, port = target.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except OSError as error:
        remedy = "start the hub, or correct --target: it must be the host and port of [server] listen"
        yield Finding("connect", Verdict.FAILED, f"{target}: {error.strerror or error}", remedy)
        return
    writer.close()
    async with grpc.aio.insecure_channel(target) as channel:
        try:
            async with asyncio.timeout(timeout_s * 0.8):
                await channel.channel_ready()
        except TimeoutError:
            seen = f"{target} takes connections and does not answer on them"
            remedy = (
                "the process hangs or is stopped (`ps -o stat,wchan PID`; T means stopped), or it is no gRPC server;"
                " end a hub that hangs, clients go to another or come back"
            )
            yield Finding("connect", Verdict.FAILED, seen, remedy)
            return
    yield Finding("connect", Verdict.OK, f"{target} answers")


async def health(channel: grpc.aio.Channel) -> AsyncIterator[Finding]:
    """What the hub says of itself, alive and ready."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    try:
        alive = await stub.Check(health_pb2.HealthCheckRequest(service=""))
        ready = await stub.Check(health_pb2.HealthCheckRequest(service=SERVICE))
    except grpc.aio.AioRpcError as error:
        if error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED):
            remedy = "this is no Legato hub, or one of another version of the API; correct --target"
            yield Finding("health", Verdict.FAILED, f"the server does not know {SERVICE}", remedy)
            return
        yield Finding("health", Verdict.FAILED, f"{error.code().name}: {error.details()}", "look into the hub's log")
        return
    if alive.status != _SERVING:
        remedy = "wait for its end, or start it again; clients were told to go elsewhere"
        yield Finding("health", Verdict.FAILED, "the hub is draining: it takes no new streams", remedy)
    elif ready.status != _SERVING:
        remedy = "look at the findings about the storage; the hub is ready again by itself once that answers"
        yield Finding("health", Verdict.FAILED, "alive but not ready: its storage does not answer", remedy)
    else:
        yield Finding("health", Verdict.OK, f"serving {SERVICE}")


async def stream(channel: grpc.aio.Channel, token: str) -> AsyncIterator[Finding]:
    """Hello, welcome, pings: the token, the clock and the time that it takes."""
    stub: Any = orchestrator_service_pb2_grpc.OrchestratorServiceStub(channel)
    call = stub.Connect(metadata=(("authorization", f"Bearer {token}"),))
    try:
        sent = time.time()
        hello = stream_pb2.Hello(client_id=new_id(), channel=stream_pb2.Channel(kind="cli", name="legato doctor"))
        await _say(call, hello=hello)
        welcome = (await _message(call, "welcome")).welcome
        came = time.time()
        identity = f"{welcome.identity.kind} of tenant {welcome.identity.tenant}"
        yield Finding("token", Verdict.OK, f"accepted: {identity}")
        yield _clock((sent + came) / 2 - welcome.server_time.ToMilliseconds() / 1000)
        took = []
        for nonce in range(1, PINGS + 1):
            start = time.monotonic()
            await _say(call, ping=stream_pb2.Ping(nonce=nonce))
            while (await _message(call, "pong")).pong.nonce != nonce:
                pass
            took.append(time.monotonic() - start)
        yield _round_trip(sorted(took)[PINGS // 2], max(took))
    except LegatoError as error:
        yield _refusal(error)
    finally:
        call.cancel()


async def _say(call: Any, **message: Any) -> None:
    # On a stream that has ended it is the next read that tells why.
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await call.write(stream_pb2.ConnectRequest(**message))


async def _message(call: Any, kind: str) -> stream_pb2.ServerMessage:
    """The next message of a kind. Raise LegatoError when the stream ends instead."""
    while True:
        try:
            response = await call.read()
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        if response is grpc.aio.EOF:
            code, details = await call.code(), await call.details()
            raise from_rpc_error(grpc.aio.AioRpcError(code, Metadata(), await call.trailing_metadata(), details))
        for message in response.messages:
            if message.HasField(kind):
                found: stream_pb2.ServerMessage = message
                return found


def _refusal(error: LegatoError) -> Finding:
    if isinstance(error, Unauthenticated | NotAllowed):
        remedy = (
            "the hub has another [auth] secret than this configuration, or the token has expired: run doctor with the"
            " hub's own configuration, or give --token"
        )
        return Finding("token", Verdict.FAILED, f"refused: {error}", remedy)
    return Finding("stream", Verdict.FAILED, f"the stream was refused: {error}", "look into the hub's log")


def _clock(ahead_s: float) -> Finding:
    seen = f"this machine's clock is {abs(ahead_s):.3f} s {'ahead of' if ahead_s > 0 else 'behind'} the hub's"
    if abs(ahead_s) < SKEW_WARNING_S:
        return Finding("clock", Verdict.OK, seen)
    remedy = "let NTP set both clocks; tokens end, and stateless commands are told apart, by the clock"
    verdict = Verdict.FAILED if abs(ahead_s) >= SKEW_FAILED_S else Verdict.WARNING
    return Finding("clock", verdict, seen, remedy)


def _round_trip(median_s: float, worst_s: float) -> Finding:
    seen = f"there and back in {median_s * 1000:.1f} ms, at worst {worst_s * 1000:.1f} ms"
    if median_s < SLOW_S:
        return Finding("stream", Verdict.OK, seen)
    remedy = "the network is slow, or the hub's event loop is busy: see legato_event_loop_lag_seconds"
    return Finding("stream", Verdict.WARNING, seen, remedy)
