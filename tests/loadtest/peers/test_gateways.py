"""`make bench-peers` without the others' packages: how each gateway is started and reported; ours is measured."""

import json
import os
import socket
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from loadtest.bench.rig import Bench
from loadtest.cluster.programs import store_binary, wrk_script
from loadtest.peers import command
from loadtest.peers.command import Suite, parse_flags
from loadtest.peers.figures import Closed, Outage, Plain, Results, Streams, Trouble
from loadtest.peers.gateways import ALL, OURS, Peer, PeerTrouble, missing_tools
from loadtest.peers.measures import OUTAGES, Trial, measure_outage
from loadtest.peers.recipes import Launch, ReplicaPorts
from loadtest.peers.replica import Replica, running, started
from loadtest.peers.report import Run, render
from loadtest.trials.outage import running as running_process
from tests.loadtest.process import wait_until
from tests.support.ports import free_port

RUN = Run(command="x", date="2026-11-25", machine="2 cores", turns=2, seconds=3, replicas=(1, 4))
PORTS = ReplicaPorts(port=40011, primary=40012, backup=40013, store=40014, is_cluster=True)
FAILING, HANGING = OUTAGES


def plain(per_s: float) -> Plain:
    return Plain(per_s=per_s, rate=per_s / 2, added_p50_ms=1000 / per_s, added_p99_ms=2, rss_mib=50)


def outage(failed: int, slow: int, paid: int, failures: dict[str, int] | None = None) -> Outage:
    return Outage(calls=100, failed=failed, slow=slow, paid=paid, healthy_p99_ms=55, failures=failures or {})


def peer(*command: str, requirement: str = "") -> Peer:
    return Peer(
        name="sick",
        title="Sick",
        release="1",
        given="nothing",
        launch=lambda _ports, _home: Launch(command=command),
        requirement=requirement,
    )


def parsed(launch: Launch) -> Any:
    """Returns the one configuration file or header of a gateway."""
    texts = {**launch.files, **{name: text for name, text in launch.headers.items() if name.endswith("config")}}
    ((name, text),) = texts.items()
    return tomllib.loads(text) if name.endswith("toml") else yaml.safe_load(text)


