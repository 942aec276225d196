"""One replica under attack: its memory, the latency of /livez, and the results of a normal client."""

import contextlib
import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import yaml

from loadtest.bench.rig import rss_mib
from loadtest.children import die_with_parent
from loadtest.cluster.programs import EMPTY_CALL, free_port, store_binary, wait_for

LIVEZ_EVERY_S, CALL_EVERY_S = 0.05, 0.1
CALM_S = 1.0
PATIENCE_S = 60.0
BODY_MEMORY = 128 * 1_048_576  # a quarter of a container of 512 MiB


class Effect(msgspec.Struct):
    """The effect of an attack."""

    before_mib: float
    peak_mib: float
    livez_ms: float
    statuses: dict[str, int]  # of the normal client's calls
    slowest_call_ms: float
    state: str  # of the normal deployment's breaker afterwards
    sent: str


class Replica(msgspec.Struct, frozen=True):
    port: int
    pid: int


@contextlib.contextmanager
def replica(folder: Path, descriptors: int | None = None, hostile: str = "") -> Iterator[Replica]:
    """Starts a replica. ``descriptors``: its limit of open files; ``hostile``: the answer of the hostile model's
    provider.
    """
    store, provider, port, other = (free_port() for _ in range(4))
    with contextlib.ExitStack() as stack:

        def start(listens: int, *command: str) -> subprocess.Popen[bytes]:
            log = stack.enter_context((folder / f"{listens}.log").open("wb"))
            process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent)
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)
            wait_for(listens, process)
            return process

        start(store, store_binary(), "--port", str(store), "--save", "", "--dir", str(folder))
        start(provider, sys.executable, "-P", "-m", "loadtest.provider", "--port", str(provider))
        if hostile:
            start(other, sys.executable, "-P", "-m", "loadtest.trials.attack_providers", hostile, str(other))
        file = folder / f"{port}.yaml"
        file.write_text(yaml.safe_dump(_configuration(store, provider, other)))
        serve = [sys.executable, "-P", "-m", "gateway", "serve", "--config", str(file), "--port", str(port)]
        limit = ["prlimit", f"--nofile={descriptors}:{descriptors}"] if descriptors else []
        process = start(port, *limit, *serve)
        yield Replica(port, process.pid)


def _configuration(store: int, provider: int, hostile: int) -> dict[str, object]:
    def deployment(model: str, port: int, **fields: str) -> dict[str, object]:
        upstream = {"base_url": f"http://127.0.0.1:{port}/v1", "api_key": "none"}
        return {"id": model, "model_name": model, "provider": upstream, **fields}

    return {
        "server": {"max_body_memory": BODY_MEMORY, "drain_timeout": "1s"},
        "state": {"url": f"redis://127.0.0.1:{store}"},
        "model_list": [deployment("gpt-4", provider), deployment("hostile", hostile, timeout="5s")],
    }


class Watch:
    """Measures a replica in threads until it is stopped."""

    def __init__(self, watched: Replica) -> None:
        self._watched = watched
        self._over = threading.Event()
        self._threads = [threading.Thread(target=loop) for loop in (self._measure, self._call)]
        self.before_mib = self.peak_mib = rss_mib(watched.pid)
        self.livez_ms = self.slowest_call_ms = 0.0
        self.statuses: Counter[str] = Counter()

    def __enter__(self) -> "Watch":
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for each in self._threads:
            each.join()

    def _measure(self) -> None:
        while not self._over.wait(LIVEZ_EVERY_S):
            _, took_ms = fetch(self._watched.port, "/livez")
            self.livez_ms = max(self.livez_ms, took_ms)
            self.peak_mib = max(self.peak_mib, rss_mib(self._watched.pid))

    def _call(self) -> None:
        while not self._over.wait(CALL_EVERY_S):
            status, took_ms = fetch(self._watched.port, "/v1/chat/completions", EMPTY_CALL)
            self.statuses[status] += 1
            self.slowest_call_ms = max(self.slowest_call_ms, took_ms)


def fetch(port: int, path: str, body: bytes | None = None) -> tuple[str, float]:
    """Makes a request on a new connection. Returns the status, or the name of an error, and milliseconds."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, {"content-type": "application/json"})
    began = time.perf_counter()
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            answer.read()
            status = str(answer.status)
    except urllib.error.HTTPError as error:
        status = str(error.code)
    except OSError as error:
        status = type(error).__name__
    return status, (time.perf_counter() - began) * 1000


def attacked(watched: Replica, attack: str) -> Effect:
    with Watch(watched) as watch:
        time.sleep(CALM_S)
        command = [sys.executable, "-P", "-m", "loadtest.trials.attack_clients", attack, str(watched.port)]
        sent = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout.strip()
        time.sleep(CALM_S)
    return Effect(
        watch.before_mib,
        watch.peak_mib,
        watch.livez_ms,
        dict(watch.statuses),
        watch.slowest_call_ms,
        _state(watched.port),
        sent,
    )


def _state(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/admin/models/stats", timeout=PATIENCE_S) as answer:
        stats = json.load(answer)
    return str(stats["adaptive_breakers"]["gpt-4"]["state"])
