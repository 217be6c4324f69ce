"""Which commands a resource has executed, kept in a custom field of its own.

64 are kept: as many as a client may have under way on a resource. Of those that had to go, the highest id stays: below
it nobody can tell any more. The text is at most 2,700 characters, sent with every read of the resource.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message

__all__ = [
    "CART",
    "COMMANDS",
    "CUSTOMER",
    "NOTE",
    "OWNER",
    "PHONE",
    "STATE",
    "STORE",
    "TENANT",
    "Marks",
    "digest",
    "fields",
    "writing",
]

COMMANDS = "legatoCommands"
CART = "legatoCart"
TENANT = "legatoTenant"
STATE = "legatoState"
STORE = "legatoStore"
OWNER = "legatoOwner"
CUSTOMER = "legatoCustomer"
NOTE = "legatoNote"
PHONE = "legatoPhone"

KEPT = 64


def digest(*messages: Message | str) -> str:
    """What tells one body from another: eight hexadecimal digits."""
    whole = hashlib.sha256()
    for message in messages:
        raw = message.encode() if isinstance(message, str) else message.SerializeToString(deterministic=True)
        whole.update(len(raw).to_bytes(4) + raw)
    return whole.hexdigest()[:8]


class Marks:
    """The marks of one resource, oldest first; read from and written as text."""

    def __init__(self, text: str = "") -> None:
        self._bodies: dict[str, str] = {}
        self._forgotten = ""
        for word in text.split():
            command, _, body = word.partition(":")
            if body:
                self._bodies[command] = body
            else:
                self._forgotten = command

    @classmethod
    def of(cls, resource: Mapping[str, Any]) -> "Marks":
        return cls(str(fields(resource).get(COMMANDS, "")))

    def body(self, command_id: str) -> str | None:
        """The digest of the body that this command had, None if it is not known to have been executed."""
        return self._bodies.get(_short(command_id))

    def may_have_forgotten(self, command_id: str) -> bool:
        return _short(command_id) <= self._forgotten

    def add(self, command_id: str, body: str) -> "Marks":
        self._bodies[_short(command_id)] = body
        while len(self._bodies) > KEPT:
            gone = next(iter(self._bodies))
            del self._bodies[gone]
            self._forgotten = max(self._forgotten, gone)
        return self

    def __str__(self) -> str:
        words = [f"{command}:{body}" for command, body in self._bodies.items()]
        return " ".join([self._forgotten, *words] if self._forgotten else words)


def _short(command_id: str) -> str:
    return command_id.replace("-", "")


def fields(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    """The custom fields of a resource."""
    custom = resource.get("custom")
    found = custom.get("fields") if isinstance(custom, dict) else None
    return found if isinstance(found, dict) else {}


def writing(resource: Mapping[str, Any], type_key: str, values: Mapping[str, str]) -> list[dict[str, Any]]:
    """The update actions that write custom fields; an empty value removes one."""
    if resource.get("custom") is None:
        kept = {name: value for name, value in values.items() if value}
        return [{"action": "setCustomType", "type": {"typeId": "type", "key": type_key}, "fields": kept}]
    present = fields(resource)
    return [
        {"action": "setCustomField", "name": name, "value": value or None}
        for name, value in values.items()
        if value or name in present
    ]
