"""`legato serve --workers N`: several hub processes on one port, and the process that looks after them.

A worker is `legato serve` again, in a new process and never a fork of this one. All workers listen on one port with
SO_REUSEPORT: the kernel gives each new connection to one of them. What they share is the storage. What a worker is told
beyond the configuration is in `worker`.

A worker that ends is started again: at once after it drained because somebody told it to, else after a delay that grows
as long as it keeps dying. SIGTERM and SIGINT drain all of them.
"""

import asyncio
import errno
import logging
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from legato_hub.cli import refuse
from legato_hub.config import Config
from legato_hub.telemetry import logs
from legato_hub.worker import VARIABLE

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

START_TIMEOUT_S = 60.0
"""From the start of a worker until it must serve."""

END_TIMEOUT_S = 5.0
"""From the end of a worker's line until it must have ended itself."""

FIRST_DELAY_S, LAST_DELAY_S = 0.25, 15.0
"""Bounds of the delay before a worker that died is started again."""

STABLE_S = 30.0
"""A worker that served so long was a good one: the next delay begins small again."""

GIVE_UP_AFTER = 5
"""Failed starts of a worker in a row after which all is given up, unless another one serves."""

STOP_MARGIN_S = 30.0
"""What a worker gets for draining beyond twice its grace period, before it is killed."""


class WorkersFailedError(Exception):
    """Workers do not start, or did not drain."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A started worker, and this end of its line."""

    number: int
    process: Process
    line: socket.socket


