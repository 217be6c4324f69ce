"""A recording client in a process of its own, so that it can be stopped as a whole.

    python -m tests.robustness.lone '{"name": …, "token": …, "targets": …, "carts": …, "seed": …, …}'

It shops and follows until a line with the final cursors comes on its standard input, then waits until it has got there.
"""

import asyncio
import json
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.robustness import workload
from tests.robustness.client import Client
from tests.robustness.history import Recorder

Cursors = dict[str, list[Any]]
"""Epoch and revision by cart."""


class Lone:
    """The process, seen from the world."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @staticmethod
    async def start(
        name: str, token: str, targets: Sequence[tuple[str, int]], carts: Sequence[str], seed: float, folder: Path
    ) -> "Lone":
        """It follows the carts when this returns."""
        path = str(folder / f"{name}.jsonl")
        facts = {"name": name, "token": token, "targets": list(targets), "carts": list(carts), "seed": seed}
        given = json.dumps({**facts, "count": 60, "path": path})
        pipe = asyncio.subprocess.PIPE
        command = [sys.executable, "-m", "tests.robustness.lone", given]
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        assert process.stdout is not None
        await process.stdout.readline()
        return Lone(process)

    def stop(self) -> None:
        """It does nothing any more, and its connections stand."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """As if nothing had been."""
        self._process.send_signal(signal.SIGCONT)

    async def settled(self) -> None:
        """Wait until it has all its results."""
        assert self._process.stdout is not None
        await self._process.stdout.readline()

    async def finish(self, cursors: Cursors, timeout_s: float) -> None:
        """Wait until it is where everybody is, or time is up; its history tells which."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(cursors).encode() + b"\n")
        try:
            async with asyncio.timeout(timeout_s):
                await self._process.wait()
        except TimeoutError:
            self.kill()

    def kill(self) -> None:
        """If it still runs."""
        if self._process.returncode is None:
            self._process.kill()


async def main(given: dict[str, Any]) -> None:
    """The life of the client."""
    recorder = Recorder(Path(given["path"]))
    rng = random.Random(given["seed"])
    client = Client(given["name"], given["token"], given["targets"], recorder, rng)
    for cart in given["carts"]:
        client.follow(cart)
    life = asyncio.create_task(client.run())
    await client.until(lambda: all(replica.cursor is not None for replica in client.replicas.values()))
    print("follows", flush=True)
    await workload.shop(client, given["carts"], rng, given["count"], pause_s=0.1)
    await client.until(lambda: not client.unsettled)
    print("settled", flush=True)
    cursors: Cursors = json.loads(await asyncio.to_thread(sys.stdin.readline))
    await client.until(lambda: _at(client, cursors))
    client.leave("end")
    await life
    recorder.close()


def _at(client: Client, cursors: Cursors) -> bool:
    for cart, (epoch, revision) in cursors.items():
        cursor = client.replicas[cart].cursor
        if cursor is None or (cursor.epoch, cursor.revision) != (epoch, revision):
            return False
    return True


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
