"""The part of `make bench` about several processes: what a request costs them and the store as they become more.

Here load, upstream and store run on the same cores, so requests per second stop growing where the cores end. What
shows whether processes get in each other's way is the CPU time of a request.
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
            found = own / rate / seconds, store / rate / seconds, rate
            best[count] = min(best.get(count, found), found)
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
    """What a script takes while there is nothing but heartbeats, and the bytes of a request to and from the store."""
    bench.store_command("CONFIG", "RESETSTAT")
    time.sleep(BEATS_S)
    (beat_us,) = re.findall(r"cmdstat_evalsha:.*usec_per_call=([\d.]+)", bench.store_command("INFO", "commandstats"))
    bench.store_command("CONFIG", "RESETSTAT")
    count = seconds * bench.throughput(url, seconds)
    stats = bench.store_command("INFO", "stats")
    sent, received = (int(re.findall(rf"total_net_{way}_bytes:(\d+)", stats)[0]) / count for way in ("input", "output"))
    return float(beat_us), sent, received
