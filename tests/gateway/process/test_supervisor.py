"""Several processes behind one port: `pllm serve --replicas N`."""

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.process.supervisor import STOP_GRACE_S, YOUNG_S, patience_s
from gateway.reload.file import ConfigurationFile
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import STATS
from tests.support.ports import free_port
from tests.support.process_tree import children
from tests.support.wire import Answer, Call, ask, chat_bytes, request_bytes

COUNT = 3


class Supervised:
    def __init__(self, folder: Path, provider: ProviderProcess) -> None:
        self.port, self.log = free_port(), folder / "log"
        self.config = folder / "many.yaml"
        self.config.write_text(
            f"server: {{port: {self.port}}}\n"
            f"model_list: [{{id: m-1, model_name: m, provider: {{base_url: '{provider.url}/v1'}}}}]\n"
        )
        command = [sys.executable, "-m", "gateway", "serve", "--config", str(self.config), "--replicas", str(COUNT)]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output)
        wait_until(lambda: self.seen() == COUNT, self.said)

    def said(self) -> str:
        return self.log.read_text()

    def ask(self, data: bytes) -> Answer:
        return ask(("127.0.0.1", self.port), data)

    def seen(self) -> int:
        """Replicas that the state knows."""
        with contextlib.suppress(OSError):
            count: int = self.ask(request_bytes("GET", STATS)).json()["replicas"]
            return count
        return 0

    def pids(self) -> list[int]:
        """Returns the pids of the replicas."""
        return self.children("gateway serve")

    def children(self, words: str = "") -> list[int]:
        return children(self.process.pid, words)


@pytest.fixture
def supervised(tmp_path: Path, provider_processes: list[ProviderProcess]) -> Iterator[Supervised]:
    provider_processes[0].behave(stall_rate=0)
    running = Supervised(tmp_path, provider_processes[0])
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait(30)


def served_by(supervised: Supervised) -> str:
    """Each on a connection of its own, which the kernel gives to any of them."""
    answer = supervised.ask(chat_bytes(model="m"))
    assert answer.status == 200, answer
    return answer.headers["x-pllm-replica"]


def test_connections_are_spread_over_replicas_with_one_state(supervised: Supervised) -> None:
    names: set[str] = set()
    wait_until(lambda: len(names.add(served_by(supervised)) or names) == COUNT)  # type: ignore[func-returns-value]

    assert {name.rpartition("-")[2] for name in names} == {"0", "1", "2"}


def test_replica_that_dies_is_replaced_and_no_client_is_refused_meanwhile(supervised: Supervised) -> None:
    before = supervised.pids()
    os.kill(before[0], signal.SIGKILL)
    while set(supervised.pids()) & set(before) == set(before) or len(supervised.pids()) < COUNT:
        served_by(supervised)
    for _ in range(30):
        served_by(supervised)

    assert "ended with code -9" in supervised.said()


def test_sigterm_lets_every_response_end(supervised: Supervised, provider_processes: list[ProviderProcess]) -> None:
    provider_processes[0].behave(chunk_gap_ms=100)
    calls = [Call(("127.0.0.1", supervised.port), chat_bytes(model="m", stream=True)) for _ in range(6)]
    for call in calls:
        call.peek_until(b"data: ")
    for _ in range(2):  # an impatient operator sends it twice
        supervised.process.send_signal(signal.SIGTERM)
    answers = [call.answer() for call in calls]

    assert supervised.process.wait(30) == 0
    assert [(answer.status, answer.is_whole, answer.events[-1]) for answer in answers] == [(200, True, "[DONE]")] * 6
    assert "Traceback" not in supervised.said()
    for call in calls:
        call.leave()
    provider_processes[0].behave(chunk_gap_ms=0)


@pytest.mark.long
def test_no_client_waits_for_a_replica_that_dies_again_and_again(supervised: Supervised) -> None:
    """Without this, two thirds of all connections went to sockets that no process served."""
    survivor = supervised.pids()[0]
    for deaths in range(2, 12, 2):
        wait_until(lambda: len(supervised.pids()) == COUNT, supervised.said)
        for pid in set(supervised.pids()) - {survivor}:
            os.kill(pid, signal.SIGKILL)
        wait_for_text(supervised, "ended with code -9", deaths)
    served = {served_by(supervised) for _ in range(8)}  # before they are started again

    assert len(served) == 1


