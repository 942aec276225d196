"""Mutated requests against a real replica, for seconds in `make test` and ten minutes in `make test-long`. A failure
names its seed: `PLLM_FUZZ_SEED=… pytest …` sends the same again. `PLLM_FUZZ_S` is the time in seconds.
"""

import json
import os
import random
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from loadtest.bench.rig import rss_mib
from shared_state.embedded import EmbeddedStore
from tests.gateway.http.http_suite import answers_in
from tests.loadtest.process import wait_until
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster
from tests.support.echo_provider import EchoProvider, running_echo_provider
from tests.support.mutations import SMUGGLED, Sent, call, drawn, pieces
from tests.support.wire import Call

LIVEZ_MOST_S = 1.0
GROWTH_MOST_MIB = 48.0
WARM = 300  # connections, before memory is measured


@pytest.mark.parametrize("seconds", [10, pytest.param(600, marks=pytest.mark.long)], ids=["short", "long"])
def test_no_mutated_request_is_a_500_a_smuggled_one_or_a_leak(store: EmbeddedStore, seconds: int) -> None:
    seed = int(os.environ.get("PLLM_FUZZ_SEED") or random.SystemRandom().randrange(1 << 32))
    seconds = int(os.environ.get("PLLM_FUZZ_S") or seconds)
    sys.stderr.write(f"PLLM_FUZZ_SEED={seed}\n")
    with running_echo_provider() as provider:
        models = [deployment("raw", provider.url, "raw")]
        router = {"latency_threshold": "8s"}  # a busy test machine must not make the provider look slow
        with running_cluster(store, [], models, replicas=1, domain="fuzz", router=router) as cluster:
            run = Fuzz(cluster, provider, random.Random(seed))
            try:
                run.fuzz(seconds)
            except AssertionError as failed:
                raise AssertionError(f"PLLM_FUZZ_SEED={seed}, connection {run.number}: {failed}") from failed


class Fuzz:
    def __init__(self, cluster: Cluster, provider: EchoProvider, rng: random.Random) -> None:
        self.cluster = cluster
        self.provider = provider
        self.rng = rng
        self.number = 0
        self.replica: ReplicaProcess = cluster.replicas[0]
        self.livez_s = 0.0
        self._checked = 0  # calls at the provider; a late one is looked at with the next connection
        self._over = threading.Event()

    def fuzz(self, seconds: float) -> None:
        watch = threading.Thread(target=self._watch)
        watch.start()
        try:
            for _ in range(WARM):
                self._once()
            before_mib, descriptors = rss_mib(self.replica.process.pid), self._descriptors()
            ends_s = time.monotonic() + seconds
            while time.monotonic() < ends_s:
                self._once()
        finally:
            self._over.set()
            watch.join()
        self.cluster.check()
        assert SMUGGLED.encode() not in b"".join(self.provider.bodies[self._checked :])
        sys.stderr.write(f"{self.number} connections, {len(self.provider.bodies)} calls, /livez {self.livez_s:.3f} s\n")
        assert self.livez_s < LIVEZ_MOST_S
        wait_until(lambda: self._descriptors() <= descriptors + 5, lambda: f"{self._descriptors()} of {descriptors}")
        assert rss_mib(self.replica.process.pid) - before_mib < GROWTH_MOST_MIB

    def _descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.replica.process.pid}/fd").iterdir()))

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            began = time.monotonic()
            self.replica.get("/livez")
            self.livez_s = max(self.livez_s, time.monotonic() - began)

    def _once(self) -> None:
        self.number += 1
        sent = drawn(self.rng, self.number)
        received = self._exchanged(sent)
        bodies = self.provider.bodies[self._checked :]
        self._checked += len(bodies)
        for body in bodies:
            assert isinstance(json.loads(body), dict), (sent, body)
            assert SMUGGLED.encode() not in body, (sent, body)
        assert self.provider.strange == [], sent
        answers = answers_in(received)
        assert not [status for status, _ in answers if status == 500], (sent, answers)
        is_late = any(b"(event_loop)" in body for _, body in answers)  # a test machine may be, for half a second
        if sent.is_valid and not is_late:
            assert {status for status, _ in answers} == {200}, (sent, answers)
            marks = tuple(json.loads(body)["choices"][0]["message"]["content"] for _, body in answers)
            assert marks == sent.marks, (sent, answers)

    def _exchanged(self, sent: Sent) -> bytes:
        """Sends in pieces and reads what comes until the connection ends. A request that is only begun is left to its
        end, which is another request that closes the connection; a valid one has that as its last.
        """
        with Call(self.replica.address) as connection:
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            data = sent.data
            if sent.is_valid:
                start, _, last = data.rpartition(b"POST ")
                data = start + b"POST " + last.replace(b"host: localhost", b"host: localhost\r\nconnection: close", 1)
            for piece in pieces(self.rng, data):
                connection.try_send(piece)
            if not sent.is_valid:
                # Enough of them for any length that a mutation of one or two digits may have made of another.
                connection.try_send(call("end", b"connection: close") * 60)
            return self._read(connection)

    def _read(self, connection: Call) -> bytes:
        data = b""
        connection.socket.settimeout(2.0)
        try:
            while part := connection.socket.recv(262_144):
                data += part
        except (ConnectionError, TimeoutError):
            pass  # a body that is still due after all, or refused with much unread
        return data
