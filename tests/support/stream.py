"""A bare Connect stream for tests: every message as it came, and commands as they are."""

import asyncio
from typing import Any

import grpc.aio

from legato.commerce.v1 import cart_intent_pb2
from legato.orchestrator.v1 import command_pb2, cursor_pb2, stream_pb2
from legato.protocol import resources, state
from legato.protocol.entities import assemble_cart
from legato.protocol.ids import new_id
from legato.protocol.state import Delta
from tests.support.hub import RunningHub, bearer

TIMEOUT_S = 10.0


def request(**message: Any) -> stream_pb2.ConnectRequest:
    """One message of a client; fields may be given as dictionaries."""
    return stream_pb2.ConnectRequest(**message)


class Stream:
    """An open stream. Keeps a replica of each subscription, checked as the contract demands, and acknowledges."""

    def __init__(self, hub: RunningHub, token: str, *, client_id: str = "", channel: str = "web") -> None:
        self.client_id = client_id or new_id()
        self.received: list[stream_pb2.ServerMessage] = []
        self.entries: dict[str, dict[str, bytes]] = {}
        self.cursors: dict[str, cursor_pb2.Cursor] = {}
        self.acknowledges = True
        self._seqs: dict[str, int] = {}
        self._call: Any = hub.stub.Connect(metadata=bearer(token))
        self._channel = channel
        self._news = asyncio.Condition()
        self._sending = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None
        self.error: grpc.aio.AioRpcError | None = None
        self.ended = asyncio.Event()

    async def __aenter__(self) -> "Stream":
        await self.send(
            hello=stream_pb2.Hello(client_id=self.client_id, channel=stream_pb2.Channel(kind=self._channel))
        )
        self._reader = asyncio.create_task(self._read())
        await self.first("welcome")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._call.cancel()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)

    async def send(self, **message: Any) -> None:
        async with self._sending:  # grpc.aio takes one write at a time
            await self._call.write(request(**message))

    async def subscribe(
        self, resource: str, subscription_id: str = "s", since: cursor_pb2.Cursor | None = None, **more: Any
    ) -> stream_pb2.ServerMessage:
        """Subscribe, and wait for the first state, news of it, or the refusal."""
        start = len(self.received)
        wish = stream_pb2.Subscribe(subscription_id=subscription_id, resource=resource, since=since, **more)
        await self.send(subscribe=wish)

        def answers(message: stream_pb2.ServerMessage) -> bool:
            kind = message.WhichOneof("message")
            if kind == "subscription_status":
                status = message.subscription_status
                return status.subscription_id == subscription_id and status.HasField("error")
            return (
                kind in ("snapshot", "delta", "progress") and getattr(message, kind).subscription_id == subscription_id
            )

        return await self.where(answers, start)

    async def command(self, resource: str, *, wait: bool = True, **intent: Any) -> command_pb2.CommandResult:
        """Send a cart intent as the next command of this client on the resource, and wait for its result."""
        seq = self._seqs[resource] = self._seqs.get(resource, 0) + 1
        command = command_pb2.Command(
            command_id=new_id(), resource=resource, seq=seq, cart=cart_intent_pb2.CartIntent(**intent)
        )
        return await self.execute(command)

    async def execute(self, command: command_pb2.Command) -> command_pb2.CommandResult:
        start = len(self.received)
        await self.send(command=command)
        return await self.result(command.command_id, start)

    async def result(self, command_id: str, start: int = 0) -> command_pb2.CommandResult:
        message = await self.where(lambda m: m.command_result.command_id == command_id, start)
        return message.command_result

    async def create_cart(self) -> str:
        """Create a cart; its resource name."""
        resource = resources.cart(new_id())
        result = await self.command(resource, create_cart=cart_intent_pb2.CreateCart())
        assert result.outcome == command_pb2.OUTCOME_APPLIED, result
        return resource

    async def first(self, kind: str, start: int = 0) -> stream_pb2.ServerMessage:
        return await self.where(lambda m: m.WhichOneof("message") == kind, start)

    async def where(self, predicate: Any, start: int = 0) -> stream_pb2.ServerMessage:
        """The first message from `start` on that fulfils the predicate."""
        seen = start
        async with asyncio.timeout(TIMEOUT_S), self._news:
            while True:
                while seen < len(self.received):
                    seen += 1
                    if predicate(self.received[seen - 1]):
                        return self.received[seen - 1]
                if self.ended.is_set():
                    raise self.error or EOFError("the stream has ended")
                await self._news.wait()

    async def until_revision(self, revision: int, subscription_id: str = "s") -> None:
        def reached(_: stream_pb2.ServerMessage) -> bool:
            cursor = self.cursors.get(subscription_id)
            return cursor is not None and cursor.revision >= revision

        if not reached(stream_pb2.ServerMessage()):
            await self.where(reached, len(self.received))

    async def end(self) -> grpc.aio.AioRpcError | None:
        """Wait until the hub ends the stream; the status if it is an error."""
        async with asyncio.timeout(TIMEOUT_S):
            await self.ended.wait()
        return self.error

    def lines(self, subscription_id: str = "s") -> dict[str, int]:
        """What the replica of a cart holds: steps by sku."""
        cart = assemble_cart(self.entries[subscription_id])
        return {line.sku: line.quantity.steps for line in cart.lines}

    def kinds(self, start: int = 0) -> list[str]:
        return [str(message.WhichOneof("message")) for message in self.received[start:]]

    async def _read(self) -> None:
        try:
            async for response in self._call:
                for message in response.messages:
                    self._apply(message)
                    self.received.append(message)
                if self.acknowledges:
                    await self._acknowledge()
                async with self._news:
                    self._news.notify_all()
        except grpc.aio.AioRpcError as error:
            self.error = error
        except asyncio.InvalidStateError:
            # The hub ended the stream while an acknowledgement was on its way.
            pass
        finally:
            self.ended.set()
            async with self._news:
                self._news.notify_all()

    async def _acknowledge(self) -> None:
        for subscription_id, cursor in self.cursors.items():
            await self.send(ack=stream_pb2.Ack(subscription_id=subscription_id, cursor=cursor))

    def _apply(self, message: stream_pb2.ServerMessage) -> None:
        kind = message.WhichOneof("message")
        if kind == "snapshot":
            snapshot = message.snapshot
            entries = state.entries_from_bytes(snapshot.payload)
            assert state.digest(entries) == snapshot.digest
            self.entries[snapshot.subscription_id] = entries
            self.cursors[snapshot.subscription_id] = snapshot.cursor
        elif kind == "delta":
            delta = message.delta
            assert self.cursors[delta.subscription_id].revision == delta.prev_revision
            assert self.cursors[delta.subscription_id].epoch == delta.cursor.epoch
            before = self.entries[delta.subscription_id]
            self.entries[delta.subscription_id] = state.apply(before, Delta.from_bytes(delta.payload))
            self.cursors[delta.subscription_id] = delta.cursor
        elif kind == "progress":
            progress = message.progress
            assert self.cursors[progress.subscription_id] == progress.cursor
            assert state.digest(self.entries[progress.subscription_id]) == progress.digest

    def adopt(self, other: "Stream", subscription_id: str = "s") -> None:
        """Go on with the replica of a former connection."""
        self.entries[subscription_id] = other.entries[subscription_id]
        self.cursors[subscription_id] = other.cursors[subscription_id]
        self._seqs = other._seqs
