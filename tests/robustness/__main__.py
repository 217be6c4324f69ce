"""The robustness suite.

python -m tests.robustness                                  everything, as `make robustness`
python -m tests.robustness --fault kill --seed 3            one fault, with a seed
python -m tests.robustness validate FOLDER                  judge a kept history again
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.robustness import history, validator
from tests.robustness.faults import FAULTS
from tests.robustness.mutants import MUTANTS
from tests.robustness.report import table, told
from tests.robustness.setting import SETTLE_S, Setting
from tests.robustness.suite import Played, play, settings


def main(arguments: Sequence[str]) -> int:
    """The exit status: 0 only if every promise was kept."""
    if arguments[:1] == ["validate"]:
        return _validate(Path(arguments[1]))
    parser = argparse.ArgumentParser(prog="python -m tests.robustness")
    parser.add_argument("--fault", default="", choices=["", *FAULTS])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="that many, beginning with --seed")
    parser.add_argument("--engine", default="", choices=["", "sqlite", "valkey"])
    parser.add_argument("--effect-class", default="", choices=["", "KEYED", "MARKED", "ABSOLUTE", "NONE"])
    parser.add_argument("--variant", default="")
    parser.add_argument("--mutant", default="", choices=["", *MUTANTS])
    parser.add_argument("--keep", type=Path, help="folder for all histories; else only those that failed are kept")
    parser.add_argument("--patience", type=float, default=SETTLE_S, help="seconds to wait for what must come")
    parser.add_argument("--jobs", type=int, default=2, help="runs at the same time")
    given = parser.parse_args(arguments)
    chosen = [
        setting
        for seed in range(given.seed, given.seed + given.seeds)
        for setting in settings(
            seed=seed,
            fault=given.fault,
            engine=given.engine,
            effect_class=given.effect_class,
            variant=given.variant,
            mutant=given.mutant,
            patience_s=given.patience,
        )
    ]
    if not chosen:
        parser.error("nothing fits: see the faults for their engines, classes and variants")
    root = given.keep or Path(tempfile.mkdtemp(prefix="legato-robustness-"))
    played = asyncio.run(_play(chosen, root, given.jobs))
    print(table(played))
    if given.keep is None and not any(one.failed for one in played):
        shutil.rmtree(root)
    return int(any(one.failed for one in played))


async def _play(chosen: Sequence[Setting], root: Path, jobs: int) -> list[Played]:
    places = asyncio.Semaphore(jobs)
    began: list[Played] = []

    async def one(setting: Setting) -> None:
        async with places:
            played = await play(setting, root)
        began.append(played)
        word = "BROKEN" if played.broken else "VIOLATED" if played.failed else "ok"
        print(f"[{len(began)}/{len(chosen)}] {setting.name}: {word}, {played.seconds:.1f} s", flush=True)
        if played.failed:
            print("\n".join(f"  {line}" for line in told(played)), flush=True)
        else:
            shutil.rmtree(played.folder) if root.name.startswith("legato-robustness-") else None

    async with asyncio.TaskGroup() as group:
        for setting in chosen:
            group.create_task(one(setting))
    return began


def _validate(path: Path) -> int:
    findings = validator.validate(path)
    for line in validator.report(findings, history.read(path)[0].at):
        print(line)
    for name, found in findings.items():
        print(f"{name:20} {found.checked:8} checked {len(found.violations):5} violations")
    return int(any(found.violations for found in findings.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
