"""The measurements of `make bench-peers`, each of one gateway in new processes: alone on a core, or in an outage."""

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from loadtest.bench.rig import GATEWAY_CORE, OTHER_CORE, Bench
from loadtest.bench.streams import CHUNKS_PER_S, read_streams, stream_source
from loadtest.children import die_with_parent
from loadtest.cluster.programs import free_port, wait_for, wrk_script
from loadtest.peers.figures import Closed, Outage, Plain, Streams
from loadtest.peers.gateways import Peer, PeerTrouble
from loadtest.peers.recipes import ATTEMPT_S, SLOW_S, ReplicaPorts
from loadtest.peers.replica import Replica, running, several

WARMUP_S = 2
RATE_MOST = 4000.0  # above, the load test on its half of a core would measure itself
STREAMS = 40
HEALTHY_MS = 50
OUTAGE_RATE = 25  # calls per second on all replicas together: a sixth of the slowest gateway's rate on one core
PROVIDER_MS = 20  # with CALLERS the load of the public ai-gateway-bench
CALLERS = (1, 4, 16, 64)
CALL_MOST_S = 15  # longer than both attempts together


class Trial(msgspec.Struct, frozen=True):
    """An outage of the first provider."""

    behaviour: dict[str, float]
    lasts_s: float  # long enough for timeouts and breakers to take effect
    warmup_s: float = WARMUP_S


OUTAGES = {
    "answers 500 at once": Trial({"error_rate": 1, "latency_ms": 5}, 4),
    "hangs": Trial(
        {"stall_rate": 1}, 2 * ATTEMPT_S, 5
    ),  # with a warm-up that is long enough to learn the usual latency
}


def measure_plain(bench: Bench, peer: Peer, home: Path, seconds: float) -> Plain:
    with running(peer, home, bench.folder / peer.name, _ports(bench, bench.upstream), GATEWAY_CORE) as replica:
        script = wrk_script(replica.launch.model, replica.launch.headers)
        bench.throughput(replica.url, WARMUP_S, script)
        per_s = bench.throughput(replica.url, seconds, script)
        rate = round(min(per_s / 2, RATE_MOST))
        direct = bench.at_rate(bench.direct, "constant", seconds, rate, warmup_s=1)["sent"]
        report = bench.at_rate(replica.url, "constant", seconds, rate, replica.flags(), warmup_s=1)
        if report["failed"]:
            raise PeerTrouble(f"{report['failed']} calls failed at {rate} requests/s: {report['failures']}")
        through = report["sent"]
        return Plain(
            per_s=per_s,
            rate=rate,
            added_p50_ms=through["p50_ms"] - direct["p50_ms"],
            added_p99_ms=through["p99_ms"] - direct["p99_ms"],
            rss_mib=replica.rss_mib(),
            late_p99_ms=report["late"]["p99_ms"],
        )


def measure_closed(bench: Bench, peer: Peer, home: Path, seconds: float) -> dict[int, Closed]:
    """Returns the figures by number of callers."""
    port = free_port()
    source = (sys.executable, "-P", "-m", "loadtest.bench.delayed_source", "--port", str(port))
    direct, found = f"http://127.0.0.1:{port}/v1/chat/completions", {}
    with (
        bench.running(OTHER_CORE, *source, "--delay-ms", str(PROVIDER_MS), port=port),
        running(peer, home, bench.folder / peer.name, _ports(bench, port), GATEWAY_CORE) as replica,
    ):
        script = wrk_script(replica.launch.model, replica.launch.headers)
        bench.at_concurrency(replica.url, max(CALLERS), WARMUP_S, script)
        for callers in CALLERS:
            alone = bench.at_concurrency(direct, callers, seconds)
            through = bench.at_concurrency(replica.url, callers, seconds, script)
            found[callers] = Closed(
                per_s=through.per_s,
                added_p50_ms=through.p50_ms - alone.p50_ms,
                added_p99_ms=through.p99_ms - alone.p99_ms,
            )
    return found


