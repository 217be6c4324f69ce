"""Starts a hub as `legato` would, after doing to it what a test wants: mutants, another clock.

    python -m tests.robustness.launch [--mutant NAME] [--clock FILE] -- serve --config FILE

Every hub of the suite starts through here, so that the same seed runs against the hub as it is and against its mutants.
"""

import argparse
import sys
import time
from pathlib import Path

from tests.robustness.mutants import MUTANTS


def shift_clock(offset: Path) -> None:
    """Let the hub's wall clock be off by what a file says, in milliseconds, from one call to the next."""
    # Before the rest of the hub is loaded, which takes the function by its name.
    from legato_hub import clock

    def now_ms() -> int:
        return time.time_ns() // 1_000_000 + int(offset.read_text() or 0)

    clock.now_ms = now_ms


def main() -> None:
    """Never returns before the hub has gone down."""
    parser = argparse.ArgumentParser(prog="python -m tests.robustness.launch")
    parser.add_argument("--mutant", choices=sorted(MUTANTS))
    parser.add_argument("--clock", type=Path, metavar="FILE")
    parser.add_argument("legato", nargs="+", help="arguments of legato")
    given = parser.parse_args()
    if given.clock is not None:
        shift_clock(given.clock)
    if given.mutant is not None:
        MUTANTS[given.mutant].apply()
    from legato_hub import cli

    sys.argv = ["legato", *given.legato]
    cli.main()


if __name__ == "__main__":
    main()
