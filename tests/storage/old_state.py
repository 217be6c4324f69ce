"""The same deeds on any engine, with ids that are always the same: what they leave behind is frozen in `fixtures/`.

`python -m tests.storage.old_state` writes Valkey's again. They are what an earlier release has written, so that is
right only together with another schema version, or before the release. SQLite's is as 0.1.0 wrote it.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

from legato.protocol.state import Delta
from legato_hub.storage.base import Claim, CommandKey, Commit, Committed, Fresh, Storage
from legato_hub.storage.valkey import ValkeyStorage
from legato_hub.storage.valkey_client import epoch_of
from tests.storage import valkey_servers as servers
from tests.storage.deeds import NOW, body

FIXTURES = Path(__file__).parent / "fixtures"
VALKEY, SQLITE = FIXTURES / "valkey_schema_1.json", FIXTURES / "sqlite_schema_1.sql"

OPEN, CLOSED, SWEPT, ERASED, HELD = (f"carts/01a3185c-5000-7000-8000-00000000000{n}" for n in range(5))
LOG_LENGTH = 3
HELD_UNTIL = NOW + 5_000


def key(number: int, client_id: str = "", seq: int = 0) -> CommandKey:
    """A command."""
    return CommandKey(f"01a3185c-5000-7000-8000-{number:012d}", body(f"body {number}"), client_id, seq)


async def live(storage: Storage) -> None:
    """A cart of every kind, records, sets."""

    async def do(resource: str, base: int, delta: Delta, command: CommandKey | None = None, **more: Any) -> None:
        commit = Commit(resource, base, delta, NOW, command, b"result of it", traceparent="00-trace", **more)
        assert isinstance(await storage.commit(commit), Committed)

    for at in range(4):
        await do(OPEN, at, Delta({"cart": b"%d" % at, f"line/{at}": b"\x00\xff"}), key(10 + at, "till", at + 1))
    await do(OPEN, 4, Delta({}, frozenset({"line/0"})), key(20), adapter_state=b"notebook", version="v7")
    await storage.adopt_seq(OPEN, "phone", 41)
    await do(SWEPT, 0, Delta({"cart": b"swept"}), key(40, "till", 1), closed=True)
    await storage.sweep(NOW + 1, closed_ms=0, idle_ms=1_000_000)
    await do(CLOSED, 0, Delta({"cart": b"closed"}), key(30), closed=True)
    await do(ERASED, 0, Delta({"cart": b"erased"}), key(50))
    if isinstance(storage, ValkeyStorage):  # which had it from its first release on
        await storage.erase(ERASED, NOW)
    claim = Claim(HELD, key(60, "till", 1), 0, NOW, slot_until=HELD_UNTIL, call=b"compiled call")
    assert isinstance(await storage.begin(claim), Fresh)
    await storage.put("for good", b"\x01value")
    await storage.put("until then", b"value", until=NOW + 10)
    await storage.add("carts-of/x", "one")
    await storage.add("carts-of/x", "two")


def read_valkey(port: int) -> dict[str, Any]:
    """Every key as JSON bears it, without what differs from server to server and from moment to moment."""
    found: dict[str, Any] = {}
    with servers.client(port) as server:
        for name in sorted(server.scan_iter()):
            match server.type(name):
                case b"hash":
                    fields = {f.decode(): v.decode("latin-1") for f, v in sorted(server.hgetall(name).items())}
                    moments = {"origin", "made", "fence", "slot_fence", "generation", "epoch"}
                    if name.endswith((b":head", b"meta")):
                        fields = {f: f.upper() if f in moments else v for f, v in fields.items()}
                    found[name.decode()] = fields
                case b"zset":
                    scores = server.zrange(name, 0, -1, withscores=True)
                    found[name.decode()] = [[member.decode(), int(score)] for member, score in scores]
                case b"stream":
                    rows = server.xrange(name)
                    found[name.decode()] = {
                        i.decode(): {f.decode(): v.decode("latin-1") for f, v in row.items()} for i, row in rows
                    }
    return found


def write_valkey(port: int, state: dict[str, Any]) -> None:
    """What `read_valkey` has read, on an empty server, as if this one had written it."""
    with servers.client(port) as server:
        origin = server.info("replication")["master_replid"]
        moments = {"ORIGIN": origin, "MADE": "1800000000000000", "FENCE": "1800000000000001"}
        moments |= {"SLOT_FENCE": "1800000000000001", "GENERATION": "0123456789abcdef"}
        moments["EPOCH"] = epoch_of(moments["GENERATION"].encode(), origin.encode())
        for name, value in state.items():
            if isinstance(value, list):
                server.zadd(name, dict(value))
            elif name.endswith(":log"):
                for row_id, row in value.items():
                    server.xadd(name, {f: v.encode("latin-1") for f, v in row.items()}, id=row_id)
            else:
                server.hset(name, mapping={f: moments.get(v, v).encode("latin-1") for f, v in value.items()})


async def _freeze() -> None:
    FIXTURES.mkdir(exist_ok=True)
    (port,) = servers.standalone()
    valkey = ValkeyStorage.from_url(f"valkey://127.0.0.1:{port}", log_length=LOG_LENGTH)
    await valkey.open()
    await live(valkey)
    await valkey.close()
    VALKEY.write_text(json.dumps(read_valkey(port), indent=1, sort_keys=True) + "\n", "utf-8")
    servers.stop_all()


if __name__ == "__main__":
    asyncio.run(_freeze())
