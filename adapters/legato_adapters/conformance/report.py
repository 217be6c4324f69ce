"""What came of a run: for people as a table, for programs as JSON without anything that differs from run to run."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from legato_adapters.conformance.check import Check
from legato_adapters.conformance.claims import Claims
from legato_adapters.conformance.loss import Loss

PASSED, FAILED, SKIPPED, KNOWN = "passed", "failed", "skipped", "known"


@dataclass(frozen=True)
class Result:
    """What became of one check."""

    check: Check
    status: str
    """PASSED, FAILED, SKIPPED or KNOWN: it failed, as the shop file says."""
    detail: str = ""
    """What is wrong, why it was skipped, or the reason of a known failure."""
    seen: str = ""
    """With a known failure: what is wrong this time."""


@dataclass(frozen=True)
class Report:
    """Everything that a run found."""

    claims: Claims
    results: Sequence[Result]
    losses: Sequence[Loss]

    @property
    def ok(self) -> bool:
        return not self.of(FAILED)

    def of(self, status: str) -> list[Result]:
        """The results of one status."""
        return [result for result in self.results if result.status == status]


def table(report: Report) -> Iterator[str]:
    """The lines for people."""
    claims = report.claims
    yield f"{claims.name} {claims.version}, contract {claims.contract_version}"
    width = max(len(result.check.id) for result in report.results)
    for capability, group in itertools.groupby(report.results, lambda result: result.check.capability):
        yield ""
        yield from _section(claims, capability, list(group), width)
    yield ""
    yield "Loss report: canonical fields that do not survive this backend"
    yield from (f"  {line}" for line in _losses(report.losses))
    yield ""
    counts = [f"{len(found)} {status}" for status in (PASSED, FAILED, KNOWN, SKIPPED) if (found := report.of(status))]
    yield ", ".join(counts)


def _section(claims: Claims, capability: str, results: list[Result], width: int) -> Iterator[str]:
    if capability and capability not in claims.capabilities:
        yield f"{capability} is not claimed: {len(results)} checks skipped"
        return
    yield f"{capability}, {claims.effects[capability]}" if capability in claims.effects else capability or "IDENTITY"
    for result in results:
        yield f"  {_mark(result.status)}  {result.check.id:{width}}  {result.check.sentence}"
        if result.detail:
            yield f"  {'':7}  {'':{width}}  → {result.detail}"
        if result.seen:
            yield f"  {'':7}  {'':{width}}    {result.seen}"


def _mark(status: str) -> str:
    return f"{'FAILED' if status == FAILED else status:7}"


def _losses(losses: Sequence[Loss]) -> Iterator[str]:
    if not losses:
        yield "none"
    width = max((len(loss.capability) for loss in losses), default=0)
    for loss in losses:
        yield f"{loss.capability:{width}}  {loss.field}: {loss.what}"


def as_json(report: Report) -> str:
    """The same for programs."""
    claims = report.claims
    data: Mapping[str, Any] = {
        "adapter": claims.name,
        "contract_version": claims.contract_version,
        "capabilities": {
            name: {
                **({"effect_class": claims.effects[name]} if name in claims.effects else {}),
                **({"commands": list(claims.commands[name])} if name in claims.commands else {}),
            }
            for name in claims.capabilities
        },
        "checks": {
            result.check.id: {"status": result.status, **({"detail": result.detail} if result.detail else {})}
            for result in report.results
        },
        "losses": [{"capability": loss.capability, "field": loss.field, "what": loss.what} for loss in report.losses],
    }
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"
