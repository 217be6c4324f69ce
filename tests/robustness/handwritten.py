"""Histories written by hand, to try the validator on."""

import base64
from typing import Any

from google.protobuf.message import Message

from legato.commerce.v1 import cart_pb2, line_item_pb2, quantity_pb2
from legato.orchestrator.v1 import command_pb2, cursor_pb2, error_pb2, stream_pb2
from legato.protocol import state
from legato.protocol.entities import split_cart
from legato.protocol.ids import new_id
from tests.robustness import validator, workload
from tests.robustness.history import Record

CART = "carts/01a20000-0000-7000-8000-000000000001"
WALL_MS = 1_800_000_000_000


def entries(**lines: int) -> dict[str, bytes]:
    """A cart."""
    made = [
        line_item_pb2.LineItem(id=f"line-{sku}", sku=sku, quantity=quantity_pb2.Quantity(steps=steps))
        for sku, steps in lines.items()
    ]
    return split_cart(cart_pb2.Cart(id=CART.removeprefix("carts/"), lines=made))


class History:
    """Written record by record, a second each."""

    def __init__(self, **head: Any) -> None:
        self.records: list[Record] = []
        facts = {"fault": "none", "variant": "", "effect_class": "MARKED", "log_length": 100, "window": 3}
        self.note("run", wall_ms=WALL_MS, carts=[CART], **{**facts, **head})
        self.note("client", "till", role="member", may_see=[CART])

    def note(self, what: str, who: str = "", **facts: Any) -> Record:
        made = Record(float(len(self.records)), what, who, facts)
        self.records.append(made)
        return made

    def open(self, who: str = "till", number: int = 1) -> None:
        self.note("open", who, connection=f"{who}/{number}", hub="hub-1")

    def closed(self, who: str = "till", number: int = 1, code: str = "OK", by: str = "client") -> None:
        self.note("closed", who, connection=f"{who}/{number}", code=code, details="", by=by)

    def sends(self, who: str = "till", number: int = 1, **message: Any) -> None:
        self._message("sent", who, number, stream_pb2.ConnectRequest(**message))

    def gets(self, *messages: stream_pb2.ServerMessage, who: str = "till", number: int = 1) -> None:
        self._message("received", who, number, stream_pb2.ConnectResponse(messages=messages))

    def _message(self, what: str, who: str, number: int, message: Message) -> None:
        text = base64.b64encode(message.SerializeToString()).decode()
        self.note(what, who, connection=f"{who}/{number}", message=text)

    def subscribes(self, since: cursor_pb2.Cursor | None = None, **where: Any) -> None:
        self.sends(subscribe=stream_pb2.Subscribe(subscription_id="s", resource=CART, since=since), **where)

    def ends(self, *effects: tuple[str, str, int], lines: dict[str, int]) -> None:
        """What the backend has executed, and what it and the hub have then."""
        for command_id, sku, steps in effects:
            self.note("effect", command=command_id, cart=CART, sku=sku, steps=steps)
        self.note("healed")
        self.note("settled", finished=True, agreed=True, quiet=True)
        self.note("backend", cart=CART, lines=lines)

    def violated(self) -> dict[str, list[str]]:
        """What was broken, by promise."""
        found = validator.judge(self.records)
        return {name: [one.what for one in f.violations] for name, f in found.items() if f.violations}


def at(revision: int, epoch: str = "e") -> cursor_pb2.Cursor:
    return cursor_pb2.Cursor(epoch=epoch, revision=revision)


def snapshot(
    revision: int,
    held: dict[str, bytes],
    reason: "stream_pb2.SnapshotReason.ValueType" = stream_pb2.SNAPSHOT_REASON_INITIAL,
    epoch: str = "e",
) -> stream_pb2.ServerMessage:
    payload, digest = state.entries_to_bytes(held), state.digest(held)
    made = stream_pb2.Snapshot(subscription_id="s", cursor=at(revision, epoch), payload=payload, digest=digest)
    made.reason = reason
    return stream_pb2.ServerMessage(snapshot=made)


def delta(base: int, revision: int, before: dict[str, bytes], after: dict[str, bytes]) -> stream_pb2.ServerMessage:
    payload = state.diff(before, after).to_bytes()
    made = stream_pb2.Delta(subscription_id="s", prev_revision=base, cursor=at(revision), payload=payload)
    return stream_pb2.ServerMessage(delta=made)


def progress(revision: int, held: dict[str, bytes]) -> stream_pb2.ServerMessage:
    made = stream_pb2.Progress(subscription_id="s", cursor=at(revision), digest=state.digest(held))
    return stream_pb2.ServerMessage(progress=made)


def ack(revision: int) -> stream_pb2.Ack:
    return stream_pb2.Ack(subscription_id="s", cursor=at(revision))


def add(sku: str, steps: int, seq: int, command_id: str = "") -> command_pb2.Command:
    command_id = command_id or new_id(WALL_MS)
    return command_pb2.Command(command_id=command_id, resource=CART, seq=seq, cart=workload.add(sku, steps))


def result(
    command: command_pb2.Command,
    revision: int,
    outcome: "command_pb2.Outcome.ValueType" = command_pb2.OUTCOME_APPLIED,
    reason: "error_pb2.ErrorReason.ValueType" = error_pb2.ERROR_REASON_UNSPECIFIED,
) -> stream_pb2.ServerMessage:
    made = command_pb2.CommandResult(
        command_id=command.command_id, resource=CART, seq=command.seq, outcome=outcome, cursor=at(revision)
    )
    if reason:
        made.error.reason = reason
    return stream_pb2.ServerMessage(command_result=made)


NOTHING, ONE, THREE = entries(), entries(ROPE=1), entries(ROPE=3)
FIRST, SECOND = add("ROPE", 1, 1), add("ROPE", 2, 2)
DONE = (FIRST.command_id, "ROPE", 1), (SECOND.command_id, "ROPE", 2)


def begun(**head: Any) -> History:
    """The till follows the cart."""
    made = History(**head)
    made.open()
    made.subscribes()
    made.gets(snapshot(1, NOTHING))
    made.sends(ack=ack(1))
    return made
