"""The command as a person runs it: exit codes, Ctrl-C, JSON, open loop against a slow server."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loadtest.process import PATIENCE_S, ProviderProcess, wait_until
from tests.support.process_tree import children


def command(*flags: str) -> list[str]:
    return [sys.executable, "-m", "loadtest", *flags]


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*flags), capture_output=True, text=True, timeout=PATIENCE_S)


def test_closed_loop_makes_exactly_the_requested_number(provider: ProviderProcess) -> None:
    done = run("-url", provider.url, "-model", "gpt-9", "-concurrent", "4", "-requests", "50")

    assert done.returncode == 0, done.stderr
    assert "50 ok, 0 failed" in done.stdout
    assert "closed loop, 4 callers" in done.stdout
    counts = provider.counts()
    assert (counts["succeeded"], counts["last_body"]["model"]) == (50, "gpt-9")
    assert counts["max_in_flight"] <= 4


def test_slow_server_does_not_slow_an_open_loop_down(provider: ProviderProcess) -> None:
    provider.behave(latency_ms=500)
    done = run("-url", provider.url, "-rps", "200", "-duration", "0.4s", "-arrivals", "constant", "-stream")

    assert done.returncode == 0, done.stderr
    assert "80 ok" in done.stdout
    # Nearly all were sent before the first answer came; a closed loop would have waited.
    assert provider.counts()["max_in_flight"] > 60


def test_capped_open_loop_reports_the_wait_for_a_connection(provider: ProviderProcess, tmp_path: Path) -> None:
    provider.behave(latency_ms=50)
    out = tmp_path / "report.json"
    run("-url", provider.url, "-rps", "100", "-requests", "20", "-concurrent", "1", "-json", str(out))

    report = json.loads(out.read_text())
    assert provider.counts()["max_in_flight"] == 1
    # Twenty calls of 50 ms, one after the other, though all were due within about 200 ms.
    assert report["queue"]["max_ms"] > 400
    assert report["latency"]["max_ms"] > report["sent"]["max_ms"] + 400


def test_json_report_has_the_figures_of_the_table(provider: ProviderProcess, tmp_path: Path) -> None:
    provider.behave(fail_first=5, error_status=429)
    out = tmp_path / "report.json"
    run("-url", provider.url, "-requests", "20", "-concurrent", "1", "-json", str(out))

    report = json.loads(out.read_text())
    assert (report["requests"], report["ok"], report["failed"]) == (20, 15, 5)
    assert report["failures"] == {"429 rate_limit_exceeded": 5}
    assert report["latency"].keys() == {"p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms"}


@pytest.mark.parametrize(("ratio", "code"), [("0.05", 1), ("0.1", 0)])
def test_exit_code_is_1_only_above_the_accepted_failure_share(provider: ProviderProcess, ratio: str, code: int) -> None:
    provider.behave(fail_first=2)

    assert run("-url", provider.url, "-requests", "20", "-fail-over", ratio).returncode == code


def test_without_a_limit_only_total_failure_exits_with_1(provider: ProviderProcess) -> None:
    provider.behave(fail_first=19)

    assert run("-url", provider.url, "-requests", "20").returncode == 0
    assert run("-url", "http://127.0.0.1:1", "-requests", "3").returncode == 1


def test_run_without_a_call_keeps_no_limit() -> None:
    done = run("-url", "http://127.0.0.1:1", "-rps", "0.001", "-duration", "200ms", "-fail-over", "0.5")

    assert done.returncode == 1
    assert "No call was made" in done.stdout


@pytest.mark.parametrize(("under", "code"), [("0.5", 0), ("0.95", 1)])
def test_goodput_is_reported_and_decides_the_exit_code(provider: ProviderProcess, under: str, code: int) -> None:
    provider.behave(fail_first=4)
    done = run("-url", provider.url, "-requests", "20", "-slo", "latency=9s", "-slo-under", under)

    assert "kept latency 9000 ms: 16, 80.00% of all" in done.stdout
    assert done.returncode == code


def test_share_of_streams_is_given_up_without_being_a_failure(provider: ProviderProcess, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    done = run("-url", provider.url, "-requests", "60", "-stream", "-cancel", "0.5", "-json", str(out))

    report = json.loads(out.read_text())
    assert done.returncode == 0, done.stdout
    assert report["ok"] + report["given_up"] == 60
    assert 15 <= report["given_up"] <= 45
    assert report["failed"] == 0
    assert f"{report['given_up']} given up" in done.stdout


def test_mixed_models_and_tenants_are_counted_apart_without_showing_keys(provider: ProviderProcess) -> None:
    done = run("-url", provider.url, "-model", "a=3,b=1", "-key", "hush-1", "-key", "hush-2", "-requests", "40")

    lines = [line.split()[0] for line in done.stdout.splitlines() if line]
    assert {"a", "b", "key"} <= set(lines)
    assert "a 75%, b 25%" in done.stdout
    assert "hush" not in done.stdout


@pytest.mark.parametrize("loop", [["-concurrent", "5"], ["-rps", "400", "-arrivals", "ramp", "-ramp-over", "200ms"]])
def test_processes_make_exactly_the_requested_number(
    provider: ProviderProcess, loop: list[str], tmp_path: Path
) -> None:
    provider.behave(fail_first=7)
    out = tmp_path / "report.json"
    flags = ["-requests", "101", "-processes", "3", "-warmup", "50ms", "-stream", "-json", str(out)]
    done = run("-url", provider.url, *loop, *flags)

    report = json.loads(out.read_text())
    assert done.returncode == 0, done.stderr
    assert (report["requests"], report["processes"], report["unfinished"]) == (101, 3, 0)
    assert sum(moment["ok"] + moment["failed"] for moment in report["timeline"]) == 101
    assert provider.counts()["max_in_flight"] <= (5 if "-concurrent" in loop else 101)


def test_processes_end_with_the_one_that_started_them(provider: ProviderProcess) -> None:
    provider.behave(stall_rate=1)
    with subprocess.Popen(
        command("-url", provider.url, "-duration", "60s", "-processes", "2"), stdout=subprocess.DEVNULL
    ) as process:
        provider.wait_for(in_flight=10)
        process.kill()
    provider.wait_for(in_flight=0)


def test_person_at_a_terminal_sees_the_run_go_on(provider: ProviderProcess) -> None:
    provider.behave(latency_ms=20)
    screen, stderr = pty.openpty()
    with subprocess.Popen(
        command("-url", provider.url, "-duration", "60s"), stdout=subprocess.DEVNULL, stderr=stderr
    ) as process:
        os.close(stderr)
        shown = ""
        while "/s" not in shown:
            shown += os.read(screen, 1000).decode()
        process.send_signal(signal.SIGINT)
    os.close(screen)

    assert re.search(r"\r1 s: \d+ ok, 0 failed, 10 in progress, \d+/s", shown), shown


def test_wrong_flag_exits_with_2() -> None:
    done = run("-rps", "none")

    assert done.returncode == 2
    assert "-rps" in done.stderr


def test_replicas_take_turns_and_are_compared(provider: ProviderProcess) -> None:
    done = run("-url", f"{provider.url},http://127.0.0.1:1", "-requests", "10", "-concurrent", "1")

    assert "5 ok, 5 failed (50.00%)" in done.stdout
    assert "cannot connect" in done.stdout
    assert provider.counts()["requests"] == 5


def test_warm_up_is_sent_but_not_measured(provider: ProviderProcess) -> None:
    done = run("-url", provider.url, "-requests", "10", "-warmup", "100ms")

    assert "10 requests in" in done.stdout
    assert provider.counts()["succeeded"] > 10


def test_verbose_prints_a_line_for_each_call(provider: ProviderProcess) -> None:
    provider.behave(fail_first=1)
    done = run("-url", provider.url, "-requests", "5", "-concurrent", "1", "-verbose")

    lines = [line for line in done.stdout.splitlines() if line.endswith(provider.url + "/v1/chat/completions")]
    assert sum(line.startswith("ok ") for line in lines) == 4
    assert sum(line.startswith("500 server_error ") for line in lines) == 1


@pytest.mark.parametrize(
    "loop",
    [
        ["-concurrent", "3"],
        ["-rps", "100"],
        ["-concurrent", "4", "-processes", "2"],
        ["-rps", "100", "-processes", "2"],
    ],
)
def test_ctrl_c_prints_the_report_so_far(provider: ProviderProcess, loop: list[str]) -> None:
    provider.behave(fail_first=2, stall_rate=1)
    flags = ["-url", provider.url, "-duration", "60s", *loop]
    with subprocess.Popen(command(*flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: provider.counts()["in_flight"] >= 3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 130
    assert "interrupted: 0 ok, 2 failed" in out
    assert "unfinished" in out
    assert err == ""
    provider.wait_for(in_flight=0)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_run_ends_when_its_output_has_no_reader_and_keeps_its_report(
    provider: ProviderProcess, processes: str, tmp_path: Path
) -> None:
    out = tmp_path / "report.json"
    flags = ["-url", provider.url, "-duration", "60s", "-verbose", "-processes", processes, "-json", str(out)]
    with subprocess.Popen(command(*flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if line.startswith("ok "):
                break
        process.stdout.close()
        err = process.stderr.read()

    assert (process.returncode, err) == (130, "")
    assert json.loads(out.read_text())["is_interrupted"] is True


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("closed", [0, 1, 2])
def test_closed_standard_streams_lead_nowhere(
    provider: ProviderProcess, closed: int, processes: str, tmp_path: Path
) -> None:
    out = tmp_path / "report.json"
    flags = ["-url", provider.url, "-requests", "20", "-processes", processes, "-json", str(out)]
    script = f"import os, sys; os.close({closed}); os.execv(sys.argv[1], sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", script, *command(*flags)], capture_output=True, text=True, timeout=PATIENCE_S
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(out.read_text())["ok"] == 20


def test_full_standard_output_is_reported_before_the_run(provider: ProviderProcess) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command("-url", provider.url), stdout=full, stderr=subprocess.PIPE, text=True)

    assert done.returncode == 130
    assert done.stderr.startswith("Standard output cannot be written: ")
    assert "Traceback" not in done.stderr
    assert provider.counts()["requests"] == 0


@pytest.mark.parametrize("flag", ["-json", "-html"])
def test_report_that_cannot_be_written_is_named_and_the_table_is_kept(provider: ProviderProcess, flag: str) -> None:
    done = run("-url", provider.url, "-requests", "20", flag, "/dev/full")

    assert done.returncode == 1
    assert "20 ok, 0 failed" in done.stdout
    assert done.stderr.strip().startswith("The report could not be written: ")
    assert "Traceback" not in done.stderr


def _heeds_ctrl_c() -> None:
    """However these tests were started: what a shell starts in the background ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_while_modules_are_loaded_shows_no_traceback() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "loadtest", "-url", "http://127.0.0.1:1"]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=_heeds_ctrl_c
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.split()[-1] == "asyncio":  # one of the first that the command needs
                break
        process.send_signal(signal.SIGINT)
        err = process.stderr.read()

    assert process.returncode == 130
    assert "Traceback" not in err


