"""Both kinds of outbox against one contract; the file against power cuts, other processes and damage."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from legato import outbox as outbox_module
from legato import sqlite_outbox
from legato.commerce.v1.cart_intent_pb2 import CartIntent, SetNote
from legato.errors import OutboxError
from legato.orchestrator.v1.command_pb2 import Command
from legato.outbox import MemoryOutbox, Outbox, numbered
from legato.protocol.ids import new_id
from legato.replica import Saved
from legato.sqlite_outbox import SQLiteOutbox


def command(resource: str = "carts/a", note: str = "") -> Command:
    return Command(command_id=new_id(), resource=resource, cart=CartIntent(set_note=SetNote(note=note)))


@pytest.fixture(params=["memory", "sqlite"])
def outbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Outbox]:
    opened: Outbox = MemoryOutbox() if request.param == "memory" else SQLiteOutbox(tmp_path / "till.db")
    yield opened
    opened.close()


def test_seqs_are_contiguous_per_resource(outbox: Outbox) -> None:
    assert outbox.next_seq("carts/a") == 1
    kept = [outbox.append(command(resource)) for resource in ("carts/a", "carts/b", "carts/a")]
    assert [c.seq for c in kept] == [1, 1, 2]
    assert (outbox.next_seq("carts/a"), outbox.next_seq("carts/b")) == (3, 2)


def test_a_seq_is_not_used_again_after_its_command_is_finished(outbox: Outbox) -> None:
    first = outbox.append(command())
    outbox.finish([first.command_id, "unknown"])
    assert outbox.pending() == []
    assert outbox.append(command()).seq == 2


def test_pending_keeps_the_order_of_each_resource(outbox: Outbox) -> None:
    kept = [outbox.append(command(random.choice(["carts/a", "carts/b"]))) for _ in range(20)]
    for resource in ("carts/a", "carts/b"):
        expected = [c for c in kept if c.resource == resource]
        assert [c for c in outbox.pending() if c.resource == resource] == expected


def test_rewrite_replaces_one_resource_only(outbox: Outbox) -> None:
    a, b, other = outbox.append(command()), outbox.append(command()), outbox.append(command("carts/b"))
    outbox.rewrite("carts/a", [numbered(b, 7)], 8)
    assert outbox.pending() in ([numbered(b, 7), other], [other, numbered(b, 7)])
    assert outbox.append(a).seq == 8
    assert outbox.append(command("carts/b")).seq == 2


def test_the_given_command_is_left_alone(outbox: Outbox) -> None:
    wish = command()
    outbox.append(wish)
    assert wish.seq == 0


def test_there_is_a_bound(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "MAX_PENDING", 3)
    monkeypatch.setattr(sqlite_outbox, "MAX_PENDING", 3)
    kept = [outbox.append(command()) for _ in range(3)]
    with pytest.raises(OutboxError, match="waiting for the hub already"):
        outbox.append(command())
    outbox.rewrite("carts/a", [numbered(c, c.seq + 1) for c in kept], 5)
    with pytest.raises(OutboxError):
        outbox.append(command())
    outbox.finish([kept[0].command_id])
    assert outbox.append(command()).seq == 5


def test_a_file_remembers_everything(tmp_path: Path) -> None:
    path, saved = tmp_path / "till.db", Saved("carts/a", "epoch", 7, 2, b"\x0a\x00")
    first = SQLiteOutbox(path)
    kept = [first.append(command()) for _ in range(3)]
    first.finish([kept[0].command_id])
    first.save_replica("carts/a", saved)
    first.save_replica("carts/b", saved)
    first.save_replica("carts/b", None)
    first.close()
    first.close()
    with pytest.raises(OutboxError, match="is closed"):
        first.pending()
    again = SQLiteOutbox(path)
    assert again.client_id == first.client_id
    assert again.pending() == kept[1:]
    assert again.next_seq("carts/a") == 4
    assert (again.load_replica("carts/a"), again.load_replica("carts/b")) == (saved, None)
    again.close()


def test_resources_that_nobody_used_for_long_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "till.db"
    monkeypatch.setattr(sqlite_outbox, "_now", lambda: 1_000)
    first = SQLiteOutbox(path)
    done, waiting = first.append(command("carts/done")), first.append(command("carts/waiting"))
    first.finish([done.command_id])
    first.save_replica("carts/done", Saved("", "e", 1, 0, b""))
    first.close()
    monkeypatch.setattr(sqlite_outbox, "_now", lambda: 1_001 + 90 * 86_400)
    again = SQLiteOutbox(path)
    assert (again.next_seq("carts/done"), again.load_replica("carts/done")) == (1, None)
    assert (again.next_seq("carts/waiting"), again.pending()) == (2, [waiting])
    again.close()


def test_a_client_id_is_for_a_new_file(tmp_path: Path) -> None:
    chosen = new_id()
    first = SQLiteOutbox(tmp_path / "till.db", chosen)
    first.close()
    again = SQLiteOutbox(tmp_path / "till.db", chosen)
    assert again.client_id == first.client_id == chosen
    again.close()
    with pytest.raises(OutboxError, match=f"belongs to client id {chosen}"):
        SQLiteOutbox(tmp_path / "till.db", new_id())
    assert MemoryOutbox(chosen).client_id == chosen


def overwrite(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def other_schema(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE orders (id INTEGER)")
    db.close()


def later_version(path: Path) -> None:
    SQLiteOutbox(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()


def scrambled(path: Path) -> None:
    box = SQLiteOutbox(path)
    for _ in range(200):
        box.append(command(note="x" * 200))
    box.close()
    content = bytearray(path.read_bytes())
    content[8192:20480] = random.Random(1).randbytes(12288)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda path: overwrite(path, b"these are notes, not a database" * 100), "damaged or no SQLite file"),
        (scrambled, "damaged or no SQLite file"),
        (other_schema, "no outbox that this version of Legato can read"),
        (later_version, "no outbox that this version of Legato can read"),
        (lambda path: path.mkdir(), "unable to open"),
    ],
)
def test_a_file_that_is_none_is_refused_and_left_as_it_is(
    tmp_path: Path, spoil: Callable[[Path], None], told: str
) -> None:
    path = tmp_path / "till.db"
    spoil(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(OutboxError, match=told) as caught:
        SQLiteOutbox(path)
    assert str(path) in str(caught.value)
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_torn_command_is_told(tmp_path: Path) -> None:
    path = tmp_path / "till.db"
    box = SQLiteOutbox(path)
    box.append(command())
    box.close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE command SET body = x'ff'")
    db.close()
    again = SQLiteOutbox(path)
    with pytest.raises(OutboxError, match="a command in it cannot be read"):
        again.pending()
    again.close()


CHILD = """
import sys
from legato.commerce.v1.cart_intent_pb2 import CartIntent, SetNote
from legato.orchestrator.v1.command_pb2 import Command
from legato.protocol.ids import new_id
from legato.sqlite_outbox import SQLiteOutbox
box = SQLiteOutbox(sys.argv[1])
while True:
    wish = Command(command_id=new_id(), resource="carts/a", cart=CartIntent(set_note=SetNote(note="n")))
    kept = box.append(wish)
    print(kept.command_id, kept.seq, flush=True)
    if kept.seq % 3 == 0:
        box.finish([kept.command_id])
        print("finished", kept.command_id, flush=True)
