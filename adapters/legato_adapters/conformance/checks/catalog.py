"""CATALOG: products."""

from legato.adapter.v1.catalog_service_pb2 import GetProductRequest, ProductKey
from legato_adapters.conformance.check import Code, check, ends_with, expect, same
from legato_adapters.conformance.subject import Subject

UNKNOWN = {"slug": ProductKey(slug="no-such-product"), "id": ProductKey(product_id="999999999")}


@check("catalog.product", "CATALOG", "a product is the same by slug and by id, with a name and all its variants")
async def product(subject: Subject) -> None:
    data = subject.shop.catalog
    request = GetProductRequest(context=subject.context, product=ProductKey(slug=data.slug))
    by_slug = (await subject.stubs.catalog.GetProduct(request)).product
    same("the slug", by_slug.slug, data.slug)
    expect(by_slug.id, "the product has no id")
    expect(by_slug.name, "the product has no name")
    same("the skus of its variants", {v.sku for v in by_slug.variants}, set(data.skus))
    same("the number of variants", len(by_slug.variants), len(data.skus))
    expect(all(v.name for v in by_slug.variants), "a variant has no name")
    request = GetProductRequest(context=subject.context, product=ProductKey(product_id=by_slug.id))
    same("the product by id", (await subject.stubs.catalog.GetProduct(request)).product, by_slug)


@check("catalog.unknown", "CATALOG", "a product that does not exist is NOT_FOUND")
async def unknown(subject: Subject) -> None:
    for name, key in UNKNOWN.items():
        request = GetProductRequest(context=subject.context, product=key)
        await ends_with(subject.stubs.catalog.GetProduct(request), f"a product by unknown {name}", Code.NOT_FOUND)


@check("catalog.market", "CATALOG", "a product in a market that is not served is FAILED_PRECONDITION")
async def market(subject: Subject) -> None:
    key = ProductKey(slug=subject.shop.catalog.slug)
    request = GetProductRequest(context=subject.shop.unserved_context(), product=key)
    await ends_with(subject.stubs.catalog.GetProduct(request), "a market not served", Code.FAILED_PRECONDITION)
