"""The figures: which sides are measured for them, in which order, and how they are told."""

import statistics
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from bench.measures import Audience, Overload, Shop, fan_out, overload, unary
from bench.sides import Side

RUNS = 5
WARM_STREAMS = 50
STREAMS, FAN_OUT_REVISIONS = 1_000, 4
SUBSCRIBERS, OVERLOAD_REVISIONS, OVERLOAD_RATE = 100, 2_000, 2_000.0
CALLS, CALLS_AT_ONCE = 1_000, 16
CARTS, COMMANDS_EACH = 128, 4

_T = TypeVar("_T")
_Measured = TypeVar("_Measured")


def tell(name: str, value: float, unit: str) -> None:
    """One figure on a line: its name, its value, its unit."""
    print(f"{name} {value:.3f} {unit}", flush=True)


async def alternate(sides: Sequence[_T], measure: Callable[[_T], Awaitable[_Measured]]) -> list[list[_Measured]]:
    """What each side gave in each run; within a run one side follows the other, so that both meet the same machine."""
    for side in sides:
        await measure(side)  # Not counted: the first time is for caches and pools.
    found: list[list[_Measured]] = [[] for _ in sides]
    for _ in range(RUNS):
        for number, side in enumerate(sides):
            found[number].append(await measure(side))
    return found


def median_us(seconds: Sequence[float]) -> float:
    """In microseconds."""
    return statistics.median(seconds) * 1e6


def ratio(measured: Sequence[float], beside: Sequence[float]) -> float:
    """The median of the ratios of what was measured one after the other."""
    return statistics.median(one / other for one, other in zip(measured, beside, strict=True))


async def unary_figures(bare: Side, hub: Side) -> None:
    carts = {id(side): (await side.new_carts(1))[0] for side in (bare, hub)}
    bare_s, hub_s = await alternate((bare, hub), lambda side: unary(side, carts[id(side)], CALLS, CALLS_AT_ONCE))
    tell("unary_cpu_ratio", ratio(hub_s, bare_s), "x")
    tell("unary_cpu_hub", median_us(hub_s), "us/call")
    tell("baseline_unary_cpu", median_us(bare_s), "us/call")


async def stream_figures(bare: Side, hub: Side) -> None:
    """Memory of a stream, and fan-out."""
    audiences = []
    for side, name in ((bare, "baseline_rss_per_stream_kb"), (hub, "rss_per_stream_kb")):
        (resource,) = await side.new_carts(1)
        warm = Audience(side, resource)
        await warm.open(WARM_STREAMS)
        await warm.close()
        audience = Audience(side, resource)
        audiences.append(audience)
        tell(name, await audience.open(STREAMS), "KiB")
    bare_s, hub_s = await alternate(audiences, lambda audience: fan_out(audience, FAN_OUT_REVISIONS))
    for audience in audiences:
        await audience.close()
    tell("fanout_cpu_ratio", ratio(hub_s, bare_s), "x")
    tell("fanout_cpu_hub", median_us(hub_s), "us/delivery")
    tell("baseline_fanout_cpu", median_us(bare_s), "us/delivery")


async def overload_figures(bare: Side, hub: Side) -> None:
    audiences = []
    for side in (bare, hub):
        audience = Audience(side, (await side.new_carts(1))[0])
        await audience.open(SUBSCRIBERS)
        audiences.append(audience)
    bares, hubs = await alternate(audiences, lambda audience: overload(audience, OVERLOAD_REVISIONS, OVERLOAD_RATE))
    for audience in audiences:
        await audience.close()
    tell("overload_cpu_us", median_us([burst.cpu_s for burst in hubs]), "us/offered_delivery")
    tell("baseline_overload_cpu_us", median_us([burst.cpu_s for burst in bares]), "us/offered_delivery")
    tell("overload_p99_ratio", ratio([burst.p99_s for burst in hubs], [burst.p99_s for burst in bares]), "x")
    for name, bursts in (("overload", hubs), ("baseline_overload", bares)):
        tell(f"{name}_p50", statistics.median(burst.p50_s for burst in bursts) * 1e3, "ms")
        tell(f"{name}_p99", statistics.median(burst.p99_s for burst in bursts) * 1e3, "ms")
        tell(f"{name}_merged", _merged(bursts), "revisions/message")


def _merged(bursts: Sequence[Overload]) -> float:
    return OVERLOAD_REVISIONS * SUBSCRIBERS / statistics.median(burst.messages for burst in bursts)


async def command_figures(bare: Side, hub: Side, reference: Side, sampled: Side, recorded: Side) -> None:
    """Commands on the stream: beside the bare server, with the reference adapter, and traced."""
    shops = [Shop(side) for side in (bare, hub, reference, sampled, recorded)]
    for shop in shops:
        await shop.open(CARTS)
    found = await alternate(shops, lambda shop: shop.commands(COMMANDS_EACH))
    for shop in shops:
        await shop.close()
    bare_s, hub_s, reference_s, sampled_s, recorded_s = ([cpu for cpu, _ in runs] for runs in found)
    tell("command_cpu_ratio_sqlite", ratio(hub_s, bare_s), "x")
    tell("command_cpu_hub_sqlite", median_us(hub_s), "us/command")
    tell("baseline_command_cpu_sqlite", median_us(bare_s), "us/command")
    tell("command_cpu_reference_adapter", median_us(reference_s) - median_us(hub_s), "us/command")
    tell("command_took_hub", statistics.median(took for _, took in found[1]) * 1e3, "ms")
    tell("baseline_command_took", statistics.median(took for _, took in found[0]) * 1e3, "ms")
    tell("tracing_cost_ratio_1pct", ratio(sampled_s, hub_s), "x")
    tell("tracing_cost_ratio_full", ratio(recorded_s, hub_s), "x")
