"""Runs the conformance kit for tests: once for an adapter in a placement, then a test for each check."""

import asyncio
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from legato_adapters.conformance import Report, as_json, conformance
from legato_adapters.conformance.check import Check
from legato_adapters.conformance.report import FAILED
from tests.adapters.tried import Tried
from tests.support.adapter_process import running_adapter

PLACEMENTS = ("in_process", "own_process")

RUN_TIMEOUT_S = 400
"""The first test waits for the whole run, on a busy machine."""


def tried(adapter: Tried, placement: str, options: Mapping[str, Any]) -> Report:
    """What the kit says of an adapter in the test's process, or in one of its own."""
    if placement == "in_process":
        return asyncio.run(conformance(adapter.factory, adapter.shop, options))
    with tempfile.TemporaryDirectory() as folder:
        # No tenant of the shop files has options of its own.
        tenants = Path(folder) / "tenants.toml"
        tenants.write_text("".join(f"[tenants.{name}]\n" for name in adapter.shop.tenants), encoding="utf-8")
        wanted = {**adapter.shop.options, **options}
        with running_adapter(adapter.factory, wanted, "--config", str(tenants)) as process:
            return asyncio.run(conformance(f"grpc://{process.address}", adapter.shop))


def assert_kept(report: Report, check: Check) -> None:
    """The check passed, or is not about this adapter."""
    result = next(result for result in report.results if result.check == check)
    assert result.status != FAILED, result.detail


def assert_published(report: Report, adapter: Tried) -> None:
    """What is published of the adapter, and goes into the README, is what the run says."""
    published = (adapter.folder / "conformance.json").read_text("utf-8")
    assert json.loads(as_json(report)) == json.loads(published), "make capabilities writes it again"
