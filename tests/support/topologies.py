"""Stores as people run them: watched by Sentinels, as a Cluster, behind TLS. All of it processes of this machine that
end with the test process.
"""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis

from shared_state.embedded import die_with_parent, valkey_server
from tests.support.ports import free_port
from tests.support.programs import program

PATIENCE_S = 60.0  # a replica that has just switched several times stays on its standby store for longer
NODE_TIMEOUT_MS = 700
SLOTS = 16384


def until(is_so: Callable[[], bool], what: str, found: Callable[[], object] = lambda: "") -> None:
    """``found``: what the error shows where that takes too long."""
    ends_s = time.monotonic() + PATIENCE_S
    while True:
        with contextlib.suppress(redis.RedisError):
            if is_so():
                return
        assert time.monotonic() < ends_s, f"still not so after {PATIENCE_S} s: {what} {found()}"
        time.sleep(0.02)


class Server:
    """One server process with a port and a folder of its own."""

    def __init__(self, folder: Path, *options: str, name: str = "", binary: str = "", mode: str = "") -> None:
        self.port = free_port()
        self.folder = folder / (name or f"server-{self.port}")
        self.folder.mkdir()
        config = self.folder / "server.conf"
        lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self.folder}", 'save ""', *options]
        config.write_text("\n".join(line for line in lines if not mode or not line.startswith("save")) + "\n")
        self._command = [binary or valkey_server(), str(config), *([mode] if mode else [])]
        self.start()

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, preexec_fn=die_with_parent)
        self.redis: Any = redis.Redis(port=self.port, decode_responses=True, socket_timeout=5)

    def another(self) -> Any:
        """A connection of its own, without a deadline."""
        return redis.Redis(port=self.port, decode_responses=True)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.redis.close()

    def __repr__(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-2000:]


@contextlib.contextmanager
def ending(servers: list[Server]) -> Iterator[None]:
    try:
        yield
    finally:
        for server in servers:
            server.kill()


class Watched:
    """A primary, its replica and three Sentinels that agree in well under a second."""

    def __init__(self, folder: Path) -> None:
        self.primary = Server(folder)
        self.replica = Server(folder, f"replicaof 127.0.0.1 {self.primary.port}", "repl-diskless-sync-delay 0")
        watch = (
            f"sentinel monitor main 127.0.0.1 {self.primary.port} 2",
            "sentinel down-after-milliseconds main 500",
            "sentinel failover-timeout main 3000",
        )
        self.sentinels = [Server(folder, *watch, mode="--sentinel") for _ in range(3)]
        self.servers = [self.primary, self.replica, *self.sentinels]
        until(lambda: self.primary.redis.info("replication")["connected_slaves"] == 1, "replica connected")
        for sentinel in self.sentinels:
            until(lambda s=sentinel: self._is_ready(s), "Sentinels know each other")  # type: ignore[misc]

    @staticmethod
    def _is_ready(sentinel: Server) -> bool:
        seen = sentinel.redis.sentinel_master("main")
        return int(seen["num-other-sentinels"]) == 2 and int(seen["num-slaves"]) == 1

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'127.0.0.1:{s.port}' for s in self.sentinels)}/main"

    def promoted(self) -> bool:
        return bool(self.replica.redis.info("replication")["role"] == "master")


class Sharded:
    """A Cluster of three masters, each with one replica."""

    def __init__(self, folder: Path) -> None:
        options = ("cluster-enabled yes", f"cluster-node-timeout {NODE_TIMEOUT_MS}", "repl-diskless-sync-delay 0")
        self.servers = [Server(folder, *options) for _ in range(6)]
        self.masters, self.replicas = self.servers[:3], self.servers[3:]
        for number, server in enumerate(self.masters):
            until(lambda s=server: s.redis.ping(), "started")  # type: ignore[misc]
            first, last = SLOTS * number // 3, SLOTS * (number + 1) // 3 - 1
            server.redis.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
        for server in self.servers[1:]:
            until(lambda s=server: s.redis.ping(), "started")  # type: ignore[misc]
            server.redis.execute_command("CLUSTER", "MEET", "127.0.0.1", self.servers[0].port)
        for server in self.servers:
            until(lambda s=server: self._knows_all(s), "nodes know each other")  # type: ignore[misc]
        for master, replica in zip(self.masters, self.replicas, strict=True):
            until(lambda m=master, r=replica: r.redis.execute_command("CLUSTER", "REPLICATE", self.id(m)), "replicates")  # type: ignore[misc]
            until(lambda m=master: m.redis.info("replication")["connected_slaves"] == 1, "replica connected")  # type: ignore[misc]
        for server in self.servers:
            until(lambda s=server: s.redis.execute_command("CLUSTER INFO")["cluster_state"] == "ok", "cluster is ok")  # type: ignore[misc]

    @staticmethod
    def id(server: Server) -> str:
        return str(server.redis.execute_command("CLUSTER", "MYID"))

    @staticmethod
    def _knows_all(server: Server) -> bool:
        return int(server.redis.execute_command("CLUSTER INFO")["cluster_known_nodes"]) == 6

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(f'127.0.0.1:{s.port}' for s in self.masters)}"

    def slot(self, key: str) -> int:
        return int(self.servers[0].redis.execute_command("CLUSTER", "KEYSLOT", key))

    def owner(self, slot: int) -> Server:
        """The server that takes the slot's calls now."""
        for server in self.servers:
            with contextlib.suppress(redis.RedisError):
                if server.redis.info("replication")["role"] == "master" and self._owns(server, slot):
                    return server
        raise LookupError(slot)

    def _owns(self, server: Server, slot: int) -> bool:
        nodes = server.redis.execute_command("CLUSTER NODES")
        mine = next(fields for fields in nodes.values() if "myself" in fields["flags"])
        return any(int(first) <= slot <= int(last) for first, last in (_range(part) for part in mine["slots"]))

    def move(self, slot: int, target: Server) -> None:
        """As redis-cli --cluster reshard does it."""
        source = self.owner(slot)
        target.redis.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id(source))
        source.redis.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id(target))
        while keys := source.redis.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 3):
            source.redis.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "REPLACE", "KEYS", *keys)
        for server in (target, source, *self.masters):
            server.redis.execute_command("CLUSTER", "SETSLOT", slot, "NODE", self.id(target))


def _range(part: list[str]) -> tuple[str, str]:
    return (part[0], part[-1])


class Encrypted:
    """A server that speaks TLS only and knows one user with few rights. Debian's redis-server: the wheel has no TLS."""

    def __init__(self, folder: Path, acl: str) -> None:
        redis_server, openssl = program("redis-server", "openssl"), program("openssl")
        self.certificate, key = folder / "store.crt", folder / "store.key"
        subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
        command = (openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        out = ("-keyout", str(key), "-out", str(self.certificate), "-days", "2")
        subprocess.run([*command, *out, *subject], check=True, capture_output=True)
        port = free_port()
        tls = (f"tls-port {port}", f"tls-cert-file {self.certificate}", f"tls-key-file {key}", "tls-auth-clients no")
        self.server = Server(folder, *tls, f"tls-ca-cert-file {self.certificate}", acl, binary=redis_server)
        self.port = port
        self.servers = [self.server]
        until(lambda: self.server.redis.ping(), repr(self.server))

    def url(self, user: str, password: str) -> str:
        return f"rediss://{user}:{password}@localhost:{self.port}?ssl_ca_certs={self.certificate}"
