"""`pllm top` and `pllm events` on a real cluster: through a pipe, and in a terminal of their own."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from typing import Any

import pytest

from shared_state.embedded import EmbeddedStore, die_with_parent
from tests.loadtest.process import PATIENCE_S, ProviderProcess, wait_until
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster

KEY = "key-of-the-console"


@pytest.fixture(scope="module")
def console_cluster(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    models = [deployment("main", provider_processes[0], "gpt-4"), deployment("spare", provider_processes[1], "gpt-4")]
    with running_cluster(
        store, provider_processes, models, domain="console", auth={"admin_key": KEY}, router={"latency_threshold": "8s"}
    ) as running:
        yield running


@pytest.fixture
def replica(console_cluster: Cluster) -> Iterator[ReplicaProcess]:
    replica = console_cluster.replicas[0]
    for name in ("main", "spare"):
        force(replica, name, "reset", "before the test")
    yield replica
    console_cluster.check()


def force(replica: ReplicaProcess, name: str, action: str, reason: str) -> None:
    body = f'{{"actor": "ann", "reason": "{reason}"}}'.encode()
    headers = {"authorization": f"Bearer {KEY}"}
    assert replica.request("POST", f"/v1/admin/deployments/{name}/{action}", body, headers).status == 200


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gateway", *arguments]


def pllm(*arguments: str, key: str = KEY) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PLLM_ADMIN_KEY": key, "HTTP_PROXY": "http://127.0.0.1:1"}
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=20, env=environment)


def _in_this_terminal() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # as a shell leaves it, whatever the tests were started from
    """Ctrl-C in it reaches who has it."""
    die_with_parent()
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self._ours, self._theirs = pty.openpty()
        termios.tcsetwinsize(self._theirs, (30, 100))
        self.before = termios.tcgetattr(self._theirs)
        self.process: subprocess.Popen[bytes] = subprocess.Popen(
            command(*arguments),
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            env=os.environ | {"PLLM_ADMIN_KEY": KEY, "COLUMNS": "", "LINES": ""},
            preexec_fn=_in_this_terminal,
        )
        self.said = ""

    def read(self) -> None:
        while select.select([self._ours], [], [], 0.02)[0]:
            self.said += os.read(self._ours, 65536).decode()

    def wait_for(self, text: str) -> None:
        def has_come() -> bool:
            self.read()
            return text in self.said

        wait_until(has_come, lambda: f"{text!r}: {self.said[-2000:]!r}")

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def ended(self) -> int:
        ends_s = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            assert time.monotonic() < ends_s, self.said[-2000:]
            self.read()
        self.read()
        return int(self.process.returncode)

    def settings(self) -> list[Any]:
        return termios.tcgetattr(self._theirs)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)


@contextlib.contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    opened = Terminal(*arguments)
    try:
        yield opened
    finally:
        opened.close()


def test_top_through_a_pipe_is_one_table(replica: ReplicaProcess) -> None:
    done = pllm("top", "--url", replica.url)

    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[:3] for line in done.stdout.splitlines() if line.startswith("gpt-4")] == [
        ["gpt-4", "main", "closed"],
        ["gpt-4", "spare", "closed"],
    ]
    assert "\x1b" not in done.stdout


def test_top_shows_in_a_terminal_what_changes(replica: ReplicaProcess) -> None:
    with terminal("top", "--url", replica.url) as top:
        top.wait_for("main")
        force(replica, "main", "open", "seen in top")
        top.wait_for("open by ann: seen in top")
        top.wait_for("forced_open")
        rows = top.said.split("\x1b[H")[-2].split("\x1b[K\r\n")

    assert len(rows) <= 30


@pytest.mark.parametrize("end", ["q", "\x03", "SIGTERM"])
def test_top_ends_and_gives_the_terminal_back(replica: ReplicaProcess, end: str) -> None:
    with terminal("top", "--url", replica.url) as top:
        top.wait_for("spare")
        if end == "SIGTERM":
            top.process.send_signal(signal.SIGTERM)
        else:
            top.type(end)
        code = top.ended()

        assert (code, top.said.endswith("\x1b[?25h\x1b[?1049l")) == (0, True)
        assert top.settings() == top.before


def test_top_continues_when_its_gateway_returns(console_cluster: Cluster, replica: ReplicaProcess) -> None:
    with terminal("top", "--url", replica.url) as top:
        top.wait_for("live")
        replica.signal(signal.SIGSTOP)
        try:
            # Longer than what the stream is silent for at most.
            ends_s = time.monotonic() + 3 * PATIENCE_S
            while "no connection" not in top.said:
                assert time.monotonic() < ends_s
                top.read()
        finally:
            replica.signal(signal.SIGCONT)
        top.said = ""
        top.wait_for("   live   ")


@pytest.mark.parametrize("what", [["top"], ["events"], ["events", "--follow"]])
def test_wrong_key_is_reported_with_its_source(replica: ReplicaProcess, what: list[str]) -> None:
    done = pllm(*what, "--url", replica.url, key="wrong")

    assert (done.returncode, done.stdout) == (1, "")
    assert "PLLM_ADMIN_KEY" in done.stderr
    assert "wrong" not in done.stderr


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "http://[broken"])
@pytest.mark.parametrize("what", ["top", "events"])
def test_missing_gateway_is_reported(what: str, url: str) -> None:
    done = pllm(what, "--url", url)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"no answer from {url}")
    assert "Traceback" not in done.stderr


def test_events_are_a_line_each_the_newest_last(replica: ReplicaProcess) -> None:
    force(replica, "main", "drain", "first")
    force(replica, "main", "close", "second")
    lines = pllm("events", "--url", replica.url, "--limit", "2").stdout.splitlines()

    assert [line.split("  ", 1)[1] for line in lines] == [
        "main  closed > disabled  drain by ann: first",
        "main  disabled > closed  close by ann: second",
    ]


def test_followed_events_come_as_they_happen(replica: ReplicaProcess) -> None:
    force(replica, "main", "drain", "before")
    with terminal("events", "--url", replica.url, "--limit", "1", "--follow") as events:
        events.wait_for("drain by ann: before")
        force(replica, "main", "close", "while it follows")
        events.wait_for("close by ann: while it follows")
        events.process.send_signal(signal.SIGINT)

        assert events.ended() == 0
        assert events.said.count("before") == 1
        assert "Traceback" not in events.said


@pytest.mark.parametrize("limit", ["0", "1001", "x"])
def test_limit_out_of_bounds_is_refused(limit: str) -> None:
    assert pllm("events", "--limit", limit).returncode == 2


def reload(replica: ReplicaProcess) -> tuple[int, list[str]]:
    done = subprocess.run(
        command("reload", "--url", replica.url),
        env=os.environ | {"PLLM_ADMIN_KEY": KEY},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()


def test_reload_reports_changes_or_the_reasons_of_a_refusal(replica: ReplicaProcess) -> None:
    before = replica.config.read_text()
    try:
        replica.config.write_text(before + "\nserver: {max_body: 5MiB}\n")
        applied = reload(replica)
        replica.config.write_text(before + "\nserver: {access_log: false, max_body: none}\n")
        refused = reload(replica)
    finally:
        replica.config.write_text(before)
        again = reload(replica)

    assert (applied[0], applied[1][1:]) == (0, ["server.max_body"])
    assert applied[1][0].startswith("applied: version ")
    assert (refused[0], len(refused[1]), ": server.max_body: " in refused[1][0]) == (1, 1, True)
    assert again[0] == 0


def test_authority_that_cannot_be_read_is_named(replica: ReplicaProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.crt")
    done = pllm("top", "--url", replica.url)

    assert (done.returncode, done.stdout) == (1, "")
    assert "SSL_CERT_FILE" in done.stderr
    assert "Traceback" not in done.stderr
