"""UUIDv7 from a seed."""

import random
import time


def uuid7(rng: random.Random, *, ahead_ms: int = 0) -> str:
    """As `legato.protocol.ids.new_id` makes it, with the seed's randomness, minted so far ahead of now."""
    milliseconds = time.time_ns() // 1_000_000 + ahead_ms
    value = (milliseconds & (1 << 48) - 1) << 80 | rng.getrandbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
