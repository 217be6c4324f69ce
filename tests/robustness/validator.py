"""Judges a history: every promise, and the messages that prove a violation."""

from collections.abc import Iterator
from pathlib import Path

from google.protobuf import text_format

from tests.robustness import history
from tests.robustness.history import Record
from tests.robustness.promises import PROMISES
from tests.robustness.promises.finding import Findings
from tests.robustness.run import Run

SHOWN = 5
"""Violations of a promise that are told in full."""


def validate(path: Path) -> dict[str, Findings]:
    """Findings by promise, of a folder with a history or one file of it."""
    return judge(history.read(path))


def judge(records: list[Record]) -> dict[str, Findings]:
    """Findings by promise."""
    run = Run(records)
    return {name: check(run) for name, check in PROMISES.items()}


def report(findings: dict[str, Findings], start: float = 0.0) -> Iterator[str]:
    """The violations, line by line, with their proof."""
    for name, found in findings.items():
        for violation in found.violations[:SHOWN]:
            yield f"VIOLATED {name}: {violation.what}"
            for record in violation.proof:
                yield f"    {record.at - start:10.3f} s  {describe(record)}"
        if len(found.violations) > SHOWN:
            yield f"VIOLATED {name}: {len(found.violations) - SHOWN} times more"


def describe(record: Record) -> str:
    """A record for people."""
    facts = {name: value for name, value in record.facts.items() if name != "message"}
    if record.what == "sent":
        text = text_format.MessageToString(record.request(), as_one_line=True)
    elif record.what == "received":
        text = text_format.MessageToString(record.response(), as_one_line=True)
    else:
        text = ""
    return f"{record.what} {record.who} {facts} {text[:1_000]}".strip()
