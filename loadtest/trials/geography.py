"""`make geography`: two regions with a distant link between them, each with its own store, two replicas and a fake
provider. The load of one region rises above its provider's capacity and falls again. It needs Linux and root.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from loadtest.cluster.distant_link import FAR, NEAR, distant_link
from loadtest.cluster.programs import free_port, store_binary, wait_for

EU, US = "eu", "us"
# Capacity of each provider: 20 requests a second. A short stall of the machine must not leave many places empty.
PLACES, SERVICE_MS = 40, 2000
PHASES = (12, 30, 12)  # requests per second in the eu
US_RATE = 6
ROUND_TRIP_MS = 80
REPLICAS = 2
MEASURED_MOST_S = 20.0
SAMPLE_S = 0.1
START_S = 1.0  # that a load needs to start


class Phase(msgspec.Struct, frozen=True):
    """Results of the requests of one region, per second."""

    requested: float
    in_use: float  # average number of places in use at home; 0 if not measured
    at_home: float
    spilled: float
    failed: int
    p50_ms: float
    p99_ms: float

    def cells(self) -> list[str]:
        """Returns the cells of the table. ``carried``: the rate that all places at home can serve, by the time for
        which a call holds one (Little's law).
        """
        home = ["–", "–", "–"]
        if self.in_use:
            carried = self.at_home * PLACES / self.in_use
            home = [f"{self.in_use:.1f}", f"{carried:.1f}", f"{max(0.0, self.requested - carried):.1f}"]
        results = [f"{self.at_home:.1f}", f"{self.spilled:.1f}", str(self.failed)]
        return [f"{self.requested:g}", *home, *results, f"{self.p50_ms:.0f} ms", f"{self.p99_ms:.0f} ms"]


class World:
    """The processes of both regions; use as a context manager."""

    def __init__(self, folder: Path, round_trip_ms: float) -> None:
        self._folder, self._round_trip_ms = folder, round_trip_ms
        self._stack = contextlib.ExitStack()
        self._providers = {EU: free_port(), US: free_port()}
        self.replicas: dict[str, list[int]] = {}

    def __enter__(self) -> "World":
        with self._stack:
            self._stack.enter_context(distant_link(self._round_trip_ms))
            for region, port in self._providers.items():
                behaviour = json.dumps({"latency_ms": SERVICE_MS})
                command = ("loadtest.provider", "--host", NEAR, "--name", region, "--behaviour", behaviour)
                self._start(port, sys.executable, "-P", "-m", *command, "--port", str(port), host=NEAR)
            self.replicas = {region: self._region(region) for region in self._providers}
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _region(self, region: str) -> list[int]:
        """Starts a store and replicas. Returns the ports of the replicas."""
        store, folder = free_port(), self._folder / region
        folder.mkdir()
        self._start(store, store_binary(), "--port", str(store), "--save", "", "--dir", str(folder))
        (folder / "gateway.yaml").write_text(yaml.safe_dump(self._configuration(region, store)))
        ports = [free_port() for _ in range(REPLICAS)]
        for port in ports:
            serve = ("gateway", "serve", "--config", str(folder / "gateway.yaml"), "--port", str(port))
            self._start(port, sys.executable, "-P", "-m", *serve)
        return ports

    def _configuration(self, own: str, store: int) -> dict[str, Any]:
        return {
            "server": {"region": own},
            # The machine also runs the load, the link and the providers.
            "state": {"url": f"redis://127.0.0.1:{store}", "deadline": "1s"},
            "router": {"latency_threshold": "30s", "affinity": {"mode": "off"}},
            "model_list": [
                {
                    "id": f"gpt-4-{region}",
                    "model_name": "gpt-4",
                    "region": region,
                    "max_parallel": PLACES,
                    "concurrency": "fixed",
                    "provider": {"base_url": f"http://{NEAR if region == own else FAR}:{port}/v1", "api_key": "none"},
                }
                for region, port in self._providers.items()
            ],
        }

    def _start(self, port: int, *command: str, host: str = "127.0.0.1") -> None:
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        self._stack.callback(_end, process)
        wait_for(port, process, host)

    def explained(self, region: str) -> dict[str, Any]:
        """Returns each deployment as replicas of the region see it."""
        explanation = json.loads(_get(self.replicas[region][0], "/v1/admin/explain?model=gpt-4"))
        return {each["deployment_id"]: each for each in explanation["candidates"]}

    def wait_until_measured(self) -> None:
        ends_at_s = time.monotonic() + MEASURED_MOST_S
        while any(each["rtt_ms"] is None for region in self.replicas for each in self.explained(region).values()):
            if time.monotonic() > ends_at_s:
                raise SystemExit("the replicas have not measured the round trips to the providers")
            time.sleep(0.1)

    def in_use(self, region: str, seconds: float) -> float:
        """Returns the average number of places in use at home during one phase, after the first calls could end."""
        home, samples = f"gpt-4-{region}", list[int]()
        while not self.explained(region)[home]["active"]:
            time.sleep(SAMPLE_S)
        ends = time.monotonic() + seconds
        time.sleep(SERVICE_MS / 1000)
        while time.monotonic() < ends:
            samples.append(self.explained(region)[home]["active"])
            time.sleep(SAMPLE_S)
        return sum(samples) / len(samples)

    def phase(self, region: str, rate: float, seconds: float) -> Phase:
        with self.load(region, rate, seconds) as report:
            in_use = self.in_use(region, seconds)
        return _phase(json.loads(report.read_text()), region, rate, in_use)

    @contextlib.contextmanager
    def load(self, region: str, rate: float, seconds: float) -> Iterator[Path]:
        """Runs a load of evenly spaced calls. Its report exists after the block."""
        urls = ",".join(f"http://127.0.0.1:{port}" for port in self.replicas[region])
        report = self._folder / f"{region}.json"
        command = [sys.executable, "-P", "-m", "loadtest", "-url", urls, "-rps", f"{rate:g}", "-arrivals", "constant"]
        command += ["-duration", f"{seconds}s", "-json", str(report), "-fail-over", "1"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            yield report
            if process.wait(seconds + 60):
                raise SystemExit(f"the load on {region} could not be run")
        finally:
            _end(process)


def _phase(report: dict[str, Any], region: str, requested: float, in_use: float) -> Phase:
    served = {name: group["ok"] for name, group in report["groups"]["deployment"].items()}
    rate_of_one, latency = requested / report["requests"], report["latency"]
    at_home = served.pop(f"gpt-4-{region}", 0) * rate_of_one
    spilled = sum(served.values()) * rate_of_one
    return Phase(requested, in_use, at_home, spilled, report["failed"], latency["p50_ms"], latency["p99_ms"])


def _get(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        body: bytes = answer.read()
        return body


def _end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def measure(world: World, seconds: float) -> Iterator[tuple[str, Phase]]:
    """Yields the phases of the eu, and then the us, which had the same load all the time."""
    world.wait_until_measured()
    whole = len(PHASES) * (seconds + SERVICE_MS / 1000 + START_S)
    with world.load(US, US_RATE, whole) as report:
        for rate in PHASES:
            yield EU, world.phase(EU, rate, seconds)
    yield US, _phase(json.loads(report.read_text()), US, US_RATE, 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.trials.geography", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="of each phase")
    parser.add_argument("--round-trip-ms", type=float, default=ROUND_TRIP_MS)
    options = parser.parse_args()
    if not options.seconds > SERVICE_MS / 1000:
        parser.error(f"--seconds: a phase must last longer than a call, which takes {SERVICE_MS / 1000:g} seconds")
    with tempfile.TemporaryDirectory() as folder, World(Path(folder), options.round_trip_ms) as world:
        head = ("region", "asked /s", f"of {PLACES} places taken", "home can carry", "over that", "at home", "spilled")
        print(f"| {' | '.join((*head, 'failed', 'p50', 'p99'))} |\n{'|---' * 10}|", flush=True)
        for region, phase in measure(world, options.seconds):
            print(f"| {region} | {' | '.join(phase.cells())} |", flush=True)
        print("\n| seen from | gpt-4-eu | gpt-4-us |\n|---|---|---|")
        for region in (EU, US):
            seen = world.explained(region)
            print(f"| {region} | {seen['gpt-4-eu']['rtt_ms']} ms | {seen['gpt-4-us']['rtt_ms']} ms |")


if __name__ == "__main__":
    main()
