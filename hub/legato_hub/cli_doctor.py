"""`legato doctor`."""

import asyncio
import json
from functools import partial

import grpc.aio
import typer

from legato_hub.config import Config
from legato_hub.doctor import backends, hub, metrics, storage
from legato_hub.doctor.report import Finding, Verdict, as_text, run


def doctor(config: Config, target: str, token: str, *, timeout_s: float, as_json: bool) -> int:
    """Print what was found; the exit status: 1 if anything failed."""
    findings = asyncio.run(examine(config, target, token, timeout_s))
    if as_json:
        typer.echo(json.dumps([finding.as_dict() for finding in findings], indent=2))
    else:
        typer.echo(as_text(findings))
    return int(any(finding.verdict is Verdict.FAILED for finding in findings))


async def examine(config: Config, target: str, token: str, timeout_s: float) -> list[Finding]:
    """All findings, in the order in which one would look. `token` may be empty: then no stream is tried."""
    about_hub, *others = await asyncio.gather(
        _hub(target, token, timeout_s),
        run(storage.NAME, partial(storage.storage, config.storage.url, timeout_s), timeout_s),
        *(
            run(f"backend {name}", partial(backends.backend, name, settings, timeout_s), timeout_s)
            for name, settings in config.backends.items()
        ),
        run(metrics.NAME, partial(metrics.metrics, config.metrics.listen, timeout_s), timeout_s),
    )
    return [*about_hub, *(finding for findings in others for finding in findings)]


async def _hub(target: str, token: str, timeout_s: float) -> list[Finding]:
    findings = await run("connect", partial(hub.reachable, target, timeout_s), timeout_s)
    if any(finding.verdict is Verdict.FAILED for finding in findings):
        return [*findings, Finding("health, token, clock, stream", Verdict.SKIPPED, "the hub cannot be reached")]
    async with grpc.aio.insecure_channel(target) as channel:
        findings += await run("health", partial(hub.health, channel), timeout_s)
        if not token:
            remedy = "give --token; one is made for a development hub on this machine only"
            return [*findings, Finding("token, clock, stream", Verdict.SKIPPED, "there is no token", remedy)]
        findings += await run("stream", partial(hub.stream, channel, token), timeout_s)
    return findings
