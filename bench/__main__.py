"""`make bench`: the hub beside bare grpc.aio on the same machine in the same minutes. Figures go to standard output.

`python -m bench [--quick]`: quickly everything is done once and little of it, which measures nothing.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from bench import figures
from bench.client import WrongWorkError
from bench.header import tell_header
from bench.scale import QUICK, Scale
from bench.shape import tell_shape
from bench.sides import Side, bare_side, hub_side
from bench.valkey import valkey

TIMEOUT_S = 115.0
EXPORT = "opentelemetry.proto.collector.trace.v1.TraceService"


@asynccontextmanager
async def collector() -> AsyncIterator[dict[str, str]]:
    """Takes exported spans and forgets them; the variables that send them there."""

    async def export(request: bytes, context: Any) -> bytes:
        return b""

    receiver = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    methods: Any = {"Export": grpc.unary_unary_rpc_method_handler(export)}
    receiver.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(EXPORT, methods),))
    port = receiver.add_insecure_port("127.0.0.1:0")
    await receiver.start()
    yield {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
    }
    await receiver.stop(None)


async def measure(folder: Path, scale: Scale) -> None:
    """Start everything, measure, end everything."""
    async with AsyncExitStack() as stack:
        traced = await stack.enter_async_context(collector())

        async def bare(name: str, url: str = "") -> Side:
            return await stack.enter_async_context(bare_side(name, url))

        async def hub(name: str, adapter: str = "null", url: str = "", share: str = "") -> Side:
            environment = {**traced, "OTEL_TRACES_SAMPLER_ARG": share} if share else {}
            side = await stack.enter_async_context(hub_side(name, folder / name, adapter, url, environment))
            await side.sign_on()
            return side

        # Each has a server of its own: a storage is one hub's, as far as names of carts and figures go.
        bare_url, hub_url = (stack.enter_context(valkey(folder / name)) for name in ("valkey-bare", "valkey-hub"))
        bare_sqlite, hub_sqlite = (
            await bare("bare-sqlite", f"sqlite:{folder / 'bare.sqlite3'}"),
            await hub("hub-sqlite"),
        )
        unary_us = await figures.unary_figures(scale, bare_sqlite, hub_sqlite)
        known = await figures.stream_figures(scale, bare_sqlite, hub_sqlite)
        known |= await figures.overload_figures(scale, bare_sqlite, hub_sqlite)
        sides = figures.CommandSides(
            bare=await bare("bare"),
            bare_sqlite=bare_sqlite,
            hub_sqlite=hub_sqlite,
            bare_valkey=await bare("bare-valkey", bare_url),
            hub_valkey=await hub("hub-valkey", url=hub_url),
            reference=await hub("reference", "reference"),
            sampled=await hub("sampled", share="0.01"),
            recorded=await hub("recorded", share="1.0"),
        )
        known |= await figures.command_figures(scale, sides)
        tell_shape(known, unary_us)


async def bounded(folder: Path, scale: Scale) -> None:
    """Give up in time."""
    async with asyncio.timeout(TIMEOUT_S):
        await measure(folder, scale)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure; leave with what went wrong, if anything did."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="The hub beside bare grpc.aio.")
    parser.add_argument(
        "--quick", action="store_true", help="do everything once and little of it: no figure means much"
    )
    scale = QUICK if parser.parse_args(arguments).quick else Scale()
    tell_header()
    with tempfile.TemporaryDirectory(prefix="legato-bench-") as name:
        try:
            asyncio.run(bounded(Path(name), scale))
        except (WrongWorkError, TimeoutError, EOFError) as error:
            sys.exit(f"bench: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
