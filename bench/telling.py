"""The figures by name and unit, and how they come about from runs and are told."""

import statistics
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

_MICROSECONDS = 1e6

FIGURES = {
    "unary_cpu_ratio": "x",
    "unary_cpu_hub": "us/call",
    "baseline_unary_cpu": "us/call",
    "rss_per_stream_kb": "KiB",
    "baseline_rss_per_stream_kb": "KiB",
    "fanout_cpu_ratio": "x",
    "fanout_cpu_hub": "us/delivery",
    "baseline_fanout_cpu": "us/delivery",
    "overload_cpu_us": "us/offered_delivery",
    "overload_committed_cpu_us": "us/offered_delivery",
    "baseline_overload_cpu_us": "us/offered_delivery",
    "overload_p99_ratio": "x",
    "overload_committed_p99_ratio": "x",
    "overload_p50": "ms",
    "overload_p99": "ms",
    "overload_merged": "revisions/message",
    "overload_committed_p50": "ms",
    "overload_committed_p99": "ms",
    "overload_committed_merged": "revisions/message",
    "baseline_overload_p50": "ms",
    "baseline_overload_p99": "ms",
    "baseline_overload_merged": "revisions/message",
    "command_cpu_ratio_sqlite": "x",
    "command_cpu_hub_sqlite": "us/command",
    "baseline_command_cpu_sqlite": "us/command",
    "command_took_hub_sqlite": "ms",
    "baseline_command_took_sqlite": "ms",
    "command_cpu_ratio_valkey": "x",
    "command_cpu_hub_valkey": "us/command",
    "baseline_command_cpu_valkey": "us/command",
    "command_took_hub_valkey": "ms",
    "baseline_command_took_valkey": "ms",
    "baseline_command_cpu": "us/command",
    "reference_adapter_cost_ratio": "x",
    "tracing_cost_ratio_1pct": "x",
    "tracing_cost_ratio_full": "x",
    "baseline_shape_command": "x",
    "baseline_shape_command_sqlite": "x",
    "baseline_shape_command_valkey": "x",
    "baseline_shape_delivery": "x",
    "baseline_shape_overload": "x",
}
"""What `make bench` tells: its name and its unit."""

_T = TypeVar("_T")
_Measured = TypeVar("_Measured")


def tell(name: str, value: float, unit: str = "") -> None:
    """One figure on a line: its name, its value, its unit."""
    print(f"{name} {value:.3f} {unit or FIGURES[name]}", flush=True)


async def alternate(
    sides: Sequence[_T], runs: int, measure: Callable[[_T], Awaitable[_Measured]]
) -> list[list[_Measured]]:
    """What each side gave in each run; within a run one side follows the other, so that both meet the same machine."""
    for side in sides:
        await measure(side)  # Not counted: the first time is for caches and pools.
    found: list[list[_Measured]] = [[] for _ in sides]
    for _ in range(runs):
        for number, side in enumerate(sides):
            found[number].append(await measure(side))
    return found


def median_us(seconds: Sequence[float]) -> float:
    """In microseconds."""
    return statistics.median(seconds) * _MICROSECONDS


def ratio(measured: Sequence[float], beside: Sequence[float]) -> float:
    """The median of the ratios of what was measured one after the other."""
    return statistics.median(one / other for one, other in zip(measured, beside, strict=True))
