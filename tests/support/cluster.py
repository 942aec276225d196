"""A real cluster: replica processes on one embedded store, with fake providers behind them.

Everything here is a process of its own and ends with the test process, however that ends.
"""

import contextlib
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import redis
import yaml

from shared_state.embedded import EmbeddedStore, die_with_parent
from tests.loadtest.process import PATIENCE_S, ProviderProcess, running_provider, wait_until
from tests.support.ending import end
from tests.support.ports import free_port
from tests.support.wire import Address, Answer, Call, ask, chat_bytes, request_bytes

START_TIMEOUT_S = 30.0
STATS = "/v1/admin/models/stats"
# A test machine is busier than a gateway's: what is tested is what the store decides, not how fast it answers.
_STATE_DEADLINE = "5s"

Headers = dict[str, str]


class ReplicaProcess:
    """`python -m gateway serve` as one process on a port that was free a moment ago."""

    def __init__(
        self,
        name: str,
        config: Path,
        log: Path,
        environment: dict[str, str] | None = None,
        open_files: int | None = None,
    ) -> None:
        self.name = name
        self.open_files = open_files
        self.environment = environment or {}
        self.config = config
        self.log = log
        self._arguments = ["--config", str(config), "--replica", name]
        self._ends_s = time.monotonic() + START_TIMEOUT_S
        self._start()

    def _start(self) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "gateway", "serve", *self._arguments, "--port", str(self.port)]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | self.environment,
                preexec_fn=self._begin,
            )

    def _begin(self) -> None:
        die_with_parent()
        if self.open_files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.open_files, self.open_files))

    @property
    def address(self) -> Address:
        return ("127.0.0.1", self.port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_until_ready(self) -> None:
        while not self._is_ready():
            if self.process.poll() is not None and "in use" in self.said():
                self._start()  # somebody else took the port meanwhile
            assert self.process.poll() is None, f"{self.name} ended:\n{self.said()}"
            assert time.monotonic() < self._ends_s, f"{self.name} did not start:\n{self.said()}"
            time.sleep(0.01)

    def _is_ready(self) -> bool:
        try:
            return self.get("/readyz").status == 200
        except OSError:
            return False

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def request(self, method: str, path: str, body: bytes = b"", headers: Headers | None = None) -> Answer:
        return ask(self.address, request_bytes(method, path, body, headers))

    def get(self, path: str, headers: Headers | None = None) -> Answer:
        return self.request("GET", path, headers=headers)

    def chat(self, model: str = "gpt-4", *, headers: Headers | None = None, **fields: Any) -> Answer:
        return ask(self.address, chat_bytes(headers=headers, model=model, **fields))

    def begin_chat(self, model: str = "gpt-4", *, headers: Headers | None = None, **fields: Any) -> Call:
        """A chat that has been sent; its answer is read when the caller wants it."""
        return Call(self.address, chat_bytes(headers=headers, model=model, **fields))

    def stats(self) -> dict[str, Any]:
        answer = self.get(STATS)
        assert answer.status == 200, answer
        stats: dict[str, Any] = answer.json()
        return stats

    def force(self, deployment: str, action: str, for_ms: int = 0) -> None:
        body = json.dumps({"for_ms": for_ms}).encode()
        assert self.request("POST", f"/v1/admin/deployments/{deployment}/{action}", body).status == 200

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """Like a crash: nothing is settled and nobody is told."""
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        end(self.process)


class Cluster:
    """Replicas, providers and the store they share."""

    def __init__(self, store: EmbeddedStore, providers: Sequence[ProviderProcess], domain: str) -> None:
        self.store = store
        self.providers = providers
        self.domain = domain
        self.redis: Any = redis.Redis(unix_socket_path=str(store.socket), decode_responses=True)
        self.replicas: list[ReplicaProcess] = []
        self._forgotten: dict[str, dict[str, str]] = {}

    def key(self, name: str) -> str:
        return f"pllm:{{{self.domain}}}:{name}"

    def leases(self) -> int:
        return int(self.redis.zcard(self.key("leases")))

    def deployment(self, deployment: str) -> dict[str, str]:
        """The deployment's hash, as redis-cli shows it."""
        fields: dict[str, str] = self.redis.hgetall(self.key(f"deployment:{deployment}"))
        return fields

    def state(self, deployment: str) -> str:
        return self.deployment(deployment)["state"]

    def deployments(self) -> list[str]:
        prefix = self.key("deployment:")
        return sorted(key.removeprefix(prefix) for key in self.redis.scan_iter(f"{prefix}*"))

    def transitions(self, deployment: str) -> list[str]:
        """What happened to a breaker so far, as `from>to why`."""
        events = [fields for _, fields in self.redis.xrange(self.key("events"))]
        return [
            f"{fields['from']}>{fields['to']} {fields['reason']}"
            for fields in events
            if fields["subject"] == deployment and fields["reason"] != "configured"
        ]

    def wait_for_state(self, deployment: str, state: str) -> None:
        wait_until(lambda: self.state(deployment) == state, lambda: f"{state}: {self.deployment(deployment)}")

    def end_slow_start(self, deployment: str) -> None:
        """As if its breaker had closed a minute earlier."""
        closed_at_ms = int(self.deployment(deployment)["changed_at_ms"])
        self.redis.hset(self.key(f"deployment:{deployment}"), "changed_at_ms", closed_at_ms - 60_000)
        self.read_anew()

    def read_anew(self) -> None:
        """Makes the next decision read what was written by hand, which it would otherwise see after 250 ms."""
        self.redis.hincrby(self.key("global"), "sequence", 1)

    def wait_for_beats(self, count: int) -> None:
        """Until the cluster has judged what only time shows, that many times more."""
        key = self.key("global")
        for _ in range(count):
            last = self.redis.hget(key, "evaluated_at_ms")
            wait_until(lambda last=last: self.redis.hget(key, "evaluated_at_ms") != last)  # type: ignore[misc]

    def wait_until_idle(self) -> None:
        """Until every permit has been settled."""
        self.wait_for_leases(0)

    def wait_for_leases(self, count: int) -> None:
        wait_until(lambda: self.leases() == count, lambda: f"leases: {self.redis.zrange(self.key('leases'), 0, -1)}")

    def restart(self, replica: ReplicaProcess) -> ReplicaProcess:
        """A new process in the place of a dead one."""
        again = ReplicaProcess(replica.name, replica.config, replica.log, replica.environment, replica.open_files)
        self.replicas[self.replicas.index(replica)] = again
        again.wait_until_ready()
        return again

    def forget(self) -> None:
        """Idle, every breaker closed and nothing learned, as after a fresh start."""
        self.wait_until_idle()
        for deployment in self.deployments():
            if self.deployment(deployment) != self._forgotten.get(deployment):
                self.replicas[0].force(deployment, "reset")
                self._forgotten[deployment] = self.deployment(deployment)
        self.redis.delete(self.key("window"), self.key("events"))
        self.redis.hdel(self.key("global"), "shed_reasons", "retry_tokens", "window_requests", "window_failures")
        self.read_anew()

    def check(self) -> None:
        """What must hold after every test: no lease left, no traceback in any log."""
        self.wait_until_idle()
        for replica in self.replicas:
            assert "Traceback" not in replica.said(), replica.said()


def deployment(deployment_id: str, provider: ProviderProcess | str, model: str = "gpt-4", **fields: Any) -> Any:
    """One entry of model_list; `provider_fields` go into its provider."""
    url = provider if isinstance(provider, str) else provider.url
    upstream = {"base_url": f"{url}/v1", "api_key": "provider-secret", **fields.pop("provider_fields", {})}
    return {"id": deployment_id, "model_name": model, "provider": upstream, **fields}


def in_turn(replicas: Sequence[ReplicaProcess], calls: int) -> Iterator[ReplicaProcess]:
    """As a load balancer would give them out."""
    return itertools.islice(itertools.cycle(replicas), calls)


@contextlib.contextmanager
def running_store() -> Iterator[EmbeddedStore]:
    store = EmbeddedStore()
    try:
        store.spawn()
        probe = redis.Redis(unix_socket_path=str(store.socket))
        wait_until(lambda: _answers(probe))
        probe.close()
        yield store
    finally:
        store.stop()


def _answers(probe: redis.Redis) -> bool:
    try:
        return bool(probe.ping())
    except redis.ConnectionError:
        return False


@contextlib.contextmanager
def running_providers(count: int) -> Iterator[list[ProviderProcess]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(running_provider("--name", f"provider-{number}")) for number in range(count)]


@contextlib.contextmanager
def running_cluster(
    store: EmbeddedStore,
    providers: Sequence[ProviderProcess],
    model_list: Sequence[Any],
    *,
    domain: str = "default",
    replicas: int = 2,
    state: dict[str, Any] | None = None,
    environment: dict[str, str] | None = None,
    own_files: bool = False,
    open_files: int | None = None,
    **sections: Any,
) -> Iterator[Cluster]:
    """Ready replicas `r0`, `r1`, …. ``sections`` are further parts of their configuration:
    router, auth, server. ``own_files``: each has a copy of the configuration; ``open_files``: as many as
    each may have.
    """
    whole_state = {"url": store.url, "domain": domain, "deadline": _STATE_DEADLINE, **(state or {})}
    config = store.folder / f"{domain}.yaml"
    # Most tests count what a strategy does with each request; affinity has tests of its own.
    sections["router"] = {"affinity": {"mode": "off"}} | sections.get("router", {})
    text = yaml.safe_dump({"state": whole_state, "model_list": list(model_list), **sections})
    config.write_text(text)
    cluster = Cluster(store, providers, domain)
    try:
        for number in range(replicas):
            log = store.folder / f"{domain}-r{number}.log"
            if own_files:
                config = store.folder / f"{domain}-r{number}.yaml"
                config.write_text(text)
            cluster.replicas.append(ReplicaProcess(f"r{number}", config, log, environment, open_files))
        for replica in cluster.replicas:
            replica.wait_until_ready()
        yield cluster
    finally:
        for replica in cluster.replicas:
            replica.close()
        cluster.redis.close()