def measure_streams(bench: Bench, peer: Peer, home: Path, seconds: float) -> Streams:
    folder, chunks = bench.folder / peer.name, round(seconds * CHUNKS_PER_S)
    with stream_source(bench) as port:
        ports = _ports(bench, port)
        with running(peer, home, folder, ports, GATEWAY_CORE, is_stream=True) as replica:
            read_streams(replica.url, STREAMS, 1, CHUNKS_PER_S // 2, _sink_flags(replica))
            before = replica.cpu_s()
            report = read_streams(replica.url, STREAMS, 1, chunks, _sink_flags(replica))
            used_s = replica.cpu_s() - before
    if not report["chunks"]:
        raise PeerTrouble("no chunk of its streams arrived")
    return Streams(
        cpu_us=1e6 * used_s / report["chunks"],
        late_p99_ms=report["lateness"]["p99_ms"],
        whole_ratio=min(report["complete"] / STREAMS, report["chunks"] / (STREAMS * chunks)),
    )


def _sink_flags(replica: Replica) -> list[str]:
    """Returns flags of the stream sink."""
    headers = replica.launch.headers.items()
    return [
        "--model",
        replica.launch.model,
        *(part for name, value in headers for part in ("--header", f"{name}: {value}")),
    ]


def measure_outage(bench: Bench, peer: Peer, home: Path, trial: Trial, replicas: int) -> Outage:
    bench.store_command("FLUSHALL")  # no gateway starts with the state of the previous one
    with _provider() as primary, _provider() as backup:
        replica_ports = [
            ReplicaPorts(port=free_port(), primary=primary, backup=backup, store=bench.store, is_cluster=True)
            for _ in range(replicas)
        ]
        with several(peer, home, bench.folder, replica_ports) as running_replicas:
            healthy = run_load(bench.folder, running_replicas, trial.warmup_s)
            if healthy["failed"]:
                raise PeerTrouble(f"{healthy['failed']} calls failed with healthy providers: {healthy['failures']}")
            _control(primary, "PATCH", "/control", trial.behaviour)
            _control(primary, "POST", "/control/reset", {})
            report = run_load(bench.folder, running_replicas, trial.lasts_s)
            received = _control(primary, "GET", "/control")["counts"]["requests"]
    return Outage(
        calls=report["requests"],
        failed=report["failed"],
        slow=report["ok"] - report["goodput"]["kept"],
        paid=received,
        healthy_p99_ms=healthy["latency"]["p99_ms"],
        failures=report["failures"],
    )


def run_load(folder: Path, replicas: Sequence[Replica], seconds: float) -> dict[str, Any]:
    """Runs an open loop that uses the replicas in turn. Returns the report of the load test."""
    file = folder / "outage.json"
    file.unlink(missing_ok=True)
    flags = ["-url", ",".join(replica.url for replica in replicas), *replicas[0].flags()]
    flags += ["-rps", str(OUTAGE_RATE), "-arrivals", "constant", "-duration", f"{seconds:g}s"]
    flags += ["-slo", f"latency={SLOW_S:g}s", "-timeout", f"{CALL_MOST_S}s", "-json", str(file)]
    # The report has the failed calls, so the exit code is not needed.
    run = subprocess.run([sys.executable, "-P", "-m", "loadtest", *flags], capture_output=True, text=True)
    if not file.exists():
        raise PeerTrouble(f"the load test ended without a report: {run.stderr.strip()[-300:]}")
    report: dict[str, Any] = json.loads(file.read_text())
    return report


def _ports(bench: Bench, provider: int) -> ReplicaPorts:
    bench.store_command("FLUSHALL")
    return ReplicaPorts(port=free_port(), primary=provider, backup=provider, store=bench.store, is_cluster=False)


@contextlib.contextmanager
def _provider() -> Iterator[int]:
    port = free_port()
    command = (sys.executable, "-P", "-m", "loadtest.provider", "--port", str(port))
    behaviour = ("--behaviour", json.dumps({"latency_ms": HEALTHY_MS}))
    process = subprocess.Popen(
        [*command, *behaviour], stdout=subprocess.DEVNULL, start_new_session=True, preexec_fn=die_with_parent
    )
    try:
        wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _control(port: int, method: str, path: str, body: dict[str, float] | None = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        state: dict[str, Any] = json.load(answer)
    return state
