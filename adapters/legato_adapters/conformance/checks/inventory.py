"""INVENTORY: what can be sold."""

from legato.adapter.v1.catalog_service_pb2 import ProductKey
from legato.adapter.v1.inventory_service_pb2 import GetAvailabilityRequest
from legato.commerce.v1 import product_pb2
from legato_adapters.conformance.check import Code, check, ends_with, expect, one_of, same
from legato_adapters.conformance.checks.catalog import UNKNOWN
from legato_adapters.conformance.subject import Subject

IN_STOCK = product_pb2.AVAILABILITY_STATUS_IN_STOCK
LOW_STOCK = product_pb2.AVAILABILITY_STATUS_LOW_STOCK
OUT_OF_STOCK = product_pb2.AVAILABILITY_STATUS_OUT_OF_STOCK


async def availability(
    subject: Subject, *skus: str, location: str = ""
) -> dict[tuple[str, str], product_pb2.Availability]:
    """The answer, by sku and location."""
    request = GetAvailabilityRequest(context=subject.context, skus=skus, location_id=location)
    answer = await subject.stubs.inventory.GetAvailability(request)
    entries = {(entry.sku, entry.location_id): entry for entry in answer.availability}
    same("the number of entries", len(answer.availability), len(entries))
    return entries


@check(
    "inventory.levels",
    "INVENTORY",
    "what is abundant, scarce and sold out is told as such, and what is unknown is left out",
)
async def levels(subject: Subject) -> None:
    goods = subject.shop.goods
    entries = await availability(subject, goods.abundant_sku, goods.low_sku, goods.empty_sku, "NO-SUCH-SKU")
    wanted = {goods.abundant_sku, goods.low_sku, goods.empty_sku}
    same("the skus told for the online shop", {sku for sku, location in entries if not location}, wanted)
    same("the skus told", {sku for sku, _ in entries}, wanted)
    abundant, low, empty = (entries[sku, ""] for sku in (goods.abundant_sku, goods.low_sku, goods.empty_sku))
    same("the status of what is abundant", abundant.status, IN_STOCK)
    one_of("the status of what is scarce", low.status, (IN_STOCK, LOW_STOCK))
    same("the status of what is sold out", empty.status, OUT_OF_STOCK)
    if low.HasField("available"):
        same("what is left of the scarce", low.available.steps, goods.low_stock)
    if empty.HasField("available"):
        same("what is left of the sold out", empty.available.steps, 0)
    for entry in entries.values():
        expect(entry.provenance.source, f"the stock of {entry.sku} does not say who said so")
        expect(entry.provenance.HasField("observed_at"), f"the stock of {entry.sku} does not say when it was read")


@check("inventory.locations", "INVENTORY", "each location tells its stock, alone where only it is asked for")
async def locations(subject: Subject) -> None:
    sku, known = subject.shop.goods.sku, subject.shop.inventory.locations
    entries = await availability(subject, sku)
    same("the locations told", {location for _, location in entries}, {"", *known})
    expect(all(entry.location_name for (_, id), entry in entries.items() if id), "a location has no name")
    for location in known:
        only = await availability(subject, sku, location=location)
        same(f"what is told where only {location} is asked for", set(only), {(sku, location)})
        same(f"the stock at {location}", only[sku, location].available, entries[sku, location].available)
    same("the stock at an unknown location", await availability(subject, sku, location="no-such-location"), {})


@check("inventory.product", "INVENTORY", "the stock of a product is that of all its variants", also=("CATALOG",))
async def product(subject: Subject) -> None:
    data = subject.shop.catalog
    request = GetAvailabilityRequest(context=subject.context, product=ProductKey(slug=data.slug))
    answer = await subject.stubs.inventory.GetAvailability(request)
    same("the skus told", {entry.sku for entry in answer.availability}, set(data.skus))


@check("inventory.unknown", "INVENTORY", "the stock of a product that does not exist is NOT_FOUND")
async def unknown(subject: Subject) -> None:
    for name, key in UNKNOWN.items():
        request = GetAvailabilityRequest(context=subject.context, product=key)
        await ends_with(subject.stubs.inventory.GetAvailability(request), f"stock by unknown {name}", Code.NOT_FOUND)


@check("inventory.neither", "INVENTORY", "a request with neither product nor skus is INVALID_ARGUMENT")
async def neither(subject: Subject) -> None:
    call = subject.stubs.inventory.GetAvailability(GetAvailabilityRequest(context=subject.context))
    await ends_with(call, "neither product nor skus", Code.INVALID_ARGUMENT)
