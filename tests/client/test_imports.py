"""The client stays light: importing it brings in the standard library, grpc and protobuf, and nothing else."""

import importlib.metadata
import json
import subprocess
import sys

import pytest

import legato

PROGRAM = """
import json, sys
import google.protobuf.empty_pb2, grpc, grpc.aio  # what they bring along is not ours
before = set(sys.modules)
import legato, legato.tracing
legato.tracing.command("add_line", "carts/a")
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_importing_brings_in_nothing_else() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True, timeout=30)
    imported = json.loads(ran.stdout)
    assert "legato.client" in imported
    allowed = {"legato", "grpc", *sys.stdlib_module_names}
    assert not [n for n in imported if n.split(".")[0] not in allowed and not n.startswith("google.protobuf")]


@pytest.mark.parametrize("name", legato.__all__)
def test_what_is_promised_is_there(name: str) -> None:
    assert hasattr(legato, name)


def test_every_exception_is_exported() -> None:
    kinds = [value for value in vars(legato.errors).values() if isinstance(value, type)]
    missing = {kind.__name__ for kind in kinds if issubclass(kind, legato.LegatoError)} - set(legato.__all__)
    assert not missing


def test_the_version_is_the_distributions() -> None:
    assert legato.__version__ == importlib.metadata.version("legato")
