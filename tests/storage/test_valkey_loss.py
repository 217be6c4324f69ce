"""Lost connections, restarts and failovers: nothing is lost or done twice without a new epoch."""

import asyncio
from dataclasses import replace

import pytest

from legato.protocol.state import Delta
from legato_hub.storage.base import (
    Claim,
    Commit,
    Committed,
    Cursor,
    EpochMismatch,
    Fresh,
    Gone,
    Moved,
    Overtaken,
    Repeated,
    Storage,
    StorageError,
)
from legato_hub.storage.valkey import ValkeyStorage
from legato_hub.storage.valkey_keys import Keys
from legato_hub.storage.valkey_link import Lost
from legato_hub.storage.valkey_nodes import Single
from tests.storage import valkey_servers as servers
from tests.storage.deeds import CART, NOW, OTHER_CART, ask, do, grow, hold, numbered, revision, stateless, upsert
from tests.storage.valkey_deeds import Told, kill, opened, subscribed, until


async def revision_of(storage: Storage, name: str) -> int:
    loaded = await storage.load(name)
    assert loaded is not None
    return loaded.cursor.revision


async def inherited(storage: Storage) -> bool:
    loaded = await storage.load(CART)
    assert loaded is not None
    return loaded.inherited


async def test_a_connection_cut_in_the_middle_of_commits(port: int) -> None:
    """Every waiter is told, and `begin` finds out what became of its command: nothing is lost or done twice."""
    async with opened(port) as storage:
        await storage.load(CART)
        with servers.client(port) as server:
            server.client_pause(60_000, all=False)  # writes wait in the server
            keys = {f"carts/{number}": stateless() for number in range(40)}
            commits = [
                asyncio.ensure_future(storage.commit(Commit(name, 0, upsert(a=b"1"), NOW, key, b"done")))
                for name, key in keys.items()
            ]
            await until(lambda: server.info("clients")["blocked_clients"] == 1)
            assert kill(server, "normal") == 1
            answers = await asyncio.gather(*commits, return_exceptions=True)
            server.client_unpause()
        assert {type(answer) for answer in answers} == {Lost}
        for name, key in keys.items():
            loaded = await storage.load(name)
            begun = await storage.begin(Claim(name, key, 0, NOW))
            assert begun == (Fresh(0) if loaded is None else Repeated(b"done"))
            if loaded is None:
                assert isinstance(await storage.commit(Commit(name, 0, upsert(a=b"1"), NOW, key, b"done")), Committed)
            assert await revision_of(storage, name) == 1


async def test_a_server_that_does_not_answer_is_given_up(own_server: servers.Server) -> None:
    async with opened(own_server.port, timeout_s=0.3) as storage:
        await grow(storage, 1)
        with servers.stopped(own_server), pytest.raises(StorageError, match=r"no answer for 0\.3 s"):
            await storage.commit(Commit(CART, 1, upsert(a=b"1"), NOW))
        assert await revision(storage) in (1, 2)


async def test_scripts_that_the_server_forgot_are_sent_again(port: int) -> None:
    async with opened(port) as storage:
        await grow(storage, 1)
        with servers.client(port) as server:
            server.script_flush()
        commits = [Commit(f"carts/{number}", 0, upsert(a=b"1"), NOW) for number in range(50)]
        answers = await asyncio.gather(*(storage.commit(commit) for commit in commits))
        assert all(isinstance(answer, Committed) for answer in answers)


async def test_a_restart_begins_a_new_epoch(own_server: servers.Server) -> None:
    port = own_server.port
    key = numbered(1)
    async with opened(port) as storage:
        assert storage.epoch_began == 0  # nothing can have been lost before
        told = Told(storage)
        await storage.commit(Commit(CART, 0, upsert(a=b"1"), NOW, key, b"one", adapter_state=b"notebook"))
        slot = await hold(storage, numbered(2))
        before = storage.epoch
        servers.restart(own_server)
        loaded = await storage.load(CART)
        assert storage.epoch != before
        assert told.lost.is_set()
        assert loaded is not None
        assert loaded.cursor.epoch == storage.epoch
        assert loaded.entries == {"a": b"1"}
        assert loaded.inherited
        assert storage.epoch_began > 0
        present = loaded.cursor
        assert await storage.since(CART, Cursor(before, 1)) is Gone.OTHER_EPOCH
        assert await storage.since(CART, present) == []
        assert await ask(storage, key) == Repeated(b"one")
        assert await storage.abandoned(slot.until) == [slot]
        # A base of the lost history matches nothing, even where nothing was lost.
        assert await storage.commit(Commit(CART, 1, upsert(a=b"2"), NOW)) == Overtaken(present)
        assert await storage.release(slot)
        claim = Claim(CART, stateless(), 1, NOW)
        assert await storage.begin(claim) == Moved(present)
        expecting = replace(claim, base=present.revision, expected=Cursor(before, 1))
        assert await storage.begin(expecting) == EpochMismatch(present)
        again = await do(storage, numbered(2), upsert(a=b"2"))
        assert again == Cursor(storage.epoch, present.revision + 1)
        assert told.revisions == [1, again.revision]
        assert await inherited(storage), "what says nothing of the backend does not count"
        await storage.commit(Commit(CART, again.revision, Delta(), NOW, adapter_state=b"notebook"))
        assert not await inherited(storage)
        async with opened(port) as other:
            assert other.epoch_began == storage.epoch_began  # whoever was the first to see it


