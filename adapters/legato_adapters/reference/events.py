"""Changes that this backend reports by itself: kept in a table for a while, or told by a signed webhook.

What a cart's own commands do is not reported, save that it was ordered: nobody else changes carts here.
"""

import hashlib
import hmac
import json
import re
import sqlite3
import time
from collections.abc import Mapping

from google.protobuf import json_format

from legato.adapter.v1 import event_service_pb2
from legato_adapters.reference.shared import CursorTooOld, Malformed

KEPT = 10_000
"""So many changes are remembered, of all tenants together."""
SIGNATURE = "legato-signature"
TOLERANCE_S = 300
"""A webhook is believed for so long after it was signed: whoever recorded it cannot send it again tomorrow."""

_CURSOR = re.compile(r"[0-9]{1,18}")
_SIGNED = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")

_Entity = event_service_pb2.ChangedEntity


class BadSignature(Exception):
    """The webhook is not from this backend, or too old."""


def record(
    connection: sqlite3.Connection, tenant: str, entity: "_Entity.ValueType", entity_id: str, native_type: str
) -> None:
    """Note that something is other than it was; it is reported when the transaction is on the disk."""
    cursor = connection.execute(
        "INSERT INTO changes (tenant, entity, entity_id, native_type, occurred_ms) VALUES (?, ?, ?, ?, ?)",
        (tenant, entity, entity_id, native_type, time.time_ns() // 1_000_000),
    )
    connection.execute("DELETE FROM changes WHERE id <= ?", ((cursor.lastrowid or 0) - KEPT,))


def list_changes(
    connection: sqlite3.Connection, tenant: str, cursor: str, limit: int
) -> event_service_pb2.ListChangesResponse:
    """What changed after the cursor; raises Malformed or CursorTooOld."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'changes'").fetchone()
    newest = 0 if row is None else row[0]
    if not cursor:
        return event_service_pb2.ListChangesResponse(cursor=str(newest))
    if not _CURSOR.fullmatch(cursor) or int(cursor) > newest:
        raise Malformed("the cursor is not of this backend")
    if int(cursor) < newest - KEPT:
        raise CursorTooOld("what came after the cursor is forgotten")
    rows = connection.execute(
        "SELECT id, entity, entity_id, native_type, occurred_ms FROM changes"
        " WHERE id > ? AND tenant = ? ORDER BY id LIMIT ?",
        (int(cursor), tenant, limit + 1),
    ).fetchall()
    response = event_service_pb2.ListChangesResponse(more=len(rows) > limit)
    for number, entity, entity_id, native_type, occurred_ms in rows[:limit]:
        change = response.changes.add(id=str(number), entity=entity, entity_id=entity_id, native_type=native_type)
        change.occurred_at.FromMilliseconds(occurred_ms)
    response.cursor = response.changes[-1].id if response.more else str(newest)
    return response


def sign(secret: str, body: bytes, at: int) -> str:
    """The value of the signature's header: over the second of sending and the body."""
    return f"t={at},v1={_digest(secret, body, at)}"


def signed_headers(secret: str, body: bytes, at: int) -> dict[str, str]:
    """The headers of a webhook, as the conformance kit asks for them."""
    return {SIGNATURE: sign(secret, body, at)}


def parse_webhook(secret: str, headers: Mapping[str, str], body: bytes) -> event_service_pb2.ParseWebhookResponse:
    """The changes in a webhook, whose body is the response as JSON; raises BadSignature or Malformed."""
    signed = _SIGNED.fullmatch(headers.get(SIGNATURE, ""))
    if signed is None or not hmac.compare_digest(signed[2], _digest(secret, body, int(signed[1]))):
        raise BadSignature("the signature is missing or wrong")
    if abs(time.time() - int(signed[1])) > TOLERANCE_S:
        raise BadSignature("the signature is too old")
    response = event_service_pb2.ParseWebhookResponse()
    try:
        document = json.loads(body)
        if not isinstance(document, dict):
            raise ValueError("no object")
        json_format.ParseDict(document, response, ignore_unknown_fields=True)
    except (ValueError, RecursionError, json_format.ParseError) as error:
        raise Malformed("the body is not what this backend sends") from error
    return response


def _digest(secret: str, body: bytes, at: int) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
