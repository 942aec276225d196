"""The balancer of docker-compose.yml, with Debian's HAProxy in front of a real replica."""

import contextlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared_state.embedded import die_with_parent
from tests.loadtest.process import wait_until
from tests.support.cluster import ReplicaProcess, deployment, running_cluster, running_providers, running_store
from tests.support.ports import free_port
from tests.support.programs import program
from tests.support.wire import Address, Call, ask, chat_bytes, request_bytes

FILE = Path(__file__).parents[2] / "deploy/compose/haproxy.cfg"
CLIENTS = 20


def adapted(text: str, port: int, replica: ReplicaProcess) -> str:
    """The file with addresses of this machine, a shorter wait for heads and room for 20 connections."""
    for old, new in (
        (r"maxconn 8000", f"maxconn {CLIENTS}"),
        (r"timeout http-request 10s", "timeout http-request 500ms"),
        (r"bind :8080", f"bind 127.0.0.1:{port}"),
        (r"server-template .*", f"server replica 127.0.0.1:{replica.port}"),
        (r"(?s)resolvers docker\n.*?\n\n", ""),
    ):
        text, count = re.subn(old, new, text)
        assert count == 1, old
    return text


@pytest.fixture
def replica() -> Iterator[ReplicaProcess]:
    with (
        running_store() as store,
        running_providers(1) as providers,
        running_cluster(store, providers, [deployment("a", providers[0], "gpt-4")]) as cluster,
    ):
        yield cluster.replicas[0]


@pytest.fixture
def balancer(replica: ReplicaProcess, tmp_path: Path) -> Iterator[Address]:
    binary, file, port = program("haproxy"), tmp_path / "haproxy.cfg", free_port()
    file.write_text(adapted(FILE.read_text(), port, replica))
    command = [binary, "-db", "-f", str(file)]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent) as process,
    ):
        try:
            wait_until(lambda: _is_ready(("127.0.0.1", port)), lambda: (tmp_path / "log").read_text())
            yield ("127.0.0.1", port)
        finally:
            process.terminate()


def _is_ready(address: Address) -> bool:
    try:
        return ask(address, request_bytes("GET", "/readyz")).status == 200
    except OSError:
        return False


def test_twenty_slow_clients_do_not_keep_others_out(balancer: Address) -> None:
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(Call(balancer, b"GET /livez HTTP/1.1\r\nx: ")) for _ in range(CLIENTS)]

        def dripped() -> bool:
            waiting = [each for each in slow if not each.has_data()]
            return not [each for each in waiting if each.try_send(b"y")]

        answer = ask(balancer, chat_bytes(model="gpt-4", headers={"connection": "close"}))
        wait_until(dripped)

        assert answer.status == 200
        assert [(each.answer().status) for each in slow] == [408] * CLIENTS
