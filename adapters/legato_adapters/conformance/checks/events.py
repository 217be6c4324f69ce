"""CHANGES, WEBHOOKS: what a backend reports by itself."""

import asyncio
import importlib
import time
from collections.abc import Awaitable, Callable, Mapping

from legato.adapter.v1 import event_service_pb2
from legato_adapters.conformance.cases import customer, held, ordered
from legato_adapters.conformance.check import Code, Skipped, broken, check, ends_with, expect, same
from legato_adapters.conformance.shop import told
from legato_adapters.conformance.subject import Subject

Entity = event_service_pb2.ChangedEntity

LATEST_S = 20.0
"""So late a backend may report a change: reports are made behind the scenes."""


async def _new_cart(subject: Subject) -> str:
    user = await subject.shopper()
    await user.add(subject.shop.goods.sku, 1)
    return user.cart_id


async def _new_order(subject: Subject) -> str:
    return (await ordered(subject)).id


async def _new_payment(subject: Subject) -> str:
    return (await held(subject)).id


async def _new_customer(subject: Subject) -> str:
    return (await customer(subject)).id


async def _less_stock(subject: Subject) -> str:
    await ordered(subject)
    return subject.shop.goods.abundant_sku


_PROVOKE: Mapping[str, Callable[[Subject], Awaitable[str]]] = {
    "CART": _new_cart,
    "ORDER": _new_order,
    "PAYMENT": _new_payment,
    "CUSTOMER": _new_customer,
    "AVAILABILITY": _less_stock,
}
"""How the kit makes something change, and the id that is then reported. Products and content it cannot change."""


async def changes(subject: Subject, cursor: str = "", limit: int = 1000) -> event_service_pb2.ListChangesResponse:
    request = event_service_pb2.ListChangesRequest(context=subject.context, cursor=cursor, limit=limit)
    return await subject.stubs.event.ListChanges(request)


async def changes_until(subject: Subject, cursor: str, kind: str, entity_id: str) -> list[event_service_pb2.Change]:
    """The changes after a cursor, when what is awaited is among them."""
    wanted = (Entity.Value(f"CHANGED_ENTITY_{kind}"), entity_id)
    pause, waited = 0.02, 0.0
    while True:
        found: list[event_service_pb2.Change] = []
        at, more = cursor, True
        while more:
            answer = await changes(subject, at)
            found += answer.changes
            at, more = answer.cursor, answer.more
        if any((change.entity, change.entity_id) == wanted for change in found):
            return found
        if waited > LATEST_S:
            broken(f"the change of {kind} {entity_id} was not reported within {LATEST_S:.0f} s")
        await asyncio.sleep(pause)
        waited += pause
        pause = min(2 * pause, 1.0)


@check(
    "changes.reported",
    "CHANGES",
    "what changed after a cursor is reported, each with an id of its own, and again when asked again",
)
async def reported(subject: Subject) -> None:
    kinds = [kind for kind in subject.shop.changes.reports if kind in _PROVOKE]
    if not kinds:
        raise Skipped("the kit cannot change anything whose changes are reported")
    for kind in kinds:
        start = await changes(subject)
        same("the number of changes where no cursor is given", len(start.changes), 0)
        expect(start.cursor, "where no cursor is given there is none in the answer")
        entity_id = await _PROVOKE[kind](subject)
        found = await changes_until(subject, start.cursor, kind, entity_id)
        ids = [change.id for change in found]
        expect(all(ids), "a change has no id")
        same("the number of ids", len(set(ids)), len(ids))
        expect(all(change.HasField("occurred_at") for change in found), "a change does not say when it was")
        again = [change.id for change in (await changes(subject, start.cursor)).changes]
        same("the changes when asked again", again[: len(ids)], ids[: len(again)])


@check("changes.pages", "CHANGES", "changes come in bounded portions, none twice and none left out")
async def pages(subject: Subject) -> None:
    kinds = [kind for kind in subject.shop.changes.reports if kind in _PROVOKE]
    if not kinds:
        raise Skipped("the kit cannot change anything whose changes are reported")
    start = (await changes(subject)).cursor
    entity_ids = [await _PROVOKE[kinds[0]](subject) for _ in range(3)]
    for entity_id in entity_ids[:-1]:
        await changes_until(subject, start, kinds[0], entity_id)
    whole = await changes_until(subject, start, kinds[0], entity_ids[-1])
    seen: list[str] = []
    cursor, more = start, True
    while more and len(seen) < 10_000:
        answer = await changes(subject, cursor, 1)
        expect(len(answer.changes) <= 1, "more changes came than were asked for")
        expect(answer.cursor, "an answer has no cursor")
        seen += [change.id for change in answer.changes]
        cursor, more = answer.cursor, answer.more
    ids = [change.id for change in whole]
    same("the changes one by one", seen[: len(ids)], ids)


