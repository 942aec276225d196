"""The cost of a provider outage for clients, by number of replicas: with one shared truth, and with each replica
judging for itself (in its own domain). `make outage` writes the table, and the plot to docs/outage.svg.

One of two deployments of a model begins to fail every call. Nothing is retried, so each call that still goes there is
an error for a client.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from loadtest.cluster.programs import free_port, store_binary, wait_for

REPLICAS = (1, 2, 4, 8)
CALLS, GAP_S = 400, 0.01
_CONFIG = """\
state: {{url: "redis://127.0.0.1:{store}", domain: "{domain}", standby: none, deadline: 2s}}
router:
  affinity: {{mode: off}}
  routing_strategy: round-robin
  max_attempts: 1
  load_shedding: {{max_failure_rate: 1}}
model_list:
  - {{id: failing, model_name: m, provider: {{base_url: "http://127.0.0.1:{failing}/v1", api_key: x}}}}
  - {{id: healthy, model_name: m, provider: {{base_url: "http://127.0.0.1:{healthy}/v1", api_key: x}}}}
"""


@contextlib.contextmanager
def running(*command: str, port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def cluster(folder: Path, replicas: int, is_shared: bool) -> Iterator[tuple[list[int], int]]:
    """Yields the ports of the replicas, and of the provider that will fail."""
    store, failing, healthy = free_port(), free_port(), free_port()
    with contextlib.ExitStack() as stack:
        options = ("--port", str(store), "--save", "", "--dir", str(folder))
        stack.enter_context(running(store_binary(), *options, port=store))
        for port in (failing, healthy):
            stack.enter_context(
                running(sys.executable, "-P", "-m", "loadtest.provider", "--port", str(port), port=port)
            )
        ports = [free_port() for _ in range(replicas)]
        for number, port in enumerate(ports):
            file = folder / f"{number}.yaml"
            domain = "all" if is_shared else f"own-{number}"
            file.write_text(_CONFIG.format(store=store, domain=domain, failing=failing, healthy=healthy))
            serve = (sys.executable, "-P", "-m", "gateway", "serve", "--config", str(file), "--port", str(port))
            stack.enter_context(running(*serve, port=port))
        yield ports, failing


def call(port: int, path: str, body: object, method: str = "POST") -> int:
    """Returns the status of the answer, 0 for any error."""
    url, headers = f"http://127.0.0.1:{port}{path}", {"content-type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)
    with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=30) as answer:
        return int(answer.status)
    return 0


def errors(folder: Path, replicas: int, is_shared: bool) -> int:
    """Makes calls through the replicas in turn. Returns how many failed after the provider began to fail."""
    chat = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    with cluster(folder, replicas, is_shared) as (ports, failing):
        for port in ports * 2:
            call(port, "/v1/chat/completions", chat)
        call(failing, "/control", {"error_rate": 1.0}, "PATCH")
        failed = 0
        for number in range(CALLS):
            failed += call(ports[number % replicas], "/v1/chat/completions", chat) != 200
            time.sleep(GAP_S)
        return failed


def plot(one_truth: list[int], each_alone: list[int]) -> str:
    """Returns an SVG with two lines over the number of replicas."""
    width, height, left, bottom = 560, 320, 60, 270
    most = max(*one_truth, *each_alone, 1)

    def point(index: int, value: int) -> tuple[float, float]:
        return (left + 20 + index * 140, bottom - value / most * 220)

    def line(values: list[int], colour: str, name: str) -> str:
        points = [point(index, value) for index, value in enumerate(values)]
        dots = "".join(
            f'<circle cx="{x}" cy="{y:.1f}" r="4" fill="{colour}"/>'
            f'<text x="{x}" y="{y - 10:.1f}" text-anchor="middle" fill="{colour}">{value}</text>'
            for (x, y), value in zip(points, values, strict=True)
        )
        path = " ".join(f"{x},{y:.1f}" for x, y in points)
        x, y = points[-1]
        return (
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>{dots}'
            f'<text x="{x}" y="{y - 28:.1f}" text-anchor="end" fill="{colour}" font-weight="bold">{name}</text>'
        )

    axis = "".join(
        f'<text x="{point(index, 0)[0]}" y="{bottom + 22}" text-anchor="middle">{count}</text>'
        for index, count in enumerate(REPLICAS)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="13"><rect width="{width}" height="{height}" fill="white"/>'
        f'<line x1="{left}" y1="{bottom}" x2="{width - 20}" y2="{bottom}" stroke="#888"/>{axis}'
        f'<text x="{(left + width) / 2}" y="{bottom + 42}" text-anchor="middle">replicas</text>'
        f'<text x="18" y="{bottom / 2 + 20}" text-anchor="middle" transform="rotate(-90 18 {bottom / 2 + 20})">'
        "errors that clients saw</text>"
        f"{line(each_alone, '#b5452c', 'each replica for itself')}{line(one_truth, '#1f6f54', 'one truth')}</svg>\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.trials.outage", description=__doc__)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the picture there")
    options = parser.parse_args()
    counted: dict[bool, list[int]] = {True: [], False: []}
    print("| replicas | errors, one truth | errors, each for itself |\n|---|---|---|")
    for replicas in REPLICAS:
        for is_shared in (True, False):
            with tempfile.TemporaryDirectory() as folder:
                counted[is_shared].append(errors(Path(folder), replicas, is_shared))
        print(f"| {replicas} | {counted[True][-1]} | {counted[False][-1]} |", flush=True)
    if options.plot:
        options.plot.write_text(plot(counted[True], counted[False]))


if __name__ == "__main__":
    main()
