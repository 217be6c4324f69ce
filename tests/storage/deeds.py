"""Short ways to say what the tests do again and again."""

import hashlib

from legato.protocol.ids import new_id
from legato.protocol.state import Delta
from legato_hub.storage.base import Begun, Claim, CommandKey, Commit, Committed, Cursor, Fresh, Slot, Storage

NOW = 1_800_000_000_000
CART = "carts/01a3185c-5000-7000-8000-000000000001"
OTHER_CART = "carts/01a3185c-5000-7000-8000-000000000002"
NOTHING = Delta()


def body(text: str) -> bytes:
    """A body hash."""
    return hashlib.sha256(text.encode()).digest()


def stateless(minted: int = NOW, text: str = "add") -> CommandKey:
    """A fresh command without seq."""
    return CommandKey(new_id(minted), body(text))


def numbered(seq: int, client_id: str = "till", text: str = "add") -> CommandKey:
    """A fresh command with seq."""
    return CommandKey(new_id(NOW), body(text), client_id, seq)


def upsert(**entities: bytes) -> Delta:
    """A delta that puts entities in."""
    return Delta(entities)


async def revision(storage: Storage, resource: str = CART) -> int:
    """The present one; 0 before the first."""
    loaded = await storage.load(resource)
    return loaded.cursor.revision if loaded else 0


async def ask(storage: Storage, key: CommandKey, *, slot: bool = False, now: int = NOW) -> Begun:
    """Begin on CART as it is, expecting nothing."""
    base = await revision(storage)
    return await storage.begin(Claim(CART, key, base, now, slot_until=now + 1_000 if slot else 0, call=b"call"))


async def hold(storage: Storage, key: CommandKey, *, now: int = NOW) -> Slot:
    """Claim CART's slot for 1,000 ms."""
    begun = await ask(storage, key, slot=True, now=now)
    assert isinstance(begun, Fresh)
    return Slot(CART, key, await revision(storage), b"call", begun.fence, now + 1_000)


async def do(storage: Storage, key: CommandKey | None, delta: Delta = NOTHING, result: bytes = b"done") -> Cursor:
    """Commit to CART as it is, without a slot."""
    base = await revision(storage)
    committed = await storage.commit(Commit(CART, base, delta, NOW, key, result))
    assert isinstance(committed, Committed)
    return committed.cursor


async def grow(storage: Storage, to: int) -> None:
    """Commit to CART until it is at that revision."""
    for at in range(await revision(storage), to):
        await do(storage, None, upsert(note=b"%d" % (at + 1)))
