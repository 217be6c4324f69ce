"""`make bench`: the hub beside bare grpc.aio on the same machine in the same minutes. Figures go to standard output."""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from bench import figures
from bench.client import WrongWorkError
from bench.processes import server
from bench.sides import Side

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


async def main(folder: Path) -> None:
    """Start everything, measure, end everything."""
    async with AsyncExitStack() as stack:
        traced = await stack.enter_async_context(collector())

        async def hub(name: str, adapter: str = "null", share: str = "") -> Side:
            environment = {**traced, "OTEL_TRACES_SAMPLER_ARG": share} if share else {}
            (folder / name).mkdir()
            made = server(name, "bench.hub_server", str(folder / name), adapter, environment=environment)
            side = Side(await stack.enter_async_context(made), adapter)
            await side.sign_on()
            return side

        bare = Side(await stack.enter_async_context(server("bare", "bench.baseline", f"sqlite:{folder / 'bare'}")))
        plain = await hub("plain")
        await figures.unary_figures(bare, plain)
        await figures.stream_figures(bare, plain)
        await figures.overload_figures(bare, plain)
        reference = await hub("reference", "reference")
        sampled, recorded = await hub("sampled", share="0.01"), await hub("recorded", share="1.0")
        await figures.command_figures(bare, plain, reference, sampled, recorded)


async def bounded(folder: Path) -> None:
    """Give up in time."""
    async with asyncio.timeout(TIMEOUT_S):
        await main(folder)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="legato-bench-") as name:
        try:
            asyncio.run(bounded(Path(name)))
        except (WrongWorkError, TimeoutError, EOFError) as error:
            sys.exit(f"bench: {type(error).__name__}: {error}")