@check("changes.bounds", "CHANGES", "a limit out of range and a cursor that is none are INVALID_ARGUMENT")
async def bounds(subject: Subject) -> None:
    for limit in (0, -1, 1001):
        await ends_with(changes(subject, limit=limit), f"limit {limit}", Code.INVALID_ARGUMENT)
    await ends_with(changes(subject, "nonsense"), "a cursor that is none", Code.INVALID_ARGUMENT)


@check("changes.tenants", "CHANGES", "another tenant's changes are not told")
async def tenants(subject: Subject) -> None:
    kinds = [kind for kind in ("CUSTOMER", "PAYMENT", "ORDER") if kind in subject.shop.changes.reports]
    stranger = subject.stranger()
    if not kinds:
        raise Skipped("the kit cannot change anything whose changes are reported")
    mine, theirs = (await changes(subject)).cursor, (await changes(stranger)).cursor
    entity_id = await _PROVOKE[kinds[0]](subject)
    await changes_until(subject, mine, kinds[0], entity_id)
    told_ids = [change.entity_id for change in (await changes(stranger, theirs)).changes]
    expect(entity_id not in told_ids, "another tenant is told what changed")


async def parse(subject: Subject, body: bytes, headers: Mapping[str, str]) -> event_service_pb2.ParseWebhookResponse:
    request = event_service_pb2.ParseWebhookRequest(context=subject.context, body=body)
    for name, value in headers.items():
        request.headers.add(name=name.lower(), value=value)
    return await subject.stubs.event.ParseWebhook(request)


def signed(subject: Subject, body: bytes, *, secret: str = "", ago_s: int = 0) -> Mapping[str, str]:
    """The headers of a request as the backend would send it."""
    data = subject.shop.webhooks
    module, _, function = data.signer.partition(":")
    sign: Callable[[str, bytes, int], Mapping[str, str]] = getattr(importlib.import_module(module), function)
    return sign(secret or data.secret, body, int(time.time()) - ago_s)


@check("webhooks.signed", "WEBHOOKS", "a signed request tells what changed, the same when it comes again")
async def webhook_signed(subject: Subject) -> None:
    data = subject.shop.webhooks
    body = subject.shop.read_bytes(data.body)
    answer = await parse(subject, body, {"host": "hub.example", **signed(subject, body)})
    wanted = (Entity.Value(f"CHANGED_ENTITY_{data.entity}"), data.entity_id)
    expect(wanted in [(c.entity, c.entity_id) for c in answer.changes], f"{data.entity} {data.entity_id} is not told")
    expect(all(change.id for change in answer.changes), "a change has no id")
    same("the changes of the same request again", await parse(subject, body, signed(subject, body)), answer)


@check(
    "webhooks.unsigned",
    "WEBHOOKS",
    "a signature that is missing, wrong, of another body or too old is UNAUTHENTICATED",
)
async def webhook_unsigned(subject: Subject) -> None:
    data = subject.shop.webhooks
    body = subject.shop.read_bytes(data.body)
    good = signed(subject, body)
    wrong: dict[str, tuple[bytes, Mapping[str, str]]] = {
        "no signature": (body, {}),
        "an empty signature": (body, dict.fromkeys(good, "")),
        "nonsense for a signature": (body, dict.fromkeys(good, "nonsense")),
        "another secret": (body, signed(subject, body, secret="not-the-secret")),
        "another body": (body + b" ", good),
    }
    if data.tolerance_s:
        wrong["an old signature"] = (body, signed(subject, body, ago_s=data.tolerance_s + 60))
    for what, (content, headers) in wrong.items():
        await ends_with(parse(subject, content, headers), what, Code.UNAUTHENTICATED)


@check("webhooks.boring", "WEBHOOKS", "a signed request of no interest has an empty answer")
async def boring(subject: Subject) -> None:
    body = subject.shop.read_bytes(told(subject.shop.webhooks.boring_body, "webhooks.boring_body"))
    same("the number of changes", len((await parse(subject, body, signed(subject, body))).changes), 0)


@check("webhooks.garbled", "WEBHOOKS", "a signed request that is not understood is INVALID_ARGUMENT")
async def garbled(subject: Subject) -> None:
    for body in (b"", b"<html>", b"\xff\xfe", subject.shop.read_bytes(subject.shop.webhooks.body)[:-5]):
        call = parse(subject, body, signed(subject, body))
        await ends_with(call, f"a signed body {body[:8]!r}", Code.INVALID_ARGUMENT)
