"""Whoever looks after workers, with small programs in their place: what it does about those that do not do well."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from legato_hub import workers
from legato_hub.workers import Workers, WorkersFailedError, held_port

SERVES = "import os; os.write(0, b'x'); "
STAYS = "os.read(0, 1)"


def looked_after(program: str, count: int = 2) -> Workers:
    return Workers([sys.executable, "-c", program], dict(os.environ), count)


async def serving(supervisor: Workers, capfd: pytest.CaptureFixture[str]) -> "asyncio.Task[None]":
    """The task, once it said that all serve."""
    task = asyncio.create_task(supervisor.serve("they serve"))
    async with asyncio.timeout(40):
        while capfd.readouterr().out != "they serve\n":
            assert not task.done(), task.exception()
            await asyncio.sleep(0.01)
    return task


async def end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_a_name_may_have_an_address_that_the_machine_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[str] = ["192.0.2.1", "127.0.0.1"]

    def resolve(host: str, port: str, **_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (place, int(port))) for place in places]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with held_port("here:0") as address:
        host, _, port = address.rpartition(":")
        assert host == "here"
        # Whoever shares it may listen there, and nobody else.
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", int(port)))
        with socket.create_server(("127.0.0.1", int(port)), reuse_port=True):
            pass
    places.pop()
    with pytest.raises(OSError, match="cannot listen on here:1: Cannot assign"), held_port("here:1"):
        pass


def test_delays_grow_to_a_bound_and_no_further() -> None:
    assert [workers._delay_s(failures) for failures in (0, 1, 2, 3, 7, 5_000)] == [0, 0.25, 0.5, 1, 15, 15]


async def test_what_never_serves_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "START_TIMEOUT_S", 0.2)
    supervisor = looked_after("import os; os.read(0, 1)")
    with pytest.raises(WorkersFailedError, match="worker 0 does not start: it was ended by SIGKILL"):
        await supervisor.serve("")
    await supervisor.stop(1)


async def test_a_second_one_that_fails_ends_the_start() -> None:
    supervisor = looked_after(
        "import os\nif os.environ['LEGATO_WORKER'] == '1': os._exit(3)\nos.write(0, b'x')\nos.read(0, 1)"
    )
    with pytest.raises(WorkersFailedError, match="worker 1 does not start: it ended with status 3"):
        await supervisor.serve("")
    with pytest.raises(WorkersFailedError, match="worker 0 was ended by SIGTERM"):
        await supervisor.stop(20)


async def test_it_gives_up_when_none_can_be_started_any_more(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "FIRST_DELAY_S", 0.01)
    flag = tmp_path / "gone"
    supervisor = looked_after(f"import os; os.path.exists({str(flag)!r}) and os._exit(3); os.write(0, b'x'); {STAYS}")
    task = await serving(supervisor, capfd)
    flag.touch()
    for worker in supervisor._workers.values():
        worker.process.kill()
    with pytest.raises(WorkersFailedError, match="it ended with status 3"):
        async with asyncio.timeout(40):
            await task
    await supervisor.stop(1)


async def test_it_does_not_give_up_while_one_serves(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(workers, "LAST_DELAY_S", 0.01)
    tries = tmp_path / "tries"
    # The second worker fails more often than what it takes to give up, then serves again.
    program = (
        "import os, pathlib\n"
        f"tries = pathlib.Path({str(tries)!r})\n"
        "if os.environ['LEGATO_WORKER'] == '1' and tries.exists():\n"
        "    tries.write_text(tries.read_text() + 'x')\n"
        f"    len(tries.read_text()) > {workers.GIVE_UP_AFTER + 1} or os._exit(3)\n"
        "os.write(0, b'x')\nos.read(0, 1)"
    )
    supervisor = looked_after(program)
    task = await serving(supervisor, capfd)
    tries.touch()
    killed = supervisor._workers[1].process
    killed.kill()
    async with asyncio.timeout(40):
        while len(tries.read_text()) < workers.GIVE_UP_AFTER + 2:
            assert not task.done(), task.exception()
            await asyncio.sleep(0.01)
    await end(task)
    with pytest.raises(WorkersFailedError):  # these know no other end than the signal
        await supervisor.stop(20)


async def test_who_does_not_drain_is_killed_and_told(capfd: pytest.CaptureFixture[str]) -> None:
    ignores = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    supervisor = looked_after(f"{ignores}{SERVES}os.read(0, 1)")
    task = await serving(supervisor, capfd)
    await end(task)
    with pytest.raises(WorkersFailedError, match="worker 0 was ended by SIGKILL, worker 1 was ended by SIGKILL"):
        await supervisor.stop(0.2)
    assert all(worker.process.returncode == -signal.SIGKILL for worker in supervisor._workers.values())
