"""From TOML and the environment to typed tables, with errors that name source, key and the nearest known key.

Overrides: `LEGATO_SECTION__KEY=value`. The name after LEGATO_ is split at double underscores and lower-cased; each
part is a key or the name of a tenant, store or backend (`LEGATO_BACKENDS__VENDURE__TIMEOUT_MS=8000`). A name without
a double underscore is no override. Where a text or a secret belongs, the value is taken as it is; everything else
(numbers, true and false, lists, tables) is read as a TOML value. In a backend's options, whose types are open, what
reads as a TOML value is that, and the rest is text. Elements of lists cannot be named; the list is set as a whole.

Errors never quote a value: it may be a secret.
"""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec

from legato_hub.secret import Secret, hidden

PREFIX = "LEGATO_"
SEPARATOR = "__"

_T = TypeVar("_T", bound=msgspec.Struct)
_PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Secret: "text", NoneType: ""}


class ConfigError(Exception):
    """The configuration cannot be used: `source` is a file or variable, `path` the key, `problem` what is wrong."""

    def __init__(self, source: str, path: str, problem: str) -> None:
        super().__init__(": ".join(part for part in (source, f"{path} {problem}".strip()) if part))
        self.source = source
        self.path = path
        self.problem = problem


def parse_file(path: Path) -> dict[str, Any]:
    """The file's tables. Raise ConfigError if it cannot be read or is not TOML."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(str(path), "", f"cannot be read: {error.strerror}") from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise ConfigError(str(path), "", f"is not TOML: {error}") from None


class Reader:
    """Turns raw tables into structs, remembering which variable set what."""

    def __init__(self, source: str, data: dict[str, Any]) -> None:
        self._source = source
        self._data = data
        self._variables: dict[str, str] = {}

    def error(self, path: str, problem: str) -> ConfigError:
        """An error at a path, whose source is the variable that set it, if one did."""
        for prefix, variable in self._variables.items():
            if path == prefix or path.startswith((f"{prefix}.", f"{prefix}[")):
                return _blame(variable, path, problem)
        return ConfigError(self._source, path, problem)

    def override(self, root: type[msgspec.Struct], environ: Mapping[str, str]) -> None:
        """Put what the environment says into the raw tables."""
        for variable in sorted(environ):
            if variable.startswith(PREFIX) and SEPARATOR in variable:
                parts = variable.removeprefix(PREFIX).lower().split(SEPARATOR)
                self._variables[".".join(parts)] = variable
                self._put(root, parts, environ[variable], variable)

    def _put(self, root: type[msgspec.Struct], parts: list[str], text: str, variable: str) -> None:
        kind: Any = root
        table: Any = self._data
        for depth, part in enumerate(parts):
            path = ".".join(parts[: depth + 1])
            bare = _bare(kind)
            if not isinstance(table, dict):
                raise _blame(variable, ".".join(parts[:depth]), "is not a table")
            if bare is Any:
                kind = Any
            elif get_origin(bare) is dict:
                kind = get_args(bare)[1]
            elif _is_struct(bare):
                fields = {field.name: field.type for field in msgspec.structs.fields(bare)}
                if part not in fields:
                    raise _blame(variable, path, _unknown(part, fields))
                kind = fields[part]
            else:
                raise _blame(variable, ".".join(parts[:depth]), "is not a table")
            if depth == len(parts) - 1:
                table[part] = _from_text(kind, text, variable, path)
            else:
                table = table.setdefault(part, {})

    def read(self, root: type[_T]) -> _T:
        """The whole as a struct."""
        result: _T = self._read(root, self._data, "", "")
        return result

    def _read(self, kind: Any, value: Any, path: str, name: str) -> Any:
        bare = _bare(kind)
        if bare is Any:
            return hidden(value, name)
        if _is_struct(bare):
            return self._read_struct(bare, value, path)
        if get_origin(bare) is dict:
            key_kind, inner_kind = get_args(bare)
            table = self._table(kind, value, path)
            for key in table:
                self._leaf(key_kind, key, _join(path, key), "has a name that must be")
            return {key: self._read(inner_kind, inner, _join(path, key), key) for key, inner in table.items()}
        if get_origin(bare) is tuple and _is_struct(get_args(bare)[0]):
            if not isinstance(value, list):
                raise self.error(path, "must be an array of tables")
            return tuple(self._read(get_args(bare)[0], v, f"{path}[{i}]", "") for i, v in enumerate(value))
        return self._leaf(kind, value, path, "must be")

    def _read_struct(self, kind: type[msgspec.Struct], value: Any, path: str) -> Any:
        table = self._table(kind, value, path)
        fields = {field.name: field for field in msgspec.structs.fields(kind)}
        for key in table:
            if key not in fields:
                raise self.error(_join(path, key), _unknown(key, fields))
        for name, field in fields.items():
            if field.required and name not in table:
                raise self.error(_join(path, name), "is required")
        return kind(**{k: self._read(fields[k].type, v, _join(path, k), k) for k, v in table.items()})

    def _table(self, kind: Any, value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.error(path, "must be a table")
        if not value and _meta(kind) and _meta(kind).min_length:
            raise self.error(path, f"must be {_description(kind)}")
        return value

    def _leaf(self, kind: Any, value: Any, path: str, must_be: str) -> Any:
        bare = _bare(kind)
        if get_origin(bare) is Literal and value not in get_args(bare):
            hint = _nearest(value, get_args(bare)) if isinstance(value, str) else ""
            raise self.error(path, f"{must_be} {_description(kind)}{hint}")
        if bare is Secret:
            return Secret(self._leaf(str, value, path, must_be))
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError:
            raise self.error(path, f"{must_be} {_description(kind)}") from None


def _blame(variable: str, path: str, problem: str) -> ConfigError:
    return ConfigError(f"environment variable {variable}", path, problem)


def _from_text(kind: Any, text: str, variable: str, path: str) -> Any:
    bare = _bare(kind)
    if bare in (str, Secret) or get_origin(bare) is Literal:
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        if bare is Any:
            return text
        raise _blame(variable, path, f"must be {_description(kind)}, written as in TOML") from None


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _meta(kind: Any) -> Any:
    return get_args(kind)[1] if get_origin(kind) is Annotated else None


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _description(kind: Any) -> str:
    meta = _meta(kind)
    if meta is not None and meta.description:
        return str(meta.description)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(get_args(kind))
    return _PLAIN.get(kind, "a table")


def _unknown(key: str, known: Iterable[str]) -> str:
    known = list(known)
    return "is not a known key" + (_nearest(key, known) or f"; there is {', '.join(known)}")


def _nearest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""
