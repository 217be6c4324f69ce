"""A hub as plain lists, for tests of the client's pure parts, and a client that plays both ends of its network."""

import random
from collections import deque
from dataclasses import dataclass, field

from google.protobuf.duration_pb2 import Duration

from legato import errors, events
from legato.commerce.v1 import cart_intent_pb2, cart_pb2, quantity_pb2
from legato.connection import Connection
from legato.orchestrator.v1 import command_pb2, cursor_pb2, error_pb2, stream_pb2
from legato.orchestrator.v1.command_pb2 import Command, CommandResult
from legato.orchestrator.v1.stream_pb2 import ConnectRequest, ServerMessage
from legato.outbox import MemoryOutbox
from legato.protocol import entities, state
from legato.protocol.ids import new_id
from legato.replica import Replica
from legato.subscription import State, Subscription

CARTS = ("carts/a", "carts/b")
IN_FLIGHT = 100


def add(resource: str, sku: str, steps: int = 1) -> Command:
    intent = cart_intent_pb2.AddLine(sku=sku, quantity=quantity_pb2.Quantity(steps=steps), client_line_key=new_id())
    return Command(command_id=new_id(), resource=resource, cart=cart_intent_pb2.CartIntent(add_line=intent))


@dataclass
class Cart:
    """All states a cart ever had, by revision."""

    states: list[dict[str, bytes]]
    floor: int = 0
    """Deltas up to this revision are gone from the log."""
    executed: list[str] = field(default_factory=list)
    """Command ids, in the order of their effect."""
    rejected: set[str] = field(default_factory=set)
    last_seq: int | None = None
    """None: nothing is known of the client in this epoch."""
    results: dict[int, CommandResult] = field(default_factory=dict)

    @property
    def revision(self) -> int:
        return len(self.states) - 1


