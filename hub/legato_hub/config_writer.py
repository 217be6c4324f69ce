"""A configuration as TOML for people."""

import json
from typing import Any

import msgspec

from legato_hub.secret import MASK, Secret, without_secrets


def write(config: msgspec.Struct) -> str:
    """Every table and key, in the order they are declared; secrets masked."""
    lines: list[str] = []
    _table(msgspec.structs.asdict(config), "", lines)
    return "\n".join(lines).strip() + "\n"


def _table(table: dict[str, Any], path: str, lines: list[str]) -> None:
    values = {key: value for key, value in table.items() if not _is_table(value, key)}
    if values:
        if path:
            lines += ["", f"[{path}]"]
        lines += [f"{key} = {_value(value)}" for key, value in values.items()]
    for key, value in table.items():
        inner = f"{path}.{key}" if path else key
        if isinstance(value, tuple) and key not in values:
            for element in value:
                lines += ["", f"[[{inner}]]"]
                lines += [f"{name} = {_value(part)}" for name, part in msgspec.structs.asdict(element).items()]
        elif key not in values:
            _table(value if isinstance(value, dict) else msgspec.structs.asdict(value), inner, lines)


def _is_table(value: Any, key: str) -> bool:
    if isinstance(value, tuple):
        return bool(value) and isinstance(value[0], msgspec.Struct)
    if isinstance(value, dict):
        # Options are free-form: they stay on one line, whatever is in them.
        return key != "options" and all(isinstance(inner, msgspec.Struct) for inner in value.values())
    return isinstance(value, msgspec.Struct)


def _value(value: Any) -> str:
    match value:
        case Secret():
            return f'"{MASK}"'
        case dict():
            return "{" + ", ".join(f"{json.dumps(key)} = {_value(inner)}" for key, inner in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(_value(inner) for inner in value) + "]"
        case str():
            return json.dumps(without_secrets(value), ensure_ascii=False)
        case bool():
            return "true" if value else "false"
    return str(value)
