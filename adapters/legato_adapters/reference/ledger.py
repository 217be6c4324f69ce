"""Commands of the services beside carts: each has its effect once, however often and through whichever hub it comes.

The outcome is remembered in the transaction that has the effect, by tenant, service and command id, and never deleted.
Every function here runs on the database's thread.
"""

import hashlib
import sqlite3
import time
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from google.protobuf.message import Message

from legato.adapter.v1 import cart_service_pb2
from legato_adapters.reference.shared import CommandIdReused, DeadlinePassed

_Response = TypeVar("_Response", bound=Message)


class Refused(Exception):
    """The backend says no, for a reason of business. What was done before it said so stays, as a declined payment."""

    def __init__(self, rejection: Message, entity_id: str = "") -> None:
        super().__init__()
        self.rejection = rejection
        self.entity_id = entity_id


class Outcome(NamedTuple):
    """What became of a command: the entity that it made or changed, a part of it, or a serialised rejection."""

    entity_id: str
    part_id: str = ""
    rejection: bytes | None = None


class Ledger(Generic[_Response]):
    """The commands of one service.

    `execute` has a command's effect, or raises Refused, or an error of `shared` before it had any. `answer` makes the
    response of an outcome, with the entity as it is now. `meaning` is what of a request must not differ in a repeat.
    """

    def __init__(
        self,
        service: str,
        execute: Callable[[sqlite3.Connection, Any], Outcome],
        answer: Callable[[sqlite3.Connection, str, Outcome], _Response],
        meaning: Callable[[Any], bytes] = lambda request: request.command.SerializeToString(deterministic=True),
    ) -> None:
        self._service = service
        self._execute = execute
        self._answer = answer
        self._meaning = meaning

    def apply(self, connection: sqlite3.Connection, request: Any, deadline: float | None) -> _Response:
        """Execute a command once. `deadline` is on the monotonic clock.

        Raises, all without any effect: NotFound, CommandIdReused, VersionMismatch, DeadlinePassed, Malformed.
        """
        if deadline is not None and time.monotonic() >= deadline:
            raise DeadlinePassed("the deadline passed before the command began")
        tenant = request.context.tenant
        body_hash = self._hash(request)
        if (known := self._recall(connection, request)) is not None:
            if known[0] != body_hash:
                raise CommandIdReused("the command id came before with another body")
            return self._answer(connection, tenant, known[1])
        try:
            outcome = self._execute(connection, request)
        except Refused as refused:
            outcome = Outcome(refused.entity_id, rejection=refused.rejection.SerializeToString())
        connection.execute(
            "INSERT INTO effects (tenant, service, command_id, body_hash, entity_id, part_id, rejection)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (tenant, self._service, request.command_id, body_hash, *outcome),
        )
        return self._answer(connection, tenant, outcome)

    def resolve(
        self, connection: sqlite3.Connection, call: Any
    ) -> tuple["cart_service_pb2.Resolution.ValueType", _Response | None]:
        """Whether the command was executed. The table knows, so the answer is never UNKNOWN."""
        known = self._recall(connection, call)
        if known is None or known[0] != self._hash(call):
            return cart_service_pb2.RESOLUTION_NOT_APPLIED, None
        return cart_service_pb2.RESOLUTION_APPLIED, self._answer(connection, call.context.tenant, known[1])

    def _hash(self, request: Any) -> bytes:
        return hashlib.sha256(self._meaning(request)).digest()

    def _recall(self, connection: sqlite3.Connection, request: Any) -> tuple[bytes, Outcome] | None:
        row = connection.execute(
            "SELECT body_hash, entity_id, part_id, rejection FROM effects"
            " WHERE tenant = ? AND service = ? AND command_id = ?",
            (request.context.tenant, self._service, request.command_id),
        ).fetchone()
        return None if row is None else (row[0], Outcome(*row[1:]))
