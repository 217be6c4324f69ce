"""What is looked at before a server is used, and how durable its writes are."""

import pytest

from legato_hub.storage.base import (
    Commit,
    Committed,
    StorageError,
)
from legato_hub.storage.valkey import ValkeyStorage
from legato_hub.storage.valkey_keys import META
from tests.storage import valkey_servers as servers
from tests.storage.deeds import NOW, upsert
from tests.storage.valkey_deeds import opened


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}, "maxmemory-policy is allkeys-lru"),
        ({"appendonly": "no"}, "durability aof needs appendonly yes"),
    ],
)
async def test_a_server_that_would_lose_data_is_refused(config: dict[str, str], reason: str) -> None:
    with (
        servers.own_server(**{"appendonly": "yes", **config}) as server,
        pytest.raises(StorageError, match=reason),
    ):
        async with opened(server.port, durability="aof"):
            pass


async def test_what_is_not_durable_is_not_called_so(port: int) -> None:
    for durability, durable in (("memory", False), ("aof", True), ("replicas:1", False)):
        async with opened(port, durability=durability, timeout_s=0.2) as storage:
            committed = await storage.commit(Commit(f"carts/{durability}", 0, upsert(a=b"1"), NOW))
            assert isinstance(committed, Committed)
            assert committed.durable is durable


async def test_data_of_another_version_is_refused(port: int) -> None:
    with servers.client(port) as server:
        server.hset(META.decode(), "schema", "999")
    with pytest.raises(StorageError, match="schema version '999'; this hub knows version 1"):
        async with opened(port):
            pass


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1", "must be like"),
        ("valkey:///0", "must be like"),
        ("valkey://127.0.0.1/0?durability=often", "durability 'often' is none of"),
        ("valkey://:secret@127.0.0.1:port/0", "not right"),
        ("valkey+sentinel://127.0.0.1:26379", "names no master"),
        ("valkey+cluster://127.0.0.1/3", "database 0 only"),
        ("valkey://:secret", "not right"),
        ("valkey+sentinel://:secret,127.0.0.1/carts", "not right"),
        ("valkey://:sec/secret@127.0.0.1:6379/0", "%2F"),
        ("valkey://:sec?secret@127.0.0.1:6379/0", "%3F"),
        ("valkey://:sec#secret@127.0.0.1:6379/0", "%23"),
        ("valkey://:secret@[::1/0", "not right"),
        ("valkey://:secret@127.0.0.1/0?colour=red", "not right"),
        ("valkey://:secret@127.0.0.1/0?db=secret", "not right"),
    ],
)
def test_a_wrong_url_is_told_without_its_password(url: str, reason: str) -> None:
    with pytest.raises(StorageError, match=reason) as caught:
        ValkeyStorage.from_url(url)
    assert "secret" not in str(caught.value)


async def test_a_wrong_password_is_told_and_not_shown(own_server: servers.Server) -> None:
    with servers.client(own_server.port) as server:
        server.config_set("requirepass", "right")
    place = f"@127.0.0.1:{own_server.port}"
    for url in (f"valkey://:hidden{place}", f"valkey://somebody:hidden{place}"):
        with pytest.raises(StorageError, match="invalid username-password") as caught:
            await ValkeyStorage.from_url(url, timeout_s=0.5).open()
        assert "hidden" not in str(caught.value)
    storage = ValkeyStorage.from_url(f"valkey://:right{place}")
    await storage.open()
    await storage.close()


async def test_nobody_there_is_told() -> None:
    port = servers.free_port()
    with pytest.raises(StorageError, match=f"127.0.0.1:{port}"):
        async with opened(port, timeout_s=0.2):
            pass


async def test_a_cluster_and_a_server_are_not_mistaken_for_each_other(port: int) -> None:
    (node, *_) = servers.cluster()
    with pytest.raises(StorageError, match=r"must begin with valkey\+cluster://"):
        await ValkeyStorage.from_url(f"valkey://127.0.0.1:{node}").open()
    with pytest.raises(StorageError, match="cluster support disabled"):
        await ValkeyStorage.from_url(f"valkey+cluster://127.0.0.1:{port}").open()
