"""Whose a client id is, and which of its connections lives. Two registries on one storage stand for two hubs."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from typing import cast

import pytest

from legato.orchestrator.v1 import error_pb2, stream_pb2
from legato.protocol.ids import new_id
from legato_hub import peers as module
from legato_hub.clock import now_ms
from legato_hub.connections import Connections
from legato_hub.core.identity import Identity, IdentityKind
from legato_hub.core.notes import Replaced, decode
from legato_hub.core.problem import Problem
from legato_hub.live_resources import LiveResources
from legato_hub.peers import Peers
from legato_hub.storage.base import Storage, StorageError
from legato_hub.storage.sqlite import SQLiteStorage

TILL = Identity(IdentityKind.TERMINAL, "demo", "till-1", "berlin")
CLIENT = new_id()
RECORD = f"client/demo/{CLIENT}"
REPLACED = error_pb2.ERROR_REASON_CONNECTION_REPLACED


class OpenStream:
    """An open stream that only remembers how it ended."""

    def __init__(self) -> None:
        self.connection_id = new_id()
        self.cause: BaseException | None = None

    def say(self, message: stream_pb2.ServerMessage) -> None:
        raise AssertionError(message)

    def progress(self) -> None:
        raise AssertionError

    def end(self, cause: BaseException | None = None) -> None:
        self.cause = self.cause or cause

    @property
    def ended(self) -> int | None:
        return self.cause.reason if isinstance(self.cause, Problem) else None


@pytest.fixture
async def storage() -> AsyncIterator[SQLiteStorage]:
    engine = SQLiteStorage(":memory:")
    await engine.open()
    yield engine
    await engine.close()


def registry(storage: Storage, hub_id: str) -> Connections:
    return Connections(storage, LiveResources(storage), Peers(storage, hub_id))


async def bound(connections: Connections, identity: Identity = TILL) -> OpenStream:
    stream = OpenStream()
    connections.enter(stream)
    await connections.bind(identity, CLIENT, stream)
    return stream


async def test_of_connections_that_come_at_once_the_last_lives(storage: SQLiteStorage) -> None:
    connections = registry(storage, "one")
    streams = await asyncio.gather(*(bound(connections) for _ in range(20)))
    alive = [stream for stream in streams if stream.ended is None]
    assert len(alive) == 1
    assert {stream.ended for stream in streams if stream is not alive[0]} == {REPLACED}
    kept = await storage.get(RECORD, now_ms())
    assert kept is not None
    assert alive[0].connection_id in kept.decode()


async def test_a_stream_may_prove_its_identity_again_and_stay(storage: SQLiteStorage) -> None:
    connections = registry(storage, "one")
    stream = await bound(connections)
    await connections.bind(TILL, CLIENT, stream)
    assert stream.ended is None


async def test_one_that_was_replaced_unheard_does_not_come_back(storage: SQLiteStorage) -> None:
    """The note of the other hub is lost here: the older stream finds out by itself, and the newer one stays."""
    one, two = registry(storage, "one"), registry(storage, "two")
    older, newer = await bound(one), await bound(two)
    assert older.ended is None
    with pytest.raises(Problem) as refused:
        await one.bind(TILL, CLIENT, older)
    assert refused.value.reason == older.ended == REPLACED
    await two.bind(TILL, CLIENT, newer)
    assert newer.ended is None


async def test_a_note_about_an_older_connection_leaves_the_newer_alone(storage: SQLiteStorage) -> None:
    connections = registry(storage, "one")
    older = await bound(connections)
    newer = await bound(connections)
    connections.leave(older)
    connections.replaced(older.connection_id)
    assert newer.ended is None
    connections.replaced(newer.connection_id)
    assert newer.ended == REPLACED


async def test_a_client_id_stays_with_its_owner(storage: SQLiteStorage) -> None:
    connections = registry(storage, "one")
    stream = await bound(connections)
    another = Identity(IdentityKind.TERMINAL, "demo", "till-2", "berlin")
    with pytest.raises(Problem) as refused:
        await bound(connections, another)
    assert refused.value.reason == error_pb2.ERROR_REASON_CLIENT_ID_TAKEN
    assert stream.ended is None


async def test_what_an_earlier_version_wrote_is_understood(storage: SQLiteStorage) -> None:
    await storage.put(RECORD, TILL.principal.encode())
    connections = registry(storage, "one")
    with pytest.raises(Problem):
        await bound(connections, Identity(IdentityKind.TERMINAL, "demo", "till-2", "berlin"))
    assert (await bound(connections)).ended is None


class Network:
    """What `Storage.notify` tells hubs; those that do not listen hear nothing."""

    exclusive = False

    def __init__(self) -> None:
        self.listening: set[str] = set()
        self.heard: dict[str, Counter[str]] = defaultdict(Counter)
        self.tried: Counter[str] = Counter()
        self.fails = 0
        self.asked = asyncio.Event()

    def peers(self) -> Peers:
        return Peers(cast("Storage", self), "self")

    async def notify(self, resource: str, note: bytes) -> int:
        self.tried[resource] += 1
        self.asked.set()
        await asyncio.sleep(0)
        if self.fails:
            self.fails -= 1
            raise StorageError("as asked")
        if resource not in self.listening:
            return 0
        said = decode(note)
        assert isinstance(said, Replaced)
        self.heard[resource].update(said.connections)
        return 1


async def done(peers: Peers) -> None:
    async with asyncio.timeout(20):
        await asyncio.gather(*peers._tasks)


async def test_many_connections_of_one_hub_are_called_off_together_and_each_once() -> None:
    network = Network()
    network.listening = {"hubs/a", "hubs/b"}
    peers = network.peers()
    for number in range(500):
        peers.replace("a", str(number))
        peers.replace("b", str(number))
    network.asked.clear()
    await network.asked.wait()
    peers.replace("a", "while the first note is on its way")
    await done(peers)
    assert network.tried == {"hubs/a": 2, "hubs/b": 1}
    assert set(network.heard["hubs/a"].values()) == set(network.heard["hubs/b"].values()) == {1}
    assert len(network.heard["hubs/a"]) == 501


@pytest.mark.parametrize("comes_back", [True, False])
async def test_a_hub_that_does_not_listen_is_tried_again_and_then_given_up(
    comes_back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOLD_AGAIN_S", (0.0, 0.01, 0.01))
    network = Network()
    peers = network.peers()
    network.fails = 1
    peers.replace("a", "x")
    network.asked.clear()
    await network.asked.wait()
    if comes_back:
        network.listening.add("hubs/a")
    await done(peers)
    assert network.heard["hubs/a"] == ({"x": 1} if comes_back else {})
    assert network.tried == {"hubs/a": 2 if comes_back else 3}
    assert not peers._replaced


async def test_a_storage_that_is_ours_alone_has_no_other_hub(storage: SQLiteStorage) -> None:
    peers = Peers(storage, "one")
    peers.replace("an earlier start", "x")
    assert not peers._tasks
