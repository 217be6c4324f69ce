"""A history taken apart into what promises are about: connections, subscriptions with replicas, commands, effects."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from legato.orchestrator.v1 import command_pb2, error_pb2, stream_pb2
from legato.protocol import state
from legato.protocol.entities import assemble_cart
from legato.protocol.state import Delta
from tests.robustness.history import Record


class Point(NamedTuple):
    """A cursor."""

    epoch: str
    revision: int


@dataclass
class Subscribed:
    """One subscription of one connection, as it was asked for and as far as it was served."""

    id: str
    resource: str
    asked: Record
    since: Point | None
    at: Point | None = None
    """Where the replica is."""
    entries: dict[str, bytes] | None = None
    """The replica, if it can be known."""
    served: bool = False
    """Its first state has come: until then the replica is that of an earlier connection."""
    closed: bool = False


@dataclass(frozen=True)
class Step:
    """One message of the hub that concerns a subscription's state, between the replica before and after it."""

    record: Record
    who: str
    subscription: Subscribed
    message: stream_pb2.ServerMessage
    before: Point | None
    entries: dict[str, bytes] | None
    """After it. None if that cannot be known."""
    first: bool
    """The first state since the subscription was asked for."""

    @property
    def kind(self) -> str:
        """`snapshot`, `delta` or `progress`."""
        return str(self.message.WhichOneof("message"))

    @property
    def cursor(self) -> Point:
        """What the message says about where it leads to."""
        cursor = getattr(self.message, self.kind).cursor
        return Point(cursor.epoch, cursor.revision)


@dataclass
class Result:
    """One answer to a command."""

    record: Record
    result: command_pb2.CommandResult
    reached: dict[str, Point | None]
    """Where the replicas of its resource were when it came, by subscription."""

    @property
    def final(self) -> bool:
        """Whether nothing else can become of the command."""
        outcome = self.result.outcome
        if outcome == command_pb2.OUTCOME_UNKNOWN:
            return self.result.error.reason == error_pb2.ERROR_REASON_OUTCOME_UNKNOWN
        return outcome != command_pb2.OUTCOME_NOT_ACCEPTED


@dataclass
class Wished:
    """One command of one client: every time it was sent, and every answer."""

    who: str
    command: command_pb2.Command
    sent: list[Record] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)

    @property
    def final(self) -> Result | None:
        """The first final answer."""
        return next((result for result in self.results if result.final), None)


@dataclass
class Connection:
    """One connection of one client, record by record."""

    name: str
    who: str
    hub: str
    records: list[Record] = field(default_factory=list)

    @property
    def closed(self) -> Record | None:
        """How it ended."""
        return next((record for record in self.records if record.what == "closed"), None)


