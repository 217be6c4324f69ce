"""Run one adapter as a gRPC server of its own.

    python -m legato_adapters.server module:factory --listen 127.0.0.1:0 --option path=shop.db --option seed=true

It prints one line, `listening HOST:PORT`, when it takes calls. Each option's value is read as JSON (true, 5, "text"),
or as the plain text it is where it is no JSON. `--config FILE` names a TOML file with a table [options] and, where each
tenant has credentials of its own, [tenants.NAME] with the options of that tenant; other processes can read a command
line, so secrets belong there. SIGTERM or SIGINT ends it: the health service says NOT_SERVING, running
calls get the grace period, then the adapter is closed.

The standard health service is part of it, so its process needs `grpcio-health-checking`, which extra `hub` brings. The
connection is neither encrypted nor authenticated: listen on loopback, or where the network is trusted.
"""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import grpc
import grpc.aio
from grpc_health.v1 import _async as aio_health
from grpc_health.v1 import health_pb2_grpc

from legato.hosting import Adapter, AdapterLoadError, load_adapter
from legato_adapters.options import config, option

_SERVER_OPTIONS = [
    # Otherwise a second server would bind the same port silently and take half of the calls.
    ("grpc.so_reuseport", 0),
    # A hub pings idle connections to notice silent ones; by default that would end them with "too many pings".
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
]


async def serve(adapter: Adapter, address: str, grace: float) -> None:
    """Serve until SIGTERM or SIGINT; raises RuntimeError when the address cannot be bound."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = grpc.aio.server(options=_SERVER_OPTIONS)
    adapter.add_to(server)
    health = aio_health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    host = address.rpartition(":")[0]
    port = server.add_insecure_port(address)
    try:
        await adapter.start()
        await server.start()
        print(f"listening {host}:{port}", flush=True)
        await stop.wait()
        await health.enter_graceful_shutdown()
        await server.stop(grace)
    finally:
        await adapter.close()


def main(arguments: Sequence[str] | None = None) -> str | None:
    """Return what went wrong with the arguments, else nothing after a clean end."""
    parser = argparse.ArgumentParser(prog="python -m legato_adapters.server", description=__doc__.partition("\n")[0])
    parser.add_argument("adapter", help="module:factory")
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT", help="port 0 lets the system choose")
    parser.add_argument("--option", type=option, action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML with [options] and [tenants.NAME]")
    parser.add_argument("--grace", type=float, default=5.0, metavar="SECONDS", help="for running calls at the end")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    try:
        options, tenants = config(given.config) if given.config else ({}, {})
        adapter = load_adapter(given.adapter, options | dict(given.option), tenants)
        asyncio.run(serve(adapter, given.listen, given.grace))
    except (AdapterLoadError, RuntimeError) as error:
        return str(error)
    return None


if __name__ == "__main__":
    sys.exit(main())
