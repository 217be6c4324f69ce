"""Whether the baseline costs what bare grpc.aio is known to cost: not in microseconds, which are the machine's, but
each kind of work beside a unary call.

A baseline that is too dear would flatter the hub. What was known when the hub was designed, in microseconds of server
CPU: a unary call 169 on asyncio's own loop, 10 % less on uvloop; the rest as below.
"""

from bench.telling import tell

UNARY_US = 169 * 0.9
KNOWN_US = {
    "command": (78, 78),
    "command_sqlite": (78 + 133, 78 + 133),
    "command_valkey": (78 + 99 + 8, 78 + 99 + 8),
    "delivery": (20, 25),
    "overload": (1.7, 3.0),
}
"""From and to."""


def deviation(name: str, measured_us: float, unary_us: float) -> float:
    """What was measured, beside what is known, both in unary calls: 1 agrees, more is dearer."""
    low, high = KNOWN_US[name]
    scaled = measured_us * UNARY_US / unary_us
    return scaled / min(max(scaled, low), high)


def tell_shape(measured_us: dict[str, float], unary_us: float) -> None:
    """All that was measured of the baseline."""
    for name in KNOWN_US:
        tell(f"baseline_shape_{name}", deviation(name, measured_us[name], unary_us))
