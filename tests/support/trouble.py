"""Ways to trouble a store, a line to it that can be cut for one replica alone, and steady calls that note what
clients see.
"""

import contextlib
import itertools
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import redis

from tests.support.cluster import ReplicaProcess
from tests.support.topologies import Server, until
from tests.support.wire import Call

CALLERS, PAUSE_S = 4, 0.05
_RESET = struct.pack("ii", 1, 0)


class Line:
    """A TCP proxy in front of a server. ``mode``: pass, swallow (replies are lost), cut (connections are reset), delay
    (replies are late by ``delay_s``).
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.mode = "pass"
        self.delay_s = 0.0
        self._links: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True, name="line").start()

    def set(self, mode: str, delay_s: float = 0.0) -> None:
        self.mode, self.delay_s = mode, delay_s
        if mode not in ("swallow", "delay"):
            self._reset()

    def _reset(self) -> None:
        links, self._links = self._links, []
        for link in links:
            with contextlib.suppress(OSError):
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                link.shutdown(socket.SHUT_RD)
            link.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._reset()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if self.mode == "cut":
                    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    near.close()
                    continue
                try:
                    far = socket.create_connection(self._target)
                except OSError:
                    near.close()
                    continue
                self._links = [link for link in self._links if link.fileno() >= 0]
                self._links += [near, far]
                threading.Thread(target=self._copy, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self._copy, args=(far, near, True), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, is_reply: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 20):
                if is_reply and self.mode == "delay":
                    time.sleep(self.delay_s)
                if not (is_reply and self.mode == "swallow"):
                    sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Noted(NamedTuple):
    """One call as its client saw it."""

    replica: str
    status: int
    state: str
    decision_ms: float


class SteadyCalls:
    """Callers in turn through all replicas, some of them streams, until ``stop``."""

    def __init__(self, replicas: Sequence[ReplicaProcess], model: str) -> None:
        self._replicas = itertools.cycle(replicas)
        self._lock = threading.Lock()
        self._model = model
        self._is_over = threading.Event()
        self.noted: list[Noted] = []
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(CALLERS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, count: int) -> None:
        """So many more calls."""
        wanted = len(self.noted) + count
        until(lambda: len(self.noted) >= wanted, f"{wanted} calls")

    def _run(self, number: int) -> None:
        while not self._is_over.wait(PAUSE_S):
            with self._lock:
                replica = next(self._replicas)
            try:
                answer = replica.chat(self._model, stream=number == 0)
            except OSError as error:
                self.noted.append(Noted(replica.name, 0, repr(error), 0.0))
                continue
            fields = answer.headers
            state = fields.get("x-pllm-state", answer.text[:300])
            status = answer.status if answer.is_whole and b'"error"' not in answer.body else 0
            self.noted.append(Noted(replica.name, status, state, float(fields.get("x-pllm-decision-ms", 0))))


class ProbingCalls:
    """Calls through every replica to a deployment whose provider never answers, until ``stop``: what reaches it are
    probes, and each of them stays there.
    """

    def __init__(self, replicas: Sequence[ReplicaProcess], model: str) -> None:
        self._replicas = replicas
        self._model = model
        self._is_over = threading.Event()
        self._sent: list[Call] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join()
        for call in self._sent:
            call.leave()

    def _run(self) -> None:
        while not self._is_over.wait(PAUSE_S):
            answered = [call for call in self._sent if call.has_data()]
            self._sent = [call for call in self._sent if call not in answered]
            for call in answered:
                call.leave()
            for replica in self._replicas:
                with contextlib.suppress(OSError):
                    self._sent.append(replica.begin_chat(self._model))


# -- troubles: each is in force while its block runs --------------------------------------------------------------


@contextlib.contextmanager
def hung(server: Server) -> Iterator[None]:
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def killed(server: Server) -> Iterator[None]:
    """What comes back on the same port is empty."""
    server.kill()
    yield
    server.start()
    until(lambda: bool(server.redis.ping()), "started again")


@contextlib.contextmanager
def read_only(server: Server) -> Iterator[None]:
    server.redis.replicaof("127.0.0.1", "1")
    try:
        yield
    finally:
        server.redis.replicaof("NO", "ONE")


@contextlib.contextmanager
def master_down(server: Server) -> Iterator[None]:
    server.redis.config_set("replica-serve-stale-data", "no")
    with read_only(server):
        yield


@contextlib.contextmanager
def loading(server: Server) -> Iterator[None]:
    """Loads its own data again, a key in each two milliseconds."""
    pipeline = server.redis.pipeline(transaction=False)
    for number in range(1000):
        pipeline.set(f"ballast:{number}", "x")
    pipeline.execute()
    server.redis.config_set("key-load-delay", 2000)
    server.redis.config_set("loading-process-events-interval-bytes", 1024)
    reload = threading.Thread(target=lambda: server.another().execute_command("DEBUG", "RELOAD"))
    reload.start()
    try:
        yield
    finally:
        reload.join()


@contextlib.contextmanager
def out_of_memory(server: Server) -> Iterator[None]:
    server.redis.config_set("maxmemory", 1)
    try:
        yield
    finally:
        server.redis.config_set("maxmemory", 0)


@contextlib.contextmanager
def busy(server: Server) -> Iterator[None]:
    """A script that does not end; it is killed by whoever started it, never by a gateway."""

    def run() -> None:
        with contextlib.suppress(redis.RedisError):
            server.another().eval("while true do end", 0)

    server.redis.config_set("busy-reply-threshold", 20)
    script = threading.Thread(target=run)
    script.start()
    try:
        yield
    finally:
        until(lambda: _kill_script(server), "script killed")
        script.join()


def _kill_script(server: Server) -> bool:
    server.redis.script_kill()
    return True


@contextlib.contextmanager
def cannot_persist(server: Server) -> Iterator[None]:
    gone = server.folder / "gone"
    gone.mkdir()
    server.redis.config_set("save", "3600 1000000")
    server.redis.config_set("dir", str(gone))
    gone.rmdir()
    with contextlib.suppress(redis.RedisError):
        server.redis.bgsave()
    until(lambda: server.redis.info("persistence")["rdb_last_bgsave_status"] == "err", "a failed save")
    try:
        yield
    finally:
        server.redis.config_set("dir", str(server.folder))
        server.redis.config_set("stop-writes-on-bgsave-error", "no")


Trouble = Callable[[Server], contextlib.AbstractContextManager[None]]


def seconds_until(is_so: Callable[[], bool], what: str) -> float:
    """How long it took."""
    began_s = time.monotonic()
    until(is_so, what)
    return time.monotonic() - began_s
