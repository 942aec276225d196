"""Starts a replica of a gateway, waits until it answers, measures its use of CPU and memory, and ends it."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from loadtest.bench.rig import family
from loadtest.children import die_with_parent
from loadtest.cluster.packages import last_words
from loadtest.peers.gateways import Peer, PeerTrouble
from loadtest.peers.recipes import Launch, ReplicaPorts

READY_S = 90.0  # LiteLLM takes a quarter of that on one core, four of them on two cores more
ANSWER_S = 5.0
STOP_S = 1.0  # no call is in flight any more
PAGE = os.sysconf("SC_PAGE_SIZE")


class Replica(msgspec.Struct, frozen=True):
    url: str
    pid: int
    launch: Launch

    def flags(self) -> list[str]:
        """Returns flags for `python -m loadtest`, except for the address."""
        headers = [part for name, value in self.launch.headers.items() for part in ("-header", f"{name}: {value}")]
        return ["-model", self.launch.model, *headers]

    def cpu_s(self) -> float:
        """Returns the CPU time of all its threads so far, to the nanosecond."""
        return sum(int(text.split()[0]) for text in self._read("task/*/schedstat")) / 1e9

    def rss_mib(self) -> float:
        return sum(int(text.split()[1]) * PAGE for text in self._read("statm")) / 2**20

    def _read(self, name: str) -> Iterator[str]:
        for pid in family(self.pid):
            for file in Path(f"/proc/{pid}").glob(name):
                with contextlib.suppress(OSError):  # a thread that has ended
                    yield file.read_text()


@contextlib.contextmanager
def running(
    peer: Peer, home: Path, folder: Path, ports: ReplicaPorts, core: str | None = None, *, is_stream: bool = False
) -> Iterator[Replica]:
    """Runs a replica. Raises PeerTrouble if it does not start. `is_stream`: its provider supports streams only."""
    with started(peer, home, folder, ports, core) as (launch, process):
        yield _await(peer, folder, ports, launch, process, is_stream)


@contextlib.contextmanager
def several(peer: Peer, home: Path, folder: Path, replica_ports: Sequence[ReplicaPorts]) -> Iterator[list[Replica]]:
    """Runs several replicas at once, on any core."""
    folders = [folder / f"{peer.name}-{ports.port}" for ports in replica_ports]
    with contextlib.ExitStack() as stack:
        begun = [
            stack.enter_context(started(peer, home, each, ports))
            for each, ports in zip(folders, replica_ports, strict=True)
        ]
        yield [
            _await(peer, each, ports, launch, process, is_stream=False)
            for each, ports, (launch, process) in zip(folders, replica_ports, begun, strict=True)
        ]


@contextlib.contextmanager
def started(
    peer: Peer, home: Path, folder: Path, ports: ReplicaPorts, core: str | None = None
) -> Iterator[tuple[Launch, subprocess.Popen[bytes]]]:
    launch = peer.launch(ports, home)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in launch.files.items():
        (folder / name).write_text(text)
    pinned = ["taskset", "-c", core] if core is not None else []
    with (folder / "log").open("wb") as log:
        try:
            process = subprocess.Popen(
                [*pinned, *launch.command],
                stdout=log,
                stderr=log,
                cwd=folder,
                env=os.environ | launch.environment,
                start_new_session=True,  # so that its own children can be ended with it
                preexec_fn=die_with_parent,
            )
        except OSError as error:
            raise PeerTrouble(f"{peer.title} cannot be started: {error}") from error
    try:
        yield launch, process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)


def _await(
    peer: Peer, folder: Path, ports: ReplicaPorts, launch: Launch, process: subprocess.Popen[bytes], is_stream: bool
) -> Replica:
    """Waits until the replica answers a call correctly, because an open port is not yet a working gateway."""
    ends_at_s, fault = time.monotonic() + READY_S, "no answer"
    while time.monotonic() < ends_at_s:
        if process.poll() is not None:
            break
        port = _port(folder, ports, launch)
        if port is not None:
            fault = fault_of(port, launch, is_stream=is_stream)
            if not fault:
                return Replica(f"http://127.0.0.1:{port}{launch.path}", process.pid, launch)
        time.sleep(0.1)
    log = last_words((folder / "log").read_text(errors="replace"))
    raise PeerTrouble(f"{peer.title} did not start: {fault}; its last words: {log}")


def _port(folder: Path, ports: ReplicaPorts, launch: Launch) -> int | None:
    if launch.port_file is None:
        return ports.port
    file = folder / launch.port_file
    text = file.read_text() if file.exists() else ""
    return int(text) if re.fullmatch(r"\d+", text) else None


def fault_of(port: int, launch: Launch, *, is_stream: bool) -> str:
    """Makes one call. Returns the fault of its answer, empty if it is correct."""
    call = {"model": launch.model, "max_tokens": 2, "messages": [{"role": "user", "content": "hi"}]}
    body = json.dumps(call | ({"stream": True} if is_stream else {}))
    headers = {"content-type": "application/json", **launch.headers}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)) as connection:
        try:
            connection.request("POST", launch.path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            return str(error) or type(error).__name__
    if answer.status == 200 and (b"[DONE]" if is_stream else b'"choices"') in text:
        return ""
    return f"{answer.status} {text[:200].decode(errors='replace')}"
