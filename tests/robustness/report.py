"""What came of runs, for people."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from tests.robustness import history, validator
from tests.robustness.faults import FAULTS
from tests.robustness.promises import PROMISES
from tests.robustness.suite import Played


def told(played: Played) -> Iterator[str]:
    """What went wrong in a run, where its history is, and the one command that does it again."""
    start = history.read(played.folder)[0].at if played.findings else 0.0
    yield from validator.report(played.findings, start)
    yield from played.broken.splitlines()
    yield f"history: {played.folder}"
    yield f"replay:  python -m tests.robustness {played.setting.arguments}"


def table(played: Sequence[Played]) -> str:
    """Faults × promises: how often each was put to the test, and how often it was broken."""
    checked: dict[tuple[str, str], int] = defaultdict(int)
    broken: dict[tuple[str, str], int] = defaultdict(int)
    faults = list(dict.fromkeys(name for name in FAULTS if any(one.setting.fault == name for one in played)))
    for one in played:
        for name, found in one.findings.items():
            checked[one.setting.fault, name] += found.checked
            broken[one.setting.fault, name] += len(found.violations)
    width = max(map(len, faults))
    lines = [" " * width + "  runs " + " ".join(f"{name:>9}" for name in map(_short, PROMISES))]
    for fault in faults:
        runs = sum(one.setting.fault == fault for one in played)
        cells = []
        for name in PROMISES:
            bad = broken[fault, name]
            cells.append(f"{'!' + str(bad) + '/' if bad else ''}{checked[fault, name]}".rjust(9))
        lines.append(f"{fault:{width}} {runs:5}  " + " ".join(cells))
    return "\n".join(lines)


def _short(name: str) -> str:
    return name[:9]
