"""Proves that the suite can fail: every mutant of the hub is caught, by the promise that it breaks.

python -m tests.robustness.prove                    every mutant, as `make mutants`
python -m tests.robustness.prove fence-off          some

Each run is played without the mutant first and must be clean; with it, the promise must be violated. A run that does
not come to its end proves nothing, and neither does the violation of other promises alone.
"""

import argparse
import asyncio
import enum
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.robustness.mutants import MUTANTS, Mutant
from tests.robustness.report import told
from tests.robustness.setting import SETTLE_S, Setting
from tests.robustness.suite import Played, play

MUTATED_PATIENCE_S = 10.0
"""A broken hub may never come to rest, and has shown what is wrong with it long before."""


class Verdict(enum.StrEnum):
    """What became of a mutant. Only `CAUGHT` is good."""

    CAUGHT = "caught"
    SURVIVED = "SURVIVED"
    ANOTHER = "CAUGHT AS ANOTHER"
    CRASHED = "CRASHED"
    UNCLEAN = "UNCLEAN WITHOUT IT"


@dataclass(frozen=True)
class Proof:
    """A mutant and its two runs; the second was not played if the first was not clean."""

    name: str
    plain: Played
    mutated: Played | None

    @property
    def verdict(self) -> Verdict:
        """What the two runs prove."""
        return judge(MUTANTS[self.name].promise, self.plain, self.mutated)


def judge(promise: str, plain: Played, mutated: Played | None) -> Verdict:
    """What a run without a mutant and one with it prove, if the mutant is to break `promise`."""
    if plain.failed or mutated is None:
        return Verdict.UNCLEAN
    if mutated.broken:
        return Verdict.CRASHED
    if not mutated.violated:
        return Verdict.SURVIVED
    return Verdict.CAUGHT if promise in mutated.violated else Verdict.ANOTHER


def setting(mutant: Mutant) -> Setting:
    """The run that catches it, without it."""
    return Setting(mutant.fault, mutant.seed, mutant.engine, mutant.effect_class, mutant.variant, "", SETTLE_S)


async def prove(names: Iterable[str], root: Path, jobs: int) -> list[Proof]:
    """Two runs a mutant, save that mutants with the same run share it; at most `jobs` at the same time."""
    places = asyncio.Semaphore(jobs)
    plain_runs: dict[Setting, asyncio.Task[Played]] = {}

    async def played(wanted: Setting) -> Played:
        async with places:
            return await play(wanted, root)

    async def one(name: str) -> Proof:
        wanted = setting(MUTANTS[name])
        if wanted not in plain_runs:
            plain_runs[wanted] = asyncio.create_task(played(wanted))
        plain = await plain_runs[wanted]
        mutated = None
        if not plain.failed:
            mutated = await played(replace(wanted, mutant=name, patience_s=MUTATED_PATIENCE_S))
        proof = Proof(name, plain, mutated)
        tell(proof)
        return proof

    return await asyncio.gather(*map(one, names))


def tell(proof: Proof) -> None:
    """One line; more if it is not as it should be."""
    runs = [proof.plain] if proof.mutated is None else [proof.plain, proof.mutated]
    print(f"{proof.name}: {proof.verdict} ({' + '.join(f'{run.seconds:.1f}' for run in runs)} s)", flush=True)
    if proof.verdict is not Verdict.CAUGHT:
        print("\n".join(f"  {line}" for line in told(runs[-1])), flush=True)


def table(proofs: Sequence[Proof]) -> str:
    """Mutant × promise × run × caught."""
    rows = [("mutant", "promise", "run", "seed", "violations", "verdict")]
    for proof in proofs:
        mutant, mutated = MUTANTS[proof.name], proof.mutated
        run = " ".join(filter(None, (mutant.fault, mutant.variant, mutant.engine, mutant.effect_class)))
        found = mutated.findings.get(mutant.promise) if mutated is not None else None
        count = "-" if found is None else str(len(found.violations))
        rows.append((proof.name, mutant.promise, run, str(mutant.seed), count, proof.verdict))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def main(arguments: Sequence[str]) -> int:
    """The exit status: 0 only if every mutant was caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.robustness.prove")
    parser.add_argument("mutants", nargs="*", metavar="MUTANT", help="all, if none is named")
    parser.add_argument("--jobs", type=int, default=2, help="runs at the same time")
    given = parser.parse_args(arguments)
    if unknown := set(given.mutants) - MUTANTS.keys():
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    root = Path(tempfile.mkdtemp(prefix="legato-mutants-"))
    begin = time.monotonic()
    proofs = asyncio.run(prove(given.mutants or MUTANTS, root, given.jobs))
    caught = sum(proof.verdict is Verdict.CAUGHT for proof in proofs)
    print(f"\n{table(proofs)}\n\n{caught} of {len(proofs)} mutants caught, in {time.monotonic() - begin:.0f} s")
    if caught == len(proofs):
        shutil.rmtree(root)
    return int(caught < len(proofs))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
