"""The provider as a command: its control endpoint, its first line, and how it ends."""

import http.client
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest

from tests.loadtest.process import ProviderProcess, running_provider, wait_until

REFUSED_S = 0.3


def test_control_shows_behaviour_and_counts(provider: ProviderProcess) -> None:
    state = provider.request("GET", "/control").json()

    assert state.keys() == {"name", "behaviour", "counts"}
    assert (state["name"], state["behaviour"]["latency_ms"], state["counts"]["requests"]) == ("healthy", 0, 0)


def test_patch_changes_only_what_it_names(provider: ProviderProcess) -> None:
    provider.behave(latency_ms=5)
    behaviour = provider.behave(chunks=2)

    assert (behaviour["latency_ms"], behaviour["chunks"]) == (5, 2)


@pytest.mark.parametrize(
    ("patch", "complaint"),
    [
        ({"latency": 5}, "unknown field `latency`"),
        ({"latency_ms": "fast"}, "$.latency_ms"),
        ({"latency_ms": None}, "$.latency_ms"),
        ({"latency_ms": -1}, "$.latency_ms"),
        ({"latency_distribution": "normal"}, "$.latency_distribution"),
        ({"error_rate": 1.5}, "$.error_rate"),
        ({"error_status": 200}, "$.error_status"),
        ({"chunks": 0}, "$.chunks"),
        ({"fail_first": -1}, "$.fail_first"),
        ({"malformed": "yes"}, "$.malformed"),
        ([1], "Expected `object`"),
        (b"{", "truncated"),
        (b'{"malformed": "\xff"}', "can't decode byte"),
        (b"", "truncated"),
    ],
)
def test_wrong_patch_is_explained_and_changes_nothing(provider: ProviderProcess, patch: Any, complaint: str) -> None:
    before = provider.request("GET", "/control").json()["behaviour"]
    reply = provider.request("PATCH", "/control", patch)

    assert reply.status == 400
    assert complaint in reply.json()["error"]["message"]
    assert provider.request("GET", "/control").json()["behaviour"] == before


def test_patch_with_one_wrong_field_changes_none(provider: ProviderProcess) -> None:
    reply = provider.request("PATCH", "/control", {"latency_ms": 7, "chunks": "many"})

    assert reply.status == 400
    assert provider.behave()["latency_ms"] == 0


def test_reset_zeroes_the_counts_and_keeps_the_behaviour(provider: ProviderProcess) -> None:
    provider.behave(chunks=2)
    provider.chat()
    state = provider.request("POST", "/control/reset").json()

    assert (state["counts"]["requests"], state["counts"]["by_status"]) == (0, {})
    assert state["behaviour"]["chunks"] == 2


def test_model_list_answers_whatever_the_behaviour(provider: ProviderProcess) -> None:
    provider.behave(stall_rate=1, fail_first=1)

    assert provider.request("GET", "/v1/models").status == 200
    assert provider.behave()["fail_first"] == 1


def test_shut_door_closes_kept_connections_and_refuses_new_ones_for_a_while() -> None:
    with running_provider() as provider:
        kept = http.client.HTTPConnection(*provider.address, timeout=10)
        kept.request("GET", "/v1/models")
        kept.getresponse().read()
        assert kept.sock is not None
        reply = provider.request("POST", "/control/refuse", {"seconds": REFUSED_S})

        assert reply.status == 200
        assert kept.sock.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            provider.chat()
        wait_until(lambda: is_open(provider))
        assert provider.chat().status == 200
        kept.close()


def is_open(provider: ProviderProcess) -> bool:
    try:
        socket.create_connection(provider.address).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize("body", [{"seconds": -1}, {}, {"minutes": 1}])
def test_wrong_refusal_is_rejected(provider: ProviderProcess, body: dict[str, float]) -> None:
    assert provider.request("POST", "/control/refuse", body).status == 400
    assert provider.chat().status == 200


def test_first_line_names_provider_and_address() -> None:
    with running_provider("--name", "slow", "--behaviour", '{"chunks": 1}') as provider:
        assert provider.ready_line == f"provider slow listening on {provider.url}"
        assert provider.chat().json()["choices"][0]["message"]["content"] == "Hello from slow."


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_at_once_even_while_calls_hang(number: signal.Signals) -> None:
    behaviour = '{"stall_rate": 1}'
    with running_provider("--behaviour", behaviour) as provider, provider.call():
        provider.wait_for(in_flight=1)
        provider.process.send_signal(number)

        assert provider.process.wait(timeout=2) == 0


def test_dies_with_its_parent() -> None:
    parent = "import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()"
    provider = [sys.executable, "-m", "loadtest.provider", "--port", "0", "--die-with-parent"]
    with subprocess.Popen([sys.executable, "-c", parent, *provider], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"provider healthy listening")
        process.kill()

        # The pipe ends when the last process that holds it has ended.
        assert process.stdout.read() == b""


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--port", "0", "--behaviour", '{"latency": 5}'], "unknown field `latency`"),
        (["--port", "0", "--behaviour", "{"], "truncated"),
        (["--port", "x"], "invalid int value"),
        ([], "--port"),
    ],
)
def test_wrong_flag_is_explained(flags: list[str], complaint: str) -> None:
    command = [sys.executable, "-m", "loadtest.provider", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10)

    assert done.returncode == 2
    assert complaint in done.stderr


def test_port_in_use_is_an_error(provider: ProviderProcess) -> None:
    command = [sys.executable, "-m", "loadtest.provider", "--port", str(provider.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10)

    assert done.returncode == 1
    assert "address already in use" in done.stderr.lower()


def test_freed_port_can_be_taken_again() -> None:
    with running_provider() as first:
        port = first.port
        first.process.terminate()
        first.process.wait(timeout=2)

    command = [sys.executable, "-m", "loadtest.provider", "--port", str(port), "--die-with-parent"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second:
        assert second.stdout is not None
        assert second.stdout.readline().endswith(f":{port}\n")
        second.kill()
        wait_until(lambda: second.poll() is not None)
