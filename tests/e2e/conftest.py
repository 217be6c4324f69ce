"""Fixtures of the end-to-end tests: a real hub in the test's loop."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.hub import RunningHub, hub_config, running_hub


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(hub_config(tmp_path)) as running:
        yield running
