"""The bare server with a fault, which LEGATO_BENCH_FAULT names: what it then does must not pass for work."""

import os
import sys
from typing import Any

from bench import baseline, workload
from legato_hub.cli_serve import event_loop_runner

FAULT = os.environ["LEGATO_BENCH_FAULT"]


class WrongBare(baseline.Bare):
    """As it should be, but for one thing."""

    async def get_cart(self, request: bytes, context: Any) -> bytes:
        self.calls = getattr(self, "calls", 0) + 1
        right = await super().get_cart(request, context)
        return right[:-1] if FAULT == "another answer" and self.calls > 1 else right

    async def inject(self, rate: float, *, committed: bool) -> list[int]:
        resource, messages = self._prepared
        if FAULT == "a lost delivery":
            self._streams[resource] = self._streams[resource][1:]
        if FAULT == "another state":
            self._prepared = resource, [_unlike(message) for message in messages]
        return await super().inject(rate, committed=committed)

    async def _subscribe(self, resource: str, context: Any) -> None:
        late = FAULT == "an old snapshot" and self._revisions.get(resource, 1) > 1
        if late:
            self._revisions[resource] -= 1
        await super()._subscribe(resource, context)
        if late:
            self._revisions[resource] += 1


def _unlike(message: bytes) -> bytes:
    """A delta of another price, and in all else the same."""
    right, wrong = (workload.money(workload.PRICE + more).SerializeToString() for more in (0, 1))
    assert right in message
    return message.replace(right, wrong)


if __name__ == "__main__":
    baseline.Bare = WrongBare  # type: ignore[misc]  # what `main` serves
    event_loop_runner()(baseline.main("".join(sys.argv[1:])))
