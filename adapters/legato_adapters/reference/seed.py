"""Fill an empty shop with the built-in one."""

import json
import sqlite3
import tomllib
from datetime import datetime
from importlib import resources


def seed(connection: sqlite3.Connection) -> None:
    """Write the entries of `seed_data.toml`; a shop that has any entry stays as it is."""
    if connection.execute("SELECT 1 FROM shop LIMIT 1").fetchone() is not None:
        return
    text = (resources.files("legato_adapters.reference") / "seed_data.toml").read_text(encoding="utf-8")
    rows = [
        (kind, position, json.dumps(entry, ensure_ascii=False, default=datetime.isoformat))
        for kind, entries in tomllib.loads(text).items()
        for position, entry in enumerate(entries)
    ]
    connection.executemany("INSERT INTO shop (kind, position, body) VALUES (?, ?, ?)", rows)