class ModelHub:
    """One client's hub. `refuse_next` and `lie_next` make it misbehave once."""

    def __init__(self) -> None:
        self.epoch = "e1"
        self.carts = {
            name: Cart([entities.split_cart(cart_pb2.Cart(id=name.removeprefix("carts/")))]) for name in CARTS
        }
        self.following: dict[str, tuple[str, int]] = {}
        self.out: deque[list[ServerMessage]] = deque()
        self.refuse_next: deque[str] = deque()
        self.lie_next: deque[str] = deque()
        self.acknowledged = 0

    def disconnect(self) -> None:
        self.following.clear()
        self.out.clear()

    def new_epoch(self) -> None:
        """Storage is lost and rebuilt from the backend: states stay, what was known of clients does not."""
        self.epoch = f"e{int(self.epoch[1:]) + 1}"
        for cart in self.carts.values():
            cart.last_seq, cart.results, cart.floor = None, {}, cart.revision
        self.disconnect()

    def commit(self, name: str, intent: cart_intent_pb2.AddLine) -> None:
        """What anybody adds."""
        cart = self.carts[name]
        present = entities.assemble_cart(cart.states[-1])
        line = next((line for line in present.lines if line.sku == intent.sku), None)
        if line is None:
            line = present.lines.add(id=f"l{len(present.lines)}", sku=intent.sku, position=len(present.lines))
            line.quantity.steps = 0
        line.quantity.steps += intent.quantity.steps
        line.client_line_keys.add(key=intent.client_line_key, steps=intent.quantity.steps)
        cart.states.append(entities.split_cart(present))
        for id_, (followed, _) in list(self.following.items()):
            if followed == name:
                self.serve(id_)

    def serve(self, id_: str, *, first: bool = False) -> None:
        name, sent = self.following[id_]
        cart = self.carts[name]
        lie = self.lie_next.popleft() if self.lie_next else ""
        self.following[id_] = (name, cart.revision)
        cursor = cursor_pb2.Cursor(epoch=self.epoch, revision=cart.revision)
        last = cart.last_seq or 0
        if lie == "lose" and not first:
            return
        if sent < cart.floor or sent > cart.revision:
            told = cart.states[-1] | ({"cart": b"torn"} if lie == "tear" else {})
            digest, payload = state.digest(cart.states[-1]), state.entries_to_bytes(told)
            snapshot = stream_pb2.Snapshot(
                subscription_id=id_, target=name, cursor=cursor, digest=digest, payload=payload, last_seq=last
            )
            self.say(ServerMessage(snapshot=snapshot))
        elif sent == cart.revision:
            digest = b"?" * 32 if lie == "tear" else state.digest(cart.states[-1])
            progress = stream_pb2.Progress(subscription_id=id_, cursor=cursor, digest=digest, last_seq=last)
            self.say(ServerMessage(progress=progress))
        else:
            payload = state.diff(cart.states[sent], cart.states[-1]).to_bytes()
            delta = stream_pb2.Delta(
                subscription_id=id_,
                prev_revision=sent + (lie == "shift"),
                cursor=cursor,
                payload=payload,
                last_seq=last,
            )
            self.say(ServerMessage(delta=delta))

    def say(self, *messages: ServerMessage) -> None:
        self.out.append(list(messages))

    def receive(self, request: ConnectRequest) -> None:
        match request.WhichOneof("message"):
            case "hello":
                limits = stream_pb2.Limits(max_commands_in_flight=IN_FLIGHT)
                self.say(ServerMessage(welcome=stream_pb2.Welcome(limits=limits)))
            case "subscribe":
                asked = request.subscribe
                cart = self.carts[asked.resource]
                if cart.last_seq is None:
                    cart.last_seq = max(asked.first_unacknowledged_seq, 1) - 1
                here = asked.HasField("since") and asked.since.epoch == self.epoch
                self.following[asked.subscription_id] = (asked.resource, asked.since.revision if here else -1)
                active = stream_pb2.SUBSCRIPTION_STATE_ACTIVE
                status = stream_pb2.SubscriptionStatus(subscription_id=asked.subscription_id, state=active)
                self.say(ServerMessage(subscription_status=status))
                self.serve(asked.subscription_id, first=True)
            case "unsubscribe":
                self.following.pop(request.unsubscribe.subscription_id, None)
            case "command":
                under_way = {m.command_result.command_id for messages in self.out for m in messages}
                assert request.command.command_id not in under_way, "a command is not sent again before its answer"
                self.say(ServerMessage(command_result=self.execute(request.command)))
            case "ack":
                self.acknowledged += 1

    def execute(self, command: Command) -> CommandResult:
        cart = self.carts[command.resource]
        result = CommandResult(command_id=command.command_id, resource=command.resource, seq=command.seq)
        last = cart.last_seq or 0
        if command.seq in cart.results and cart.results[command.seq].command_id == command.command_id:
            result.CopyFrom(cart.results[command.seq])
            result.replayed = True
            return result
        refusal = self.refuse_next.popleft() if self.refuse_next else ""
        if command.seq <= last:
            return self.refused(result, command_pb2.OUTCOME_REJECTED, error_pb2.ERROR_REASON_COMMAND_ID_REUSED)
        if refusal == "busy":
            return self.refused(result, command_pb2.OUTCOME_NOT_ACCEPTED, error_pb2.ERROR_REASON_RESOURCE_BUSY, 0.5)
        if refusal == "storage":
            reason = error_pb2.ERROR_REASON_STORAGE_UNAVAILABLE
            return self.refused(result, command_pb2.OUTCOME_NOT_ACCEPTED, reason)
        if command.seq > last + 1:
            result.expected_seq = last + 1
            return self.refused(result, command_pb2.OUTCOME_NOT_ACCEPTED, error_pb2.ERROR_REASON_SEQ_GAP)
        cart.last_seq = command.seq
        if command.command_id in cart.executed:
            result.outcome = command_pb2.OUTCOME_APPLIED  # the backend remembers what a new epoch forgot
        elif refusal == "reject" or command.command_id in cart.rejected:
            self.refused(result, command_pb2.OUTCOME_REJECTED, error_pb2.ERROR_REASON_INSUFFICIENT_STOCK)
            cart.rejected.add(command.command_id)
        else:
            cart.executed.append(command.command_id)
            self.commit(command.resource, command.cart.add_line)
            result.outcome = command_pb2.OUTCOME_APPLIED
        if result.outcome == command_pb2.OUTCOME_APPLIED:
            result.cursor.CopyFrom(cursor_pb2.Cursor(epoch=self.epoch, revision=cart.revision))
        cart.results[command.seq] = result
        cart.results.pop(command.seq - 64, None)
        if refusal == "pending":
            lost = CommandResult(command_id=command.command_id, resource=command.resource, seq=command.seq)
            reason = error_pb2.ERROR_REASON_OUTCOME_PENDING
            return self.refused(lost, command_pb2.OUTCOME_UNKNOWN, reason, 0.2)
        return result

    @staticmethod
    def refused(
        result: CommandResult,
        outcome: command_pb2.Outcome.ValueType,
        reason: error_pb2.ErrorReason.ValueType,
        delay: float | None = None,
    ) -> CommandResult:
        result.outcome = outcome
        result.error.CopyFrom(error_pb2.Error(code=9, reason=reason))
        if delay is not None:
            result.error.retry_delay.CopyFrom(Duration(nanos=int(delay * 1e9)))
        return result


