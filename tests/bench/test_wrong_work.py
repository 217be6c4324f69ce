"""A benchmark that measures servers which do not do their work says so, and tells no figure of it."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as command
from bench import client, sides
from bench.client import WrongWorkError
from bench.measures import Audience, fan_out, unary
from bench.sides import Side, bare_side, hub_side


async def _fan_out(side: Side) -> None:
    audience = Audience(side, (await side.new_carts(1))[0])
    await audience.open(3)
    await fan_out(audience, 2)
    await audience.close()


async def _unary(side: Side) -> None:
    await unary(side, (await side.new_carts(1))[0], calls=4, at_once=2)


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes all servers that are started from now on faulty."""

    def choose(name: str) -> None:
        monkeypatch.setenv("LEGATO_BENCH_FAULT", name)
        monkeypatch.setattr(sides, "BASELINE", "tests.bench.wrong_baseline")
        monkeypatch.setattr(sides, "HUB", "tests.bench.wrong_hub")
        if name == "a lost delivery":  # It never comes, however long one waits.
            monkeypatch.setattr(client, "PATIENCE_S", 1.0)

    return choose


Measure = Callable[[Side], Coroutine[Any, Any, None]]


@pytest.mark.parametrize(
    ("name", "measure", "word"),
    [
        ("another answer", _unary, "answers differ"),
        ("a lost delivery", _fan_out, "messages have arrived, not"),
        ("another state", _fan_out, "not what was made"),
        ("an old snapshot", _fan_out, "a snapshot differs from the replicas"),
    ],
)
async def test_a_bare_server_that_does_wrong_is_not_measured(
    fault: Callable[[str], None], name: str, measure: Measure, word: str
) -> None:
    fault(name)
    async with bare_side("bare") as bare:
        with pytest.raises(WrongWorkError, match=word):
            await measure(bare)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("a lost delivery", "messages have arrived, not"),
        ("another state", "not what was made"),
        ("a wrong digest", "not what its digest says"),
    ],
)
async def test_a_hub_that_does_wrong_is_not_measured(
    fault: Callable[[str], None], tmp_path: Path, name: str, word: str
) -> None:
    fault(name)
    async with hub_side("hub", tmp_path) as hub:
        await hub.sign_on()
        with pytest.raises(WrongWorkError, match=word):
            await _fan_out(hub)


async def test_the_same_servers_without_a_fault_are_measured(fault: Callable[[str], None], tmp_path: Path) -> None:
    fault("none")
    async with bare_side("bare") as bare, hub_side("hub", tmp_path) as hub:
        await hub.sign_on()
        for side in (bare, hub):
            await _fan_out(side)


def test_wrong_work_is_the_end_of_the_command(fault: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    fault("another answer")
    with pytest.raises(SystemExit) as end:
        command.main(["--quick"])
    assert str(end.value.code).startswith("bench: WrongWorkError: GetCart answers differ")
    assert capsys.readouterr().out == ""
