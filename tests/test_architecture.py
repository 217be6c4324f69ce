"""Who may import whom: the borders that the design draws, read off the syntax trees of the real files."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (ROOT / "clients/python", ROOT / "hub", ROOT / "adapters", ROOT / "demo")

# The only places where the light client may reach beyond grpcio and protobuf. The import must stand inside a
# function (or under TYPE_CHECKING), so that the client works where the library is not installed.
LAZY_IMPORTS = {"legato.tracing": ("opentelemetry",)}

CLIENT_MAY_IMPORT = ("legato", "grpc", "google.protobuf", *sys.stdlib_module_names)

# Whoever writes an adapter, perhaps in another language, has the client and the kit, and neither a hub nor pytest.
KIT_MAY_IMPORT = (*CLIENT_MAY_IMPORT, "legato_adapters.conformance", "legato_adapters.options")

CORE_MAY_NOT_IMPORT = (
    *("grpc", "legato_adapters", "opentelemetry", "aiohttp", "uvloop"),
    *("asyncio", "concurrent", "multiprocessing", "queue", "sched", "signal", "threading"),
    *("time", "random", "secrets"),
    *("http", "logging", "os", "select", "selectors", "shutil", "socket", "sqlite3", "ssl", "subprocess"),
    *("tempfile", "urllib"),
)
# Clocks, randomness and I/O that hide in modules which are otherwise pure.
CORE_MAY_NOT_CALL = (
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today"),
    *("uuid.uuid1", "uuid.uuid4", "uuid1", "uuid4", "open", "print", "input"),
)


def within(name: str, packages: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of the packages or lies in one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def dotted(node: ast.expr) -> str:
    """`a.b.c` of an attribute chain, else the last part that has a name."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            return f"{dotted(value)}.{name}".lstrip(".")
    return ""


