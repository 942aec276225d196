"""A chaos scenario as a person runs it, on a cluster of its own."""

import contextlib
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.loadtest.process import PATIENCE_S

SCENARIO = """\
title: A short trouble
load: -rps 40 -duration {duration} -warmup 500ms
providers: {{azure: {{latency_ms: 10}}, openai: {{latency_ms: 10}}}}
router: {{routing_strategy: round-robin, circuit_breaker_cooldown: 20s, latency_threshold: 8s}}
steps:
  - {{at: 500ms, says: azure fails every call, provider: azure, behaviour: {{error_rate: 1}}}}
  - {{at: 50s, says: nobody waits for this, kill: store}}
"""


def command(folder: Path, duration: str) -> list[str]:
    file = folder / "short.yaml"
    file.write_text(SCENARIO.format(duration=duration))
    return [sys.executable, "-m", "loadtest.trials.chaos", str(file), "--plot", str(folder)]


def processes_of(folder: Path) -> list[str]:
    """All that were started with the folder for their temporary files: the run's, and those that it has started."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # ended meanwhile, or of another user
            if f"TMPDIR={folder}".encode() in environment.read_bytes().split(b"\0"):
                found.append(environment.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


@pytest.fixture
def own_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the cluster keeps its files; short, as the paths of sockets have to be."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def test_tables_and_picture_show_clients_and_cluster(tmp_path: Path, own_folder: Path) -> None:
    done = subprocess.run(command(tmp_path, "2s"), capture_output=True, text=True, timeout=4 * PATIENCE_S)

    assert done.returncode == 0, done.stderr
    assert "## A short trouble" in done.stdout
    assert re.search(r"^\| 0.5 s \| azure fails every call \| \d+ \| 0 \|", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"^\| \d\.\d s \| azure: closed → open \(", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"^\| \d\.\d s \| azure: \d+ calls ended in failure", done.stdout, re.MULTILINE), done.stdout
    picture = ElementTree.parse(tmp_path / "chaos-short.svg").getroot()
    texts = " ".join(text.text or "" for text in picture.iter("{http://www.w3.org/2000/svg}text"))
    assert "azure fails every call" in texts
    assert "azure: closed → open" in texts
    assert processes_of(own_folder) == []


def test_shed_requests_are_shown_although_no_event_is(tmp_path: Path, own_folder: Path) -> None:
    file = tmp_path / "shed.yaml"
    file.write_text(
        "title: More than it can carry\nload: -rps 60 -duration 2s\nreplicas: 2\n"
        "providers: {azure: {latency_ms: 400}}\nrouter: {load_shedding: {max_active_requests: 10}}\n"
        "deployment: {max_parallel: 50}\n"
    )
    command = [sys.executable, "-m", "loadtest.trials.chaos", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=4 * PATIENCE_S)

    failed = re.search(r"(\d+) × 503 server_is_overloaded", done.stdout)
    assert failed is not None, done.stdout
    shed = re.findall(r"^\| \d\.\d s \| (\d+) requests of priority normal shed \(", done.stdout, re.MULTILINE)
    assert sum(map(int, shed)) == int(failed[1]) > 0, done.stdout


def test_ctrl_c_prints_the_results_and_ends_the_cluster(tmp_path: Path, own_folder: Path) -> None:
    with subprocess.Popen(
        command(tmp_path, "60s"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert "azure fails" in process.stderr.readline()
        assert len(processes_of(own_folder)) >= 5
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=4 * PATIENCE_S)

    assert process.returncode == 130, err
    assert re.search(r"\d+ requests in .*; interrupted: \d+ ok", out), out
    assert "Traceback" not in err
    assert processes_of(own_folder) == []


def test_wrong_scenario_exits_with_2() -> None:
    done = subprocess.run([sys.executable, "-m", "loadtest.trials.chaos", "nonsense"], capture_output=True, text=True)

    assert done.returncode == 2
    assert "neither a file nor one of" in done.stderr


@pytest.mark.parametrize(
    ("load", "flags", "complaint"),
    [
        ("-rps nan", [], "nan is not more than 0"),
        ("-rps 5", ["--plot", "/nowhere"], "/nowhere is not a writable folder"),
    ],
)
def test_invalid_run_or_picture_is_refused_before_anything_starts(
    load: str, flags: list[str], complaint: str, tmp_path: Path
) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(f"title: t\nload: {load}\nproviders: {{a: {{}}}}\n")
    command = [sys.executable, "-m", "loadtest.trials.chaos", str(file), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr


def short(folder: Path, *names: str) -> list[str]:
    """The command for scenarios that are over soon."""
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        text = "title: t\nload: -rps 20 -duration 500ms\nreplicas: 1\nproviders: {a: {latency_ms: 5}}\n"
        (folder / name).write_text(text)
    return [sys.executable, "-m", "loadtest.trials.chaos", *(str(folder / name) for name in names)]


def test_picture_that_cannot_be_written_is_named_and_the_tables_are_kept(tmp_path: Path, own_folder: Path) -> None:
    (tmp_path / "chaos-a.svg").symlink_to("/dev/full")
    command = [*short(tmp_path, "a.yaml", "b.yaml"), "--plot", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=6 * PATIENCE_S)

    assert (done.returncode, done.stdout.count("## t\n")) == (1, 2), done.stderr
    assert done.stderr.startswith("The picture could not be written: ")
    assert "Traceback" not in done.stderr
    assert (tmp_path / "chaos-b.svg").exists()


def test_full_standard_output_ends_the_run_and_the_cluster(tmp_path: Path, own_folder: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            short(tmp_path, "a.yaml", "b.yaml"), stdout=full, stderr=subprocess.PIPE, text=True, timeout=6 * PATIENCE_S
        )

    assert done.returncode == 130
    assert re.fullmatch(r"Standard output cannot be written: .*\n", done.stderr)
    assert processes_of(own_folder) == []


def test_two_scenarios_of_one_name_are_refused(tmp_path: Path) -> None:
    done = subprocess.run(short(tmp_path, "a.yaml", "other/a.yaml"), capture_output=True, text=True)

    assert done.returncode == 2
    assert "two scenarios have the same name" in done.stderr
