"""What a check finds."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.robustness.history import Record
from tests.robustness.run import Run


@dataclass(frozen=True)
class Violation:
    """A promise that was broken, and the records that prove it."""

    what: str
    proof: tuple[Record, ...]


@dataclass
class Findings:
    """How often a promise was put to the test in a history, and where it was broken."""

    checked: int = 0
    violations: list[Violation] = field(default_factory=list)

    def expect(self, holds: bool, what: str, *proof: Record) -> None:
        """One test of the promise."""
        self.checked += 1
        if not holds:
            self.violations.append(Violation(what, proof))


Check = Callable[[Run], Findings]