def test_others_live_on_while_the_machine_gives_no_new_process(supervised: Supervised) -> None:
    """As when it is out of memory: the supervisor ended, and all replicas with it."""
    limits = resource.prlimit(supervised.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(supervised.process.pid, resource.RLIMIT_NOFILE, (0, limits[1]))
    os.kill(supervised.pids()[0], signal.SIGKILL)
    wait_for_text(supervised, "cannot be started", 2)
    alive = len(supervised.pids())
    resource.prlimit(supervised.process.pid, resource.RLIMIT_NOFILE, limits)
    wait_until(lambda: len(supervised.pids()) == COUNT, supervised.said)

    assert alive == COUNT - 1
    assert "Traceback" not in supervised.said()


def test_replicas_serve_while_their_store_cannot_be_started_again(supervised: Supervised) -> None:
    (folder,) = Path(tempfile.gettempdir()).glob(f"pllm-valkey-{supervised.process.pid}-*")
    (store,) = set(supervised.children()) - set(supervised.pids())
    aside = folder.rename(folder.with_name(f"{folder.name}-aside"))
    folder.touch()  # in the place of its folder
    os.kill(store, signal.SIGKILL)
    wait_for_text(supervised, "the embedded store cannot be started", 2)
    served = [served_by(supervised) for _ in range(8)]
    folder.unlink()
    wait_until(lambda: all(supervised.ask(chat_bytes(model="m")).headers["x-pllm-state"] == "shared" for _ in range(8)))
    shutil.rmtree(aside)

    assert len(served) == 8
    assert supervised.process.poll() is None


def wait_for_text(supervised: Supervised, text: str, times: int) -> None:
    wait_until(lambda: supervised.said().count(text) >= times, supervised.said)


@pytest.mark.long
def test_replicas_live_on_while_a_new_one_cannot_start(supervised: Supervised, tmp_path: Path) -> None:
    """An operator is editing the configuration, and it is not valid yet."""
    began_s = time.monotonic()
    while time.monotonic() < began_s + YOUNG_S:
        served_by(supervised)
    config = tmp_path / "many.yaml"
    right = config.read_text()
    config.write_text(right + "bogus: 1\n")
    os.kill(supervised.pids()[0], signal.SIGKILL)
    wait_for_text(supervised, "ended with code 1", 2)
    for _ in range(30):
        served_by(supervised)
    config.write_text(right)

    wait_until(lambda: supervised.seen() == COUNT, supervised.said)


@pytest.mark.long
def test_delay_is_time_to_end_as_well(supervised: Supervised, provider_processes: list[ProviderProcess]) -> None:
    """Processes were killed ten seconds after the time of the drain alone."""
    text = supervised.config.read_text()
    supervised.config.write_text(
        text.replace("server: {", f"server: {{drain_delay: {STOP_GRACE_S + 5}, drain_timeout: 1, ")
    )
    supervised.process.send_signal(signal.SIGHUP)
    wait_for_text(supervised, "server.drain_delay", COUNT)
    provider_processes[0].behave(chunk_gap_ms=1000 * (STOP_GRACE_S + 2) / 7, chunks=8)
    with Call(("127.0.0.1", supervised.port), chat_bytes(model="m", stream=True)) as call:
        call.socket.settimeout(2 * STOP_GRACE_S)
        call.peek_until(b"data: ")
        supervised.process.send_signal(signal.SIGTERM)
        answer = call.answer()
    provider_processes[0].behave(chunk_gap_ms=0)

    assert (answer.is_whole, answer.events[-1]) == (True, "[DONE]")
    assert supervised.process.wait(30) == 0


def test_time_to_end_is_delay_and_drain_of_the_start_or_of_a_reload_whichever_is_longer(tmp_path: Path) -> None:
    models, config = "model_list: [{id: m-1, model_name: m}]\n", tmp_path / "x.yaml"
    config.write_text("server: {drain_delay: 15s, drain_timeout: 20s}\n" + models)
    file = ConfigurationFile(config, {})
    at_start = file.read().settings
    seen = []
    for text in ("server: {drain_timeout: 2m}\n" + models, "server: {drain_timeout: 1s}\n" + models, "bogus: 1\n"):
        config.write_text(text)
        seen.append(patience_s(file, at_start))

    assert seen == [120 + STOP_GRACE_S, 35 + STOP_GRACE_S, 35 + STOP_GRACE_S]


def serve(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    config = folder / "x.yaml"
    config.write_text(text)
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(config), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_port_in_use_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = serve(tmp_path, "model_list: [{id: m-1, model_name: m}]\n", "--replicas", "2", "--port", port)

    assert (done.returncode, "in use" in done.stderr, "Traceback" in done.stderr) == (1, True, False)


def test_replicas_that_cannot_start_end_the_command(tmp_path: Path) -> None:
    nobody = f"redis://127.0.0.1:{free_port()}"
    text = f"state: {{url: '{nobody}', standby: none}}\nmodel_list: [{{id: m-1, model_name: m}}]\n"
    done = serve(tmp_path, text, "--replicas", "2", "--port", str(free_port()))

    assert done.returncode == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("options", [(), ("--replicas", "2")])
@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://127.0.0.1:6379", "state.url: the address must begin with one of redis://"),
        ("redis://127.0.0.1:99999", "state.url: the address cannot be read"),
    ],
)
def test_store_that_cannot_be_one_is_refused_with_its_path(
    tmp_path: Path, options: tuple[str, ...], url: str, told: str
) -> None:
    done = serve(tmp_path, "model_list: [{id: m-1, model_name: m}]\n", *options, "--port", "0", "--state-url", url)

    assert (done.returncode, told in done.stderr, "Traceback" in done.stderr) == (1, True, False), done.stderr


@pytest.mark.parametrize("count", ["0", "-1", "129", "1000", "many", "1.5", "", "²"])
def test_number_of_replicas_is_bounded(tmp_path: Path, count: str) -> None:
    done = serve(tmp_path, "model_list: [{id: m-1, model_name: m}]\n", f"--replicas={count}")

    assert (done.returncode, "expected a number from 1 to 128" in done.stderr) == (2, True)


def test_hang_up_reloads_all_of_them(supervised: Supervised) -> None:
    text = supervised.config.read_text()
    supervised.config.write_text(text + "router: {aliases: {also-m: m}}\n")
    supervised.process.send_signal(signal.SIGHUP)
    wait_until(lambda: supervised.said().count("router.aliases.also-m: added") == COUNT, supervised.said)

    assert len(supervised.pids()) == COUNT
    assert supervised.ask(chat_bytes(model="also-m")).status == 200
