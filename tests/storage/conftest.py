"""Fixtures of the storage contract. A further engine is added in `engines.py` and nowhere else."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from legato_hub.storage.base import Storage
from tests.storage.engines import ALL, LASTING, Engine, make_engine


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
