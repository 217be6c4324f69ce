"""A backend that keeps a ledger of its effects, with an adapter of whichever effect class is asked for.

Not a stand-in for a real backend: it exists so that a test can read, past the hub, how often each command had its
effect. Loaded by a hub as `tests.support.ledger:create`.
"""

import sqlite3
from collections import Counter
from contextlib import closing
from typing import Any

import grpc
import grpc.aio

from legato.adapter.v1 import cart_service_pb2 as pb
from legato.adapter.v1 import cart_service_pb2_grpc, identity_service_pb2, identity_service_pb2_grpc
from legato.commerce.v1 import cart_pb2, line_item_pb2

SCHEMA = """
CREATE TABLE IF NOT EXISTS effects (cart TEXT, command TEXT, sku TEXT, steps INTEGER);
CREATE TABLE IF NOT EXISTS carts (cart TEXT PRIMARY KEY, version INTEGER, calls INTEGER);
"""

_Context = grpc.aio.ServicerContext[Any, Any]


def effects(path: str) -> Counter[str]:
    """How often each command had its effect."""
    with closing(sqlite3.connect(path)) as database:
        return Counter(row[0] for row in database.execute("SELECT command FROM effects"))


def steps(path: str, cart_id: str) -> dict[str, int]:
    """What the backend has in a cart."""
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT sku, SUM(steps) FROM effects WHERE cart = ? GROUP BY sku", (cart_id,))
        return {sku: total for sku, total in rows if total}


class Ledger(cart_service_pb2_grpc.CartServiceServicer, identity_service_pb2_grpc.IdentityServiceServicer):
    """An adapter. Executes create_cart and add_line."""

    def __init__(self, path: str, effect_class: str) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.executescript(SCHEMA)
        self._class = identity_service_pb2.EffectClass.Value(f"EFFECT_CLASS_{effect_class}")

    def add_to(self, server: grpc.aio.Server) -> None:
        cart_service_pb2_grpc.add_CartServiceServicer_to_server(self, server)
        identity_service_pb2_grpc.add_IdentityServiceServicer_to_server(self, server)

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        self._database.close()

    async def GetInfo(
        self, request: identity_service_pb2.GetInfoRequest, context: _Context
    ) -> identity_service_pb2.GetInfoResponse:
        return identity_service_pb2.GetInfoResponse(
            name="ledger",
            version="1",
            contract_version="1",
            capabilities=[identity_service_pb2.CAPABILITY_CART],
            effect_class=self._class,
            cart_intents=["create_cart", "add_line"],
        )

    async def Probe(
        self, request: identity_service_pb2.ProbeRequest, context: _Context
    ) -> identity_service_pb2.ProbeResponse:
        return identity_service_pb2.ProbeResponse()

    async def GetCart(self, request: pb.GetCartRequest, context: _Context) -> pb.GetCartResponse:
        answer = self._answer(request.cart_id)
        return pb.GetCartResponse(cart=answer.cart, version=answer.version)

    async def ApplyCommand(self, request: pb.ApplyCommandRequest, context: _Context) -> pb.ApplyCommandResponse:
        self._database.execute("BEGIN IMMEDIATE")
        seen = self._seen(request.command_id)
        if not (
            seen and self._class in (identity_service_pb2.EFFECT_CLASS_KEYED, identity_service_pb2.EFFECT_CLASS_MARKED)
        ):
            self._execute(request)
        self._database.execute("COMMIT")
        return self._answer(request.cart_id, request.intent.add_line.sku)

    async def ResolveCommand(self, request: pb.ResolveCommandRequest, context: _Context) -> pb.ResolveCommandResponse:
        call = request.call
        answer = self._answer(call.cart_id, call.intent.add_line.sku)
        if self._class == identity_service_pb2.EFFECT_CLASS_NONE:
            return pb.ResolveCommandResponse(resolution=pb.RESOLUTION_UNKNOWN, response=answer)
        if self._class == identity_service_pb2.EFFECT_CLASS_ABSOLUTE:
            lines = {line.sku: line.quantity.steps for line in answer.cart.lines}
            done = call.intent.HasField("create_cart") or lines.get(call.line_target.sku, 0) == call.line_target.steps
        else:
            done = self._seen(call.command_id)
        resolution = pb.RESOLUTION_APPLIED if done else pb.RESOLUTION_NOT_APPLIED
        return pb.ResolveCommandResponse(resolution=resolution, response=answer)

    def _seen(self, command_id: str) -> bool:
        query = "SELECT 1 FROM effects WHERE command = ?"
        return self._database.execute(query, (command_id,)).fetchone() is not None

    def _execute(self, request: pb.ApplyCommandRequest) -> None:
        added = request.intent.add_line.quantity.steps
        sku = request.intent.add_line.sku
        if self._class == identity_service_pb2.EFFECT_CLASS_ABSOLUTE and sku:
            present = {line.sku: line.quantity.steps for line in self._answer(request.cart_id).cart.lines}
            added = request.line_target.steps - present.get(sku, 0)
        row = (request.cart_id, request.command_id, sku, added)
        if added or request.intent.HasField("create_cart"):
            self._database.execute("INSERT INTO effects VALUES (?, ?, ?, ?)", row)
        self._database.execute(
            "INSERT INTO carts VALUES (?, 1, 1) ON CONFLICT DO UPDATE SET version = version + 1", (request.cart_id,)
        )

    def _answer(self, cart_id: str, sku: str = "") -> pb.ApplyCommandResponse:
        cart = cart_pb2.Cart(id=cart_id, state=cart_pb2.CART_STATE_ACTIVE)
        query = "SELECT sku, SUM(steps) FROM effects WHERE cart = ? AND sku <> '' GROUP BY sku HAVING SUM(steps) > 0"
        for name, total in self._database.execute(query, (cart_id,)):
            line = line_item_pb2.LineItem(id=f"line-{name}", sku=name)
            line.quantity.steps = total
            cart.lines.append(line)
        (version,) = self._database.execute("SELECT version FROM carts WHERE cart = ?", (cart_id,)).fetchone() or (0,)
        return pb.ApplyCommandResponse(cart=cart, version=str(version), line_id=f"line-{sku}" if sku else "")


def create(*, path: str, effect_class: str) -> Ledger:
    """The adapter on a file."""
    return Ledger(path, effect_class)
