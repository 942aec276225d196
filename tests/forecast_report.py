"""`make forecast`: how good the forecast is, and what it does to clients when it is right and when it is wrong. A
report, not a test.
"""

from collections.abc import Mapping
from statistics import mean

from shared_state.scripts import Script
from tests.support.foresight import Forecast, Rig, percentile
from tests.support.seasons import MINUTE_MS, WEEK, Forecasting, missing, recorded
from tests.support.state import Cluster, virtual_scripts
from tests.support.stores import RedisCli, RedisQueue, running_server

ACCURACY_SEEDS = range(1, 6)
COST_SEEDS = (1, 2)
WRONG_SEEDS = range(1, 9)  # one p99 of ten thousand requests is chance by 2 or 3 %
LOAD = 0.9
HOURS = range(0, 24, 6)
FORECASTS: tuple[Forecast, ...] = ("off", "right", "shuffled", "learned shuffled")


def accuracy(cli: RedisCli, scripts: Mapping[str, Script], seed: int) -> str:
    cluster = Cluster(cli, scripts)
    cluster.configure("a", forecast_ahead_ms=5 * MINUTE_MS)
    cluster.beat()
    forecasting, gone = Forecasting(cluster), missing(seed, 7 * WEEK)
    for _ in forecasting.hours({"a": recorded(seed)}, gone):
        pass
    shown = forecasting.shown("a")
    cells = [
        f"{float(shown[f'{name}_error{guess}']):.1f}"
        for name in ("arrivals", "latency")
        for guess in ("", "_hour", "_week")
    ]
    return f"| {seed} | {len(gone)} | " + " | ".join(cells) + " |"


def cost(queue: RedisQueue, scripts: Mapping[str, Script], seed: int) -> list[str]:
    lines, seen, base = [], None, 0.0
    for forecast in FORECASTS:
        rig = Rig(queue, scripts, seed, LOAD, forecast)
        if seen is not None:
            rig.learn(seen)
        rig.run(HOURS)
        seen = seen or rig.seen
        p50, p95, p99 = (percentile(rig.latencies, share) for share in (0.5, 0.95, 0.99))
        base = base or p99
        figures = f"{len(rig.latencies)} | {p50:.0f} | {p95:.0f} | {p99:.0f} | {p99 / base - 1:+.1%}"
        lines.append(f"| {seed} | {forecast} | {figures} |")
    return lines


def wrong(queue: RedisQueue, scripts: Mapping[str, Script], seed: int) -> float:
    """What a shuffled forecast adds to the p99, as a share of it."""
    without, shuffled = (Rig(queue, scripts, seed, LOAD, forecast) for forecast in ("off", "shuffled"))
    without.run(HOURS)
    shuffled.learn(without.seen)
    shuffled.run(HOURS)
    return percentile(shuffled.latencies, 0.99) / percentile(without.latencies, 0.99) - 1


def main() -> None:
    scripts = virtual_scripts()
    for store in running_server("valkey"):
        with RedisQueue(store.url) as queue:
            queue.load(scripts.values())
            guesses = "forecast | last hour | last week"
            print(f"| series | missing | arrivals/min: {guesses} | latency, ms: {guesses} |")
            print("|" + 8 * "---|")
            for seed in ACCURACY_SEEDS:
                print(accuracy(queue, scripts, seed), flush=True)
            print("\n| requests | forecast | measured | p50 ms | p95 | p99 | p99 against off |")
            print("|" + 7 * "---|")
            for seed in COST_SEEDS:
                print("\n".join(cost(queue, scripts, seed)), flush=True)
            added = [wrong(queue, scripts, seed) for seed in WRONG_SEEDS]
            each = ", ".join(f"{share:+.1%}" for share in added)
            print(f"\nshuffled, of seeds {min(WRONG_SEEDS)} to {max(WRONG_SEEDS)}: {each}; mean {mean(added):+.1%}")


if __name__ == "__main__":
    main()