def rows(report: str, title: str) -> list[list[str]]:
    lines = [line for line in report.splitlines() if line.startswith(f"| {title} |")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("name", ALL)
def test_each_gateway_gets_both_providers(name: str) -> None:
    launch = ALL[name].launch(PORTS, Path("/home-of-it"))
    configured = json.dumps([parsed(launch), launch.environment])

    assert str(PORTS.primary) in configured
    assert str(PORTS.backup) in configured
    assert str(PORTS.port) in json.dumps([configured, launch.command]) or launch.port_file


@pytest.mark.parametrize("name", ALL)
def test_each_release_is_pinned_and_named(name: str) -> None:
    each = ALL[name]

    assert each.is_ours or each.release.split(" ")[0] in each.requirement
    assert each.is_ours or "==" in each.requirement or json.loads(each.requirement)["overrides"]


def test_litellm_shares_its_state_only_among_several() -> None:
    alone = ReplicaPorts(port=1, primary=2, backup=3, store=4, is_cluster=False)
    settings = [parsed(ALL["litellm"].launch(ports, Path()))["router_settings"] for ports in (PORTS, alone)]

    assert [each.get("redis_port") for each in settings] == [PORTS.store, None]


def test_a_call_of_wrk_carries_the_model_and_the_headers() -> None:
    launch = ALL["portkey"].launch(PORTS, Path())
    script = wrk_script("another", launch.headers)

    assert '"model":"another"' in script
    assert f"wrk.headers['x-portkey-config'] = '{launch.headers['x-portkey-config']}'" in script


def test_the_report_holds_medians_and_ratios_of_each_turn() -> None:
    results = Results(
        plain={"pllm": [plain(1000), plain(500)], "envoy": [plain(4000), plain(3000)]},
        streams={"envoy": [Streams(cpu_us=30, late_p99_ms=1, whole_ratio=1)]},
    )
    report = render(RUN, [OURS, ALL["envoy"], ALL["hardcap"]], results)

    assert rows(report, "Envoy")[0][2:4] == ["3,500", "5.00 ×"]
    assert rows(report, "Envoy")[0][7:9] == ["30 µs", "100%"]
    assert rows(report, "hardcap")[0][2:] == ["–"] * 8
    assert "Faster than PLLM: Envoy." in report
    assert "Less added latency at the median than PLLM: Envoy." in report
    assert "Less memory than" not in report
    assert "Less CPU for a chunk than" not in report  # ours has no figure


def test_the_report_names_figures_below_the_lateness_of_the_load_test() -> None:
    late = msgspec.structs.replace(plain(4000), late_p99_ms=9)
    report = render(RUN, [OURS, ALL["envoy"]], Results(plain={"pllm": [plain(1000)], "envoy": [late]}))

    assert "so that it may be the load's: added p99 of Envoy." in report


def test_the_report_names_gateways_that_cost_less() -> None:
    slim = msgspec.structs.replace(plain(500), added_p99_ms=1, rss_mib=40)
    streams = {
        "pllm": [Streams(cpu_us=100, late_p99_ms=1, whole_ratio=1)],
        "hardcap": [Streams(cpu_us=30, late_p99_ms=1, whole_ratio=1)],
    }
    results = Results(plain={"pllm": [plain(1000)], "hardcap": [slim]}, streams=streams)
    report = render(RUN, [OURS, ALL["hardcap"]], results)

    for what in ("Less added latency at p99", "Less CPU for a chunk", "Less memory"):
        assert f"{what} than PLLM: hardcap." in report
    assert "at the median" not in report


def test_the_report_names_gateways_that_do_better_in_an_outage() -> None:
    results = Results(
        outages={
            ("pllm", HANGING, 1): outage(0, 9, 9),
            ("pllm", HANGING, 4): outage(1, 9, 9, {"504 upstream_timeout": 1}),
            ("hardcap", HANGING, 4): outage(0, 20, 20),
        }
    )
    report = render(RUN, [OURS, ALL["hardcap"]], results)

    assert rows(report, "PLLM")[0] == ["PLLM", "0 / 9 / 9", "1 / 9 / 9", "100", "55 ms"]
    assert rows(report, "hardcap")[0] == ["hardcap", "–", "0 / 20 / 20", "100", "55 ms"]
    assert "Fewer failed calls than PLLM with 4 replicas: hardcap." in report
    assert "Errors that clients of PLLM got, by replicas: 1 × 504 upstream_timeout (4)." in report
    assert "Fewer slow" not in report
    assert f"## A provider {FAILING}" not in report


def test_a_gateway_that_was_slow_before_the_outage_is_named() -> None:
    busy = Outage(calls=100, failed=0, slow=90, paid=5, healthy_p99_ms=1001)
    outages = {("pllm", HANGING, 1): outage(0, 9, 9), ("litellm", HANGING, 1): busy}
    report = render(RUN, [OURS, ALL["litellm"]], Results(outages=outages))

    assert "Slow already before, so that its slow answers say nothing of the outage: LiteLLM proxy." in report


def test_closed_loop_is_a_table_by_number_of_callers() -> None:
    def turn(per_s: float) -> Closed:
        return Closed(per_s=per_s, added_p50_ms=0.5, added_p99_ms=2)

    closed = {("pllm", 1): [turn(40), turn(48), turn(49)], ("pllm", 64): [turn(2900)]}
    report = render(RUN, [OURS, ALL["envoy"]], Results(closed=closed))

    assert rows(report, "PLLM")[0] == [
        "PLLM",
        "48/s / 0.50 / 2.00 ms",
        "– / – / –",
        "– / – / –",
        "2,900/s / 0.50 / 2.00 ms",
    ]
    assert "the provider takes 20 ms" in report


def test_releases_without_a_successor_and_what_cannot_be_measured_are_named() -> None:
    report = render(RUN, list(ALL.values()), Results())

    assert "* TensorZero: the newest release; no longer developed." in report
    assert "* Bifrost: not measured" in report


def test_missing_figure_is_named_with_its_reason() -> None:
    report = render(RUN, [OURS], Results(troubles=[Trouble("LiteLLM proxy, everything", "no such release")]))

    assert "* LiteLLM proxy, everything: no such release" in report


def test_a_gateway_that_cannot_be_installed_is_named_and_left_out(tmp_path: Path) -> None:
    sick = peer("true", requirement="{ is no package file")
    suite = Suite(Bench(tmp_path), tmp_path, [OURS, sick])
    suite.install()

    (trouble,) = suite.results.troubles
    assert trouble.what == "Sick, everything"
    assert trouble.why.startswith("Sick cannot be installed: ")
    assert suite.peers == [OURS]


def test_a_gateway_that_does_not_start_is_named_with_its_last_words(tmp_path: Path) -> None:
    sick = peer(sys.executable, "-c", "raise SystemExit('no licence')")

    with (
        pytest.raises(PeerTrouble, match=r"Sick did not start: .* its last words: no licence"),
        running(sick, tmp_path, tmp_path, PORTS),
    ):
        pytest.fail("it runs")


def test_all_that_a_gateway_has_started_is_measured_and_ends_with_it(tmp_path: Path) -> None:
    hungry = "import time; block = bytearray(64 << 20); open('ready', 'w').close(); time.sleep(300)"
    command = ("sh", "-c", f'{sys.executable} -c "{hungry}" & echo $! >pid; wait')
    with started(peer(*command), tmp_path, tmp_path, PORTS) as (launch, process):
        wait_until((tmp_path / "ready").exists)
        child = int((tmp_path / "pid").read_text())
        replica = Replica("", process.pid, launch)

        assert replica.rss_mib() > 64
        assert replica.cpu_s() > 0
    wait_until(lambda: not Path(f"/proc/{child}").exists())


def ask_for_chunks(port: int, body: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        link.sendall(b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        data = b""
        while not data.endswith(b"0\r\n\r\n"):
            part = link.recv(65536)
            assert part
            data += part
    return data


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_the_stream_source_knows_both_names_of_the_limit(field: str) -> None:
    port = free_port()
    command = (sys.executable, "-m", "loadtest.bench.stream_source", "--port", str(port), "--rate", "50")
    with running_process(*command, port=port):
        answer = ask_for_chunks(port, json.dumps({field: 3}).encode())

    assert answer.count(b'"content"') == 3


def test_the_delayed_source_answers_after_its_time() -> None:
    port = free_port()
    command = (sys.executable, "-m", "loadtest.bench.delayed_source", "--port", str(port), "--delay-ms", "200")
    request = b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}"
    with (
        running_process(*command, port=port),
        socket.create_connection(("127.0.0.1", port), timeout=10) as link,
        link.makefile("rb") as answers,
    ):
        for _ in range(2):  # on one connection
            began = time.monotonic()
            link.sendall(request)

            assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
            assert time.monotonic() - began >= 0.19
            head = list(iter(answers.readline, b"\r\n"))
            (length,) = (int(line.split(b":")[1]) for line in head if line.startswith(b"content-length"))
            assert json.loads(answers.read(length))["usage"]["total_tokens"] == 10


def test_an_outage_of_ours_costs_no_client_an_error_and_few_calls(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    store = (store_binary(), "--port", str(bench.store), "--save", "", "--dir", str(tmp_path))
    with running_process(*store, port=bench.store):
        found = measure_outage(bench, OURS, tmp_path, Trial({"error_rate": 1}, 1, 0.5), 2)

    assert found.calls == pytest.approx(25, abs=2)
    assert found.failed == 0
    assert found.paid <= 10  # five, and those on their way meanwhile


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--only", "nobody"], "invalid choice: 'nobody' (choose from 'pllm'"),
        (["--parts", "all"], "invalid choice: 'all'"),
        (["--turns", "0"], "--turns: from 1 to 100"),
        (["--turns", "99999999999"], "--turns: from 1 to 100"),
        (["--seconds", "nan"], "--seconds: from 1 to 600"),
        (["--seconds", "inf"], "--seconds: from 1 to 600"),
        (["--replicas", "1", "1000"], "--replicas: from 1 to 16"),
        (["--out", "/no/such/folder/x.md"], "cannot be written"),
    ],
)
def test_a_wrong_flag_is_refused(flags: Sequence[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        parse_flags(flags)

    assert ending.value.code == 2
    assert words in capsys.readouterr().err


def test_a_gateway_that_fails_in_any_way_does_not_lose_others_results(tmp_path: Path) -> None:
    nowhere = tmp_path / "file"
    nowhere.touch()
    suite = Suite(Bench(tmp_path), nowhere, [peer("true", requirement="anything")])
    suite.install()  # no folder can be made in a file
    suite.measure(parse_flags(["--quick", "--parts", "plain"]))

    (trouble,) = suite.results.troubles
    assert "Not a directory" in trouble.why
    assert "Nothing was measured." in render(RUN, [OURS], suite.results)


def test_a_turn_without_a_figure_does_not_pair_the_others_wrongly() -> None:
    plains = {"pllm": [plain(500)], "envoy": [plain(4000), plain(2000)]}
    report = render(RUN, [OURS, ALL["envoy"]], Results(plain=plains))

    assert rows(report, "Envoy")[0][3] == "6.00 ×"


def test_a_report_that_cannot_be_written_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert not command.publish("what was found\n", "/dev/full")

    configured = capsys.readouterr()
    assert configured.out == "what was found\n"
    assert configured.err.startswith("The report could not be written: ")


def test_a_missing_tool_is_named_before_anything_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "PATH", str(tmp_path))

    assert missing_tools([OURS]) == ["wrk", "nginx", "taskset"]
    assert missing_tools([ALL["portkey"]])[-2:] == ["npm", "node"]
    with pytest.raises(SystemExit, match="wrk, nginx, taskset, npm, node"):
        command.main(["--cache", str(tmp_path / "cache")])
    assert not (tmp_path / "cache").exists()
