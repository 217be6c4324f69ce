"""What hubs tell each other directly: each follows a topic of its own, named after its id."""

import asyncio
import logging
from collections.abc import Callable

from legato_hub.core.notes import Replaced, decode, encode
from legato_hub.storage.base import Storage, StorageError

_log = logging.getLogger(__name__)

TOLD_AGAIN_S = (0.0, 1.0, 4.0)
"""A hub that does not listen is tried again, waiting so long before: it may be connecting to the storage again. Then it
is dead."""


class Peers:
    """The other hubs on this storage, and this one to them. `hub_id` is another at each start."""

    def __init__(self, storage: Storage, hub_id: str) -> None:
        self.hub_id = hub_id
        self._storage = storage
        self._replaced: dict[str, set[str]] = {}
        """Connections to call off, by hub; each has a task as long as it stands here."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._end: Callable[[], None] = lambda: None

    def begin(self, replaced: Callable[[str], None]) -> None:
        """Listen; `replaced` is called with the id of each connection whose client has a newer one elsewhere."""

        def noted(note: bytes) -> None:
            said = decode(note)
            if isinstance(said, Replaced):
                for connection_id in said.connections:
                    replaced(connection_id)

        self._end = self._storage.follow(_topic(self.hub_id), lambda _: None, noted=noted)

    def replace(self, hub_id: str, connection_id: str) -> None:
        """Call a connection of another hub off."""
        if self._storage.exclusive:
            return  # Of an earlier start: there is no other hub.
        waiting = self._replaced.get(hub_id)
        if waiting is not None:
            waiting.add(connection_id)
            return
        self._replaced[hub_id] = {connection_id}
        task = asyncio.create_task(self._call_off(hub_id), name=f"call connections of {hub_id} off")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call_off(self, hub_id: str) -> None:
        waiting = self._replaced[hub_id]
        for delay in TOLD_AGAIN_S:
            await asyncio.sleep(delay)
            while waiting and await self._tell(hub_id, waiting):
                pass  # More may have come to it meanwhile.
            if not waiting:
                break
        del self._replaced[hub_id]

    async def _tell(self, hub_id: str, waiting: set[str]) -> bool:
        """Whether it listens; what it was told waits no more."""
        told = tuple(waiting)
        try:
            listening = await self._storage.notify(_topic(hub_id), encode(Replaced(told)))
        except StorageError as error:
            _log.warning("cannot call connections of another hub off", extra={"error": str(error)})
            return False
        if listening:
            waiting.difference_update(told)
        return listening > 0

    async def close(self) -> None:
        """Listen no more, and call no more off."""
        self._end()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _topic(hub_id: str) -> str:
    return f"hubs/{hub_id}"
