"""`legato conformance TARGET`: try an adapter, say what is right, what is wrong and what is lost.

Exit status: 0 all that is claimed holds, 1 something does not, 2 it could not be tried.
"""

import argparse
import asyncio
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from legato.hosting import AdapterLoadError
from legato_adapters.conformance.network import SCHEME
from legato_adapters.conformance.report import as_json, table
from legato_adapters.conformance.runner import NotReached, conformance
from legato_adapters.conformance.shop import ShopError, read_shop
from legato_adapters.conformance.suite import SUITE
from legato_adapters.options import config, option

USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="legato conformance", description="Try an adapter against its contract.")
    parser.add_argument("target", metavar="TARGET", help="module:factory, or grpc://host:port", nargs="?")
    parser.add_argument(
        "--shop",
        type=Path,
        metavar="FILE",
        help="what the shop behind it has; without it, the conformance.toml beside the module",
    )
    parser.add_argument("--options", type=Path, metavar="FILE", help="TOML with [options] and [tenants.NAME]")
    parser.add_argument("--set", type=option, action="append", default=[], metavar="KEY=VALUE", help="one option")
    parser.add_argument("--only", metavar="PREFIX", default="", help="only checks whose id begins so")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcome for programs, too")
    parser.add_argument("--list", action="store_true", help="list the checks and leave")
    given = parser.parse_args(arguments)
    checks = [check for check in SUITE if check.id.startswith(given.only)]
    if given.list:
        for check in checks:
            print(f"{check.id:32} {check.sentence}")
        return 0
    if not given.target:
        parser.error("TARGET is missing: module:factory, or grpc://host:port")
    if not checks:
        parser.error(f"no check begins with {given.only!r}")
    try:
        shop = read_shop(given.shop or shop_beside(given.target))
        options, tenants = config(given.options) if given.options else ({}, {})
        if given.target.startswith(SCHEME) and (options or tenants or given.set):
            raise AdapterLoadError("an adapter at an address has its options already")
        report = asyncio.run(conformance(given.target, shop, options | dict(given.set), tenants, checks))
    except (AdapterLoadError, NotReached, ShopError) as error:
        print(f"legato conformance: {error}", file=sys.stderr)
        return USAGE
    for line in table(report):
        print(line)
    if given.json:
        given.json.write_text(as_json(report), encoding="utf-8")
    return 0 if report.ok else 1


def shop_beside(target: str) -> Path:
    """The shop file that lies beside the module of "module:factory". Raises ShopError."""
    module = target.partition(":")[0]
    try:
        spec = None if target.startswith(SCHEME) else importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        raise ShopError("--shop FILE must say what the shop behind the adapter has")
    path = Path(spec.origin).parent / "conformance.toml"
    if not path.is_file():
        raise ShopError(f"there is no conformance.toml beside {module}; --shop FILE says where it is")
    return path


if __name__ == "__main__":
    sys.exit(main())
