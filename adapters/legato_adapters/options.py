"""Options of an adapter, as a command line and a TOML file give them."""

import argparse
import json
import tomllib
from pathlib import Path
from typing import Any

from legato.hosting import AdapterLoadError


def option(text: str) -> tuple[str, Any]:
    """One `key=value` of the command line."""
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise argparse.ArgumentTypeError(f"an option is key=value, not {text!r}")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def config(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Options, and the tenants' own, of a file; raises AdapterLoadError for what is none. No value is quoted."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AdapterLoadError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise AdapterLoadError(f"{path}: is not TOML: {error}") from None
    if unknown := sorted(tables.keys() - {"options", "tenants"}):
        raise AdapterLoadError(f"{path}: {unknown[0]} is not a known key; there is options, tenants")
    options, tenants = tables.get("options", {}), tables.get("tenants", {})
    if not isinstance(options, dict):
        raise AdapterLoadError(f"{path}: options must be a table")
    if not isinstance(tenants, dict) or not all(isinstance(own, dict) for own in tenants.values()):
        raise AdapterLoadError(f"{path}: tenants must be a table with a table for each tenant")
    return options, tenants