"""


def test_a_second_process_is_told_to_use_its_own(tmp_path: Path) -> None:
    path = tmp_path / "till.db"
    with subprocess.Popen([sys.executable, "-c", CHILD, path], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(OutboxError, match="in use by another process"):
            SQLiteOutbox(path)
        child.kill()
        child.communicate()


@pytest.mark.parametrize("lines", [1, 2, 17, 40])
def test_a_killed_process_leaves_each_command_exactly_once(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "till.db"
    with subprocess.Popen([sys.executable, "-c", CHILD, path], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        os.kill(child.pid, signal.SIGKILL)
        said += child.stdout.read().splitlines(keepends=True)
    # The last line may be torn; what it would have said may be in the file or not.
    whole = [line.split() for line in said if line.endswith("\n")]
    finished = {words[1] for words in whole if words[0] == "finished"}
    kept = {words[0]: int(words[1]) for words in whole if words[0] != "finished"}

    box = SQLiteOutbox(path)
    found = box.pending()
    assert len({c.command_id for c in found}) == len(found)
    assert [c.seq for c in found] == sorted({c.seq for c in found})
    missing = kept.keys() - {c.command_id for c in found}
    surplus = {c.command_id for c in found} - kept.keys()
    assert finished <= missing
    assert len(missing - finished) <= 1, "at most the one whose removal was not told any more"
    assert len(surplus) <= 1, "at most the one that was kept and not told any more"
    assert all(c.seq == kept[c.command_id] for c in found if c.command_id in kept)
    assert box.next_seq("carts/a") in (max(kept.values()) + 1, max(kept.values()) + 2)
    box.close()
