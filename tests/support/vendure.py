"""The real Vendure server that all tests of one process share."""

import contextlib
from collections.abc import Iterator

from legato_adapters.vendure.dev_server import VendureServer, running_vendure
from tests.support.shared_server import PEERS, shared_server

PEER = PEERS / "vendure"


@contextlib.contextmanager
def shared_vendure() -> Iterator[VendureServer]:
    """A started server."""
    with shared_server("vendure", running_vendure(PEER)) as server:
        yield server
