"""Which variant a sku is. The shop API cannot be asked that; its search index can, and is remembered for a while."""

import time
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

from legato_adapters.vendure import queries
from legato_adapters.vendure.api import READ_TIMEOUT_S, VendureApi, left

__all__ = ["Sku", "Skus"]

_KEPT = 10_000
_FRESH_S = 300.0


@dataclass(frozen=True)
class Sku:
    """Ids of Vendure."""

    variant_id: str
    product_id: str


class Skus:
    """Looks skus up; what does not exist is asked for each time.

    The index lags behind the catalog by about a second. It ignores terms of one or two characters: skus as short as
    that are found among its first hundred entries only.
    """

    def __init__(self, api: VendureApi) -> None:
        self._api = api
        self._known: OrderedDict[str, tuple[Sku, float]] = OrderedDict()

    async def find(self, skus: Collection[str], deadline: float | None) -> dict[str, Sku]:
        """Those of at most 100 skus that the catalog has; raises ApiError."""
        now = time.monotonic()
        found = {sku: self._known[sku][0] for sku in skus if sku in self._known and self._known[sku][1] > now}
        unknown = [sku for sku in dict.fromkeys(skus) if sku not in found]
        if unknown:
            variables = {f"s{i}": sku for i, sku in enumerate(unknown)}
            document = queries.find_skus(len(unknown))
            data = (await self._api.post(document, variables, timeout=left(deadline, READ_TIMEOUT_S))).data
            for i, sku in enumerate(unknown):
                for hit in data[f"s{i}"]["items"]:
                    if hit["sku"] == sku:
                        found[sku] = Sku(hit["productVariantId"], hit["productId"])
                        self._keep(sku, found[sku], now + _FRESH_S)
        return found

    def forget(self, sku: str) -> None:
        """It turned out to be something else."""
        self._known.pop(sku, None)

    def _keep(self, sku: str, found: Sku, until: float) -> None:
        self._known[sku] = found, until
        self._known.move_to_end(sku)
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
