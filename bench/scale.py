"""How much is done for each figure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Counts. A run is one measurement of each side."""

    runs: int = 5
    calls: int = 1_000
    calls_at_once: int = 16
    warm_streams: int = 50
    streams: int = 1_000
    fan_out_revisions: int = 4
    subscribers: int = 100
    overload_revisions: int = 2_000
    overload_rate: float = 2_000.0
    carts: int = 128
    commands_each: int = 4


QUICK = Scale(
    runs=1,
    calls=16,
    calls_at_once=4,
    warm_streams=2,
    streams=6,
    fan_out_revisions=2,
    subscribers=3,
    overload_revisions=40,
    carts=4,
    commands_each=2,
)
"""Shows that everything works, and measures nothing: for the tests."""
