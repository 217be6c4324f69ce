"""UUIDv7: what carts, commands and sessions are called (RFC 9562, section 5.7)."""

import os
import re
import time

_FORM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-([0-9a-f])[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def new_id(unix_ms: int | None = None) -> str:
    """A fresh UUIDv7 in lower-case hyphenated form; `unix_ms` overrides the clock."""
    milliseconds = time.time_ns() // 1_000_000 if unix_ms is None else unix_ms
    value = (milliseconds & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_uuid(text: str) -> bool:
    """Whether `text` is a UUID of any version in lower-case hyphenated form."""
    return _FORM.fullmatch(text) is not None


def is_uuid7(text: str) -> bool:
    """Whether `text` is a UUIDv7 in lower-case hyphenated form."""
    match = _FORM.fullmatch(text)
    return match is not None and match[1] == "7"


def unix_ms_of(uuid7: str) -> int:
    """The minting time that a well-formed UUIDv7 carries, in milliseconds since 1970."""
    return int(uuid7[:8] + uuid7[9:13], 16)
