"""The processes of the bench, each pinned to its core: the gateway, its store and upstream, and the load."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from loadtest.cluster.programs import MODEL, NGINX, config, free_port, store_binary, wait_for, wrk_script

GATEWAY_CORE, OTHER_CORE = "0", "1"
CONNECTIONS = 32
RATE = 500


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """The results of a closed loop."""

    per_s: float
    p50_ms: float
    p99_ms: float


class Bench:
    """Starts the processes of the bench and measures them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.upstream = free_port()
        self.store = free_port()
        self.store_pid = 0

    @contextlib.contextmanager
    def running(self, core: str, *command: str, port: int, **environment: str) -> Iterator[int]:
        with (self.folder / "log").open("ab") as log:
            pinned = ["taskset", "-c", core] if core else []
            process = subprocess.Popen([*pinned, *command], stdout=log, stderr=log, env=os.environ | environment)
        try:
            wait_for(port, process)
            yield process.pid
        finally:
            process.terminate()
            process.wait(30)

    @contextlib.contextmanager
    def environment(self) -> Iterator[None]:
        nginx = self.folder / "nginx.conf"
        nginx.write_text(NGINX.format(folder=self.folder, port=self.upstream))
        upstream = self.running(OTHER_CORE, "nginx", "-c", str(nginx), "-g", "daemon off;", port=self.upstream)
        options = ("--port", str(self.store), "--save", "", "--dir", str(self.folder))
        with upstream, self.running(OTHER_CORE, store_binary(), *options, port=self.store) as self.store_pid:
            yield

    @contextlib.contextmanager
    def gateway(
        self,
        upstream: int | None = None,
        max_active: int = 1000,
        core: str = GATEWAY_CORE,
        more: Sequence[str] = (),
        text: str = "",
        block: int = 0,
        source: Path | None = None,
    ) -> Iterator[tuple[str, int]]:
        """Runs the gateway. Yields the URL of its chat completions and its pid. ``core``: empty for any core; ``more``:
        further arguments; ``text``: its configuration, instead of the usual one; ``block``: as for `config`;
        ``source``: the root of another checkout to run instead of this one.
        """
        port = free_port()
        file = self.folder / "bench.yaml"
        file.write_text(text or config(self.store, upstream or self.upstream, max_active, block))
        command = (sys.executable, "-P", "-m", "gateway", "serve", "--config", str(file), *more)
        path = {"PYTHONPATH": str(source)} if source else {}
        with self.running(core, *command, "--port", str(port), port=port, **path) as pid:
            yield f"http://127.0.0.1:{port}/v1/chat/completions", pid

    @contextlib.contextmanager
    def yardstick(self, app: Path) -> Iterator[tuple[str, int]]:
        port = free_port()
        command = (str(Path(sys.executable).parent / "hypercorn"), "-k", "uvloop", "-b", f"127.0.0.1:{port}")
        environment = {
            "UPSTREAM": self.direct,
            "REDIS_URL": f"redis://127.0.0.1:{self.store}",
            "PYTHONPATH": str(app),
        }
        with self.running(GATEWAY_CORE, *command, "app:app", port=port, **environment) as pid:
            yield f"http://127.0.0.1:{port}/v1/chat/completions", pid

    @property
    def direct(self) -> str:
        return f"http://127.0.0.1:{self.upstream}/v1/chat/completions"

    def throughput(self, url: str, seconds: float, script: str = wrk_script()) -> float:
        """Returns the requests per second of wrk on 32 connections. Raises SystemExit at an error of any kind."""
        out = self._wrk(url, seconds, script)
        _check_served(out)
        return _per_s(out)

    def refusals(self, url: str, seconds: float) -> int:
        """Returns the number of refused requests. Raises SystemExit if a request was served."""
        out = self._wrk(url, seconds)
        done, refused = (re.findall(pattern, out) for pattern in (r"(\d+) requests in", r"Non-2xx.*: (\d+)"))
        if done != refused or "Socket errors" in out:
            raise SystemExit(f"not all were refused:\n{out}")
        return int(done[0])

    def at_concurrency(self, url: str, connections: int, seconds: float, script: str = wrk_script()) -> Closed:
        """Returns the figures of wrk with that many connections. Raises SystemExit at an error of any kind."""
        out = self._wrk(url, seconds, script, connections)
        _check_served(out)
        p50_ms, p99_ms = (_milliseconds(*re.findall(rf"\b{share}%\s+([\d.]+)(us|ms|s)", out)[0]) for share in (50, 99))
        return Closed(per_s=_per_s(out), p50_ms=p50_ms, p99_ms=p99_ms)

    def _wrk(self, url: str, seconds: float, script: str = wrk_script(), connections: int = CONNECTIONS) -> str:
        file = self.folder / "post.lua"
        file.write_text(script)
        command = [
            "taskset",
            "-c",
            OTHER_CORE,
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds:.0f}s",
            "--latency",
            "--timeout",
            "10s",  # of a connection, for slow gateways
            "-s",
            str(file),
        ]
        return subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout

    def at_rate(
        self,
        url: str,
        arrivals: str,
        seconds: float,
        rate: float = RATE,
        request_flags: Sequence[str] = ("-model", MODEL),
        warmup_s: float = 2,
    ) -> dict[str, dict[str, float]]:
        """Returns the report of an open loop at a fixed rate, with latencies in ms. ``arrivals``: evenly spaced
        (constant) or random (poisson).
        """
        file = self.folder / "report.json"
        flags = ["-url", url, *request_flags, "-rps", f"{rate:g}", "-arrivals", arrivals]
        flags += ["-duration", f"{seconds}s", "-warmup", f"{warmup_s}s", "-json", str(file)]
        # The lowest priority on the core that it shares with the store, or its own work would count as the decision's.
        command = [
            "nice",
            "-n",
            "19",
            "taskset",
            "-c",
            OTHER_CORE,
            sys.executable,
            "-P",
            "-m",
            "loadtest",
            *flags,
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        report: dict[str, dict[str, float]] = json.loads(file.read_text())
        return report

    def store_command(self, *words: str) -> str:
        return send_command(self.store, *words)


def send_command(port: int, *words: object) -> str:
    """Sends one command to a store. Returns the raw reply."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
        parts = [f"${len(str(word))}\r\n{word}\r\n" for word in words]
        link.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
        return link.recv(65536).decode()


def family(pid: int) -> Iterator[int]:
    """Yields a process and its descendants."""
    yield pid
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in file.read_text().split():
            yield from family(int(child))


def rss_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


def cpu_s(pid: int) -> float:
    """Returns the user and system time of a process so far."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _check_served(out: str) -> None:
    """Raises SystemExit where wrk reports an error."""
    if "Non-2xx" in out or "Socket errors" in out:
        raise SystemExit(f"errors under load:\n{out}")


def _per_s(out: str) -> float:
    return float(re.findall(r"Requests/sec:\s+([\d.]+)", out)[0])


def _milliseconds(number: str, unit: str) -> float:
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
