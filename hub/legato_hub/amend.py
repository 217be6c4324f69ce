"""Changes that the hub makes by itself, without a client's command: sign-in, a cart that joins a session."""

from collections.abc import Callable

from legato.protocol.state import Entries, diff
from legato_hub.clock import now_ms
from legato_hub.core.problem import not_found
from legato_hub.live import Live
from legato_hub.live_resources import LiveResources
from legato_hub.storage.base import Commit, Committed, Storage
from legato_hub.telemetry.tracing import tracer

Change = Callable[[Entries], Entries]
"""From the present entities to the wished ones. Pure: it may be called again when another hub was ahead."""


class Amender:
    """Applies changes one after the other, atomically, as new revisions."""

    def __init__(self, storage: Storage, resources: LiveResources) -> None:
        self._storage = storage
        self._resources = resources

    async def amend(self, name: str, change: Change, *, traceparent: str = "", closed: bool = False) -> Live:
        """Change a resource, or make it. A change that changes nothing makes no revision.

        The revision belongs to the trace of `traceparent`, or else to that of the current span.

        Raise Problem (NOT_FOUND) for what retention has taken away, StorageError, and whatever `change` raises.
        """
        live = await self._resources.pin(name)
        traceparent = traceparent or tracer.current_traceparent()
        try:
            async with live.lane:
                while True:
                    delta = diff(live.entries, change(live.entries))
                    if not delta:
                        return live
                    commit = Commit(name, live.revision, delta, now_ms(), traceparent=traceparent, closed=closed)
                    if isinstance(await self._storage.commit(commit), Committed):
                        return live
                    await self._resources.reload(live)
                    if live.revision == commit.base:
                        raise not_found(name)  # A tombstone: nobody was ahead, and nothing ever fits.
        finally:
            self._resources.unpin(live)
