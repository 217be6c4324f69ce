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
from legato_adapters.server import main, option
from tests.adapters.shops import REFERENCE
from tests.support.adapter_process import AdapterProcess
from tests.support.adapter_user import TIMEOUT_S, Stubs


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
