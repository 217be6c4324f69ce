"""How a run ends: whether everybody has the same, and all that the validator must know about it."""

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

import grpc.aio

from legato.orchestrator.v1 import orchestrator_service_pb2_grpc, reads_pb2
from tests.robustness import backend as shop
from tests.robustness.processes import Hub
from tests.support.hub import bearer

if TYPE_CHECKING:
    from tests.robustness.world import World

READ_S = 10.0


class Ending:
    """Looks at a world: at its replicas, into its hubs, past them into backend and storage."""

    def __init__(self, world: "World") -> None:
        self._world = world

    async def agrees(self) -> bool:
        """Whether every replica, every hub and the backend have the same in every cart."""
        world = self._world
        for cart in world.carts:
            wanted = self._in_backend(cart)
            cursors = set()
            for hub in filter(lambda hub: hub.runs, world.hubs):
                answer = await self._read(hub, cart)
                if answer is None or _lines(answer) != wanted:
                    return False
                cursors.add((answer.cursor.epoch, answer.cursor.revision))
            for client in world.served:
                replica = client.replicas.get(cart)
                if replica is not None:
                    if replica.cursor is None:
                        return False
                    cursors.add((replica.cursor.epoch, replica.cursor.revision))
            if len(cursors) != 1:
                return False
        return True

    async def record(self) -> None:
        """Tell the history how everything is."""
        world = self._world
        for effect in shop.effects(world.ledger):
            cart = f"carts/{effect.cart}"
            world.recorder.record("effect", command=effect.command, cart=cart, sku=effect.sku, steps=effect.steps)
        for cart in world.carts:
            world.recorder.record("backend", cart=cart, lines=self._in_backend(cart))
            for hub in filter(lambda hub: hub.runs, world.hubs):
                answer = await self._read(hub, cart)
                if answer is not None:
                    at = [answer.cursor.epoch, answer.cursor.revision]
                    world.recorder.record("hub", hub.name, cart=cart, lines=_lines(answer), cursor=at)
        for resource in self.slots():
            world.recorder.record("slot", resource=resource)

    def slots(self) -> list[str]:
        """Resources with a claimed slot, as the storage has them."""
        if self._world.valkey is not None:
            return self._world.valkey.slots()
        with contextlib.closing(sqlite3.connect(self._world.folder / "hub.sqlite3", timeout=30)) as database:
            return [row[0] for row in database.execute("SELECT name FROM slot JOIN resource USING (rid)")]

    def _in_backend(self, cart: str) -> dict[str, int]:
        lines: dict[str, int] = {}
        for effect in shop.effects(self._world.ledger):
            if f"carts/{effect.cart}" == cart and effect.sku:
                lines[effect.sku] = lines.get(effect.sku, 0) + effect.steps
        return {sku: steps for sku, steps in lines.items() if steps}

    async def _read(self, hub: Hub, cart: str) -> reads_pb2.GetCartResponse | None:
        """None if the hub does not answer."""
        async with grpc.aio.insecure_channel(f"127.0.0.1:{hub.port}") as channel:
            stub: Any = orchestrator_service_pb2_grpc.OrchestratorServiceStub(channel)
            request = reads_pb2.GetCartRequest(resource=cart)
            metadata = bearer(self._world.token("reader", "berlin"))
            with contextlib.suppress(grpc.aio.AioRpcError):
                answer: reads_pb2.GetCartResponse = await stub.GetCart(request, metadata=metadata, timeout=READ_S)
                return answer
        return None


def _lines(answer: reads_pb2.GetCartResponse) -> dict[str, int]:
    return {line.sku: line.quantity.steps for line in answer.cart.lines}
