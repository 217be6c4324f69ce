"""From commercetools' products to the canonical ones. Pure, as mapping.py is."""

from collections.abc import Sequence

from legato.commerce.v1 import line_item_pb2, product_pb2, ref_pb2
from legato_adapters.commercetools.api import SYSTEM, Json
from legato_adapters.commercetools.mapping import localized, money, now, options

__all__ = ["price", "product", "variants"]


def variants(projection: Json) -> list[Json]:
    """All variants, the master first; those without a sku cannot be bought by one."""
    return [variant for variant in (projection["masterVariant"], *projection["variants"]) if variant.get("sku")]


def product(projection: Json, language: str) -> product_pb2.Product:
    """A product whose categories, and those above them, were expanded."""
    name = localized(projection["name"], language)
    sisters = variants(projection)
    told = [options(variant.get("attributes") or (), language) for variant in sisters]
    common = [option for option in (told[0] if told else ()) if all(option in other for other in told)]
    categories: dict[str, Json] = {}
    for reference in projection["categories"]:
        leaf = reference.get("obj")
        for above in (leaf or {}).get("ancestors") or ():
            if "obj" in above:
                categories[above["id"]] = above["obj"]
        if leaf:
            categories[reference["id"]] = leaf
    widest_first = sorted(categories.values(), key=lambda category: len(category.get("ancestors") or ()))
    return product_pb2.Product(
        id=projection["id"],
        slug=localized(projection["slug"], language),
        name=name,
        description=localized(projection.get("description"), language),
        categories=[category.get("key") or localized(category["slug"], language) for category in widest_first],
        image_urls=[image["url"] for variant in sisters for image in variant.get("images") or ()],
        variants=[
            product_pb2.Variant(sku=variant["sku"], name=_variant_name(name, own), options=own)
            for variant, own in (
                (variant, [option for option in all_of_it if option not in common or len(sisters) == 1])
                for variant, all_of_it in zip(sisters, told, strict=True)
            )
        ],
        refs=[
            ref_pb2.Ref(
                system=SYSTEM,
                type="Product",
                id=projection["id"],
                key=projection.get("key") or "",
                version=str(projection["version"]),
            )
        ],
    )


def _variant_name(name: str, own: Sequence[line_item_pb2.VariantOption]) -> str:
    return f"{name}, {', '.join(option.value for option in own)}" if own else name


def price(variant: Json, currency: str, *, tax_included: bool) -> product_pb2.Price | None:
    """The price that was selected for the market of the request, None where there is none."""
    selected = variant.get("price")
    if selected is None:
        return None
    regular = money(selected["value"], currency)
    discounted = selected.get("discounted")
    return product_pb2.Price(
        sku=variant["sku"],
        amount=money(discounted["value"], currency) if discounted else regular,
        regular_amount=regular if discounted else None,
        tax_included=tax_included,
        provenance=now(),
    )
