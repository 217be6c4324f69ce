"""CONTENT: what editors write."""

from typing import Any

from legato.adapter.v1 import content_service_pb2
from legato.commerce.v1 import content_pb2
from legato_adapters.conformance.check import Code, check, ends_with, expect, one_of, same
from legato_adapters.conformance.pages import Listing
from legato_adapters.conformance.shop import told
from legato_adapters.conformance.subject import Subject

PUBLISHED, DRAFT = content_pb2.CONTENT_STATE_PUBLISHED, content_pb2.CONTENT_STATE_DRAFT


async def entry(subject: Subject, locale: str = "", **fields: Any) -> content_pb2.ContentEntry:
    context = subject.context
    context.locale = locale or context.locale
    wanted = {"type": subject.shop.content.type, **fields}
    request = content_service_pb2.GetEntryRequest(context=context, **wanted)
    return (await subject.stubs.content.GetEntry(request)).entry


def listing(subject: Subject, **fields: Any) -> Listing:
    wanted = {"type": subject.shop.content.type, "context": subject.context, **fields}
    return Listing(
        lambda size, token: subject.stubs.content.ListEntries(
            content_service_pb2.ListEntriesRequest(page_size=size, page_token=token, **wanted)
        ),
        lambda answer: [found.id for found in answer.entries],
    )


@check("content.entry", "CONTENT", "a published entry is the same by slug and by id, with its fields")
async def one_entry(subject: Subject) -> None:
    data = subject.shop.content
    found = await entry(subject, slug=data.slug)
    same("type, slug and state", (found.type, found.slug, found.state), (data.type, data.slug, PUBLISHED))
    expect(found.id, "the entry has no id")
    missing = sorted(set(data.fields) - set(found.fields.fields))
    expect(not missing, f"the fields {', '.join(missing)} are missing")
    expect("slug" not in found.fields.fields, "the slug is repeated among the fields")
    expect(found.HasField("published_at"), "the entry does not say when it was published")
    expect(found.provenance.HasField("observed_at"), "the entry does not say when it was read")
    by_id = await entry(subject, entry_id=found.id)
    same("the entry by id", (by_id.id, by_id.fields), (found.id, found.fields))
    same("the entry where no state is asked for", (await entry(subject, slug=data.slug)).state, PUBLISHED)


@check("content.locales", "CONTENT", "a locale that is not there gives one of the same language, else the default")
async def locales(subject: Subject) -> None:
    data = subject.shop.content
    found = await entry(subject, slug=data.slug)
    language = subject.shop.market.locale.partition("-")[0]
    one_of("the language", found.locale.partition("-")[0].lower(), ("", language.lower()))
    for locale in (f"{language}-ZZ", language.upper()):
        near = await entry(subject, locale, entry_id=found.id)
        same(f"the locale for {locale}", near.locale, found.locale)
    # Of a language that nobody writes there is the default's, which may not have this entry.
    await ends_with(entry(subject, "zxx", entry_id=found.id), "an unknown language", Code.OK, Code.NOT_FOUND)


@check("content.draft", "CONTENT", "what was never published is a draft, and NOT_FOUND otherwise")
async def draft(subject: Subject) -> None:
    data = subject.shop.content
    slug = told(data.draft_slug, "content.draft_slug")
    found = await entry(subject, slug=slug, state=DRAFT)
    same("the state", found.state, DRAFT)
    expect(not found.HasField("published_at"), "a draft that was never published says when it was")
    await ends_with(entry(subject, slug=slug), "a draft where no state is asked for", Code.NOT_FOUND)
    await ends_with(entry(subject, slug=slug, state=PUBLISHED), "a draft as published", Code.NOT_FOUND)
    expect(found.id not in await listing(subject).all(50), "a draft is listed among what is published")
    expect(found.id in await listing(subject, state=DRAFT).all(50), "a draft is not listed among the drafts")


@check("content.list", "CONTENT", "all published entries of a type are listed once, page by page, always in one order")
async def list_entries(subject: Subject) -> None:
    data = subject.shop.content
    whole = await listing(subject).all(100)
    same("the number of entries", len(whole), data.entries)
    same("the entries page by page", await listing(subject).all(2), whole)
    expect((await entry(subject, slug=data.slug)).id in whole, f"{data.slug} is not listed")


@check("content.unknown", "CONTENT", "an entry or type that does not exist is NOT_FOUND")
async def unknown(subject: Subject) -> None:
    slug = subject.shop.content.slug
    await ends_with(entry(subject, slug="no-such-entry"), "an unknown slug", Code.NOT_FOUND)
    await ends_with(entry(subject, entry_id="no-such-entry"), "an unknown id", Code.NOT_FOUND)
    await ends_with(entry(subject, type="no-such-type", slug=slug), "an entry of an unknown type", Code.NOT_FOUND)
    await ends_with(listing(subject, type="no-such-type").page(10, ""), "a list of an unknown type", Code.NOT_FOUND)


@check(
    "content.bounds",
    "CONTENT",
    "no key, no type, a page size out of range and a page token that is none are INVALID_ARGUMENT",
)
async def bounds(subject: Subject) -> None:
    await ends_with(entry(subject), "no key", Code.INVALID_ARGUMENT)
    await ends_with(entry(subject, type="", slug=subject.shop.content.slug), "no type", Code.INVALID_ARGUMENT)
    await ends_with(listing(subject, type="").page(10, ""), "a list of no type", Code.INVALID_ARGUMENT)
    await listing(subject).refuses()


@check("content.foreign_token", "CONTENT", "a page token of another list is INVALID_ARGUMENT")
async def foreign_token(subject: Subject) -> None:
    token = await listing(subject).token()
    await ends_with(listing(subject, state=DRAFT).page(1, token), "another list's page token", Code.INVALID_ARGUMENT)
