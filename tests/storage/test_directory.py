"""Records and sorted sets."""

import asyncio

import pytest

from legato_hub.storage.base import Storage
from tests.storage.deeds import NOW


async def test_records_are_put_read_and_deleted(storage: Storage) -> None:
    assert await storage.get("share/1234", NOW) is None
    assert await storage.put("share/1234", b"cart")
    assert await storage.get("share/1234", NOW) == b"cart"
    assert await storage.put("share/1234", b"another")
    assert await storage.get("share/1234", NOW) == b"another"
    assert await storage.get("share/123", NOW) is None
    await storage.delete("share/1234")
    assert await storage.get("share/1234", NOW) is None
    await storage.delete("share/1234")


async def test_a_record_lives_until_its_time(storage: Storage) -> None:
    await storage.put("code", b"x", until=NOW + 10, now=NOW)
    assert await storage.get("code", NOW + 9) == b"x"
    assert await storage.get("code", NOW + 10) is None
    await storage.put("code", b"y")
    assert await storage.get("code", NOW * 2) == b"y"


@pytest.mark.parametrize(("until", "now", "stored"), [(0, NOW, False), (NOW + 1, NOW, False), (NOW, NOW, True)])
async def test_if_absent_yields_to_a_living_record(storage: Storage, until: int, now: int, stored: bool) -> None:
    assert await storage.put("code", b"first", until=until, now=NOW - 5, if_absent=True)
    assert await storage.put("code", b"second", until=NOW + 50, now=now, if_absent=True) is stored
    assert await storage.get("code", NOW - 1) == (b"second" if stored else b"first")


async def test_of_many_putting_if_absent_one_succeeds(storage: Storage) -> None:
    puts = [storage.put("code", b"%d" % number, now=NOW, if_absent=True) for number in range(30)]
    stored = await asyncio.gather(*puts)
    assert stored.count(True) == 1
    assert await storage.get("code", NOW) == b"%d" % stored.index(True)


@pytest.mark.parametrize("value", [b"", b"first", b"a:b\n\x00\xff"])
async def test_replacing_replaces_that_value_and_no_other(storage: Storage, value: bytes) -> None:
    assert not await storage.put("code", b"x", now=NOW, replacing=value)
    assert await storage.get("code", NOW) is None
    await storage.put("code", value, until=NOW + 10, now=NOW)
    assert not await storage.put("code", b"second", now=NOW, replacing=b"another")
    assert not await storage.put("code", b"second", now=NOW + 10, replacing=value)
    assert await storage.get("code", NOW) == value
    assert await storage.put("code", b"second", until=NOW + 20, now=NOW, replacing=value)
    assert await storage.get("code", NOW + 19) == b"second"


async def test_of_many_replacing_one_value_one_succeeds(storage: Storage) -> None:
    await storage.put("code", b"first")
    stored = await asyncio.gather(
        *(storage.put("code", b"%d" % number, now=NOW, replacing=b"first") for number in range(30))
    )
    assert stored.count(True) == 1
    assert await storage.get("code", NOW) == b"%d" % stored.index(True)


async def test_members_come_in_descending_order_without_doubles(storage: Storage) -> None:
    for member in ("b", "a", "c", "b", "Z", "é", "😀", "\uffff"):
        await storage.add("carts of ann", member)
    await storage.add("carts of bob", "d")
    assert await storage.members("carts of ann") == ["😀", "\uffff", "é", "c", "b", "a", "Z"]
    await storage.remove("carts of ann", "b")
    await storage.remove("carts of ann", "never there")
    await storage.remove("carts of nobody", "a")
    assert await storage.members("carts of ann", before="é") == ["c", "a", "Z"]
    assert await storage.members("carts of bob") == ["d"]
    assert await storage.members("carts of nobody") == []


async def test_members_are_paged(storage: Storage) -> None:
    everything = [f"{number:04}" for number in range(250)]
    await asyncio.gather(*(storage.add("set", member) for member in everything))
    assert await storage.members("set") == everything[:149:-1]
    paged: list[str] = []
    while page := await storage.members("set", before=paged[-1] if paged else "", limit=60):
        assert len(page) <= 60
        paged += page
    assert paged == everything[::-1]
    assert await storage.members("set", before="0000") == []
    assert await storage.members("set", before="zzz", limit=2) == ["0249", "0248"]
