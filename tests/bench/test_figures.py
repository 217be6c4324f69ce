"""Every figure is told, in one form, and described."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench import growth, shape
from bench.telling import FIGURES

ROOT = Path(__file__).resolve().parents[2]
DESCRIBED = (ROOT / "docs/performance.md").read_text("utf-8")
LINE = re.compile(r"(\w+) (\d+\.\d{3}) (\S+)")
QUICK_TIMEOUT_S = 150.0
"""The quick runs take seconds; the limits of `make bench` hold here, too, on a machine that is busy."""


def _told(module: str) -> dict[str, str]:
    """Names and units that a quick run tells."""
    command = (sys.executable, "-m", module, "--quick")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=QUICK_TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("# ")
    found = {}
    for line in done.stdout.splitlines():
        match = LINE.fullmatch(line)
        assert match, line
        assert match[1] not in found, f"{match[1]} is told twice"
        found[match[1]] = match[3]
    return found


@pytest.mark.timeout(QUICK_TIMEOUT_S + 10)
def test_the_benchmark_tells_all_its_figures() -> None:
    assert _told("bench") == FIGURES


@pytest.mark.timeout(QUICK_TIMEOUT_S + 10)
def test_the_benchmark_of_growth_tells_all_its_figures() -> None:
    assert _told("bench.growth") == growth.figures(growth.QUICK)


def test_every_figure_is_described() -> None:
    described = set(re.findall(r"`(\w+)`", DESCRIBED))
    assert (FIGURES | growth.figures(growth.Growth())).keys() <= described


def test_every_described_figure_is_told() -> None:
    table = re.findall(r"^\| `(\w+)`", DESCRIBED, re.MULTILINE)
    assert len(table) > 10
    assert set(table) <= FIGURES.keys() | growth.figures(growth.Growth()).keys()


def test_the_baseline_is_one_short_file() -> None:
    assert len((ROOT / "bench/baseline.py").read_text("utf-8").splitlines()) < 100


@pytest.mark.parametrize(("measured_us", "expected"), [(40.0, 1.0), (45.0, 1.0), (30.0, 0.75), (100.0, 2.0)])
def test_a_deviation_is_told_from_the_nearest_known_value(measured_us: float, expected: float) -> None:
    # On a machine half as quick as the one whose costs are known, a delivery may cost 40 to 50 µs.
    assert shape.deviation("delivery", measured_us, 2 * shape.UNARY_US) == pytest.approx(expected)
