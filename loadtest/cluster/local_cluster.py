"""A cluster on this machine for one run: store, fake providers and replicas, one process each."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import yaml

from loadtest.children import die_with_parent
from loadtest.cluster.programs import free_port, store_binary, wait_for
from loadtest.cluster.scenario import Scenario

STOP_S = 10.0
LOG_SHOWN = 1000
ANSWER_MOST_S = 5.0


class LocalCluster:
    """Use it as a context manager. Its processes are `store`, `replica-1` and so on, and the providers' names. All
    replicas start, or the first ``begins_with``. ``store``: the address on which the store listens, and the one at
    which the replicas find it.
    """

    def __init__(
        self,
        scenario: Scenario,
        folder: Path,
        begins_with: int | None = None,
        store: tuple[str, str] = ("127.0.0.1", "127.0.0.1"),
    ) -> None:
        self._folder, self._store_host = folder, store
        self._ports = {name: free_port() for name in ("store", *scenario.providers, *_replicas(scenario))}
        self._replicas = _replicas(scenario)
        self._first = self._replicas[:begins_with]
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._commands = {name: self._provider(name, each) for name, each in scenario.providers.items()}
        self._commands |= {"store": self._store()} | {name: self._replica(name) for name in self._replicas}
        (folder / "gateway.yaml").write_text(yaml.safe_dump(self._configuration(scenario)))

    def __enter__(self) -> Self:
        try:
            for name in ("store", *self._commands):
                if name not in self._processes and (name in self._first or name not in self._replicas):
                    self.start(name, is_awaited=name not in self._replicas)
            for name in self._first:
                self._await(name)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def urls(self) -> Sequence[str]:
        return [f"http://127.0.0.1:{self._ports[name]}/v1/chat/completions" for name in self._replicas]

    def start(self, name: str, *, is_awaited: bool = False) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            # A separate session: Ctrl-C goes to the reporting process only, which then ends the cluster.
            self._processes[name] = subprocess.Popen(
                self._commands[name], stdout=log, stderr=log, start_new_session=True, preexec_fn=die_with_parent
            )
        if is_awaited:
            self._await(name)

    def _await(self, name: str) -> None:
        try:
            wait_for(self._ports[name], self._processes[name], self._store_host[0] if name == "store" else "127.0.0.1")
        except SystemExit:
            log = (self._folder / f"{name}.log").read_text(errors="replace").strip()
            raise SystemExit(f"{name} did not start: {log[-LOG_SHOWN:]}") from None

    def kill(self, name: str) -> None:
        """Ends a process like a crash."""
        self._processes[name].kill()
        self._processes[name].wait(STOP_S)

    def signal(self, name: str, number: int) -> None:
        self._processes[name].send_signal(number)

    def stop(self, name: str) -> None:
        """Asks a process to drain and end, as an orchestrator does, without waiting for it."""
        self._processes[name].terminate()

    def has_ended(self, name: str) -> bool:
        return name not in self._processes or self._processes[name].poll() is not None

    def change(self, provider: str, patch: dict[str, Any]) -> None:
        url = f"http://127.0.0.1:{self._ports[provider]}/control"
        request = urllib.request.Request(url, json.dumps(patch).encode(), method="PATCH")
        urllib.request.urlopen(request, timeout=ANSWER_MOST_S).close()

    def _end(self) -> None:
        running = [process for process in self._processes.values() if process.poll() is None]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_S)

    def _store(self) -> list[str]:
        listens = ("--bind", self._store_host[0], "--protected-mode", "no", "--port", str(self._ports["store"]))
        return [store_binary(), *listens, "--save", "", "--dir", str(self._folder)]

    def _provider(self, name: str, behaviour: dict[str, Any]) -> list[str]:
        text = msgspec.json.encode(behaviour).decode()
        command = [sys.executable, "-P", "-m", "loadtest.provider", "--port", str(self._ports[name]), "--name", name]
        return [*command, "--behaviour", text]

    def _replica(self, name: str) -> list[str]:
        file, port = str(self._folder / "gateway.yaml"), str(self._ports[name])
        return [sys.executable, "-P", "-m", "gateway", "serve", "--config", file, "--replica", name, "--port", port]

    def _configuration(self, scenario: Scenario) -> dict[str, Any]:
        return {
            "server": {"drain_timeout": "1s", **scenario.server},
            "state": {"url": f"redis://{self._store_host[1]}:{self._ports['store']}"},
            # The requests of a load are all alike, which affinity takes for one session.
            "router": {"affinity": {"mode": "off"}} | scenario.router,
            "auth": scenario.auth,
            "model_list": [
                {
                    "id": name,
                    "model_name": "gpt-4",
                    "provider": {"base_url": f"http://127.0.0.1:{self._ports[name]}/v1", "api_key": "none"},
                    **scenario.deployment,
                }
                for name in scenario.providers
            ],
        }


def _replicas(scenario: Scenario) -> list[str]:
    return [f"replica-{number + 1}" for number in range(scenario.replicas)]
