"""The part of `make bench` about several processes: the cost of a request for them and the store as their number grows.

Load, upstream and store run on the same cores here, so the number of cores limits the requests per second. The CPU time
of a request shows whether processes slow each other down.
"""

import re
import time

from loadtest.bench.rig import Bench, cpu_s, family

COUNTS = (1, 2, 4)
BEATS_S = 5.0


def spent_s(pid: int) -> float:
    return sum(map(cpu_s, family(pid)))


def bench_processes(bench: Bench, turns: int, seconds: float) -> None:
    best: dict[int, tuple[float, float, float]] = {}
    for _ in range(turns):
        for count in COUNTS:
            with bench.gateway(core="", more=("--replicas", str(count))) as (url, pid):
                bench.throughput(url, 3)
                before = spent_s(pid), cpu_s(bench.store_pid)
                rate = bench.throughput(url, seconds)
                own, store = spent_s(pid) - before[0], cpu_s(bench.store_pid) - before[1]
            costs = own / rate / seconds, store / rate / seconds, rate
            best[count] = min(best.get(count, costs), costs)
    with bench.gateway(core="", more=("--replicas", str(COUNTS[-1]))) as (url, _):
        bench.throughput(url, 3)
        beat_us, sent, received = _quiet_and_busy(bench, url, seconds)
    print("\n| processes | requests/s | gateway CPU per request | store's | its share | against one process |")
    print("|---|---|---|---|---|---|")
    for count, (own_s, store_s, rate) in best.items():
        ratio = sum(best[COUNTS[0]][:2]) / (own_s + store_s)
        cells = f"{rate:.0f} | {own_s * 1e6:.0f} µs | {store_s * 1e6:.0f} µs | {store_s / (own_s + store_s):.0%}"
        print(f"| {count} | {cells} | {ratio:.2f} |", flush=True)
    print(f"\nA heartbeat keeps the store busy for {beat_us:.0f} µs; a request is {sent:.0f} bytes on the way to it")
    print(f"and {received:.0f} back.")


def _quiet_and_busy(bench: Bench, url: str, seconds: float) -> tuple[float, float, float]:
    """Returns the µs of a script while only heartbeats run, and the bytes of a request to and from the store."""
    bench.store_command("CONFIG", "RESETSTAT")
    time.sleep(BEATS_S)
    (beat_us,) = re.findall(r"cmdstat_fcall:.*usec_per_call=([\d.]+)", bench.store_command("INFO", "commandstats"))
    bench.store_command("CONFIG", "RESETSTAT")
    count = seconds * bench.throughput(url, seconds)
    stats = bench.store_command("INFO", "stats")
    sent, received = (int(re.findall(rf"total_net_{way}_bytes:(\d+)", stats)[0]) / count for way in ("input", "output"))
    return float(beat_us), sent, received
