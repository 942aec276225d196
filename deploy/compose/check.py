"""`make compose-test`: brings the compose file's cluster up and counts what clients lose while it is troubled.

Needs a Docker engine with Compose (v2, or 1.29). Images come from the variables of the compose file; what it started
is taken down again. Exit code 1 when a client lost anything that it need not have lost: with a replica that is killed
goes what it has in hand at that moment, and nothing after.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clients import KEYS, PATIENCE_S, PORT, URL, Seen, is_excused, load, official_clients, together

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "pllm-check"
SERVICES = ("balancer", "gateway", "valkey", "provider-a", "provider-b", "provider-c", "prometheus")
HALT_S = 1.0
COMMANDS = {"v2": ["docker", "compose"], "v1": ["docker-compose"]}


def output_of(*command: str) -> str:
    """What it prints; nothing if it is not here or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def choose_compose(wanted: str | None) -> tuple[list[str], str]:
    """The command and its version: the one that was asked for, or v2 where there is one."""
    for name, command in COMMANDS.items():
        version = output_of(*command, "version", "--short")
        if wanted in (None, name) and version:
            return command, version
    raise SystemExit(
        f"{' or '.join(' '.join(COMMANDS[name]) for name in COMMANDS if wanted in (None, name))}: not here"
    )


class Cluster:
    def __init__(self, compose_command: list[str]) -> None:
        self._command = [*compose_command, "-p", PROJECT, "-f", str(ROOT / "docker-compose.yml")]
        self._environment = os.environ | KEYS | {"PLLM_PORT": str(PORT), "OTEL_EXPORTER_OTLP_ENDPOINT": ""}
        self.killed_s: tuple[float, float] | None = None  # not before, not after; since 1970

    def compose(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._command, *arguments], env=self._environment, cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"compose {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def refusal_without(self, variable: str) -> str:
        """What Compose says of the file when this variable is not set."""
        kept = {name: value for name, value in self._environment.items() if name != variable}
        with tempfile.NamedTemporaryFile() as empty:  # whatever a .env beside the file says
            command = [*self._command, "--env-file", empty.name, "config", "-q"]
            done = subprocess.run(command, env=kept, cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stderr if done.returncode else ""

    def scale(self, count: int) -> None:
        self.compose("up", "-d", "--no-deps", "--no-recreate", "--scale", f"gateway={count}", "gateway")

    def replicas(self) -> list[str]:
        """Container ids."""
        return self.compose("ps", "-q", "gateway").split()

    def stats(self) -> dict[str, Any]:
        asked = urllib.request.Request(
            f"{URL}/v1/admin/models/stats", headers={"authorization": f"Bearer {KEYS['PLLM_ADMIN_KEY']}"}
        )
        with urllib.request.urlopen(asked, timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def wait_for(self, count: int) -> None:
        """So many replicas on the shared store, as any of them sees it."""
        ends_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends_s:
            with contextlib.suppress(OSError, urllib.error.URLError):
                stats = self.stats()
                if (stats["replicas"], stats["state"]) == (count, "shared"):
                    return
            time.sleep(0.2)
        raise SystemExit(f"{count} replicas were not there in time:\n{self.compose('logs', '--tail', '20', 'gateway')}")

    def wait_until_healthy(self) -> None:
        """Every container, by its own health check."""
        ends_s = time.monotonic() + PATIENCE_S
        told = "{{.Name}} {{if .State.Health}}{{.State.Health.Status}}{{else}}has no health check{{end}}"
        while True:
            seen = output_of("docker", "inspect", "--format", told, *self.compose("ps", "-q").split()).splitlines()
            unwell = [line for line in seen if not line.endswith(" healthy")]
            if seen and not unwell:
                return
            if time.monotonic() > ends_s:
                raise SystemExit(f"not healthy in time: {', '.join(unwell)}")
            time.sleep(0.5)


def docker(*arguments: str) -> None:
    subprocess.run(["docker", *arguments], check=True, capture_output=True)


def wait_for_scrapes(count: int) -> None:
    """Until Prometheus has found so many replicas, and has the metrics of each."""
    ends_s, scraped = time.monotonic() + PATIENCE_S, 0
    while scraped != count:
        if time.monotonic() > ends_s:
            raise SystemExit(f"Prometheus scrapes {scraped} replicas, not {count}")
        time.sleep(0.5)
        with urllib.request.urlopen("http://127.0.0.1:9090/api/v1/query?query=sum(up)", timeout=5) as answer:
            found = json.load(answer)["data"]["result"]
            scraped = int(found[0]["value"][1]) if found else 0


def rolling_restart(cluster: Cluster) -> None:
    for each in cluster.replicas():
        docker("restart", "-t", "45", each)
        cluster.wait_for(3)


def five_and_back(cluster: Cluster) -> None:
    cluster.scale(5)
    cluster.wait_for(5)
    cluster.scale(3)
    cluster.wait_for(3)


def end_one(cluster: Cluster) -> None:
    victim = cluster.replicas()[0]
    docker("stop", "-t", "45", victim)
    cluster.wait_for(2)
    docker("start", victim)
    cluster.wait_for(3)


def kill_one(cluster: Cluster) -> None:
    victim = cluster.replicas()[0]
    before_s = time.time()
    docker("kill", victim)
    cluster.killed_s = (before_s, time.time())
    cluster.wait_for(2)
    docker("start", victim)
    cluster.wait_for(3)


def halt_all(cluster: Cluster) -> None:
    """As when the machine is busy with something else: late is not dead, and the balancer must not take it for that."""
    everyone = cluster.replicas()
    docker("pause", *everyone)
    time.sleep(HALT_S)
    docker("unpause", *everyone)
    cluster.wait_for(3)


def restart_store(cluster: Cluster) -> None:
    cluster.compose("restart", "valkey")
    cluster.wait_for(3)


SCENARIOS: dict[str, Callable[[Cluster], None]] = {
    "a replica ends (SIGTERM) and comes back": end_one,
    "Valkey restarts": restart_store,
    "rolling restart of all replicas": rolling_restart,
    "scale from 3 to 5 and back": five_and_back,
    "all replicas stand still for a second": halt_all,
    "a replica is killed (SIGKILL)": kill_one,
}


def run_all(cluster: Cluster) -> bool:
    """Prints what clients saw; False when they lost what they need not have lost."""
    is_well = True
    print("| what happens under load | requests | lost | slowest answer |\n|---|---|---|---|", flush=True)
    for name, do in SCENARIOS.items():
        parts: list[Seen] = []
        calls, cluster.killed_s = Counter[str](), None
        with load(parts), official_clients(calls) if do is kill_one else contextlib.nullcontext():
            do(cluster)
        seen = together(parts)
        told = f"{seen.failures.total()}" + (f" ({listed(seen.failures)})" if seen.failures else "")
        print(f"| {name} | {seen.requests} | {told} | {seen.slowest_ms / 1000:.1f} s |", flush=True)
        is_well = is_well and is_excused(seen, cluster.killed_s)
        if calls:
            answered = calls.pop("answered", 0)
            told = f"{calls.total()}" + (f" ({listed(calls)})" if calls else "")
            print(f"| the same moment, official clients | {answered + calls.total()} | {told} | |", flush=True)
            is_well = is_well and bool(answered) and not calls
    return is_well


def listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def show_state(cluster: Cluster) -> None:
    print("\nThe state, as redis-cli shows it:\n")
    for words in (
        ("HMGET", "pllm:{default}:deployment:gpt-4-a", "state", "health_score", "p95_ms"),
        ("ZCARD", "pllm:{default}:leases"),
        ("ZCARD", "pllm:{default}:replicas"),
    ):
        shown = cluster.compose("exec", "-T", "valkey", "valkey-cli", *words).split()
        print(f"    {' '.join(words)}  →  {' '.join(shown)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compose", choices=COMMANDS, help="which one, where both are installed (default: v2)")
    command, version = choose_compose(parser.parse_args().compose)
    print(
        f"Compose {version}, Docker {output_of('docker', 'version', '--format', '{{.Server.Version}}')}\n", flush=True
    )
    cluster = Cluster(command)
    for variable in KEYS:
        if variable not in cluster.refusal_without(variable):
            raise SystemExit(f"Compose does not say that {variable} is missing")
    try:
        cluster.compose("up", "-d", "--build", *SERVICES)
        cluster.wait_for(3)
        cluster.wait_until_healthy()
        wait_for_scrapes(3)
        is_well = run_all(cluster)
        show_state(cluster)
    finally:
        cluster.compose("down", "-v", "--remove-orphans")
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
