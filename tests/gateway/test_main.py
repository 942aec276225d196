"""The command line: what `pllm check`, `pllm serve` and `pllm state` say and how they end."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.__main__ import main
from tests.support.cluster import Cluster, free_port

GOOD = "model_list: [{id: a, model_name: gpt-4, provider: {base_url: 'http://127.0.0.1:1/v1', api_key: s3cret}}]\n"
BAD = """\
server: {port: 99999, hots: 127.0.0.1}
router: {routing_strategy: fastest, circuit_breaker_cooldown: soon}
model_list:
  - {id: a, model_name: gpt-4, timeout: -1s}
  - {id: a, model_name: gpt-4}
auth: {keys: [{name: team, key: ""}]}
"""


def pllm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "gateway", *arguments], capture_output=True, text=True, timeout=20)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "gateway.yaml"


def test_check_of_a_valid_file_says_what_is_in_it(config: Path) -> None:
    config.write_text(GOOD)
    done = pllm("check", str(config))

    assert (done.returncode, done.stderr) == (0, "")
    assert "valid, 1 deployments of 1 models" in done.stdout


def test_check_prints_every_problem_with_its_path_and_ends_with_1(config: Path) -> None:
    config.write_text(BAD)
    done = pllm("check", str(config))
    paths = [line.partition(":")[0] for line in done.stderr.splitlines()]

    assert (done.returncode, done.stdout) == (1, "")
    assert sorted(paths) == [
        "auth.keys[0].key",
        "model_list[0].timeout",
        "model_list[1].id",
        "router.circuit_breaker_cooldown",
        "router.routing_strategy",
        "server.hots",
        "server.port",
    ]


@pytest.mark.parametrize("text", ["", "{", "- 1", "model_list: []", "a: &a [*a]", "\x00"])
def test_check_of_something_else_says_what_is_wrong(
    config: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(text)

    assert main(["check", str(config)]) == 1
    assert capsys.readouterr().err


def test_missing_file_is_named(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(config)]) == 1
    assert str(config) in capsys.readouterr().err


def test_unknown_command_ends_with_2() -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["explode"])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_serve_refuses_other_addresses_without_keys(
    config: Path, host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(GOOD)

    assert main(["serve", "--config", str(config), "--host", host]) == 1
    assert capsys.readouterr().err.startswith("server.host: ")


def test_serve_of_a_wrong_file_ends_with_1_before_it_listens(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(BAD)

    assert main(["serve", "--config", str(config)]) == 1
    assert "server.port" in capsys.readouterr().err


@pytest.mark.parametrize(("engine", "code"), [("hypercorn", 1), ("uvicorn", 3)])
def test_serve_on_a_port_that_is_taken_says_so(config: Path, engine: str, code: int) -> None:
    config.write_text(GOOD)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = pllm("serve", "--config", str(config), "--port", port, "--engine", engine)

    assert done.returncode == code
    assert "in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_serve_without_any_store_says_so_and_ends_with_1(config: Path) -> None:
    config.write_text(GOOD + "state: {url: 'redis://127.0.0.1:1', standby: none}\n")
    done = pllm("serve", "--config", str(config), "--port", str(free_port()))

    assert done.returncode == 1
    assert "store" in done.stderr
    assert "Traceback" not in done.stderr


def test_state_shows_what_redis_cli_would(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["state", "--url", cluster.store.url, "HGET", cluster.key("deployment:primary"), "state"])

    assert (code, capsys.readouterr().out) == (0, "closed\n")


def test_state_without_a_word_shows_the_domain(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["state", "--url", cluster.store.url, "--domain", cluster.domain])
    said = capsys.readouterr().out

    assert code == 0
    assert said.startswith(f"domain {cluster.domain}   epoch ")
    assert all(f"\n{name}" in said for name in ("primary ", "org/nested ", "r0-", "r1-"))


@pytest.mark.parametrize("name", ["primary", "org/nested"])
def test_state_of_a_deployment_shows_it_decoded(
    cluster: Cluster, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["state", "--url", cluster.store.url, "--domain", cluster.domain, name])
    lines = capsys.readouterr().out.splitlines()

    assert (code, lines[:2]) == (0, [name, "  closed"])
    assert "  latency_threshold_ms  8000" in lines
    assert "active requests: 0 of at most 200" in lines


def test_state_of_one_word_may_be_a_command(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["state", "--url", cluster.store.url, "DBSIZE"]) == 0
    assert int(capsys.readouterr().out) > 0


@pytest.mark.parametrize(
    ("url", "words"), [("redis://127.0.0.1:1", ["PING"]), ("nonsense", ["PING"]), ("{store}", ["NONSENSE"])]
)
def test_state_that_cannot_be_read_says_why(
    cluster: Cluster, url: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["state", "--url", url.format(store=cluster.store.url), *words]) == 1
    assert capsys.readouterr().err


@pytest.mark.parametrize("name", ["r\r\nset-cookie: a=b", "é", "a b", "a{b}", "x" * 129])
def test_replica_whose_name_would_break_headers_or_keys_does_not_start(config: Path, name: str) -> None:
    config.write_text(GOOD)
    done = pllm("serve", "--config", str(config), "--replica", name)

    assert done.returncode == 2
    assert "--replica: expected 1 to 128 letters" in done.stderr
