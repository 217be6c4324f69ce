"""The hub with a fault, which LEGATO_BENCH_FAULT names."""

import os
import sys
from pathlib import Path
from typing import Any

from bench import hub_server
from legato.protocol.state import Delta
from legato_hub import live_resources
from legato_hub.cli_serve import event_loop_runner
from legato_hub.live import Live
from legato_hub.storage.base import Update

FAULT = os.environ["LEGATO_BENCH_FAULT"]


class WrongLive(Live):
    """As it should be, but for one thing."""

    def update(self, update: Update) -> None:
        if FAULT == "another state" and "line/line-1" in update.delta.upserts:
            kept = {key: value for key, value in update.delta.upserts.items() if key != "totals"}
            update = Update(update.resource, update.cursor, Delta(kept))
        super().update(update)

    def attach(self, subscriber: Any, *present: Any) -> None:
        if FAULT == "a lost delivery" and self.name.startswith("carts/") and len(self.subscribers) == 1:
            return
        super().attach(subscriber, *present)

    def snapshot(self) -> tuple[bytes, bytes]:
        payload, digest = super().snapshot()
        return payload, digest[::-1] if FAULT == "a wrong digest" else digest


if __name__ == "__main__":
    vars(live_resources)["Live"] = WrongLive  # what a hub makes of each resource
    event_loop_runner()(hub_server.main(hub_server.hub_config(Path(sys.argv[1]), *sys.argv[2:])))
