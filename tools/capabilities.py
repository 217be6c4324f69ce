"""Run the conformance kit on the adapters of this repository, keep what it says, and write the README's table of it.

    python tools/capabilities.py                  run all, write all
    python tools/capabilities.py reference        run these, write the table of all
    python tools/capabilities.py --check          run none; fail if the README is not what was kept

What a run says is kept beside its adapter, as conformance.json: a file that nobody writes by hand.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from legato.adapter.v1 import identity_service_pb2
from legato_adapters.commercetools.dev_server import running_commercetools
from legato_adapters.conformance import as_json, conformance, read_shop, table
from legato_adapters.conformance.claims import COMMANDS
from legato_adapters.vendure.dev_server import running_vendure

ROOT = Path(__file__).resolve().parent.parent
ADAPTERS = ROOT / "adapters/legato_adapters"
README = ROOT / "README.md"
BEGIN, END = "<!-- capabilities: written by make capabilities -->\n", "<!-- /capabilities -->\n"


@contextlib.asynccontextmanager
async def _embedded() -> AsyncIterator[Mapping[str, Any]]:
    yield {}


@contextlib.asynccontextmanager
async def _vendure() -> AsyncIterator[Mapping[str, Any]]:
    async with running_vendure(ROOT / "peers/vendure") as server:
        yield server.options()


@contextlib.asynccontextmanager
async def _commercetools() -> AsyncIterator[Mapping[str, Any]]:
    async with running_commercetools(ROOT / "peers/commercetools") as server:
        yield server.options()


BACKENDS: dict[str, Callable[[], contextlib.AbstractAsyncContextManager[Mapping[str, Any]]]] = {
    "reference": _embedded,
    "vendure": _vendure,
    "commercetools": _commercetools,
}
"""What each adapter needs, and its options then; in the table they stand in this order."""


async def run(name: str) -> None:
    """Run the kit on one adapter and keep the outcome; SystemExit if it fails."""
    folder = ADAPTERS / name
    shop = read_shop(folder / "conformance.toml")
    async with BACKENDS[name]() as options:
        report = await conformance(f"legato_adapters.{name}:create", shop, options)
    print("\n".join(table(report)))
    if not report.ok:
        raise SystemExit(f"{name} does not keep its promises; nothing was written")
    (folder / "conformance.json").write_text(as_json(report), encoding="utf-8")


def kept() -> dict[str, Any]:
    """What the last runs said, by adapter, in the order of the table."""
    files = {name: ADAPTERS / name / "conformance.json" for name in BACKENDS}
    return {name: json.loads(path.read_text("utf-8")) for name, path in files.items()}


def markdown(outcomes: Mapping[str, Any]) -> str:
    """The table: what each adapter claims, how its checks went, and what its backend loses."""
    rows = [["capability", *outcomes], ["---"] * (len(outcomes) + 1)]
    for capability in identity_service_pb2.Capability.keys():  # noqa: SIM118  an enum, no mapping
        name = capability.removeprefix("CAPABILITY_")
        if name != "UNSPECIFIED":
            rows.append([f"`{name}`", *(_claim(name, outcome) for outcome in outcomes.values())])
    for status, what in (("passed", "checks passed"), ("known", "known failures"), ("skipped", "not about it")):
        counts = [sum(c["status"] == status for c in outcome["checks"].values()) for outcome in outcomes.values()]
        rows.append([what, *map(str, counts)])
    rows.append(["fields lost", *(str(len(outcome["losses"])) for outcome in outcomes.values())])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _claim(name: str, outcome: Mapping[str, Any]) -> str:
    claim = outcome["capabilities"].get(name)
    if claim is None:
        return "–"
    if "commands" not in claim:
        return "yes"
    missing = [command for command in COMMANDS[name] if command not in claim["commands"]]
    effect: str = claim["effect_class"]
    return effect + (f", without {', '.join(f'`{command}`' for command in missing)}" if missing else "")


def with_table(readme: str, table: str) -> str:
    """The README with this table between its marks; ValueError where they are not."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("README.md has no place for the table of capabilities")
    return before + BEGIN + table + END + after


def main(arguments: list[str]) -> None:
    if arguments == ["--check"]:
        if with_table(README.read_text("utf-8"), markdown(kept())) != README.read_text("utf-8"):
            raise SystemExit("README.md is not what the adapters' conformance.json say: make capabilities")
        return
    if unknown := sorted(set(arguments) - BACKENDS.keys()):
        raise SystemExit(f"there is no adapter {unknown[0]}; there is {', '.join(BACKENDS)}")
    for name in arguments or BACKENDS:
        asyncio.run(run(name))
    README.write_text(with_table(README.read_text("utf-8"), markdown(kept())), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
