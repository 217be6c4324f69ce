"""What a check finds, and how checks are run: each bounded in time, none able to keep another from its turn."""

import asyncio
import enum
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass


class Verdict(enum.StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and will not for long or not well."""
    FAILED = "failed"
    SKIPPED = "skipped"
    """Not looked at, and why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check saw. `remedy` says what to do; empty where there is nothing to do."""

    check: str
    verdict: Verdict
    seen: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return {key: str(value) for key, value in asdict(self).items()}


Check = Callable[[], AsyncIterator[Finding]]


async def run(name: str, check: Check, timeout_s: float) -> list[Finding]:
    """Everything that a check finds within its time. One that is late, or faulty, has failed."""
    findings: list[Finding] = []
    try:
        async with asyncio.timeout(timeout_s):
            async for finding in check():
                findings.append(finding)  # noqa: PERF401 -- what was found before the time was up stays found
    except TimeoutError:
        remedy = "look whether it hangs, or whether a firewall swallows packets on the way"
        findings.append(Finding(name, Verdict.FAILED, f"no answer within {timeout_s:g} s", remedy))
    except Exception as error:  # noqa: BLE001 -- a fault of one check is a finding, and the others go on
        findings.append(Finding(name, Verdict.FAILED, f"the check itself failed: {type(error).__name__}: {error}"))
    return findings


def as_text(findings: list[Finding]) -> str:
    """A line for each finding, and one for each remedy."""
    width = max((len(finding.check) for finding in findings), default=0)
    lines = []
    for finding in findings:
        lines.append(f"{finding.verdict:<8} {finding.check:<{width}}  {finding.seen}")
        if finding.remedy:
            lines.append(f"{'':8} {'':<{width}}  -> {finding.remedy}")
    return "\n".join(lines)
