"""A storage that may have lost what was told: everybody hears of it, and no backend does anything twice."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from legato.commerce.v1 import cart_intent_pb2, quantity_pb2
from legato.orchestrator.v1 import command_pb2, error_pb2, reads_pb2, stream_pb2
from legato.protocol.ids import new_id
from legato_hub.clock import now_ms
from legato_hub.config import BackendConfig, StorageConfig
from legato_hub.core.identity import IdentityKind
from legato_hub.storage.valkey import ValkeyStorage
from legato_hub.storage.valkey_nodes import Single
from tests.storage import valkey_servers as servers
from tests.support import ledger
from tests.support.hub import RunningHub, bearer, hub_config, running_hub
from tests.support.stream import Stream

SKU = "ANY"
CLASSES = ["KEYED", "MARKED", "ABSOLUTE", "NONE"]


@pytest.fixture
def primary() -> Iterator[servers.Server]:
    with servers.own_server() as server:
        yield server


@asynccontextmanager
async def hub_on(port: int, folder: Path, effect_class: str = "MARKED") -> AsyncIterator[RunningHub]:
    """A hub on a Valkey, whose carts are in a ledger."""
    options = {"path": str(folder / "ledger.sqlite3"), "effect_class": effect_class}
    backend = BackendConfig(adapter="tests.support.ledger:create", options=options)
    config = hub_config(folder, backends={"ledger": backend}, cart="ledger", slot_seconds=0.5)
    config = msgspec.structs.replace(config, storage=StorageConfig(url=f"valkey://127.0.0.1:{port}"))
    async with running_hub(config) as hub:
        yield hub


def token(hub: RunningHub) -> str:
    return hub.token(IdentityKind.TERMINAL, "till-1", "berlin")


def till(hub: RunningHub) -> Stream:
    return Stream(hub, token(hub), channel="pos")


def add(cart: str, seq: int, steps: int, *, resent: bool = False, command_id: str = "") -> command_pb2.Command:
    made = command_pb2.Command(command_id=command_id or new_id(), resource=cart, seq=seq, resent=resent)
    intent = cart_intent_pb2.AddLine(sku=SKU, quantity=quantity_pb2.Quantity(steps=steps))
    made.cart.add_line.CopyFrom(intent)
    return made


def of_new_epoch(message: stream_pb2.ServerMessage) -> bool:
    return message.snapshot.reason == stream_pb2.SNAPSHOT_REASON_EPOCH_CHANGED


async def noticed(hub: RunningHub, before: str) -> None:
    """Whatever is asked of the storage next finds the new epoch."""
    await hub.hub._storage.load("carts/whatever")
    assert hub.hub._storage.epoch != before


async def restarted(hub: RunningHub, primary: servers.Server) -> None:
    before = hub.hub._storage.epoch
    servers.restart(primary)
    await noticed(hub, before)


async def probed(hub: RunningHub) -> None:
    """What happens every few seconds anyway."""
    storage = hub.hub._storage
    assert isinstance(storage, ValkeyStorage)
    await storage.probe()


async def test_open_streams_go_on_in_the_new_epoch_after_a_restart(primary: servers.Server, tmp_path: Path) -> None:
    async with hub_on(primary.port, tmp_path) as hub, till(hub) as stream:
        cart = await stream.create_cart()
        await stream.subscribe(cart)
        await stream.execute(add(cart, 2, 3))
        before = stream.cursors["s"]
        start = len(stream.received)
        await restarted(hub, primary)
        message = await stream.where(of_new_epoch, start)
        assert message.snapshot.cursor.epoch != before.epoch
        assert message.snapshot.last_seq == 2
        # A fresh command of a fresh wish is executed, a wish made on the old epoch is not.
        outdated = add(cart, 3, 1)
        outdated.expected.CopyFrom(before)
        assert (await stream.execute(outdated)).error.reason == error_pb2.ERROR_REASON_EPOCH_MISMATCH
        result = await stream.execute(add(cart, 4, 4))
        assert result.outcome == command_pb2.OUTCOME_APPLIED
        await stream.until_revision(result.cursor.revision)
        assert stream.lines() == {SKU: 7}
        answer = await hub.stub.GetCart(
            reads_pb2.GetCartRequest(resource=cart, min_cursor=result.cursor), metadata=bearer(token(hub))
        )
        assert answer.cursor == result.cursor


async def test_a_storage_that_lost_everything_is_told_what_hubs_still_hold(
    primary: servers.Server, tmp_path: Path
) -> None:
    async with hub_on(primary.port, tmp_path) as hub, till(hub) as stream:
        cart = await stream.create_cart()
        await stream.subscribe(cart)
        await stream.execute(add(cart, 2, 3))
        start = len(stream.received)
        with servers.client(primary.port) as server:
            server.flushall()
        await probed(hub)
        await stream.where(of_new_epoch, start)
        assert stream.lines() == {SKU: 3}
        # The hub has forgotten the client's seqs, and says which is next.
        refused = await stream.execute(add(cart, 3, 1))
        assert (refused.error.reason, refused.expected_seq) == (error_pb2.ERROR_REASON_SEQ_GAP, 1)
        assert (await stream.execute(add(cart, 1, 1))).outcome == command_pb2.OUTCOME_APPLIED
        assert ledger.steps(str(tmp_path / "ledger.sqlite3"), cart.removeprefix("carts/")) == {SKU: 4}


@asynccontextmanager
async def failed_over(
    folder: Path, effect_class: str, meanwhile: Callable[[Stream, str], object]
) -> AsyncIterator[tuple[RunningHub, Stream, str]]:
    """A stream whose last deeds (`meanwhile`) the replica that took over has never heard of."""
    with ExitStack() as stack:
        primary = stack.enter_context(servers.own_server())
        replica = stack.enter_context(servers.own_server(replicaof=f"127.0.0.1 {primary.port}"))
        servers.await_joined(primary.port)
        async with hub_on(primary.port, folder, effect_class) as hub, till(hub) as stream:
            cart = await stream.create_cart()
            await stream.subscribe(cart)
            await stream.execute(add(cart, 2, 1))
            with servers.client(primary.port) as server:
                server.set("everything before", "has arrived")
                assert server.wait(1, 10_000) == 1
            with servers.client(replica.port) as server:
                server.execute_command("REPLICAOF", "NO", "ONE")
            await meanwhile(stream, cart)  # type: ignore[misc]  # a coroutine
            start = len(stream.received)
            storage = hub.hub._storage
            assert isinstance(storage, ValkeyStorage)
            nodes = storage._client.nodes
            assert isinstance(nodes, Single)
            nodes._address.port = replica.port  # as the name of a service leads elsewhere
            before = storage.epoch
            primary.stop()
            await noticed(hub, before)
            await stream.where(of_new_epoch, start)
            yield hub, stream, cart


@pytest.mark.parametrize("effect_class", CLASSES)
async def test_a_command_whose_result_was_lost_is_not_executed_again(tmp_path: Path, effect_class: str) -> None:
    path = str(tmp_path / "ledger.sqlite3")
    lost_id = new_id()

    async def meanwhile(stream: Stream, cart: str) -> None:
        result = await stream.execute(add(cart, 3, 5, command_id=lost_id))
        assert result.outcome == command_pb2.OUTCOME_APPLIED

    async with failed_over(tmp_path, effect_class, meanwhile) as (hub, stream, cart):
        result = await stream.execute(add(cart, 3, 5, resent=True, command_id=lost_id))
        if effect_class in ("KEYED", "MARKED"):
            assert result.outcome == command_pb2.OUTCOME_APPLIED
        else:
            assert result.outcome == command_pb2.OUTCOME_UNKNOWN
            assert result.error.reason == error_pb2.ERROR_REASON_OUTCOME_UNKNOWN
        assert (await stream.execute(add(cart, 4, 2))).outcome == command_pb2.OUTCOME_APPLIED
        assert ledger.effects(path)[lost_id] == 1
        # The projection is the backend's: what the storage lost is there again.
        assert ledger.steps(path, cart.removeprefix("carts/")) == {SKU: 8}
        answer = await hub.stub.GetCart(reads_pb2.GetCartRequest(resource=cart), metadata=bearer(token(hub)))
        assert [line.quantity.steps for line in answer.cart.lines] == [8]


@pytest.mark.parametrize("effect_class", CLASSES)
async def test_a_command_that_was_done_is_not_refused_because_the_epoch_is_another(
    tmp_path: Path, effect_class: str
) -> None:
    """What would be refused by what the hub knows now may have been executed when it did not know that."""
    lost = command_pb2.Command()

    async def meanwhile(stream: Stream, cart: str) -> None:
        lost.CopyFrom(add(cart, 3, 5))
        lost.expected.CopyFrom(stream.cursors["s"])
        lost.on_conflict = command_pb2.CONFLICT_POLICY_FAIL
        assert (await stream.execute(lost)).outcome == command_pb2.OUTCOME_APPLIED

    async with failed_over(tmp_path, effect_class, meanwhile) as (_, stream, cart):
        lost.resent = True
        result = await stream.execute(lost)
        remembers = effect_class in ("KEYED", "MARKED")
        assert result.outcome == (command_pb2.OUTCOME_APPLIED if remembers else command_pb2.OUTCOME_UNKNOWN)
        assert (await stream.execute(lost)).replayed
        # One that the backend has not executed is refused as ever.
        other = add(cart, 4, 2, resent=True)
        other.expected.CopyFrom(lost.expected)
        refused = await stream.execute(other)
        reason = error_pb2.ERROR_REASON_EPOCH_MISMATCH if remembers else error_pb2.ERROR_REASON_OUTCOME_UNKNOWN
        assert refused.error.reason == reason
        assert ledger.effects(str(tmp_path / "ledger.sqlite3"))[lost.command_id] == 1
        assert other.command_id not in ledger.effects(str(tmp_path / "ledger.sqlite3"))


async def test_a_watched_cart_is_read_again_after_a_failover(tmp_path: Path) -> None:
    async def meanwhile(stream: Stream, cart: str) -> None:
        await stream.execute(add(cart, 3, 5))

    async with failed_over(tmp_path, "NONE", meanwhile) as (_, stream, _):
        await stream.where(lambda _: stream.lines() == {SKU: 6})


async def test_the_time_in_an_id_tells_a_repeat_that_does_not_say_so(tmp_path: Path) -> None:
    """Stateless callers may know nothing of `resent`."""
    lost_id = new_id(now_ms() - 1)

    async def meanwhile(stream: Stream, cart: str) -> None:
        await stream.execute(add(cart, 3, 5, command_id=lost_id))

    async with failed_over(tmp_path, "NONE", meanwhile) as (_, stream, cart):
        result = await stream.execute(add(cart, 3, 5, command_id=lost_id))
        assert result.outcome == command_pb2.OUTCOME_UNKNOWN
        assert ledger.effects(str(tmp_path / "ledger.sqlite3"))[lost_id] == 1