async def test_hubs_agree_on_the_epoch_and_a_stale_one_cannot_write(own_server: servers.Server) -> None:
    async with opened(own_server.port) as one, opened(own_server.port) as two:
        assert one.epoch == two.epoch
        before = one.epoch
        await grow(one, 3)
        with servers.client(own_server.port) as server:
            server.execute_command("DEBUG", "CHANGE-REPL-ID")
        assert (await do(one, None, upsert(a=b"1"))).epoch == one.epoch != before
        assert two.epoch == before
        assert await two.commit(Commit(CART, 3, upsert(a=b"2"), NOW)) == Overtaken(
            Cursor(one.epoch, await revision(one))
        )
        assert two.epoch == one.epoch


async def test_the_loss_of_all_data_begins_a_new_epoch_at_the_next_probe(port: int) -> None:
    async with opened(port) as storage:
        told = Told(storage)
        await grow(storage, 3)
        before = storage.epoch
        with servers.client(port) as server:
            server.flushall()
        await storage.probe()
        assert storage.epoch != before
        assert told.lost.is_set()
        assert await storage.load(CART) is None


async def test_failover_to_a_replica_that_lags(own_server: servers.Server) -> None:
    """What only the old primary had is gone, and nobody can take the new history for the old one."""
    with servers.own_server(replicaof=f"127.0.0.1 {own_server.port}") as replica:
        async with opened(own_server.port, durability="replicas:1", timeout_s=1.5) as storage:
            servers.await_joined(own_server.port)
            key = numbered(1)
            committed = await storage.commit(Commit(CART, 0, upsert(a=b"kept"), NOW, key, b"kept"))
            assert isinstance(committed, Committed)
            assert committed.durable
            kept = committed.cursor
            with servers.client(replica.port) as server:
                server.execute_command("REPLICAOF", "NO", "ONE")
            lost = await do(storage, numbered(2), upsert(a=b"lost"))
            assert lost == Cursor(kept.epoch, kept.revision + 1)
            nodes = storage._client.nodes
            assert isinstance(nodes, Single)
            nodes._address.port = replica.port  # as the name of a service leads elsewhere
            own_server.stop()
            loaded = await storage.load(CART)
            assert loaded is not None
            assert loaded.entries == {"a": b"kept"}
            assert loaded.cursor.epoch == storage.epoch != kept.epoch
            stale = Commit(CART, lost.revision, upsert(a=b"on what was lost"), NOW)
            assert await storage.commit(stale) == Overtaken(loaded.cursor)
            assert await storage.last_seq(CART, "till") == 1
            assert await ask(storage, key) == Repeated(b"kept")


async def test_a_replica_is_never_read_or_written(own_server: servers.Server) -> None:
    async with opened(own_server.port, timeout_s=0.3) as storage:
        await grow(storage, 1)
        with servers.client(own_server.port) as server:
            server.execute_command("REPLICAOF", "127.0.0.1", servers.free_port())
        for deed in (storage.load(CART), storage.commit(Commit(CART, 1, upsert(a=b"1"), NOW))):
            with pytest.raises(StorageError):
                await deed


async def test_sentinels_lead_to_the_new_master(own_server: servers.Server) -> None:
    with (
        servers.own_server(replicaof=f"127.0.0.1 {own_server.port}") as replica,
        servers.own_sentinel(own_server.port) as sentinel,
    ):
        servers.await_joined(own_server.port)
        servers.await_known(sentinel)
        storage = ValkeyStorage.from_url(f"valkey+sentinel://127.0.0.1:{sentinel}/carts", timeout_s=20)
        await storage.open()
        try:
            await grow(storage, 2)
            before = storage.epoch
            own_server.terminate()
            assert await storage.load(OTHER_CART) is None
            assert storage.epoch != before
            await do(storage, None, upsert(a=b"1"))
            with servers.client(replica.port) as server:
                assert server.exists(Keys(CART).of(b"head")[0])
        finally:
            await storage.close()


async def test_a_primary_of_a_cluster_is_replaced_by_its_replica() -> None:
    slot = Keys(CART).bucket.slot
    ports, primary, replica = servers.start_cluster_with_a_replica(slot)
    elsewhere = next(name for name in map("carts/{}".format, range(99)) if far_from(Keys(name).bucket.slot, slot))
    url = f"valkey+cluster://127.0.0.1:{ports[0]}?durability=replicas:1"
    storage = ValkeyStorage.from_url(url, timeout_s=20)
    await storage.open()
    try:
        told, elsewhere_told = Told(storage), Told(storage, elsewhere)
        for base in range(2):
            committed = await storage.commit(Commit(CART, base, upsert(note=b"%d" % base), NOW))
            assert isinstance(committed, Committed)
            assert committed.durable
        before = storage.epoch
        primary.terminate()
        loaded = await storage.load(CART)
        assert loaded is not None
        assert loaded.cursor.epoch == storage.epoch != before
        assert loaded.entries == {"note": b"1"}
        assert told.lost.is_set()
        assert elsewhere_told.lost.is_set()  # one epoch for all
        await subscribed(replica)
        other = ValkeyStorage.from_url(f"valkey+cluster://127.0.0.1:{replica}")
        await other.open()
        assert other.epoch == storage.epoch
        cursor = await do(other, None, upsert(note=b"3"))
        await other.close()
        await told.reached(cursor.revision)
        assert told.revisions == [1, 2, loaded.cursor.revision + 1]
    finally:
        await storage.close()


def far_from(one: int, other: int) -> bool:
    """Whether two slots belong to different primaries of three."""
    share = 16_384 // 3 + 1
    return one // share != other // share
