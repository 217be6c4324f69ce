"""What a check is, and the words in which it says what is wrong.

A check is an async function of a `Subject` with a stable id, a capability and a sentence. It returns where the promise
holds, and raises `Broken` where it does not. Checks carry no state from one to the next: each makes what it needs.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import grpc.aio

if TYPE_CHECKING:
    from legato_adapters.conformance.subject import Subject

Code = grpc.StatusCode

HIDDEN = (Code.NOT_FOUND, Code.FAILED_PRECONDITION)
"""What another tenant gets who asks for something: it does not exist, or there are no credentials for this tenant."""

Run = Callable[["Subject"], Awaitable[None]]


class Broken(Exception):
    """The adapter does not do what it promises; the text says what it did instead."""


class Skipped(Exception):
    """The check cannot be made on this adapter or shop; the text says why."""


@dataclass(frozen=True)
class Check:
    """One promise of the contract."""

    id: str
    capability: str
    """Without its prefix, for example "CART"; "" for what every adapter has."""
    sentence: str
    """What is promised, in the present tense."""
    run: Run
    commands: frozenset[str] = frozenset()
    """Commands that the check needs: of the capability, or of another as "CART.add_line"."""
    effects: frozenset[str] = frozenset()
    """Effect classes, without their prefix, that it is about; none for all."""
    also: frozenset[str] = frozenset()
    """Other capabilities that it needs."""

    def __str__(self) -> str:
        return self.id


def check(
    id: str,
    capability: str,
    sentence: str,
    *,
    commands: Collection[str] = (),
    effects: Collection[str] = (),
    also: Collection[str] = (),
) -> Callable[[Run], Check]:
    """Make a check of a function."""

    def made(run: Run) -> Check:
        return Check(id, capability, sentence, run, frozenset(commands), frozenset(effects), frozenset(also))

    return made


def checks_of(module: ModuleType) -> list[Check]:
    """The checks of a module, as they stand in it, those in lists too."""
    found: list[Check] = []
    for value in vars(module).values():
        if isinstance(value, Check):
            found.append(value)
        elif isinstance(value, list):
            found += [item for item in value if isinstance(item, Check)]
    return found


def broken(what: str) -> NoReturn:
    """The promise is not kept."""
    raise Broken(what)


def expect(holds: object, otherwise: str) -> None:
    """Go on only if it holds."""
    if not holds:
        raise Broken(otherwise)


def same(what: str, got: object, wanted: object) -> None:
    """Go on only if both are equal."""
    if got != wanted:
        raise Broken(f"{what} is {shown(got)}, not {shown(wanted)}")


def one_of(what: str, got: object, wanted: Iterable[object]) -> None:
    """Go on only if it is one of these."""
    options = list(wanted)
    if got not in options:
        raise Broken(f"{what} is {shown(got)}, not {' or '.join(map(shown, options))}")


def shown(value: object) -> str:
    """A value on one line, of bounded length."""
    text = value.name if isinstance(value, grpc.StatusCode) else " ".join(repr(value).split())
    return text if len(text) <= 200 else f"{text[:200]}…"


async def code_of(call: Awaitable[Any]) -> grpc.StatusCode:
    """With which status a call ends."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return Code.OK


async def ends_with(call: Awaitable[Any], what: str, *codes: grpc.StatusCode) -> None:
    """Go on only if the call ends with one of these statuses."""
    one_of(f"the status of {what}", await code_of(call), codes)
