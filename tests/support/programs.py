"""Programs that some tests run and a machine may lack. Such a test is skipped there; the last lines of the run name
what is missing and the command that installs it. With CI set, a missing program fails the run.

`python -m tests.support.programs` prints the Debian packages of those that are missing.
"""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Mapping

import pytest

PACKAGES = {
    "bash": "bash",
    "chromedriver": "chromium-driver",
    "curl": "curl",
    "haproxy": "haproxy",
    "nginx": "nginx-light",
    "openssl": "openssl",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "redis-server": "redis-server",
}
REASON = "missing program: "  # how a skipped test says why


def missing(names: Iterable[str] = PACKAGES) -> tuple[str, ...]:
    return tuple(name for name in names if shutil.which(name) is None)


def program(name: str, *others: str) -> str:
    """Returns the path of the first. Skips the test when any of them is missing."""
    wanted = (name, *others)
    assert PACKAGES.keys() >= set(wanted), f"{wanted}: name their packages in PACKAGES"
    absent = missing(wanted)
    if absent:
        pytest.skip(REASON + ", ".join(absent))
    return str(shutil.which(name))


def named_in(reason: str) -> list[str]:
    """Returns the programs that a test was skipped for; none when it was skipped for something else."""
    _, mark, names = reason.partition(REASON)
    return names.split(", ") if mark else []


def packages(names: Iterable[str]) -> list[str]:
    return sorted({PACKAGES[name] for name in names})


def is_required(environment: Mapping[str, str] = os.environ) -> bool:
    return environment.get("CI", "").lower() not in ("", "0", "false")


def not_run(counts: Counter[str], is_failure: bool) -> list[str]:
    """``counts``: tests that were not run, by program. Returns the last lines of a run."""
    lines = ["Tests that were not run, because a program is missing:"]
    lines += [f"  {name}: {count} {'test' if count == 1 else 'tests'}" for name, count in sorted(counts.items())]
    lines.append(f"To install what is missing: apt-get install {' '.join(packages(counts))}")
    if is_failure:
        lines.append("FAILED: with CI set, a missing program fails the run.")
    return lines


if __name__ == "__main__":
    sys.stdout.write(" ".join(packages(missing())) + "\n")
