"""The part of `make bench` about several routing domains: the cost of a request for each master of a Cluster of three.

Decisions of a domain run on one core of the store. Domains distribute them, so the busiest master limits the growth of
a cluster.
"""

import contextlib
import json
import time
from collections.abc import Iterator, Sequence

from loadtest.bench.rig import OTHER_CORE, Bench, cpu_s, send_command
from loadtest.cluster.programs import free_port, store_binary

SLOTS = 16_384
READY_S = 20.0
DOMAINS = ("west", "default", "east")  # one for each third of the slots


@contextlib.contextmanager
def _masters(bench: Bench) -> Iterator[tuple[list[int], list[int]]]:
    """Yields the ports and pids of the masters, once they form one Cluster."""
    ports, buses = [free_port() for _ in DOMAINS], [free_port() for _ in DOMAINS]
    with contextlib.ExitStack() as stack:
        pids = []
        for number, port in enumerate(ports):
            folder = bench.folder / f"master-{port}"
            folder.mkdir()
            options = ["--port", str(port), "--save", "", "--dir", str(folder), "--cluster-enabled", "yes"]
            options += ["--cluster-port", str(buses[number])]
            pids.append(stack.enter_context(bench.running(OTHER_CORE, store_binary(), *options, port=port)))
            first, last = SLOTS * number // len(ports), SLOTS * (number + 1) // len(ports) - 1
            send_command(port, "CLUSTER", "ADDSLOTSRANGE", first, last)
        for port in ports[1:]:
            send_command(port, "CLUSTER", "MEET", "127.0.0.1", ports[0], buses[0])
        ends_at_s = time.monotonic() + READY_S
        while not all("cluster_state:ok" in send_command(port, "CLUSTER", "INFO") for port in ports):
            if time.monotonic() > ends_at_s:
                raise SystemExit("the Cluster of the bench does not come up")
            time.sleep(0.1)
        yield ports, pids


def _config(upstream: int, ports: Sequence[int], domains: Sequence[str]) -> str:
    provider = {"base_url": f"http://127.0.0.1:{upstream}/v1", "api_key": "bench"}
    nodes = ",".join(f"127.0.0.1:{port}" for port in ports)
    entries = [
        {"id": f"gpt-4-{domain}", "model_name": "gpt-4", "domain": domain, "max_parallel": 1000, "provider": provider}
        for domain in domains
    ]
    return json.dumps({"state": {"url": f"redis+cluster://{nodes}", "deadline": "100ms"}, "model_list": entries})


def bench_domains(bench: Bench, turns: int, seconds: float) -> None:
    print("\n| domains | requests/s | gateway CPU per request | CPU per request of each master | of the busiest |")
    print("|---|---|---|---|---|")
    with _masters(bench) as (ports, pids):
        for count in (1, len(DOMAINS)):
            best: tuple[float, float, list[float]] | None = None
            for _ in range(turns):
                text = _config(bench.upstream, ports, DOMAINS[:count])
                with bench.gateway(text=text) as (url, pid):
                    bench.throughput(url, 2)
                    before = [cpu_s(each) for each in (pid, *pids)]
                    rate = bench.throughput(url, seconds)
                    own, *masters = (cpu_s(each) - then for each, then in zip((pid, *pids), before, strict=True))
                costs = (
                    sum(masters) / rate / seconds,
                    own / rate / seconds,
                    [each / rate / seconds for each in masters],
                )
                if best is None or costs[0] < best[0]:
                    best, best_rate = costs, rate
            assert best is not None
            shown = ", ".join(f"{each * 1e6:.0f}" for each in best[2])
            cells = f"{best_rate:.0f} | {best[1] * 1e6:.0f} µs | {shown} µs | {max(best[2]) * 1e6:.0f} µs"
            print(f"| {count} | {cells} |", flush=True)