def test_process_that_hangs_does_not_take_the_report_of_the_others_with_it(provider: ProviderProcess) -> None:
    flags = ["-url", provider.url, "-duration", "60s", "-processes", "2"]
    with subprocess.Popen(command(*flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: provider.counts()["succeeded"] > 10)
        os.kill(children(process.pid)[0], signal.SIGSTOP)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=3 * PATIENCE_S)

    assert process.returncode == 130
    assert re.search(r"interrupted: [1-9][0-9,]* ok", out), out
    assert "1 of the load generator's processes did not report their measurements." in out
    assert err == ""


def test_process_that_is_killed_does_not_take_the_report_of_the_others_with_it(
    provider: ProviderProcess, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    flags = ["-url", provider.url, "-rps", "40", "-duration", "3s", "-processes", "2", "-json", str(report)]
    with subprocess.Popen(command(*flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: provider.counts()["succeeded"] > 10)
        os.kill(children(process.pid)[0], signal.SIGKILL)
        out, err = process.communicate(timeout=3 * PATIENCE_S)

    assert (process.returncode, err) == (1, "")
    assert "1 of the load generator's processes did not report their measurements." in out
    kept = json.loads(report.read_text())
    assert (kept["processes"], kept["missing_processes"]) == (1, 1)
    assert 10 < kept["ok"] < 100


def test_run_whose_processes_are_all_killed_is_reported(provider: ProviderProcess) -> None:
    flags = ["-url", provider.url, "-duration", "60s", "-processes", "2"]
    with subprocess.Popen(command(*flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: provider.counts()["succeeded"] > 10)
        for pid in children(process.pid):
            os.kill(pid, signal.SIGKILL)
        _, err = process.communicate(timeout=3 * PATIENCE_S)

    assert (process.returncode, err) == (1, "the load generator's processes ended before their run did\n")
