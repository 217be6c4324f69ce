"""The commerce backend of the robustness suite: a ledger of its effects in SQLite, in a process of its own.

It outlives hubs and is shared by several. What is wrong with it the sku of a command says, so that a seed decides it:

    REFUSED-…   refused for a reason of business
    SLOW-…      answers a quarter of a second later, after the effect
    LOST-…      has its effect, and the first answer is lost: the call hangs until its deadline
    BROKEN-…    has its effect, and the first answer is a connection error
"""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from legato.adapter.v1 import cart_service_pb2 as pb
from legato.adapter.v1 import identity_service_pb2
from legato.commerce.v1 import cart_intent_pb2
from tests.robustness import model
from tests.support.ledger import Ledger

SLOW_S = 0.25
_Context = grpc.aio.ServicerContext[Any, Any]
_KEEPS_IDS = (identity_service_pb2.EFFECT_CLASS_KEYED, identity_service_pb2.EFFECT_CLASS_MARKED)


@dataclass(frozen=True, slots=True)
class Effect:
    """One execution in the backend. `steps` is by how much it changed the line; a repeat of "set to N" changes 0."""

    cart: str
    command: str
    sku: str
    steps: int


def effects(path: str) -> list[Effect]:
    """Everything that the backend ever executed, in its order, read past every hub."""
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT cart, command, sku, steps FROM effects ORDER BY rowid")
        return [Effect(*row) for row in rows]


def sku_of(intent: cart_intent_pb2.CartIntent) -> str:
    """The variant that a command is about; empty for none."""
    match intent.WhichOneof("intent"):
        case "add_line":
            return intent.add_line.sku
        case "set_line_quantity":
            return model.sku_of(intent.set_line_quantity.line)
        case "remove_line":
            return model.sku_of(intent.remove_line.line)
    return ""


class Shop(Ledger):
    """The ledger's adapter with more intents, and with faults."""

    def __init__(self, path: str, effect_class: str) -> None:
        super().__init__(path, effect_class)
        self._database.execute("PRAGMA synchronous = OFF")  # The machine does not fail here, only processes do.
        self._answered: set[str] = set()

    def _answer(self, cart_id: str, sku: str = "") -> pb.ApplyCommandResponse:
        """Only KEYED backends have versions of which it can be told which is the later."""
        answer = super()._answer(cart_id, sku)
        if self._class != identity_service_pb2.EFFECT_CLASS_KEYED:
            answer.version = f"state-{answer.version}"
        return answer

    async def GetInfo(
        self, request: identity_service_pb2.GetInfoRequest, context: _Context
    ) -> identity_service_pb2.GetInfoResponse:
        info = await super().GetInfo(request, context)
        info.cart_intents.extend(["set_line_quantity", "remove_line"])
        return info

    async def ApplyCommand(self, request: pb.ApplyCommandRequest, context: _Context) -> pb.ApplyCommandResponse:
        sku = sku_of(request.intent)
        present = self._answer(request.cart_id, sku)
        again = self._class in _KEEPS_IDS and self._seen(request.command_id)
        if not again and request.expected_version and request.expected_version != present.version:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"the version is {present.version}")
        if sku.startswith("REFUSED-"):
            present.rejection.reason = pb.REJECTION_REASON_UNKNOWN_SKU
            return present
        first = request.command_id not in self._answered
        self._answered.add(request.command_id)
        answer = self._apply(request)
        if sku.startswith("SLOW-"):
            await asyncio.sleep(SLOW_S)
        elif sku.startswith("LOST-") and first:
            await asyncio.sleep(context.time_remaining() or 0.0)
        elif sku.startswith("BROKEN-") and first:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection is gone")
        return answer

    def _apply(self, request: pb.ApplyCommandRequest) -> pb.ApplyCommandResponse:
        self._database.execute("BEGIN IMMEDIATE")
        if self._class not in _KEEPS_IDS or not self._seen(request.command_id):
            self._execute(request)
        self._database.execute("COMMIT")
        return self._answer(request.cart_id, sku_of(request.intent))

    def _execute(self, request: pb.ApplyCommandRequest) -> None:
        intent, sku = request.intent, sku_of(request.intent)
        before = {line.sku: line.quantity.steps for line in self._answer(request.cart_id).cart.lines}
        after = model.apply(before, intent)
        if self._class == identity_service_pb2.EFFECT_CLASS_ABSOLUTE and sku:
            after[sku] = request.line_target.steps
        row = (request.cart_id, request.command_id, sku, after.get(sku, 0) - before.get(sku, 0))
        self._database.execute("INSERT INTO effects VALUES (?, ?, ?, ?)", row)
        insert = "INSERT INTO carts VALUES (?, 1, 1) ON CONFLICT DO UPDATE SET version = version + 1"
        self._database.execute(insert, (request.cart_id,))

    async def ResolveCommand(self, request: pb.ResolveCommandRequest, context: _Context) -> pb.ResolveCommandResponse:
        call = request.call
        sku = sku_of(call.intent)
        answer = self._answer(call.cart_id, sku)
        if self._class == identity_service_pb2.EFFECT_CLASS_NONE:
            return pb.ResolveCommandResponse(resolution=pb.RESOLUTION_UNKNOWN, response=answer)
        if self._class != identity_service_pb2.EFFECT_CLASS_ABSOLUTE:
            done = self._seen(call.command_id)
        elif sku:
            lines = {line.sku: line.quantity.steps for line in answer.cart.lines}
            done = lines.get(sku, 0) == call.line_target.steps
        else:
            done = answer.version != "state-0"
        resolution = pb.RESOLUTION_APPLIED if done else pb.RESOLUTION_NOT_APPLIED
        return pb.ResolveCommandResponse(resolution=resolution, response=answer)


def create(*, path: str, effect_class: str) -> Shop:
    """The adapter on a file."""
    return Shop(path, effect_class)
