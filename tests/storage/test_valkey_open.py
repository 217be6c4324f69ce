"""What is looked at before a server is used, and how durable its writes are."""

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from legato_hub.storage import valkey_checks
from legato_hub.storage.base import (
    Commit,
    Committed,
    StorageError,
)
from legato_hub.storage.valkey import ValkeyStorage
from legato_hub.storage.valkey_keys import META
from legato_hub.storage.valkey_link import Argument, Link
from tests.storage import old_state
from tests.storage import valkey_servers as servers
from tests.storage.deeds import CART, NOW, upsert
from tests.storage.valkey_deeds import Told, opened


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


async def test_what_is_unwise_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with servers.own_server(appendonly="no", save="", maxmemory_policy="allkeys-lru") as server:
        async with opened(server.port):
            pass
    assert "the eviction policy is unwise" in caplog.text
    assert "the server writes nothing to disk" in caplog.text


async def test_a_good_server_needs_no_words(port: int, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(port):
        pass
    assert caplog.text == ""


async def test_an_old_server_is_refused(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(valkey_checks.OLDEST, "Valkey", (99, 1))
    with pytest.raises(StorageError, match=r"Valkey \d.* is too old; Legato needs Valkey 99\.1 or newer"):
        async with opened(port):
            pass


async def test_a_replica_is_refused_and_its_primary_named(own_server: servers.Server) -> None:
    reason = f"a replica, of 127.0.0.1:{own_server.port}; the URL must lead to the primary"
    with (
        servers.own_server(replicaof=f"127.0.0.1 {own_server.port}") as replica,
        pytest.raises(StorageError, match=reason),
    ):
        async with opened(replica.port):
            pass


async def test_one_bad_node_of_a_cluster_is_named() -> None:
    ports = servers.cluster()
    with servers.client(ports[2]) as node:
        node.config_set("maxmemory", "100mb")
        node.config_set("maxmemory-policy", "volatile-ttl")
        try:
            with pytest.raises(StorageError, match=f"127.0.0.1:{ports[2]}: maxmemory-policy is volatile-ttl"):
                await ValkeyStorage.from_url(f"valkey+cluster://127.0.0.1:{ports[0]}").open()
        finally:
            node.config_set("maxmemory-policy", "noeviction")
            node.config_set("maxmemory", "0")


@pytest.fixture
def guarded(port: int) -> Iterator[Callable[..., str]]:
    """Makes the shared server's user "hub", with rights, and the URL that it uses."""
    with servers.client(port) as server:

        def let(*rights: str) -> str:
            server.execute_command("ACL", "SETUSER", "hub", "reset", "on", ">wort", "~legato:*", "&legato:*", *rights)
            return f"valkey://hub:wort@127.0.0.1:{port}/0?durability=aof"

        yield let
        server.execute_command("ACL", "DELUSER", "hub")


def documented_rights() -> list[str]:
    """As an operator copies them from docs/storage.md."""
    text = (Path(__file__).parents[2] / "docs" / "storage.md").read_text("utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("ACL SETUSER")]
    return [word for word in line.split() if word[0] in "+-"]


async def test_the_documented_rights_are_enough(guarded: Callable[..., str], caplog: pytest.LogCaptureFixture) -> None:
    storage = ValkeyStorage.from_url(guarded(*documented_rights()), log_length=old_state.LOG_LENGTH)
    await storage.open()
    try:
        told = Told(storage)
        await old_state.live(storage)
        await storage.commit(Commit(CART, 0, upsert(a=b"1"), NOW))
        await told.reached(1)
        assert await storage.abandoned(old_state.HELD_UNTIL)
        await storage.probe()
        await storage.sweep(NOW + 100_000, closed_ms=1, idle_ms=1)
        await storage.delete("for good")
        await storage.remove("carts-of/x", "one")
        await storage.new_epoch()
    finally:
        await storage.close()
    assert "cannot be seen" not in caplog.text  # INFO tells the policy


@pytest.mark.parametrize(
    ("rights", "reason"),
    [
        (["+@all", "-zpopmin", "-xadd"], "the user lacks rights on keys or channels legato:\\*, for ZPOPMIN, XADD"),
        (["+@all", "-ssubscribe"], "for SSUBSCRIBE"),
        (["+@all", "resetkeys", "~other:*"], "lacks rights on keys or channels"),
        (["+@all", "resetchannels"], "for SPUBLISH, SSUBSCRIBE"),
        (["+@all", "-info"], "the user may not run INFO"),
        (["+@all", "-eval"], "scripts cannot be run: .*eval"),
    ],
)
async def test_missing_rights_are_named(guarded: Callable[..., str], rights: list[str], reason: str) -> None:
    with pytest.raises(StorageError, match=reason):
        await ValkeyStorage.from_url(guarded(*rights)).open()


async def test_a_wrong_password_is_told(guarded: Callable[..., str]) -> None:
    url = guarded("+@all").replace("wort", "guess")
    with pytest.raises(StorageError, match="invalid username-password"):
        await ValkeyStorage.from_url(url).open()


async def test_what_is_hidden_is_said_or_passed_over(
    guarded: Callable[..., str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider that hides CONFIG, and one that hides the policy in INFO, too."""
    storage = ValkeyStorage.from_url(guarded("+@all", "-config").replace("=aof", "=memory"))
    await storage.open()
    await storage.close()
    assert caplog.text == ""
    kept = Link.call

    def hiding(link: Link, *command: Argument) -> "asyncio.Future[Any]":
        if command[0] != b"INFO":
            return kept(link, *command)

        async def without() -> bytes:
            lines = (await kept(link, *command)).splitlines()
            return b"\n".join(line for line in lines if not line.startswith((b"maxmemory", b"aof_enabled")))

        return asyncio.ensure_future(without())

    monkeypatch.setattr(Link, "call", hiding)
    storage = ValkeyStorage.from_url(guarded("+@all", "-config").replace("=aof", "=memory"))
    await storage.open()
    await storage.close()
    assert "the eviction policy cannot be seen" in caplog.text


async def test_over_tls(port: int, tmp_path: Path) -> None:
    """The server of the tests has no TLS, so something in front of it has."""
    authority, chain = certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, before = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, before), pump(behind, writer), return_exceptions=True)

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            sink.write(data)
        sink.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as proxy:
        tls_port = proxy.sockets[0].getsockname()[1]
        storage = ValkeyStorage.from_url(f"valkeys://127.0.0.1:{tls_port}/0?ssl_ca_certs={authority}")
        await storage.open()
        told = Told(storage)
        await storage.commit(Commit(CART, 0, upsert(a=b"1"), NOW))
        await told.reached(1)
        await storage.close()
        with pytest.raises(StorageError, match="CERTIFICATE_VERIFY_FAILED"):
            await ValkeyStorage.from_url(f"valkeys://127.0.0.1:{tls_port}/0").open()


def certificates(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that vouches for itself, and the same with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "valkey")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "ca.pem").write_bytes(pem)
    (folder / "chain.pem").write_bytes(pem + secret)
    return folder / "ca.pem", folder / "chain.pem"


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
