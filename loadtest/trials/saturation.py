"""Measures the shared truth on a machine without spare CPU. `make saturation` prints the table; the case with a distant
store needs Linux and root.

Replicas, store, fake provider and load share the cores of this machine. No replica may leave the shared store while
that answers, only shed calls may fail, and afterwards no lease may be left.
"""

import argparse
import contextlib
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from loadtest.children import die_with_parent
from loadtest.cluster.distant_link import FAR, NEAR, distant_link
from loadtest.cluster.local_cluster import LocalCluster
from loadtest.cluster.scenario import Scenario

REPLICAS = (2, 4)
CALLERS = (64, 256)
OVER = 2  # times the capacity, in an open loop
STOPS_S, STOP_EVERY_S = (0.2, 0.5, 0.9), 3.0
FAR_MS = 40
SETTLED_S = 15.0
MODES = {"plain": "", "streamed": "-stream"}


class Case(msgspec.Struct, frozen=True):
    replicas: int
    load: str
    """Flags of the load test; `{rps}` is twice the rate that the first case with these replicas reached."""
    mode: str = "plain"
    trouble: str = ""
    """`hog`: a busy process on each core; `stops`: the store is paused now and then; `far`: it is FAR_MS away."""

    @property
    def name(self) -> str:
        return ", ".join(filter(None, (self.load.format(rps=f"{OVER} x capacity"), self.mode, self.trouble)))


class Outcome(msgspec.Struct, frozen=True):
    per_s: float
    failures: dict[str, int]
    switches: int
    standby_s: float
    decision_ms: tuple[float, float]
    """p50 and p99."""
    leases_left: int
    states: Sequence[str]
    """States of the breaker as the replicas show it; one entry when all agree."""

    @property
    def is_good(self) -> bool:
        shed = {code: count for code, count in self.failures.items() if code.startswith("503")}
        return not self.switches and not self.leases_left and len(self.states) == 1 and shed == self.failures


def cases() -> Iterator[Case]:
    for replicas in REPLICAS:
        for trouble in ("", "hog"):
            for mode in MODES:
                for callers in CALLERS:
                    yield Case(replicas, f"-concurrent {callers}", mode, trouble)
                yield Case(replicas, "-rps {rps} -concurrent 1000 -arrivals constant", mode, trouble)
        for trouble in ("stops", "far"):
            yield Case(replicas, f"-concurrent {CALLERS[0]}", trouble=trouble)


@contextlib.contextmanager
def hogs() -> Iterator[None]:
    spin = (sys.executable, "-P", "-c", "while True: pass")
    busy = [subprocess.Popen(spin, preexec_fn=die_with_parent) for _ in os.sched_getaffinity(0)]
    try:
        for process, core in zip(busy, os.sched_getaffinity(0), strict=True):
            os.sched_setaffinity(process.pid, {core})
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


@contextlib.contextmanager
def stops(cluster: LocalCluster) -> Iterator[None]:
    """Pauses the store repeatedly, for random times."""
    is_over, draw = threading.Event(), random.Random(1)

    def run() -> None:
        while not is_over.wait(STOP_EVERY_S):
            cluster.signal("store", signal.SIGSTOP)
            time.sleep(draw.choice(STOPS_S))
            cluster.signal("store", signal.SIGCONT)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@contextlib.contextmanager
def trouble(case: Case, cluster: LocalCluster) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        if case.trouble == "hog":
            stack.enter_context(hogs())
        if case.trouble == "stops":
            stack.enter_context(stops(cluster))
        yield


def measure(case: Case, seconds: float, capacity: float) -> Outcome:
    scenario = Scenario(
        title="", load="", providers={"only": {}}, replicas=case.replicas, deployment={"max_parallel": 2000}
    )
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if is_far := case.trouble == "far":
            stack.enter_context(distant_link(FAR_MS))
        store = (NEAR, FAR) if is_far else ("127.0.0.1", "127.0.0.1")
        cluster = stack.enter_context(LocalCluster(scenario, folder, store=store))
        with trouble(case, cluster):
            summary = run_load(case, cluster.urls, folder / "summary.json", seconds, capacity)
        shown = wait_until_settled(cluster.urls)
        scrapes = [fetch(url, "/metrics") for url in cluster.urls]
        logs = "".join((folder / f"replica-{n + 1}.log").read_text(errors="replace") for n in range(case.replicas))
    return Outcome(
        per_s=summary["ok_per_s"],
        failures=summary["failures"],
        switches=sum(map(switches, scrapes)),
        standby_s=sum(map(float, re.findall(r"back on the shared store after ([\d.]+) s", logs))),
        decision_ms=(summary["decision"]["p50_ms"], summary["decision"]["p99_ms"]),
        leases_left=max(deployment["active_requests"] for deployment in shown),
        states=sorted({deployment["state"] for deployment in shown}),
    )


def run_load(case: Case, urls: Sequence[str], report: Path, seconds: float, capacity: float) -> dict[str, Any]:
    load = case.load.format(rps=round(OVER * capacity))
    flags = shlex.split(f"-duration {seconds}s -warmup 2s -timeout 60s {load} {MODES[case.mode]}")
    command = [sys.executable, "-P", "-m", "loadtest", "-url", ",".join(urls), *flags, "-json", str(report)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=False, preexec_fn=die_with_parent)
    summary: dict[str, Any] = msgspec.json.decode(report.read_bytes())
    return summary


def wait_until_settled(urls: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the deployment as each replica shows it, after all calls have ended."""
    ends_s = time.monotonic() + SETTLED_S
    while True:
        pages = [msgspec.json.decode(fetch(url, "/v1/admin/models/stats")) for url in urls]
        shown = [page["load_balancer"]["gpt-4"]["deployments"]["only"] for page in pages]
        if not any(deployment["active_requests"] for deployment in shown) or time.monotonic() > ends_s:
            return shown
        time.sleep(0.1)


def fetch(url: str, path: str) -> str:
    with urllib.request.urlopen(url.replace("/v1/chat/completions", path), timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def switches(scrape: str) -> int:
    counts = re.findall(r'^pllm_state_switches_total\{.*to="standby".*\} (\S+)$', scrape, re.MULTILINE)
    return round(sum(map(float, counts)))


def row(case: Case, found: Outcome) -> str:
    p50, p99 = found.decision_ms
    failed = ", ".join(f"{count} x {code}" for code, count in found.failures.items()) or "0"
    away = f"{found.switches} | {found.standby_s:.1f} s"
    cells = f"{found.per_s:,.0f} | {failed} | {away} | {p50:.1f} / {p99:.1f} ms | {found.leases_left}"
    return f"| {case.replicas} | {case.name} | {cells} | {', '.join(found.states)} |"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    options = parser.parse_args(arguments)
    head = ("replicas", "load", "answers/s", "failed", "left the shared store", "on standby", "decision p50 / p99")
    print(f"| {' | '.join((*head, 'leases left', 'breaker'))} |")
    print("|---" * 9 + "|")
    capacity: dict[int, float] = {}
    is_good = True
    for case in cases():
        if options.only not in case.name and case.replicas in capacity:
            continue
        found = measure(case, options.seconds, capacity.get(case.replicas, 0))
        capacity.setdefault(case.replicas, found.per_s)
        is_good = is_good and found.is_good
        print(row(case, found), flush=True)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
