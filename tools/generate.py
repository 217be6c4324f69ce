"""Generate the Python code of `protos/` into `clients/python`; with `--check`, only compare.

The generated files live beside hand-written ones, so neither buf's `clean` nor a plain `diff -r` can tell
which file no proto describes any more. Here the suffix tells, and the generated packages' empty `__init__.py`
is written too: a folder without it would be a namespace package inside a real one.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path("clients/python")
SUFFIXES = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")


def regenerate() -> dict[Path, bytes]:
    """What buf makes of `protos/` now, by path below `TARGET`."""
    # buf and its plugins are installed beside this interpreter.
    search_path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with tempfile.TemporaryDirectory() as folder:
        command = ["buf", "generate", "--output", folder]
        subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": search_path}, check=True)
        out = Path(folder) / TARGET
        files = {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for path in list(files):
        if path.name.endswith("_pb2_grpc.pyi") and path.with_suffix(".py") not in files:
            # mypy-protobuf writes an empty stub for a file without services: there is nothing to import.
            del files[path]
            continue
        # The outermost package is hand-written, and so is its __init__.py.
        for package in path.parents[:-2]:
            files[package / "__init__.py"] = b""
    return files


def committed(expected: dict[Path, bytes]) -> dict[Path, bytes]:
    """What lies in `TARGET` under a generated name or an expected path."""
    root = ROOT / TARGET
    found = {p.relative_to(root) for p in root.rglob("*") if p.name.endswith(SUFFIXES)}
    return {p: (root / p).read_bytes() for p in found | expected.keys() if (root / p).is_file()}


def main(arguments: list[str]) -> str | None:
    """Return the message of a failed check, else nothing."""
    expected = regenerate()
    actual = committed(expected)
    differing = sorted(p for p in expected.keys() | actual.keys() if expected.get(p) != actual.get(p))
    if arguments == ["--check"]:
        if not differing:
            return None
        listed = "".join(f"\n  {TARGET / path}" for path in differing)
        return f"generated code is not what protos/ describes; run `make generate`:{listed}"
    if arguments:
        return f"usage: {sys.argv[0]} [--check]"
    for path in differing:
        target = ROOT / TARGET / path
        if path in expected:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(expected[path])
        else:
            target.unlink()
        print(TARGET / path)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
