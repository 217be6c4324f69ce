"""A client, and a backend that behaves as told."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from legato_adapters.http import Call, HttpClient
from tests.support.http_backend import HttpBackend


@pytest.fixture
async def backend() -> AsyncIterator[HttpBackend]:
    async with HttpBackend() as backend:
        yield backend


@pytest.fixture
async def client(backend: HttpBackend) -> AsyncIterator[HttpClient]:
    """When the test is over nothing of it may be left."""
    before = asyncio.all_tasks()
    client = HttpClient("shop", backend.url)
    await client.open()
    yield client
    await client.close()
    mine = [task for task in asyncio.all_tasks() - before if "legato_adapters" in repr(task.get_coro())]
    assert not mine


@pytest.fixture
def call() -> Call:
    return Call.within(30)
