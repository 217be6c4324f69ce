"""The mutants: all that were promised are there, hit something, and what `make mutants` says of them is true."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.robustness import mutants, prove
from tests.robustness.faults import FAULTS
from tests.robustness.mutants import MUTANTS
from tests.robustness.processes import ROOT
from tests.robustness.promises import PROMISES
from tests.robustness.promises.finding import Findings, Violation
from tests.robustness.prove import Verdict
from tests.robustness.setting import Setting
from tests.robustness.suite import Played

PROMISED = {
    "dedupe-off": "exactly-once",
    "no-pending-slot": "exactly-once",
    "fence-off": "fenced",
    "resolve-not-applied": "exactly-once",
    "publish-before-append": "fenced",
    "wrong-merged-prev": "ordered-gap-free",
    "trim-off-by-one": "resumable",
    "digest-skips-a-field": "no-torn-state",
    "progress-out-of-band": "progress-in-band",
    "authorisation-skipped": "authorised",
}
"""What must be caught, and by which promise."""


def played(*violated: str, broken: str = "", mutant: str = "") -> Played:
    setting = Setting("kill", 1, mutant=mutant)
    findings = {name: Findings(1, [Violation("it", ())] if name in violated else []) for name in PROMISES}
    return Played(setting, Path("nowhere"), findings=findings, broken=broken)


def test_every_promised_mutant_is_there() -> None:
    assert {name: mutant.promise for name, mutant in MUTANTS.items() if name in PROMISED} == PROMISED


@pytest.mark.parametrize("name", MUTANTS)
def test_its_run_is_one_of_the_suite(name: str) -> None:
    mutant = MUTANTS[name]
    fault = FAULTS[mutant.fault]
    assert mutant.promise in PROMISES
    assert mutant.engine in fault.engines
    assert mutant.effect_class in fault.classes
    assert mutant.variant in fault.variants


def test_each_hits_something_in_the_hub() -> None:
    # In a process of its own, which is of no use any more afterwards.
    program = "from tests.robustness.mutants import MUTANTS\nfor name in MUTANTS: print(name); MUTANTS[name].apply()"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list(MUTANTS)


def test_one_that_hits_nothing_fails() -> None:
    class Hub:
        def renamed(self) -> None:
            pass

    with pytest.raises(AttributeError, match="serve"):
        mutants.patch(Hub, "serve", lambda original: original)


@pytest.mark.parametrize(
    ("plain", "mutated", "verdict"),
    [
        (played(), played("fenced", "live"), Verdict.CAUGHT),
        (played(), played(), Verdict.SURVIVED),
        (played(), played("live"), Verdict.ANOTHER),
        (played(), played("fenced", broken="Traceback"), Verdict.CRASHED),
        (played("live"), None, Verdict.UNCLEAN),
        (played("fenced"), played("fenced"), Verdict.UNCLEAN),
        (played(broken="Traceback"), None, Verdict.UNCLEAN),
    ],
)
def test_the_verdict(plain: Played, mutated: Played | None, verdict: Verdict) -> None:
    assert prove.judge("fenced", plain, mutated) is verdict


@pytest.mark.parametrize("survivor", ["", "fence-off"])
def test_the_exit_status_is_that_of_the_worst(
    survivor: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def play(setting: Setting, root: Path) -> Played:
        caught = setting.mutant not in ("", survivor)
        one = played(*([MUTANTS[setting.mutant].promise] if caught else []), mutant=setting.mutant)
        return Played(setting, root, findings=one.findings)

    monkeypatch.setattr(prove, "play", play)
    monkeypatch.setattr(prove, "told", lambda _: ["what it did"])
    assert prove.main([]) == int(bool(survivor))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith(f"{len(MUTANTS) - bool(survivor)} of {len(MUTANTS)} mutants caught")
    rows = {words[0]: words[-1] for words in map(str.split, lines) if words and words[-1] in ("caught", "SURVIVED")}
    assert rows == {name: "SURVIVED" if name == survivor else "caught" for name in MUTANTS}
    assert ("  what it did" in lines) == bool(survivor)


def test_an_unknown_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        prove.main(["no-such"])
    assert "no such mutant: no-such" in capsys.readouterr().err


# Several processes have to start in each: on a busy machine that takes longer than other tests may.
@pytest.mark.timeout(400)
async def test_two_are_caught_by_the_run_that_is_clean_without_them(tmp_path: Path) -> None:
    proofs = await prove.prove(["authorisation-skipped", "no-pending-slot"], tmp_path, 1)
    assert [proof.verdict for proof in proofs] == [Verdict.CAUGHT, Verdict.CAUGHT]
