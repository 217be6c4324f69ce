"""Two hubs, each a process of its own, on one Valkey and one backend."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.storage.valkey_servers import own_server
from tests.support.hub import RunningHub
from tests.support.hub_process import HubProcess, hub_process


class TwoHubs(NamedTuple):
    """`one` and `two` serve; `processes` are behind them, in that order."""

    one: RunningHub
    two: RunningHub
    processes: tuple[HubProcess, HubProcess]
    valkey: int
    """The port of the Valkey."""

    @property
    def storage(self) -> str:
        """The URL for one more hub."""
        return storage_url(self.valkey)


def storage_url(port: int) -> str:
    """Of a Valkey on a port."""
    return f"valkey://127.0.0.1:{port}/0"


@asynccontextmanager
async def two_hubs(folder: Path, **options: Any) -> AsyncIterator[TwoHubs]:
    """Both started at once; `options` as for `hub_process`."""
    with own_server() as valkey:
        async with AsyncExitStack() as stack:
            (first, one), (second, two) = await asyncio.gather(
                *(
                    stack.enter_async_context(hub_process(folder, storage=storage_url(valkey.port), **options))
                    for _ in range(2)
                )
            )
            yield TwoHubs(one, two, (first, second), valkey.port)
