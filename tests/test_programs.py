"""A test whose program is missing is not run, and the last lines of the run say so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.programs import PACKAGES, is_required, packages

ROOT = Path(__file__).resolve().parents[1]
TESTS = """
import pytest
from tests.support.programs import program

@pytest.fixture(scope="session", params=["here", "redis-server"])
def store(request):
    return request.param if request.param == "here" else program(request.param)

@pytest.mark.parametrize("number", range(3))
def test_store(store, number):
    assert store == "here"

def test_two_programs():
    program("openssl", "redis-server")
    raise AssertionError
"""
XDIST = ("-p", "xdist", "-n", "2")
LINES = [
    "Tests that were not run, because a program is missing:",
    "  openssl: 1 test",
    "  redis-server: 4 tests",
    "To install what is missing: apt-get install openssl redis-server",
]


def run(folder: Path, *flags: str, ci: str | None = None) -> tuple[int, list[str]]:
    """Runs TESTS where no program can be found. Returns the exit code and the lines."""
    (folder / "test_needy.py").write_text(TESTS)
    environment = {name: value for name, value in os.environ.items() if name != "CI" and "PYTEST" not in name}
    environment |= {"PATH": str(folder), "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | (
        {"CI": ci} if ci else {}
    )
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest", *flags]
    done = subprocess.run(
        [*command, str(folder)], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize("flags", [(), XDIST])
def test_last_lines_say_what_was_not_run_for_which_program_and_what_installs_it(
    flags: tuple[str, ...], tmp_path: Path
) -> None:
    code, lines = run(tmp_path, *flags)

    assert code == 0
    assert lines[-4:] == LINES
    assert any("3 passed, 4 skipped" in line for line in lines[:-4])
    assert [line.partition("]")[0] for line in lines if line.startswith("SKIPPED")] == ["SKIPPED [3", "SKIPPED [1"]


def test_missing_program_fails_the_run_in_ci(tmp_path: Path) -> None:
    code, lines = run(tmp_path, *XDIST, ci="true")

    assert code == 1
    assert lines[-5:] == [*LINES, "FAILED: with CI set, a missing program fails the run."]


def test_nothing_is_printed_when_nothing_is_missing(tmp_path: Path) -> None:
    code, lines = run(tmp_path, "-k", "here", ci="true")

    assert code == 0
    assert "3 passed" in lines[-1]


@pytest.mark.parametrize(
    ("value", "is_set"), [("true", True), ("1", True), ("", False), ("false", False), ("0", False), (None, False)]
)
def test_ci_is_what_ci_systems_set(value: str | None, is_set: bool) -> None:
    assert is_required({} if value is None else {"CI": value}) is is_set


def test_packages_are_named_once() -> None:
    assert packages(["promtool", "prometheus", "openssl"]) == ["openssl", "prometheus"]
    assert packages(PACKAGES) == sorted(set(PACKAGES.values()))
