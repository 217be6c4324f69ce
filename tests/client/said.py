"""What a hub says, briefly, and an open `Connection` to say it to."""

import random

from legato import intents
from legato.connection import Connection
from legato.orchestrator.v1 import command_pb2, stream_pb2
from legato.orchestrator.v1.command_pb2 import Command, CommandResult
from legato.orchestrator.v1.cursor_pb2 import Cursor
from legato.orchestrator.v1.error_pb2 import Error, ErrorReason
from legato.orchestrator.v1.stream_pb2 import ConnectRequest, ServerMessage
from legato.protocol import state
from legato.subscription import Subscription

CART = "carts/a"
ENTRIES = {"cart": b""}


def cursor(revision: int, epoch: str = "e") -> Cursor:
    return Cursor(epoch=epoch, revision=revision)


def wish(seq: int, resource: str = CART) -> Command:
    return Command(command_id=f"c{seq}", resource=resource, seq=seq, cart=intents.set_note(str(seq)))


def result(
    seq: int,
    outcome: command_pb2.Outcome.ValueType = command_pb2.OUTCOME_APPLIED,
    reason: ErrorReason.ValueType | None = None,
    *,
    at: int | None = None,
    expected_seq: int = 0,
    delay: int | None = None,
) -> ServerMessage:
    told = CommandResult(command_id=f"c{seq}", resource=CART, seq=seq, outcome=outcome, expected_seq=expected_seq)
    if at is not None:
        told.cursor.CopyFrom(cursor(at))
    if reason is not None:
        told.error.reason = reason
        if delay is not None:
            told.error.retry_delay.FromSeconds(delay)
    return ServerMessage(command_result=told)


def snapshot(id_: str, revision: int = 1, last_seq: int = 0, epoch: str = "e") -> ServerMessage:
    digest, payload = state.digest(ENTRIES), state.entries_to_bytes(ENTRIES)
    told = stream_pb2.Snapshot(
        subscription_id=id_, target=CART, cursor=cursor(revision, epoch), digest=digest, payload=payload
    )
    told.last_seq = last_seq
    return ServerMessage(snapshot=told)


def closed(id_: str, reason: ErrorReason.ValueType, delay: int | None = None) -> ServerMessage:
    status = stream_pb2.SubscriptionStatus(
        subscription_id=id_, state=stream_pb2.SUBSCRIPTION_STATE_CLOSED, error=Error(reason=reason)
    )
    if delay is not None:
        status.error.retry_delay.FromSeconds(delay)
    return ServerMessage(subscription_status=status)


def welcome(lives: int | None = None, in_flight: int = 1_000) -> ServerMessage:
    told = stream_pb2.Welcome(limits=stream_pb2.Limits(max_commands_in_flight=in_flight))
    told.server_time.FromSeconds(1_000_000)
    if lives is not None:
        told.identity.expires_at.FromSeconds(1_000_000 + lives)
    return ServerMessage(welcome=told)


def kinds(requests: list[ConnectRequest]) -> list[str]:
    return [str(request.WhichOneof("message")) for request in requests]


def seqs(requests: list[ConnectRequest]) -> list[int]:
    return [request.command.seq for request in requests if request.HasField("command")]


def connection(*, follow: bool = False, live: bool = True, in_flight: int = 1_000) -> Connection:
    """An open stream at time 0; with `follow` it follows the cart, whose state has come if `live`."""
    core = Connection(stream_pb2.Hello(client_id="me"), random.Random(1))
    if follow:
        core.want(Subscription(CART))
    core.opened(0)
    core.received([welcome(in_flight=in_flight)], 0)
    core.messages(0)
    if follow and live:
        core.received([snapshot("s1")], 0)
        core.messages(0)
    core.events()
    return core
