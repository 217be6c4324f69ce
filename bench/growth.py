"""`make bench-growth`: whether a command costs the same however much there is, and how soon everybody is back.

Carts are loaded in bulk, then a hub is started on them. A figure's last word is the storage engine.
"""

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.bulk import load, new_names
from bench.client import WrongWorkError
from bench.header import tell_header
from bench.measures import Shop, check
from bench.sides import Side, hub_side
from bench.storm import STREAMS_EACH, storm
from bench.telling import alternate, median_us, ratio, tell
from bench.valkey import valkey
from legato.commerce.v1 import cart_pb2
from legato_hub.auth import TokenAuthority
from legato_hub.config import default_config
from legato_hub.core.identity import Identity, IdentityKind

TIMEOUT_S = 290.0
ENGINES = ("sqlite", "valkey")
DAY_MS = 86_400_000


@dataclass(frozen=True)
class Growth:
    """How much there is, and how much is done to it. `at_once` carts are in use at a time, whatever there is."""

    sizes: tuple[int, ...] = (10, 1_000, 100_000)
    ages: tuple[int, ...] = (10, 10_000)
    runs: int = 5
    at_once: int = 5
    commands_each: int = 30
    storm_streams: int = 2_000


QUICK = Growth(sizes=(2, 4), ages=(2, 6), runs=1, at_once=2, commands_each=2, storm_streams=24)
"""For the tests."""

TILL = Identity(IdentityKind.TERMINAL, "demo", "till-1", "main")
OWNER = cart_pb2.Cart(tenant=TILL.tenant, store=TILL.store, terminal_id=TILL.subject)


@dataclass(frozen=True)
class Case:
    """Carts of one kind, and the hub that serves them."""

    name: str
    side: Side
    carts: Sequence[str]


def figures(growth: Growth) -> dict[str, str]:
    """What is told: names and units."""
    found: dict[str, str] = {}
    for engine in ENGINES:
        for kind, steps in (("carts", growth.sizes), ("revisions", growth.ages)):
            found |= {f"growth_{kind}_{step}_{engine}": "us/command" for step in steps}
            found |= {f"growth_{kind}_{step}_ratio_{engine}": "x" for step in steps[1:]}
        found |= {f"resume_storm_s_{engine}": "s", f"resume_storm_refused_{engine}": "streams"}
        found |= {f"resume_storm_cpu_{engine}": "us/stream", f"resume_storm_client_cpu_{engine}": "us/stream"}
    return found | {"resume_storm_s": "s"}


def token() -> str:
    """A till's, which sees all carts of its store."""
    identity = Identity(TILL.kind, TILL.tenant, TILL.subject, TILL.store, time.time_ns() // 1_000_000 + DAY_MS)
    return TokenAuthority(default_config().auth.secret).issue(identity)


async def grow(folder: Path, growth: Growth, engine: str) -> float:
    """All figures of one engine; the seconds of its storm."""
    told = figures(growth)

    def say(name: str, value: float) -> None:
        tell(f"{name}_{engine}", value, told[f"{name}_{engine}"])

    async with AsyncExitStack() as stack:

        def storage(name: str) -> str:
            if engine == "valkey":
                return stack.enter_context(valkey(folder / f"valkey-{name}"))
            return f"sqlite:{folder / f'{name}.sqlite3'}"

        loaded = await load_all(growth, storage)
        hubs = {}
        for number, url in enumerate(dict.fromkeys(url for _, url, _ in loaded)):
            hubs[url] = await stack.enter_async_context(
                hub_side(f"hub-{number}", folder / f"hub-{number}", "null", url)
            )
            hubs[url].token = token()
        await tell_costs(growth, [Case(name, hubs[url], carts) for name, url, carts in loaded], say)

        stormy, carts = storage("storm"), new_names(growth.storm_streams // STREAMS_EACH)
        await load(stormy, carts, OWNER)
        outcome = await storm(folder / "storm", stormy, token(), carts)
        say("resume_storm_s", outcome.took_s)
        say("resume_storm_refused", outcome.refused)
        say("resume_storm_cpu", outcome.cpu_s * 1e6)
        say("resume_storm_client_cpu", outcome.client_cpu_s * 1e6 / growth.storm_streams)
        check(outcome.refused == 0, f"{outcome.refused} streams were refused")
        return outcome.took_s


async def load_all(growth: Growth, storage: Callable[[str], str]) -> list[tuple[str, str, list[str]]]:
    """Carts by number and by age: the figure they are for, the URL of their storage, their names."""
    loaded = []
    for size in growth.sizes:
        url, carts = storage(f"carts-{size}"), new_names(size)
        await load(url, carts, OWNER)
        loaded.append((f"growth_carts_{size}", url, carts))
    url = storage("revisions")
    for age in growth.ages:
        # Commands age them, so that young ones are used once.
        carts = new_names(growth.at_once * (growth.runs + 1 if age == min(growth.ages) else 1))
        await load(url, carts, OWNER, age)
        loaded.append((f"growth_revisions_{age}", url, carts))
    return loaded


async def tell_costs(growth: Growth, cases: Sequence[Case], say: Callable[[str, float], None]) -> None:
    """CPU of a command in each case, and beside the smallest case of its kind."""
    unused = {case.name: list(case.carts) for case in cases}

    async def measure(case: Case) -> float:
        left = unused[case.name]
        if len(left) < growth.at_once:
            left[:] = random.sample(case.carts, len(case.carts))
        chosen = [left.pop() for _ in range(growth.at_once)]
        shop = Shop(case.side)
        await shop.open(chosen)
        cpu_s, _ = await shop.commands(growth.commands_each)
        await shop.close()
        return cpu_s

    costs = dict(zip((case.name for case in cases), await alternate(cases, growth.runs, measure), strict=True))
    for kind, steps in (("growth_carts", growth.sizes), ("growth_revisions", growth.ages)):
        smallest = costs[f"{kind}_{steps[0]}"]
        for step in steps:
            cpu_s = costs[f"{kind}_{step}"]
            say(f"{kind}_{step}", median_us(cpu_s))
            if step != steps[0]:
                say(f"{kind}_{step}_ratio", ratio(cpu_s, smallest))


async def bounded(folder: Path, growth: Growth) -> None:
    """Give up in time."""
    async with asyncio.timeout(TIMEOUT_S):
        took_s = []
        for engine in ENGINES:
            (folder / engine).mkdir()
            took_s.append(await grow(folder / engine, growth, engine))
        tell("resume_storm_s", max(took_s), "s")


def main(growth: Growth) -> None:
    """Measure; leave with what went wrong, if anything did."""
    tell_header()
    with tempfile.TemporaryDirectory(prefix="legato-growth-") as name:
        try:
            asyncio.run(bounded(Path(name), growth))
        except (WrongWorkError, TimeoutError, EOFError) as error:
            sys.exit(f"bench-growth: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main(QUICK if sys.argv[1:] == ["--quick"] else Growth())
