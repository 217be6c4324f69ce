"""Carts by the ten thousand, straight into a storage: what a hub would have committed, without a hub."""

import asyncio
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import TypeVar

from bench import workload
from bench.null_adapter import notebook
from legato.commerce.v1 import cart_pb2
from legato.protocol import resources
from legato.protocol.entities import split_cart
from legato.protocol.ids import new_id
from legato.protocol.state import Delta
from legato_hub import directory
from legato_hub.clock import now_ms
from legato_hub.server import open_storage
from legato_hub.storage.base import CommandKey, Commit, Committed, Storage

AT_ONCE = 500
"""Commits under way: both engines execute them in the order in which they were asked for."""

_T = TypeVar("_T")
_delta = lru_cache(maxsize=8)(workload.delta)
"""All carts come to one revision after another."""


def new_names(count: int) -> list[str]:
    """Names of carts that are not there yet."""
    return [resources.cart(new_id()) for _ in range(count)]


async def load(url: str, carts: Sequence[str], owner: cart_pb2.Cart, revisions: int = 1) -> None:
    """Bring new carts to a revision in a storage that nobody else has open. `owner` says whose they are."""
    storage = open_storage(url)
    await storage.open()
    template = {**split_cart(workload.cart("", workload.quantity_at(1))), **workload.delta(1).upserts}
    clients = {name: new_id() for name in carts}
    await _all(storage, (_creation(name, template, owner) for name in carts))
    for name in directory.sets_of(owner):
        for some in _slices(carts):
            await asyncio.gather(*(storage.add(name, cart.removeprefix("carts/")) for cart in some))
    later = range(2, revisions + 1)
    await _all(storage, (_change(name, revision, clients[name], revision - 1) for revision in later for name in carts))
    await storage.close()


async def revise(url: str, carts: Sequence[str], base: int, count: int) -> None:
    """So many more revisions of each cart, which are all at revision `base`."""
    storage = open_storage(url)
    await storage.open()
    clients = {name: new_id() for name in carts}
    await _all(
        storage, (_change(name, base + seq, clients[name], seq) for seq in range(1, count + 1) for name in carts)
    )
    await storage.close()


def _creation(name: str, template: dict[str, bytes], owner: cart_pb2.Cart) -> Commit:
    head = cart_pb2.Cart.FromString(template["cart"])
    head.MergeFrom(owner)
    head.id = name.removeprefix("carts/")
    entries = {**template, "cart": head.SerializeToString(deterministic=True)}
    return Commit(name, 0, Delta(entries), now_ms(), _key("", 0), workload.RESULT, adapter_state=_notebook(1))


def _change(name: str, revision: int, client_id: str, seq: int) -> Commit:
    delta, key = _delta(revision), _key(client_id, seq)
    return Commit(name, revision - 1, delta, now_ms(), key, workload.RESULT, adapter_state=_notebook(revision))


def _notebook(revision: int) -> bytes:
    return notebook(workload.quantity_at(revision))


def _key(client_id: str, seq: int) -> CommandKey:
    command_id = new_id()
    return CommandKey(command_id, hashlib.sha256(command_id.encode()).digest(), client_id, seq)


async def _all(storage: Storage, commits: Iterable[Commit]) -> None:
    for some in _slices(commits):
        for answer in await asyncio.gather(*(storage.commit(commit) for commit in some)):
            assert isinstance(answer, Committed), answer


def _slices(items: Iterable[_T]) -> Iterator[list[_T]]:
    iterator = iter(items)
    while some := list(islice(iterator, AT_ONCE)):
        yield some
