"""What is compared for which figures: sides, order and arithmetic. Each function gives the baseline's own costs."""

import statistics
from dataclasses import dataclass

from bench.measures import Audience, Overload, Shop, fan_out, overload, unary
from bench.scale import Scale
from bench.sides import Side
from bench.telling import alternate, median_us, ratio, tell


async def unary_figures(scale: Scale, bare: Side, hub: Side) -> float:
    """GetCart; µs of the baseline."""
    carts = {id(side): (await side.new_carts(1))[0] for side in (bare, hub)}

    async def measure(side: Side) -> float:
        return await unary(side, carts[id(side)], scale.calls, scale.calls_at_once)

    bare_s, hub_s = await alternate((bare, hub), scale.runs, measure)
    tell("unary_cpu_ratio", ratio(hub_s, bare_s))
    tell("unary_cpu_hub", median_us(hub_s))
    tell("baseline_unary_cpu", median_us(bare_s))
    return median_us(bare_s)


async def stream_figures(scale: Scale, bare: Side, hub: Side) -> dict[str, float]:
    """Memory of a stream, and fan-out."""
    audiences = []
    for side, name in ((bare, "baseline_rss_per_stream_kb"), (hub, "rss_per_stream_kb")):
        (resource,) = await side.new_carts(1)
        warm = Audience(side, resource)
        await warm.open(scale.warm_streams)
        await warm.close()
        audience = Audience(side, resource)
        audiences.append(audience)
        tell(name, await audience.open(scale.streams))
    bare_s, hub_s = await alternate(audiences, scale.runs, lambda audience: fan_out(audience, scale.fan_out_revisions))
    for audience in audiences:
        await audience.close()
    tell("fanout_cpu_ratio", ratio(hub_s, bare_s))
    tell("fanout_cpu_hub", median_us(hub_s))
    tell("baseline_fanout_cpu", median_us(bare_s))
    return {"delivery": median_us(bare_s)}


async def overload_figures(scale: Scale, bare: Side, hub: Side) -> dict[str, float]:
    """A burst that is only told to the streams, beside the same of the bare server; and one that is committed, too."""
    bursts = []
    for side, committed in ((bare, False), (hub, False), (hub, True)):
        audience = Audience(side, (await side.new_carts(1))[0])
        await audience.open(scale.subscribers)
        bursts.append((audience, committed))

    async def measure(burst: tuple[Audience, bool]) -> Overload:
        audience, committed = burst
        return await overload(audience, scale.overload_revisions, scale.overload_rate, committed=committed)

    found = await alternate(bursts, scale.runs, measure)
    for audience, _ in bursts:
        await audience.close()
    offered = scale.overload_revisions * scale.subscribers
    p99s = [[burst.p99_s for burst in runs] for runs in found]
    for name, runs in zip(("baseline_overload", "overload", "overload_committed"), found, strict=True):
        tell(f"{name}_cpu_us", median_us([burst.cpu_s for burst in runs]))
        tell(f"{name}_p50", statistics.median(burst.p50_s for burst in runs) * 1e3)
        tell(f"{name}_p99", statistics.median(burst.p99_s for burst in runs) * 1e3)
        tell(f"{name}_merged", offered / statistics.median(burst.messages for burst in runs))
    tell("overload_p99_ratio", ratio(p99s[1], p99s[0]))
    tell("overload_committed_p99_ratio", ratio(p99s[2], p99s[0]))
    return {"overload": median_us([burst.cpu_s for burst in found[0]])}


@dataclass(frozen=True)
class CommandSides:
    """Who executes commands."""

    bare: Side
    bare_sqlite: Side
    hub_sqlite: Side
    bare_valkey: Side
    hub_valkey: Side
    reference: Side
    sampled: Side
    recorded: Side


async def command_figures(scale: Scale, sides: CommandSides) -> dict[str, float]:
    """Commands on the stream: on each storage beside the bare server, with the reference adapter, and traced."""
    shops = {name: Shop(side) for name, side in vars(sides).items()}
    for shop in shops.values():
        await shop.open(await shop.side.new_carts(scale.carts))
    found = await alternate(list(shops.values()), scale.runs, lambda shop: shop.commands(scale.commands_each))
    for shop in shops.values():
        await shop.close()
    cpu_s = {name: [cpu for cpu, _ in runs] for name, runs in zip(shops, found, strict=True)}
    took_s = {name: [took for _, took in runs] for name, runs in zip(shops, found, strict=True)}
    for engine in ("sqlite", "valkey"):
        bare, hub = f"bare_{engine}", f"hub_{engine}"
        tell(f"command_cpu_ratio_{engine}", ratio(cpu_s[hub], cpu_s[bare]))
        tell(f"command_cpu_hub_{engine}", median_us(cpu_s[hub]))
        tell(f"baseline_command_cpu_{engine}", median_us(cpu_s[bare]))
        tell(f"command_took_hub_{engine}", statistics.median(took_s[hub]) * 1e3)
        tell(f"baseline_command_took_{engine}", statistics.median(took_s[bare]) * 1e3)
    tell("baseline_command_cpu", median_us(cpu_s["bare"]))
    tell("reference_adapter_cost_ratio", ratio(cpu_s["reference"], cpu_s["hub_sqlite"]))
    tell("tracing_cost_ratio_1pct", ratio(cpu_s["sampled"], cpu_s["hub_sqlite"]))
    tell("tracing_cost_ratio_full", ratio(cpu_s["recorded"], cpu_s["hub_sqlite"]))
    return {
        "command": median_us(cpu_s["bare"]),
        "command_sqlite": median_us(cpu_s["bare_sqlite"]),
        "command_valkey": median_us(cpu_s["bare_valkey"]),
    }
