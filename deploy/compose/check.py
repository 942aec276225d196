"""`make compose-test`: brings the compose file's cluster up and counts what clients lose while it is troubled.

Needs a Docker engine with Compose (v2, or 1.29). Images come from the variables of the compose file; what it started
is taken down again. Exit code 1 when a client lost anything that it need not have lost.
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "pllm-check"
SERVICES = ("balancer", "gateway", "valkey", "provider-a", "provider-b", "provider-c", "prometheus")
PORT = 18080
URL = f"http://127.0.0.1:{PORT}"
KEYS = {"PLLM_ADMIN_KEY": "check-admin-key-0123456789", "PLLM_API_KEY": "check-api-key-0123456789"}
RATE, STREAM_RATE = 30, 10  # a second
SETTLE_S = 3.0  # of load before and after what is done
PATIENCE_S = 120.0


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

    def compose(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._command, *arguments], env=self._environment, cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"compose {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
        return done.stdout

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


def docker(*arguments: str) -> None:
    subprocess.run(["docker", *arguments], check=True, capture_output=True)


class Seen(NamedTuple):
    """What the clients of one scenario saw."""

    requests: int
    failed: int
    failures: dict[str, int]
    slowest_ms: float


@contextlib.contextmanager
def load(seen: list[Seen]) -> Iterator[None]:
    """Plain requests and streams through the balancer while the block lasts."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "loadtest", "-url", URL, "-model", "gpt-4", "-key", KEYS["PLLM_API_KEY"]]
        command += ["-duration", "600s", "-fail-over", "1"]
        kinds = {"plain": ["-rps", str(RATE)], "streams": ["-rps", str(STREAM_RATE), "-stream"]}
        running = [
            (
                Path(folder) / f"{kind}.json",
                subprocess.Popen(
                    [*command, *flags, "-json", str(Path(folder) / f"{kind}.json")],
                    cwd=ROOT,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                ),
            )
            for kind, flags in kinds.items()
        ]
        time.sleep(SETTLE_S)
        try:
            yield
            time.sleep(SETTLE_S)
        finally:
            for _, process in running:
                process.send_signal(2)
            for _, process in running:
                process.wait(PATIENCE_S)
        for file, _ in running:
            report = json.loads(file.read_text())
            seen.append(Seen(report["requests"], report["failed"], report["failures"], report["latency"]["max_ms"]))


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
    docker("kill", victim)
    cluster.wait_for(2)
    docker("start", victim)
    cluster.wait_for(3)


def restart_store(cluster: Cluster) -> None:
    cluster.compose("restart", "valkey")
    cluster.wait_for(3)


# What is done, and whether a client may lose the answers that were on their way.
SCENARIOS: dict[str, tuple[Callable[[Cluster], None], bool]] = {
    "a replica ends (SIGTERM) and comes back": (end_one, False),
    "Valkey restarts": (restart_store, False),
    "rolling restart of all replicas": (rolling_restart, False),
    "scale from 3 to 5 and back": (five_and_back, False),
    "a replica is killed (SIGKILL)": (kill_one, True),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compose", choices=COMMANDS, help="which one, where both are installed (default: v2)")
    command, version = choose_compose(parser.parse_args().compose)
    print(
        f"Compose {version}, Docker {output_of('docker', 'version', '--format', '{{.Server.Version}}')}\n", flush=True
    )
    cluster, is_well = Cluster(command), True
    try:
        cluster.compose("up", "-d", "--build", *SERVICES)
        cluster.wait_for(3)
        print("| what happens under load | requests | lost | slowest answer |\n|---|---|---|---|", flush=True)
        for name, (do, may_lose) in SCENARIOS.items():
            seen: list[Seen] = []
            with load(seen):
                do(cluster)
            failed = sum(each.failed for each in seen)
            why = sum((Counter(each.failures) for each in seen), Counter[str]())
            told = f"{failed}" + (f" ({', '.join(f'{count} {kind}' for kind, count in why.items())})" if why else "")
            slowest_s = max(each.slowest_ms for each in seen) / 1000
            print(f"| {name} | {sum(each.requests for each in seen)} | {told} | {slowest_s:.1f} s |", flush=True)
            is_well = is_well and (may_lose or not failed)
        print("\nThe state, as redis-cli shows it:\n")
        for words in (
            ("HMGET", "pllm:{default}:deployment:gpt-4-a", "state", "health_score", "p95_ms"),
            ("ZCARD", "pllm:{default}:leases"),
            ("ZCARD", "pllm:{default}:replicas"),
        ):
            shown = cluster.compose("exec", "-T", "valkey", "valkey-cli", *words).split()
            print(f"    {' '.join(words)}  →  {' '.join(shown)}")
    finally:
        cluster.compose("down", "-v", "--remove-orphans")
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