class Client:
    """A `Connection` with an outbox, as the real client drives it, and the network to the model as two queues."""

    def __init__(self, hub: ModelHub, seed: int) -> None:
        self.hub = hub
        self.now = 1.0
        self.outbox = MemoryOutbox()
        self.submitted: dict[str, list[str]] = {name: [] for name in CARTS}
        self.finished: dict[str, errors.LegatoError | None] = {}
        self.failed: set[str] = set()
        self.to_hub: deque[ConnectRequest] = deque()
        self.rng = random.Random(seed)
        self.core = self.started({name: Replica() for name in CARTS})

    def started(self, replicas: dict[str, Replica]) -> Connection:
        core = Connection(stream_pb2.Hello(client_id=self.outbox.client_id), self.rng)
        for name, replica in replicas.items():
            core.lane(name).next_seq = self.outbox.next_seq(name)
            core.want(Subscription(name, replica))
        for command in self.outbox.pending():
            core.submit(command)
        core.reconnect_at = self.now
        return core

    def restart(self) -> None:
        """The process dies; its outbox and replicas are on the disk."""
        kept = {name: s.replica.saved() for name, s in self.core.subscriptions.items()}
        self.cut()
        self.core = self.started({name: Replica.restored(s) if s else Replica() for name, s in kept.items()})

    def submit(self, command: Command) -> None:
        command = self.outbox.append(command)
        self.submitted[command.resource].append(command.command_id)
        self.core.submit(command)
        self.act()

    def act(self) -> None:
        for event in self.core.events():
            match event:
                case events.Finished(command, _, error):
                    assert command.command_id not in self.finished, "a command finishes once"
                    self.finished[command.command_id] = error
                    self.outbox.finish([command.command_id])
                case events.Failed(command, _):
                    self.failed.add(command.command_id)
                    self.outbox.finish([command.command_id])
                case events.Rewritten(resource, commands, next_seq):
                    self.outbox.rewrite(resource, commands, next_seq)
                case events.Drained():
                    self.hub.disconnect()
                    self.to_hub.clear()
                    self.core.closed(None, self.now)
                case events.Stopped(error):
                    raise error

    def flush(self) -> None:
        self.core.tick(self.now)
        self.to_hub.extend(self.core.messages(self.now))
        self.act()

    def deliver_to_hub(self) -> None:
        if self.to_hub:
            self.hub.receive(self.to_hub.popleft())

    def deliver_to_client(self) -> None:
        if self.core.open and self.hub.out:
            self.core.received(self.hub.out.popleft(), self.now)
            self.act()

    def connect(self) -> None:
        at = self.core.reconnect_at
        if not self.core.open and at is not None and at <= self.now:
            self.core.opened(self.now)

    def cut(self) -> None:
        self.hub.disconnect()
        self.to_hub.clear()
        if self.core.open:
            self.core.closed(errors.Unavailable("cut"), self.now)
            self.act()

    def advance(self) -> None:
        """To the next thing that time brings."""
        times = [self.core.next_timer() if self.core.open else self.core.reconnect_at]
        self.now = max([self.now + 0.001, *(time for time in times if time is not None)])

    def settle(self) -> None:
        """Nothing goes wrong any more: everything comes to an end, twice with the hub's word that it is up to date."""
        self.hub.refuse_next.clear()
        self.hub.lie_next.clear()
        for _ in range(2):
            self.come_to_rest()
            for id_ in self.hub.following:
                self.hub.serve(id_)
        self.come_to_rest()

    def come_to_rest(self) -> None:
        for _ in range(10_000):
            self.connect()
            self.flush()
            if self.to_hub:
                self.deliver_to_hub()
            elif self.core.open and self.hub.out:
                self.deliver_to_client()
            elif self.core.pending or any(s.state is not State.LIVE for s in self.core.subscriptions.values()):
                self.advance()
            else:
                return
        raise AssertionError("it does not come to an end")
