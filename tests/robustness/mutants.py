"""Hubs that break one promise each: what the suite must catch, under that promise's name, with a seed that passes else.

A mutant is applied in the hub's process, before it serves, by `launch`. It replaces methods on their classes, so it
must not depend on when a module is loaded.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Mutant:
    """`apply` breaks the hub; `promise` is whose violation it must show as, in the run that the rest names."""

    apply: Callable[[], None]
    promise: str
    fault: str
    variant: str = ""
    engine: str = "sqlite"
    effect_class: str = "MARKED"
    seed: int = 1


def _dedupe_off() -> None:
    """The storage never recognises a command that it has executed."""
    from legato_hub.storage import base
    from legato_hub.storage.sqlite import SQLiteStorage

    begin = SQLiteStorage.begin

    async def forgetful(self: SQLiteStorage, claim: base.Claim) -> base.Begun:
        begun = await begin(self, claim)
        return base.Fresh(0) if isinstance(begun, base.Repeated) else begun

    SQLiteStorage.begin = forgetful  # type: ignore[method-assign]  # that is what a mutant does


def _digest_skips_a_line() -> None:
    """The digest leaves the first line of a cart out."""
    from legato.protocol import state

    digest = state.digest

    def short(entries: state.Entries) -> bytes:
        lines = sorted(key for key in entries if key.startswith("line/"))
        return digest({key: value for key, value in entries.items() if key not in lines[:1]})

    patched: Any = state
    patched.digest = short


MUTANTS: Mapping[str, Mutant] = {
    "dedupe-off": Mutant(_dedupe_off, "exactly-once", "kill", "write.after_commit", effect_class="NONE"),
    "digest-skips-a-field": Mutant(_digest_skips_a_line, "no-torn-state", "kill", "write.after_begin"),
}
