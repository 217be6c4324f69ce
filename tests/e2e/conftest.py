"""Fixtures of the end-to-end tests: a real hub in the test's loop."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.storage import valkey_servers
from tests.support.hub import RunningHub, hub_config, running_hub


@pytest.fixture(scope="session", autouse=True)
def stop_servers() -> Iterator[None]:
    """Ends the Valkey servers that tests started, and removes their files."""
    yield
    valkey_servers.stop_all()


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(hub_config(tmp_path)) as running:
        yield running
