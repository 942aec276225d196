"""The part of `make bench` about capacity leases: the cost of a request for the store without leases, and in blocks."""

import urllib.request

from loadtest.bench.processes import spent_s
from loadtest.bench.rig import Bench, cpu_s
from loadtest.cluster.programs import EMPTY_CALL

BLOCKS = (0, 5, 20, 50)


def bench_leases(bench: Bench, turns: int, seconds: float) -> None:
    best: dict[int, tuple[float, float, float]] = {}
    for _ in range(turns):
        for block in BLOCKS:
            with bench.gateway(core="", block=block, more=("--replicas", "2")) as (url, pid):
                first = urllib.request.Request(url, EMPTY_CALL, {"content-type": "application/json"})
                urllib.request.urlopen(first, timeout=30).read()  # the port is open before a replica is ready
                bench.throughput(url, 3)
                before = spent_s(pid), cpu_s(bench.store_pid)
                rate = bench.throughput(url, seconds)
                own, store = spent_s(pid) - before[0], cpu_s(bench.store_pid) - before[1]
            costs = store / rate / seconds, own / rate / seconds, rate
            best[block] = min(best.get(block, costs), costs)
    print("\n| block | store CPU per request | of that without | gateway CPU per request | requests/s |")
    print("|---|---|---|---|---|")
    for block, (store_s, own_s, rate) in best.items():
        share = store_s / best[BLOCKS[0]][0]
        cells = f"{store_s * 1e6:.1f} µs | {share:.0%} | {own_s * 1e6:.0f} µs | {rate:.0f}"
        print(f"| {block or 'off'} | {cells} |", flush=True)
