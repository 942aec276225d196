"""The command line: output and exit codes of `pllm check`, `pllm serve` and `pllm state`."""

import json
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gateway.__main__ import main
from tests.loadtest.process import wait_until
from tests.support.cluster import Cluster
from tests.support.ports import free_port
from tests.support.wire import ask, request_bytes

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


def test_check_of_a_valid_file_counts_its_deployments(config: Path) -> None:
    config.write_text(GOOD)
    done = pllm("check", str(config))

    assert (done.returncode, done.stderr) == (0, "")
    assert "valid, 1 deployments of 1 models" in done.stdout


def test_check_warns_of_what_is_allowed_and_risky(config: Path) -> None:
    config.write_text(GOOD + "auth: {admin: local, keys: [{name: team, key: sk-4f9d1c7ae2b05863}]}\n")
    done = pllm("check", str(config))

    assert (done.returncode, done.stderr) == (0, "")
    assert "warning: auth.admin: every program on this machine can administer without a key" in done.stdout


def test_check_warns_of_keys_that_cannot_be_read_here(config: Path) -> None:
    config.write_text(
        """
model_list:
  - {id: a, model_name: m, provider: {api_key_file: /no/such/key}}
  - {id: b, model_name: m, provider: {api_key_command: [no-such-program, secret-argument]}}
  - {id: c, model_name: m, provider: {api_key_command: ["true"]}}
  - {id: d, model_name: m, provider: {api_keys: [one-of-two, two-of-two]}}
"""
    )
    done = pllm("check", str(config))

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].endswith("valid, 5 deployments of 1 models")
    assert done.stdout.splitlines()[1:] == [
        "warning: model_list.a.provider.api_key_file: no key: No such file or directory",
        "warning: model_list.b.provider.api_key_command: no key: there is no such program",
    ]


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
def test_check_of_an_invalid_file_reports_its_problems(
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


def test_serve_on_a_port_in_use_reports_it(config: Path) -> None:
    config.write_text(GOOD)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = pllm("serve", "--config", str(config), "--port", port)

    assert done.returncode == 1
    assert "in use" in done.stderr
    assert "listens on http" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--port", "65536"], 2, "expected a number from 0 to 65535"),
        (["--port=-1"], 2, "expected a number from 0 to 65535"),
        (["--metrics-port", "http"], 2, "expected a number from 0 to 65535"),
        (["--fd=-1"], 2, "expected the number of an open file"),
        (["--replicas", "2", "--fd", "7"], 1, "for one process"),
        (["--replicas", "2", "--replica", "x"], 1, "for one process"),
        (["--replicas", "2", "--metrics-port", "65535"], 1, "2 replicas need the ports 65535 to 65536, and 65535 is"),
        (["--replicas", "3", "--metrics-port", "8079"], 1, "8079 to 8081, and server.port is 8080"),
    ],
)
def test_serve_with_impossible_numbers_names_them(config: Path, flags: list[str], code: int, said: str) -> None:
    config.write_text(GOOD)
    done = pllm("serve", "--config", str(config), *flags)

    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("flags", [(), ("--engine", "uvicorn"), ("--replicas", "2")])
def test_serve_logs_once_where_it_listens(config: Path, flags: tuple[str, ...]) -> None:
    config.write_text(GOOD)
    port = free_port()
    serve = [sys.executable, "-m", "gateway", "serve", "--config", str(config), "--port", str(port), *flags]
    with subprocess.Popen(serve, stderr=subprocess.PIPE) as process:
        wait_until(lambda: is_ready(port))
        process.terminate()
        _, written = process.communicate(timeout=20)
    messages = [json.loads(line)["message"] for line in written.splitlines()]

    assert [f"http://127.0.0.1:{port}" in line for line in messages if line.startswith("pllm ")] == [True]
    assert [line for line in messages if line.startswith("live page")] == [f"live page: http://127.0.0.1:{port}/admin"]


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]

    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"pllm {project['version']}\n"


@pytest.mark.parametrize("replicas", ["1", "2"])
@pytest.mark.parametrize("closed", [0, 1, 2])
def test_serve_ends_well_with_closed_standard_streams(config: Path, closed: int, replicas: str) -> None:
    config.write_text(GOOD)
    port = free_port()
    script = f"import os, sys; os.close({closed}); os.execv(sys.argv[1], sys.argv[1:])"
    serve = [sys.executable, "-m", "gateway", "serve", "--config", str(config), "--replicas", replicas]
    with subprocess.Popen(
        [sys.executable, "-c", script, *serve, "--port", str(port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        wait_until(lambda: is_ready(port))
        process.terminate()
        _, said = process.communicate(timeout=20)

    assert (process.returncode, b"ssertion" in said, b"Traceback" in said) == (0, False, False)


def is_ready(port: int) -> bool:
    try:
        return ask(("127.0.0.1", port), request_bytes("GET", "/readyz")).status == 200
    except OSError:
        return False


def test_serve_without_any_store_reports_it_and_ends_with_1(config: Path) -> None:
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


def test_state_of_a_deployment_shows_its_last_error_and_the_endpoints_it_lacks(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    at_ms = int(cluster.redis.hget(cluster.key("global"), "clock_ms") or 0)
    cluster.redis.set(cluster.key("last_error:primary"), f"{at_ms} connection refused")
    cluster.redis.hset(cluster.key("deployment:primary"), "unsupported:embeddings", at_ms + 600_000)
    main(["state", "--url", cluster.store.url, "--domain", cluster.domain, "primary"])
    one = capsys.readouterr().out
    main(["state", "--url", cluster.store.url, "--domain", cluster.domain])
    whole = capsys.readouterr().out

    assert "\n  closed  no endpoint for embeddings\n" in one
    assert re.search(r"last error \(\d{4}-.* ago\)\n  connection refused\n", one)
    assert re.search(r"unsupported:embeddings +\d+  \(.*, in ", one)
    assert re.search(r"DEPLOYMENT +WHEN +LAST ERROR\nprimary +\S+ ago  connection refused\n", whole)


def test_state_of_one_word_may_be_a_command(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["state", "--url", cluster.store.url, "DBSIZE"]) == 0
    assert int(capsys.readouterr().out) > 0


@pytest.mark.parametrize(
    ("url", "words"), [("redis://127.0.0.1:1", ["PING"]), ("nonsense", ["PING"]), ("{store}", ["NONSENSE"])]
)
def test_state_that_cannot_be_read_reports_the_reason(
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


def test_replica_starts_without_what_only_other_commands_need() -> None:
    listed = "import sys, gateway.__main__; print(*({'httpx', 'valkey', 'gateway.cli.console'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-P", "-c", listed], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []
