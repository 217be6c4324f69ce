"""What is left of the goods: what the shop began with, less what orders took."""

import sqlite3
from collections.abc import Iterable, Sequence

from legato_adapters.reference.catalog import Variant

Taken = list[tuple[str, str, int]]
"""Sku, location and pieces."""


class Stock:
    """The stock as one transaction sees it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def left(self, variant: Variant) -> int:
        """Pieces that the online shop can sell."""
        return self.left_of([variant])[0]

    def left_of(self, variants: Sequence[Variant]) -> list[int]:
        """The same for several at once: one query for a whole cart."""
        marks = ",".join("?" * len(variants))
        skus = [variant.sku for variant in variants]
        sold: dict[str, int] = {}
        for sku, steps in self._connection.execute(f"SELECT sku, steps FROM sold WHERE sku IN ({marks})", skus):
            sold[sku] = sold.get(sku, 0) + steps
        return [variant.total_stock - sold.get(variant.sku, 0) for variant in variants]

    def by_location(self, variant: Variant) -> dict[str, int]:
        """Pieces at each location."""
        sold = dict(self._connection.execute("SELECT location, steps FROM sold WHERE sku = ?", (variant.sku,)))
        return {location: steps - sold.get(location, 0) for location, steps in variant.stock.items()}

    def take(self, variant: Variant, steps: int, first: str) -> Taken:
        """Take goods, from the location `first` before others; there must be enough."""
        there = self.by_location(variant)
        taken: Taken = []
        for location in sorted(there, key=lambda location: location != first):
            part = min(steps, there[location])
            if part:
                taken.append((variant.sku, location, part))
                steps -= part
        self._book(taken)
        return taken

    def give_back(self, taken: Taken) -> None:
        self._book((sku, location, -steps) for sku, location, steps in taken)

    def _book(self, taken: Iterable[tuple[str, str, int]]) -> None:
        self._connection.executemany(
            "INSERT INTO sold (sku, location, steps) VALUES (?, ?, ?)"
            " ON CONFLICT (sku, location) DO UPDATE SET steps = steps + excluded.steps",
            taken,
        )