def imports(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[tuple[str, ast.AST]]:
    """The full dotted name of everything imported, by statement or by `import_module("a literal")`."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((alias.name, node) for alias in names)
            case ast.ImportFrom(module=source, names=names, level=level):
                base = package[: len(package) - level + 1] if level else []
                prefix = ".".join([*base, *([source] if source else [])])
                yield from ((f"{prefix}.{alias.name}", node) for alias in names)
            case ast.Call(func=func, args=[ast.Constant(value=str(name)), *_]):
                if dotted(func) in ("importlib.import_module", "import_module", "__import__"):
                    yield name, node


def eager_nodes(tree: ast.Module) -> set[ast.AST]:
    """The nodes that run when the module is imported: not in a function, not under TYPE_CHECKING."""
    found: set[ast.AST] = set()
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        found.add(node)
        if isinstance(node, ast.If) and dotted(node.test).endswith("TYPE_CHECKING"):
            pending.extend(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            pending.extend(ast.iter_child_nodes(node))
    return found


def violations(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """One line for each border that this module crosses."""
    tree = ast.parse(source)
    top = module.split(".")[0]
    core = within(module, ("legato_hub.core",))
    eager = eager_nodes(tree)
    found = []
    for name, node in imports(tree, module, is_package=is_package):
        lazy = within(name, LAZY_IMPORTS.get(module, ()))
        if (
            (top == "legato" and not lazy and not within(name, CLIENT_MAY_IMPORT))
            or (lazy and node in eager)
            or (top == "legato_hub" and within(name, ("legato_adapters",)))
            or (top == "legato_adapters" and within(name, ("legato_hub",)))
            or (within(module, ("legato_adapters.conformance",)) and not within(name, KIT_MAY_IMPORT))
            or (core and within(name, CORE_MAY_NOT_IMPORT))
            or (core and within(name, ("legato_hub",)) and not within(name, ("legato_hub.core",)))
            or (core and any(part.endswith("_pb2_grpc") for part in name.split(".")))
        ):
            found.append(f"{module}:{getattr(node, 'lineno', 0)} imports {name}")
    if core:
        for node in ast.walk(tree):
            name = dotted(node.func) if isinstance(node, ast.Call) else ""
            if name in CORE_MAY_NOT_CALL or name.removeprefix("datetime.") in CORE_MAY_NOT_CALL:
                found.append(f"{module}:{getattr(node, 'lineno', 0)} calls {name}")
    return found


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the distribution under its import name; generated ones too, they obey as well."""
    for root in SOURCES:
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def test_no_module_crosses_a_border() -> None:
    checked = dict(modules())
    assert {"legato", "legato_hub", "legato_adapters"} <= checked.keys()
    found = [
        line
        for module, path in checked.items()
        for line in violations(path.read_text("utf-8"), module, is_package=path.name == "__init__.py")
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("legato_hub.pipeline", "import legato_adapters.reference"),
        ("legato_hub.pipeline", "from legato_adapters import reference"),
        ("legato_hub.pipeline", "def f():\n    import legato_adapters"),
        ("legato_hub.pipeline", "importlib.import_module('legato_adapters.reference')"),
        ("legato_adapters.vendure.adapter", "from legato_hub.core import cart"),
        ("legato_adapters.conformance.runner", "import pytest"),
        ("legato_adapters.conformance.runner", "from legato_adapters import reference"),
        ("legato_adapters.conformance.checks.carts", "import aiohttp"),
        ("legato.client", "import legato_hub"),
        ("legato.client", "from legato_adapters import reference"),
        ("legato.client", "import aiohttp"),
        ("legato.client", "from google.rpc import status_pb2"),
        ("legato.client", "import google.cloud"),
        ("legato.client", "def f():\n    import opentelemetry.trace"),
        ("legato.tracing", "import opentelemetry.trace"),
        ("legato.tracing", "try:\n    from opentelemetry import trace\nexcept ImportError:\n    pass"),
        ("legato.tracing", "class A:\n    import opentelemetry"),
        ("legato_hub.core.cart", "import grpc.aio"),
        ("legato_hub.core.cart", "from asyncio import Queue"),
        ("legato_hub.core.cart", "import time"),
        ("legato_hub.core.cart", "from random import random"),
        ("legato_hub.core.cart", "import logging.handlers"),
        ("legato_hub.core.cart", "from os import path"),
        ("legato_hub.core.cart", "from legato_hub.storage import base"),
        ("legato_hub.core.cart", "from ..storage import base"),
        ("legato_hub.core.cart", "from legato_hub import storage"),
        ("legato_hub.core.cart", "from .. import storage"),
        ("legato_hub.core.cart", "from legato.orchestrator.v1 import orchestrator_service_pb2_grpc"),
        ("legato_hub.core.cart", "now = datetime.now(UTC)"),
        ("legato_hub.core.cart", "now = datetime.datetime.now(UTC)"),
        ("legato_hub.core.cart", "id = uuid.uuid4()"),
        ("legato_hub.core.cart", "print('x')"),
    ],
)
def test_a_crossed_border_is_reported(module: str, source: str) -> None:
    assert len(violations(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "legato_hub.pipeline",
            "import grpc, asyncio, time, legato.client\nfrom legato_hub.storage import base",
        ),
        ("legato_hub.placement", "factory = 'legato_adapters.reference:create'"),
        ("legato_hubs.cart", "import legato_adapters"),
        ("legato_adapters.vendure.adapter", "import aiohttp\nfrom legato.commerce.v1 import cart_pb2"),
        ("legato_adapters.conformance.runner", "import asyncio, grpc\nfrom legato_adapters.options import config"),
        (
            "legato.client",
            "import asyncio, sqlite3\nfrom google.protobuf import message\nfrom . import errors",
        ),
        ("legato.tracing", "def f():\n    from opentelemetry import trace"),
        ("legato.tracing", "if TYPE_CHECKING:\n    from opentelemetry import trace"),
        ("legato_hub.core.cart", "from legato_hub.core import session\nfrom . import digest\nimport hashlib"),
        (
            "legato_hub.core.cart",
            "from legato.commerce.v1 import cart_pb2\nfrom datetime import datetime, UTC",
        ),
        ("legato_hub.core.cart", "clock = event.now()\nlater = datetime.fromtimestamp(seconds, UTC)"),
    ],
)
def test_what_is_allowed_is_not_reported(module: str, source: str) -> None:
    assert violations(source, module) == []


def test_relative_imports_of_a_package_start_at_itself() -> None:
    assert violations("from . import digest", "legato_hub.core", is_package=True) == []
    assert violations("from .. import storage", "legato_hub.core", is_package=True) == [
        "legato_hub.core:1 imports legato_hub.storage"
    ]
