"""An adapter as a server process: it says where it listens, is healthy, and ends as it should."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from legato.adapter.v1 import identity_service_pb2
from legato_adapters.conformance.cart_user import CartUser
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.conformance.wire import TIMEOUT_S
from legato_adapters.options import option
from legato_adapters.reference import read_cart
from legato_adapters.server import main
from tests.adapters.tried import REFERENCE
from tests.support.adapter_process import AdapterProcess


async def test_a_life(tmp_path: Path) -> None:
    path = str(tmp_path / "shop.db")
    process = AdapterProcess(REFERENCE.factory, {"path": path, "seed": True})
    try:
        host, _, port = process.address.rpartition(":")
        assert host == "127.0.0.1"
        assert int(port) > 0
        async with grpc.aio.insecure_channel(process.address) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)  # its published types have no methods
            answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            info = await Stubs(channel).identity.GetInfo(identity_service_pb2.GetInfoRequest(), timeout=TIMEOUT_S)
            assert info.name == "reference"
    finally:
        code = process.terminate()
    assert code == 0
    left = await asyncio.to_thread(os.listdir, tmp_path)
    assert left == ["shop.db"], "a clean end leaves no log behind"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("path=shop.db", ("path", "shop.db")),
        ("seed=false", ("seed", False)),
        ("count=5", ("count", 5)),
        ('name="5"', ("name", "5")),
        ("url=http://127.0.0.1:1/?a=b", ("url", "http://127.0.0.1:1/?a=b")),
        ("empty=", ("empty", "")),
    ],
)
def test_options(text: str, expected: tuple[str, object]) -> None:
    assert option(text) == expected


def test_mistakes_are_told() -> None:
    assert main(["nowhere"]) == "an adapter is named 'module:factory', not 'nowhere'"
    told = main([REFERENCE.factory, "--option", "colour=red"])
    assert told is not None
    assert "unexpected keyword argument 'colour'" in told


async def test_a_file_configures_tenants(tmp_path: Path) -> None:
    file = tmp_path / "adapter.toml"
    paths = {tenant: tmp_path / f"{tenant}.db" for tenant in ("acme", "bits")}
    tables = [f"[tenants.{tenant}]\npath = '{path}'" for tenant, path in paths.items()]
    await asyncio.to_thread(file.write_text, "\n".join(["[options]", "seed = true", *tables]))
    process = AdapterProcess(REFERENCE.factory, {}, "--config", str(file))
    try:
        async with grpc.aio.insecure_channel(process.address) as channel:
            stubs = Stubs(channel)
            user = CartUser(stubs.cart, REFERENCE.context(tenant="bits"))
            await user.apply(create_cart={})
            assert read_cart(str(paths["bits"]), user.cart_id) == {}
            with pytest.raises(LookupError):
                read_cart(str(paths["acme"]), user.cart_id)
            stranger = CartUser(stubs.cart, REFERENCE.context(tenant="nobody"))
            with pytest.raises(grpc.aio.AioRpcError, match="there are no credentials for tenant 'nobody'"):
                await stranger.apply(create_cart={})
    finally:
        process.terminate()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "cannot be read: No such file or directory"),
        ("options = [", "is not TOML"),
        ("[option]", "option is not a known key; there is options, tenants"),
        ("options = 5", "options must be a table"),
        ("tenants = 5", "tenants must be a table with a table for each tenant"),
        ("[tenants]\nacme = 'hunter2'", "tenants must be a table with a table for each tenant"),
        ("[tenants.acme]\ncolour = 'hunter2'", "tenant 'acme': adapter 'legato_adapters.reference:create'"),
    ],
)
def test_mistakes_in_the_file_are_told(tmp_path: Path, text: str | None, told: str) -> None:
    file = tmp_path / "adapter.toml"
    if text is not None:
        file.write_text(text)
    said = main([REFERENCE.factory, "--config", str(file)])
    assert said is not None
    assert told in said
    assert "hunter2" not in said


def test_an_address_in_use_is_an_error(path: str) -> None:
    process = AdapterProcess(REFERENCE.factory, {"path": path})
    try:
        command = [sys.executable, "-m", "legato_adapters.server", REFERENCE.factory, "--listen", process.address]
        second = subprocess.run(command, capture_output=True, text=True, timeout=40, check=False)
    finally:
        process.terminate()
    assert second.returncode == 1
    assert "Failed to bind" in second.stderr
    assert "Traceback" not in second.stderr
    assert not second.stdout
