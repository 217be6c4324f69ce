"""The reference adapter: an embedded shop in one SQLite file, and the executable specification of the adapter contract.

It is the backend where none is configured. Its effect class is KEYED. Availability is told for each location, and in
total for the online shop, which sells the stock of all locations. Carts hold no stock: a line may have as much as the
shop has; orders take it. Payments are made with the tokens of `payments.CARDS`. The catalog and all content are read at
the start; nothing is ever deleted from the file but old entries of the list of changes.
"""

import os

from legato_adapters.reference.adapter import ReferenceAdapter
from legato_adapters.reference.database import read_cart
from legato_adapters.reference.payments import answer_challenge

__all__ = ["ReferenceAdapter", "answer_challenge", "create", "read_cart"]


def create(*, path: str = ":memory:", seed: bool = True, webhook_secret: str = "") -> ReferenceAdapter:
    """The adapter on the file at `path`, or in memory. `seed` fills a new file with the built-in shop.

    Webhooks are believed that were signed with `webhook_secret`; none are where it is empty. Processes on one machine
    may share a file, each with an adapter of its own. ValueError in a worker of several (`legato serve --workers`) for
    a shop in memory, which none of the others would see.
    """
    if path == ":memory:" and "LEGATO_WORKER" in os.environ:
        raise ValueError("workers cannot share a shop in memory; give it a path, or a process of its own (grpc://)")
    return ReferenceAdapter(path, seeded=seed, webhook_secret=webhook_secret)