class Run:
    """A history, taken apart once."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        heads = self.of("run")
        self.head: dict[str, Any] = heads[0].facts if heads else {}
        self.clients = {record.who: record for record in self.of("client")}
        self.gone = {record.who for record in self.of("gone")}
        self.connections: dict[str, Connection] = {}
        self.commands: dict[tuple[str, bytes], Wished] = {}
        """By command id and body: an id that is used for two bodies is two of them."""
        self.steps: list[Step] = []
        self.states: dict[tuple[str, Point], dict[str, bytes]] = {}
        """The first state that anybody had of a resource at a cursor."""
        for record in records:
            if record.what == "open":
                self.connections[record["connection"]] = Connection(record["connection"], record.who, record["hub"])
            if "connection" in record.facts:
                self.connections[record["connection"]].records.append(record)
        self._subscriptions: dict[str, dict[str, Subscribed]] = defaultdict(dict)
        self._sent_as: dict[tuple[str, str], Wished] = {}
        for record in records:
            if record.what == "sent":
                self._sent(record)
            elif record.what == "received":
                self._received(record)

    def of(self, what: str) -> list[Record]:
        """All records of a kind."""
        return [record for record in self.records if record.what == what]

    def role(self, who: str) -> str:
        """A client's role in the run."""
        client = self.clients.get(who)
        return str(client["role"]) if client is not None else "member"

    @cached_property
    def effects(self) -> dict[str, list[Record]]:
        """Rows of the backend's ledger by command id."""
        found: dict[str, list[Record]] = defaultdict(list)
        for record in self.of("effect"):
            found[record["command"]].append(record)
        return found

    @cached_property
    def epochs(self) -> list[str]:
        """In the order in which somebody was told of them."""
        return list(dict.fromkeys(step.cursor.epoch for step in self.steps))

    @cached_property
    def shown(self) -> dict[str, dict[Point, tuple[Mapping[str, int], Record]]]:
        """The lines of each cart at each cursor, and the message that was the first to show them."""
        seen: dict[str, dict[Point, tuple[Mapping[str, int], Record]]] = defaultdict(dict)
        for step in self.steps:
            known = seen[step.subscription.resource]
            if step.kind != "progress" and step.entries is not None and step.cursor not in known:
                lines = {line.sku: line.quantity.steps for line in assemble_cart(step.entries).lines}
                known[step.cursor] = lines, step.record
        return seen

    def executed(self, cart: str) -> list[Record]:
        """Rows of the backend's ledger about a cart, of commands that somebody sent."""
        commands = self.cart_commands(cart)
        return [row for row in self.of("effect") if row["cart"] == cart and row["command"] in commands]

    def by_id(self) -> Iterator[tuple[str, list[Wished]]]:
        """Commands by their id alone."""
        found: dict[str, list[Wished]] = defaultdict(list)
        for wished in self.commands.values():
            found[wished.command.command_id].append(wished)
        yield from found.items()

    def cart_commands(self, cart: str) -> dict[str, Wished]:
        """Commands on a cart by id; of an id with two bodies, the first that was sent."""
        found: dict[str, Wished] = {}
        for wished in self.commands.values():
            if wished.command.resource == cart:
                found.setdefault(wished.command.command_id, wished)
        return found

    def _sent(self, record: Record) -> None:
        request = record.request()
        kind = request.WhichOneof("message")
        if kind == "subscribe":
            wish = request.subscribe
            since = Point(wish.since.epoch, wish.since.revision) if wish.HasField("since") else None
            entries = self.states.get((wish.resource, since)) if since is not None else None
            self._subscriptions[record["connection"]][wish.subscription_id] = Subscribed(
                wish.subscription_id, wish.resource, record, since, since, entries
            )
        elif kind == "unsubscribe":
            subscription = self._subscriptions[record["connection"]].get(request.unsubscribe.subscription_id)
            if subscription is not None:
                subscription.closed = True
        elif kind == "command":
            command = request.command
            body = command.cart.SerializeToString(deterministic=True) + command.resource.encode()
            wished = self.commands.setdefault((command.command_id, body), Wished(record.who, command))
            wished.sent.append(record)
            self._sent_as[record["connection"], command.command_id] = wished

    def _received(self, record: Record) -> None:
        subscriptions = self._subscriptions[record["connection"]]
        for message in record.response().messages:
            kind = message.WhichOneof("message")
            if kind == "command_result":
                self._result(record, message.command_result, subscriptions.values())
            elif kind == "subscription_status":
                status = message.subscription_status
                if status.state == stream_pb2.SUBSCRIPTION_STATE_CLOSED and status.subscription_id in subscriptions:
                    subscriptions[status.subscription_id].closed = True
            elif kind in ("snapshot", "delta", "progress"):
                subscription = subscriptions.get(getattr(message, kind).subscription_id)
                if subscription is not None:
                    self._step(record, subscription, message)

    def _result(self, record: Record, result: command_pb2.CommandResult, subscriptions: Iterable[Subscribed]) -> None:
        wished = self._sent_as.get((record["connection"], result.command_id))
        if wished is not None:
            open_ones = [s for s in subscriptions if s.resource == result.resource and not s.closed]
            reached = {s.id: s.at for s in open_ones if s.served}
            wished.results.append(Result(record, result, reached))

    def _step(self, record: Record, subscription: Subscribed, message: stream_pb2.ServerMessage) -> None:
        before, first = subscription.at, not subscription.served
        subscription.served = True
        kind = str(message.WhichOneof("message"))
        cursor = getattr(message, kind).cursor
        at = Point(cursor.epoch, cursor.revision)
        if kind == "snapshot":
            subscription.entries = state.entries_from_bytes(message.snapshot.payload)
        elif kind == "delta" and subscription.entries is not None:
            fits = before == Point(at.epoch, message.delta.prev_revision)
            change = Delta.from_bytes(message.delta.payload)
            subscription.entries = state.apply(subscription.entries, change) if fits else None
        if kind != "progress":
            subscription.at = at
        entries = subscription.entries
        if kind != "progress" and entries is not None:
            self.states.setdefault((subscription.resource, at), entries)
        self.steps.append(Step(record, record.who, subscription, message, before, entries, first))
