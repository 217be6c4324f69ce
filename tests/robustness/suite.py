"""Plays faults, validates what came of them, and keeps the histories of those that failed."""

import asyncio
import shutil
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from tests.robustness import validator
from tests.robustness.faults import FAULTS
from tests.robustness.promises.finding import Findings
from tests.robustness.setting import SETTLE_S, Setting

RUN_TIMEOUT_S = 300.0


@dataclass
class Played:
    """One run and what was found. `broken` is what kept it from coming to its end."""

    setting: Setting
    folder: Path
    seconds: float = 0.0
    findings: dict[str, Findings] = field(default_factory=dict)
    broken: str = ""

    @property
    def violated(self) -> list[str]:
        """Names of the promises that were broken."""
        return [name for name, found in self.findings.items() if found.violations]

    @property
    def failed(self) -> bool:
        """Whether anything is wrong."""
        return bool(self.broken or self.violated)


async def play(setting: Setting, root: Path) -> Played:
    """One run, in a folder of its own, which stays."""
    folder = root / setting.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    played = Played(setting, folder)
    begin = time.monotonic()
    try:
        async with asyncio.timeout(RUN_TIMEOUT_S):
            await FAULTS[setting.fault].play(setting, folder)
    except Exception:  # noqa: BLE001 -- whatever broke the run is part of its report, and the others go on
        played.broken = traceback.format_exc()
    played.seconds = time.monotonic() - begin
    if (folder / "history.jsonl").exists():
        played.findings = validator.validate(folder)
    return played


def settings(
    *,
    seed: int,
    fault: str = "",
    engine: str = "",
    effect_class: str = "",
    variant: str = "",
    mutant: str = "",
    patience_s: float = SETTLE_S,
) -> list[Setting]:
    """Every run that the suite has; only those that fit what is named."""
    return [
        Setting(name, seed, one_engine, one_class, one_variant, mutant, patience_s)
        for name, entry in FAULTS.items()
        for one_engine in entry.engines
        for one_class in entry.classes
        for one_variant in entry.variants
        if fault in ("", name) and engine in ("", one_engine)
        if effect_class in ("", one_class) and variant in ("", one_variant)
    ]
