"""`make geography` as a person runs it: real clusters, a real link of 80 ms. It needs root, as the command does."""

import re
import subprocess
import sys

import pytest

SECONDS = 8


@pytest.mark.long
def test_spill_is_the_load_beyond_home_and_ends_with_it() -> None:
    command = [sys.executable, "-m", "loadtest.trials.geography", "--seconds", str(SECONDS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^\| eu " + r"\| ([\d.]+) " * 7 + r"\|", done.stdout, re.M)
    before, (asked, in_use, carried, over, at_home, spilled, failed), after = (tuple(map(float, row)) for row in rows)
    distances = re.findall(r"^\| (eu|us) \| ([\d.]+) ms \| ([\d.]+) ms \|$", done.stdout, re.M)

    assert in_use == pytest.approx(40, rel=0.05)
    assert asked > 1.3 * carried
    assert at_home == pytest.approx(carried, rel=0.05)
    assert spilled == pytest.approx(over, rel=0.05)
    assert failed == 0
    for quiet in (before, after):
        assert quiet[4:] == (quiet[0], 0, 0)
    assert {name: float(eu) > 80 for name, eu, _ in distances} == {"eu": False, "us": True}
    assert {name: float(us) > 80 for name, _, us in distances} == {"eu": True, "us": False}
