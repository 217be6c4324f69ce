"""What happened in a run, one JSON object a line: written while it runs, read by the validator afterwards.

`at` is the machine's monotonic clock in seconds, so the files of several processes merge into one history. `what` is:

    run       the head: fault, seed, engine, effect class, limits         client    who takes part, and what it may see
    open      a client opens a connection to a hub                        closed    it is over; code, details, by whom
    sent      a ConnectRequest is handed to the connection                received  a ConnectResponse came
    fault     something is done to the system; whom it affects            healed    it is over
    exit      a process ended                                             memory    bytes that a hub holds
    effect    a row of the backend's own ledger, in its order             backend   what the backend has in a cart
    hub       what a hub reads of a cart at the end                       slot      a slot that is still claimed
    settled   whether everybody had all results, and agreed, in time
"""

import base64
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from legato.orchestrator.v1 import stream_pb2


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that happened. `who` is a client or a hub, empty for the whole."""

    at: float
    what: str
    who: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.facts[name]

    def request(self) -> stream_pb2.ConnectRequest:
        """The message of a `sent`."""
        return stream_pb2.ConnectRequest.FromString(base64.b64decode(self["message"]))

    def response(self) -> stream_pb2.ConnectResponse:
        """The message of a `received`."""
        return stream_pb2.ConnectResponse.FromString(base64.b64decode(self["message"]))

    def line(self) -> str:
        """As it stands in the file."""
        return json.dumps({"at": round(self.at, 6), "what": self.what, "who": self.who, **self.facts})

    @staticmethod
    def parse(line: str) -> "Record":
        """Raise ValueError or KeyError if it is no record."""
        facts = json.loads(line)
        return Record(facts.pop("at"), facts.pop("what"), facts.pop("who"), facts)


class Recorder:
    """Appends to a file, line by line: a process that is killed loses nothing that it recorded."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO = path.open("w", buffering=1)
        self.news = 0
        """Counts what was recorded."""

    def record(self, what: str, who: str = "", **facts: Any) -> None:
        """It happens now."""
        self._file.write(Record(time.monotonic(), what, who, facts).line() + "\n")
        self.news += 1

    def sent(self, who: str, connection: str, request: stream_pb2.ConnectRequest) -> None:
        """Before it is written: afterwards the answer may be there already."""
        self.record("sent", who, connection=connection, message=_text(request.SerializeToString()))

    def received(self, who: str, connection: str, response: stream_pb2.ConnectResponse) -> None:
        """Before anything is made of it."""
        self.record("received", who, connection=connection, message=_text(response.SerializeToString()))

    def close(self) -> None:
        """No more."""
        self._file.close()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def read(folder: Path) -> list[Record]:
    """The whole history of a run: every `*.jsonl` of its folder, merged by time; or that of one file."""
    paths: Iterable[Path] = sorted(folder.glob("*.jsonl")) if folder.is_dir() else [folder]
    records = [record for path in paths for record in _lines(path)]
    if not records:
        raise FileNotFoundError(f"no history in {folder}")
    return sorted(records, key=lambda record: record.at)


def _lines(path: Path) -> Iterator[Record]:
    with path.open() as file:
        for line in file:
            if line.endswith("\n"):  # A process that was killed may have left half a line.
                yield Record.parse(line)
