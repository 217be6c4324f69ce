"""The kit finds each fault of a broken adapter, and names the checks that it breaks and no others."""

from pathlib import Path

import pytest

from legato_adapters.conformance import commands as kit_commands
from legato_adapters.conformance import conformance
from legato_adapters.conformance.report import FAILED
from legato_adapters.conformance.suite import SUITE
from tests.adapters.broken import Broken
from tests.adapters.broken.faults import FAULTS
from tests.adapters.tried import REFERENCE
from tests.support.adapter_process import running_adapter

FACTORY = "tests.adapters.broken:create"

REMOTE = ["a repeated cart command is executed again", "the deadline is ignored", "Resolve always says NOT_APPLIED"]
"""Faults that show only when a connection breaks, or not."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    # Enough for the one fault that has an effect late, which is 0.06 s late.
    monkeypatch.setattr(kit_commands, "SETTLING_S", 0.2)


def related(broken: Broken) -> list[str]:
    """The prefixes of the ids that are looked at: all checks of the capabilities that the fault is in."""
    return sorted({id.partition(".")[0] for id in broken.finds})


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_found_where_it_is(fault: str) -> None:
    broken = FAULTS[fault]
    checks = [check for check in SUITE if check.id.partition(".")[0] in related(broken)]
    report = await conformance(FACTORY, REFERENCE.shop, {"fault": fault}, checks=checks)
    failed = {result.check.id: result.detail for result in report.of(FAILED)}
    assert broken.finds <= set(failed) <= broken.finds | broken.may_find, failed
    assert all(failed.values())
    assert not report.ok


@pytest.mark.parametrize("fault", REMOTE)
async def test_a_fault_is_found_behind_an_address(fault: str, tmp_path: Path) -> None:
    broken = FAULTS[fault]
    options = {"fault": fault, "path": str(tmp_path / "shop.db")}
    checks = [check for check in SUITE if check.id in broken.finds | broken.may_find]
    with running_adapter(FACTORY, options) as process:
        report = await conformance(f"grpc://{process.address}", REFERENCE.shop, checks=checks)
    failed = {result.check.id: result.detail for result in report.of(FAILED)}
    assert broken.finds <= set(failed), failed
