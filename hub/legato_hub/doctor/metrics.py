"""The hub's own figures, if the configuration shows them: what is above its threshold now."""

import asyncio
from collections.abc import AsyncIterator
from importlib.metadata import version
from urllib.error import URLError
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from legato.contract import CONTRACT_VERSIONS
from legato_hub.doctor.report import Finding, Verdict

NAME = "metrics"
BETWEEN_S = 1.0
LAG_WARNING_S, LAG_FAILED_S = 0.1, 1.0
BACKLOG = 128
"""Half of what a stream may have waiting before the hub stops reading from it."""
UNACKNOWLEDGED = 64

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def metrics(listen: str, timeout_s: float) -> AsyncIterator[Finding]:
    """Scrape twice, a second apart."""
    if not listen:
        seen = "not shown: [metrics] listen is empty"
        yield Finding(NAME, Verdict.SKIPPED, seen, "set it to see version, event-loop lag and outboxes here")
        return
    url = f"http://{listen}/metrics"
    try:
        before = await asyncio.to_thread(_scrape, url, timeout_s * 0.35)
        await asyncio.sleep(min(BETWEEN_S, timeout_s / 5))
        after = await asyncio.to_thread(_scrape, url, timeout_s * 0.35)
    except (URLError, TimeoutError, OSError, ValueError) as error:
        remedy = (
            "the hub runs without [metrics] listen, or with another; a worker's port is the configured one + its number"
        )
        yield Finding(NAME, Verdict.FAILED, f"{url}: {error}", remedy)
        return
    for finding in findings(before, after):
        yield finding


def _scrape(url: str, timeout_s: float) -> Samples:
    with urlopen(url, timeout=timeout_s) as answer:  # the URL is made of the configuration's host and port
        text = answer.read().decode()
    families = text_string_to_metric_families(text)
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for f in families for sample in f.samples}


def findings(before: Samples, after: Samples) -> list[Finding]:
    """What two scrapes of one process tell."""
    return [_build(after), _lag(before, after), _outboxes(after), _epochs(after)]


def _build(now: Samples) -> Finding:
    for name, labels in now:
        if name == "legato_build_info":
            told = dict(labels)
            seen = f"the hub is legato {told['version']}, adapter contract {told['contract']}, on {told['storage']}"
            if (told["version"], told["contract"]) == (version("legato"), CONTRACT_VERSIONS[0]):
                return Finding("version", Verdict.OK, seen)
            remedy = "this doctor is of another version: its thresholds and checks are those of its own"
            return Finding("version", Verdict.WARNING, f"{seen}; this is {version('legato')}", remedy)
    return Finding("version", Verdict.FAILED, "what answers there is no Legato hub", "correct [metrics] listen")


def _lag(before: Samples, after: Samples) -> Finding:
    """The upper bound of the highest bucket that something fell into between the scrapes."""
    buckets = []
    for (name, labels), count in after.items():
        if name == "legato_event_loop_lag_seconds_bucket":
            bound = float(dict(labels)["le"])
            buckets.append((bound, count - before.get((name, labels), 0)))
    buckets.sort()
    total = buckets[-1][1] if buckets else 0
    if not total:
        remedy = "the event loop ran no timer for a second: look at the process' CPU and what blocks it"
        return Finding("event loop", Verdict.FAILED, "stuck", remedy)
    worst = next(bound for bound, count in buckets if count == total)
    seen = f"timers are at most {worst:g} s late"
    if worst <= LAG_WARNING_S:
        return Finding("event loop", Verdict.OK, seen)
    remedy = "too much work for one process (process_cpu_time_seconds_total), or an adapter in it that blocks"
    return Finding("event loop", Verdict.FAILED if worst > LAG_FAILED_S else Verdict.WARNING, seen, remedy)


def _outboxes(now: Samples) -> Finding:
    def value(name: str) -> float:
        return max((v for (n, _), v in now.items() if n == name), default=0)

    backlog, behind = value("legato_outbox_backlog_max"), value("legato_outbox_unacknowledged_max")
    seen = f"{value('legato_streams'):g} streams; at worst {backlog:g} answers wait, {behind:g} are not acknowledged"
    if backlog < BACKLOG and behind < UNACKNOWLEDGED:
        return Finding("outboxes", Verdict.OK, seen)
    remedy = "a client does not read or acknowledge; it slows nobody but itself. If it is many, look at their network"
    return Finding("outboxes", Verdict.WARNING, seen, remedy)


def _epochs(now: Samples) -> Finding:
    epochs = sum(v for (n, _), v in now.items() if n == "legato_storage_epochs_total")
    if not epochs:
        return Finding("epochs", Verdict.OK, "no new epoch since the hub started")
    remedy = "the storage was restarted, failed over or restored since: see docs/runbook.md, “Valkey failed over”"
    return Finding("epochs", Verdict.WARNING, f"{epochs:g} new epochs since the hub started", remedy)
