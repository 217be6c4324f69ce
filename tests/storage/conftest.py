"""Fixtures of the storage contract. A further engine is added in `engines.py` and nowhere else."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from legato_hub.storage.base import Storage
from tests.storage import valkey_servers as servers
from tests.storage.engines import ALL, LASTING, Engine, make_engine


@pytest.fixture(scope="session", autouse=True)
def stop_servers() -> Iterator[None]:
    """Ends what the engines started."""
    yield
    servers.stop_all()


@pytest.fixture(params=ALL)
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    """Each engine."""
    made = make_engine(request.param, tmp_path)
    yield made
    await made.stop()


@pytest.fixture(params=LASTING)
async def lasting_engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    """Each engine that keeps its data from one start to the next."""
    made = make_engine(request.param, tmp_path)
    yield made
    await made.stop()


@pytest.fixture
async def storage(engine: Engine) -> Storage:
    """An empty, open storage."""
    return await engine.start()


@pytest.fixture
async def cluster_engine(tmp_path: Path) -> AsyncIterator[Engine]:
    """Three primaries that share all slots."""
    made = make_engine("valkey-cluster", tmp_path)
    yield made
    await made.stop()


@pytest.fixture
def port() -> int:
    """Of the shared server, emptied."""
    (port,) = servers.standalone()
    with servers.client(port) as server:
        server.flushall()
    return port


@pytest.fixture
def own_server() -> Iterator[servers.Server]:
    """A server that a test may stop."""
    with servers.own_server() as server:
        yield server
