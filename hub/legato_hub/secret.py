"""Values that must not be shown."""

import hmac
import re
from typing import Any

MASK = "********"

_NAME = re.compile(r"(secret|password|passphrase|token|key|credentials?)$", re.IGNORECASE)


_IN_URL = re.compile(r"(?<=://)[^\s]*@|(?<=[?&])([^=&#\s]*(?:secret|password|token|key)=)[^&#\s]*", re.IGNORECASE)


class Secret:
    """A text that shows as ******** wherever it is printed, formatted, logged or compared in a test's output."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not written anywhere")


def hidden(value: Any, name: str = "") -> Any:
    """A free-form value with the texts whose key's name says that they are secret wrapped."""
    match value:
        case str() if _NAME.search(name):
            return Secret(value)
        case dict():
            return {key: hidden(inner, key) for key, inner in value.items()}
        case list():
            return [hidden(inner, name) for inner in value]
    return value


def revealed(value: Any) -> Any:
    """The inverse of `hidden`."""
    match value:
        case Secret():
            return value.reveal()
        case dict():
            return {key: revealed(inner) for key, inner in value.items()}
        case list():
            return [revealed(inner) for inner in value]
    return value


def without_secrets(text: str) -> str:
    """A text whose URLs show neither who signs in there nor with what."""
    return _IN_URL.sub(lambda found: f"{found[1]}{MASK}" if found[1] else f"{MASK}@", text)
