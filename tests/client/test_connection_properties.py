"""Any interleaving of losses, refusals and lies: every command is executed once, in order, and replicas are exact."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from legato import errors
from legato.orchestrator.v1 import stream_pb2
from legato.orchestrator.v1.stream_pb2 import ServerMessage
from legato.overlay import predict
from legato.protocol.entities import assemble_cart
from legato.subscription import State
from tests.client.model_hub import CARTS, IN_FLIGHT, Client, ModelHub, add


class Story:
    """A client, a hub and the network between them, driven step by step. Every act takes a number below 60."""

    def __init__(self) -> None:
        self.hub = ModelHub()
        self.client = Client(self.hub, seed=1)
        self.late: list[ServerMessage] = []
        self.seen: dict[tuple[str, str], int] = {}
        self.play(10)

    def play(self, n: int) -> None:
        for _ in range(n + 1):
            self.client.connect()
            self.client.flush()
            self.client.deliver_to_hub()
            self.client.deliver_to_client()

    def wish(self, n: int) -> None:
        for i in range(1 + n):
            self.client.submit(add(CARTS[n % 2], f"sku-{i % 3}", 1 << i % 20))

    def let_only_the_hub_work(self, n: int) -> None:
        self.client.flush()
        for _ in range(n % 8):
            self.client.deliver_to_hub()

    def pass_time(self, n: int) -> None:
        self.client.advance()
        self.client.flush()

    def cut(self, n: int) -> None:
        self.let_only_the_hub_work(n)
        self.late = [message for messages in self.hub.out for message in messages]
        self.client.cut()

    def hear_the_dead(self, n: int) -> None:
        """What was under way to a former attempt comes after all."""
        late = [m for m in self.late if m.WhichOneof("message") not in ("welcome", "command_result", "drain")]
        if self.client.core.open:
            self.client.core.received(late, self.client.now)
            self.client.act()

    def restart(self, n: int) -> None:
        self.client.restart()

    def another_channel(self, n: int) -> None:
        for i in range(1 + n % 3):
            self.hub.commit(CARTS[n % 2], add(CARTS[n % 2], f"sku-{i}").cart.add_line)

    def tell_progress(self, n: int) -> None:
        for id_ in self.hub.following:
            self.hub.serve(id_)

    def trim(self, n: int) -> None:
        cart = self.hub.carts[CARTS[n % 2]]
        cart.floor = cart.revision

    def lose_the_storage(self, n: int) -> None:
        self.hub.new_epoch()
        self.client.cut()

    def refuse(self, n: int) -> None:
        kinds = ["busy", "storage", "pending", "reject", ""]
        self.hub.refuse_next.extend([kinds[n % 5], kinds[n // 5 % 5]])

    def lie(self, n: int) -> None:
        self.hub.lie_next.append(["lose", "shift", "tear"][n % 3])

    def drain(self, n: int) -> None:
        drain = stream_pb2.Drain()
        drain.reconnect_after.FromMilliseconds(300)
        drain.grace.FromMilliseconds(2_000)
        if self.client.core.open:
            self.hub.say(ServerMessage(drain=drain))

    def check(self) -> None:
        for name, subscription in self.client.core.subscriptions.items():
            replica, cart = subscription.replica, self.hub.carts[name]
            if replica.cursor is not None:
                assert replica.entries == cart.states[replica.cursor.revision], "a replica is a state of the hub"
                seen = (name, replica.cursor.epoch)
                assert replica.cursor.revision >= self.seen.get(seen, 0), "a replica never goes back"
                self.seen[seen] = replica.cursor.revision
            assert len(set(cart.executed)) == len(cart.executed), "every command is executed once"
            order = {id_: n for n, id_ in enumerate(self.client.submitted[name])}
            places = [order[id_] for id_ in cart.executed]
            assert places == sorted(places), "in order"
            lane = self.client.core.lanes[name]
            assert [c for c in self.client.outbox.pending() if c.resource == name] == lane.pending
            assert self.client.outbox.next_seq(name) == lane.next_seq
        assert sum(lane.outstanding for lane in self.client.core.lanes.values()) < IN_FLIGHT

    def finish(self) -> None:
        for subscription in self.client.core.subscriptions.values():
            # Two wrong digests in a row end a subscription on purpose; whoever wants it again says so.
            if isinstance(subscription.error, errors.ReplicaDiverged):
                subscription.revive()
        self.client.settle()
        for name, cart in self.hub.carts.items():
            subscription = self.client.core.subscriptions[name]
            assert subscription.state is State.LIVE
            assert subscription.replica.entries == cart.states[-1]
            confirmed = assemble_cart(subscription.replica.entries)
            assert predict(confirmed, self.client.core.unconfirmed(subscription)) == confirmed
            told = self.client.submitted[name]
            assert [id_ for id_ in told if id_ not in cart.rejected] == cart.executed
            for id_ in told:
                assert isinstance(self.client.finished[id_], errors.InsufficientStock) == (id_ in cart.rejected)
        assert not self.client.failed


ACTS: dict[Callable[[Story, int], None], int] = {
    Story.play: 8,
    Story.wish: 3,
    Story.let_only_the_hub_work: 3,
    Story.cut: 3,
    Story.another_channel: 3,
    Story.refuse: 2,
    Story.lie: 2,
    Story.hear_the_dead: 2,
    **dict.fromkeys((Story.pass_time, Story.restart, Story.tell_progress, Story.trim), 1),
    **dict.fromkeys((Story.lose_the_storage, Story.drain), 1),
}
"""What may happen, and how often it does."""

acts = st.sampled_from([act for act, weight in ACTS.items() for _ in range(weight)])


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(acts, st.integers(0, 59)), min_size=30, max_size=80))
def test_commands_are_executed_once_and_replicas_are_exact(
    story: list[tuple[Callable[..., None], int]],
) -> None:
    world = Story()
    for act, n in story:
        act(world, n)
        world.check()
    world.finish()