class Workers:
    """The workers of one hub. `serve` until it is cancelled, then `stop`, once."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], count: int) -> None:
        self._command = command
        self._environ = environ
        self._count = count
        self._workers: dict[int, Worker] = {}
        self._serving: set[int] = set()

    async def serve(self, says: str) -> None:
        """Start all, print a line when they serve, keep them running. Raise WorkersFailedError."""
        # One alone first: what is wrong for all of them is then said once, and a new storage is made by one.
        workers = [await self._start(0)]
        workers += await _together(map(self._start, range(1, self._count)))
        print(says, flush=True)
        await _together(map(self._keep, workers))

    async def stop(self, timeout_s: float) -> None:
        """Let all drain. Raise WorkersFailedError if one did not end by itself and well; none runs then either."""
        for worker in self._workers.values():
            if worker.process.returncode is None:
                worker.process.send_signal(signal.SIGTERM)
        ended = [asyncio.create_task(worker.process.wait()) for worker in self._workers.values()]
        if ended:
            await asyncio.wait(ended, timeout=timeout_s)
        failed = []
        for worker in self._workers.values():
            if worker.process.returncode is None:
                worker.process.kill()
            # One that was still starting ends at the signal itself.
            if await worker.process.wait() != 0 and worker.number in self._serving:
                failed.append(f"worker {worker.number} {_end(worker.process)}")
            worker.line.close()
        if failed:
            raise WorkersFailedError(f"not all workers drained: {', '.join(failed)}")

    async def _start(self, number: int) -> Worker:
        """A worker that serves. Raise WorkersFailedError."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs, ExitStack() as undo:
            undo.callback(ours.close)
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=theirs.fileno(),
                env={**self._environ, VARIABLE: str(number)},
                # Ctrl-C in the terminal is for this process, which then tells the workers.
                start_new_session=True,
            )
            undo.pop_all()
        worker = self._workers[number] = Worker(number, process, ours)
        told = asyncio.create_task(asyncio.get_running_loop().sock_recv(ours, 1))
        ended = asyncio.create_task(process.wait())
        try:
            await asyncio.wait({told, ended}, timeout=START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
            if not (told.done() and told.result()):
                if told.done():  # its end of the line closed, as it does when a process ends
                    await asyncio.wait({ended}, timeout=END_TIMEOUT_S)
                if not ended.done():
                    process.kill()
                await ended
                raise WorkersFailedError(f"worker {number} does not start: it {_end(process)}")
        finally:
            for task in (told, ended):
                task.cancel()
        self._serving.add(number)
        _log.info("a worker serves", extra={"worker": number, "pid": process.pid})
        return worker

    async def _keep(self, worker: Worker) -> None:
        """Start a worker again whenever it ends. Raise WorkersFailedError when that is hopeless."""
        loop, failures, failed_starts = asyncio.get_running_loop(), 0, 0
        while True:
            since = loop.time()
            status = await worker.process.wait()
            self._serving.discard(worker.number)
            told = {"worker": worker.number, "pid": worker.process.pid}
            if status == 0:
                failures = 0
                _log.info("a worker drained; another one takes its place", extra=told)
            else:
                failures = 1 if loop.time() - since >= STABLE_S else failures + 1
                _log.error("a worker %s; it is started again", _end(worker.process), extra=told)
            while True:
                worker.line.close()
                await asyncio.sleep(_delay_s(failures))
                try:
                    worker = await self._start(worker.number)
                except WorkersFailedError as error:
                    failures, failed_starts = failures + 1, failed_starts + 1
                    if failed_starts >= GIVE_UP_AFTER and not self._serving:
                        raise
                    _log.error("%s", error)
                    worker = self._workers[worker.number]
                else:
                    failed_starts = 0
                    break


async def _together(work: Iterable[Coroutine[Any, Any, _T]]) -> list[_T]:
    """As `asyncio.gather`, but the first that fails ends the others."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _delay_s(failures: int) -> float:
    return min(LAST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(failures - 1, 30)) if failures else 0.0


def _end(process: Process) -> str:
    status = process.returncode or 0
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


@contextmanager
def held_port(listen: str) -> Iterator[str]:
    """The address to listen on, with a port that is chosen here if it was 0, and is the workers' as long as the block
    runs. Raise OSError if it cannot be had."""
    host, _, port = listen.rpartition(":")
    with ExitStack() as held:
        try:
            places = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            missing: OSError | None = OSError(f"{host} has no address")
            for family, _, _, _, (name, _, *rest) in places:
                try:
                    if port != "0":
                        # Workers of two hubs would share a port silently: only who does not want to share is told.
                        with socket.socket(family) as probe:
                            _bind(probe, (name, int(port), *rest), socket.SO_REUSEADDR)
                    # Bound and not listening: it keeps the port, and gets no connections.
                    keeper = held.enter_context(socket.socket(family))
                    _bind(keeper, (name, int(port), *rest), socket.SO_REUSEADDR, socket.SO_REUSEPORT)
                except OSError as error:
                    # A name may have an address that this machine has not, like localhost without IPv6.
                    if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                        raise
                    missing = missing and error
                else:
                    missing, port = None, str(keeper.getsockname()[1])
            if missing is not None:
                raise missing
        except OSError as error:
            raise OSError(f"cannot listen on {listen}: {error.strerror or error}") from error
        yield f"{host}:{port}"


def _bind(bound: socket.socket, place: tuple[str | int, ...], *options: int) -> None:
    for option in options:
        bound.setsockopt(socket.SOL_SOCKET, option, 1)
    bound.bind(place)


async def run(workers: Workers, says: str, stop_timeout_s: float) -> None:
    """Serve until SIGTERM or SIGINT, then drain. Raise WorkersFailedError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)
    serving = asyncio.create_task(workers.serve(says))
    told = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, told}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    serving.cancel()
    (outcome,) = await asyncio.gather(serving, return_exceptions=True)
    try:
        await workers.stop(stop_timeout_s)
    finally:
        # Why it ended comes before how.
        if isinstance(outcome, Exception):
            raise outcome


def supervise(config: Config, count: int, file: Path | None, environ: Mapping[str, str]) -> None:
    """Serve with `count` workers, which read `file` and `environ` as this process did, until told to stop."""
    if config.storage.url.startswith("sqlite:"):
        refuse(
            f"--workers {count} needs a storage that processes can share, and a SQLite file is one process's:"
            " give --storage valkey://host:port"
        )
    if VARIABLE in environ:
        refuse(f"{VARIABLE} is set by --workers, not by hand")
    if not hasattr(socket, "SO_REUSEPORT"):
        refuse("--workers needs SO_REUSEPORT, which this system does not have")
    logs.configure(config.logging)
    # -P: as for the console script, the working directory is no place to import from.
    command = [sys.executable, "-P", "-m", "legato_hub.cli", "serve", *(("--config", str(file)) if file else ())]
    try:
        with held_port(config.server.listen) as address:
            workers = Workers(command, {**environ, "LEGATO_SERVER__LISTEN": address}, count)
            stop_timeout_s = 2 * config.server.grace_seconds + STOP_MARGIN_S
            asyncio.run(run(workers, f"legato serves on {address}", stop_timeout_s))
    except (WorkersFailedError, OSError) as error:
        refuse(str(error), 1)
